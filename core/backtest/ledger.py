"""From decisions to money: fills, funding, equity at every close, one row a trade.

Quote units throughout. Start capital + Σ net of closed trades + mark of the open one = end equity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.backtest.market import Floats, Funding, Ints, Market
from core.backtest.orders import fill_prices, rounded
from core.backtest.settings import BacktestSettings
from core.backtest.signals import OPEN, Decision

Bools = NDArray[np.bool_]
ENTRY, EXIT, REBALANCE = 0, 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class Fills:
    """Every fill of one leg, arrays (k,) in order of time; ``size`` is signed, costs are ≥ 0.

    ``row`` is the first row by whose close it is done, ``decided`` the row of its decision.
    """

    trade: Ints
    decided: Ints
    row: Ints
    at_s: Ints
    kind: Ints
    size: Floats
    reference: Floats
    paid: Floats
    fee: Floats
    slippage: Floats
    through: Bools


@dataclass(frozen=True, slots=True, eq=False)
class Books:
    """The ledger and what it adds up to.

    ``trades`` has one row a trade (see `LEDGER`), ``equity`` (n,) the account at each row's close,
    ``position_y``/``position_x`` (n,) what is held by then, ``open_mark`` the unfinished trade's
    result so far.
    """

    trades: pl.DataFrame
    fills_y: Fills
    fills_x: Fills
    equity: Floats
    position_y: Floats
    position_x: Floats
    start: float
    open_mark: float

    @property
    def end(self) -> float:
        """The account at the last close, the open trade marked."""
        return float(self.equity[-1])


def books(
    market: Market,
    beta: Floats,
    is_log: bool,
    settings: BacktestSettings,
    path: list[Decision],
    size_y: Floats,
    size_x: Floats,
    hedge_error: Floats,
) -> Books:
    """Return the books of the decided trades with their signed sizes, each (trades,)."""
    fills = [
        _fills(market, settings, path, size_y, 0, []),
        _fills(
            market, settings, path, size_x, 1,
            _rebalances(market, beta, is_log, settings, path, size_y, size_x),
        ),
    ]  # fmt: skip
    closes = (market.close_y, market.close_x)
    positions = [_running(market.rows, one.row, one.size) for one in fills]
    flows = np.zeros(market.rows)
    for one in fills:
        flows += _landed(market.rows, one.row, -one.size * one.paid - one.fee)
    funding = np.zeros(len(path))
    for one, close, rates in zip(fills, closes, (market.funding_y, market.funding_x), strict=True):
        row, amount, trade = _settled(market, one, close, rates)
        flows += _landed(market.rows, row, amount)
        funding += np.bincount(trade, amount, minlength=len(path))[: len(path)]
    start = settings.money.capital
    worth = positions[0] * closes[0] + positions[1] * closes[1]
    equity = start + np.cumsum(flows) + worth
    trades = _ledger(market, path, fills, positions, funding, equity, hedge_error)
    is_open = bool(path) and path[-1].reason == OPEN
    mark = float(trades["net"][-1]) if is_open else 0.0
    return Books(trades, fills[0], fills[1], equity, positions[0], positions[1], start, mark)


def _fills(
    market: Market,
    settings: BacktestSettings,
    path: list[Decision],
    sizes: Floats,
    which: int,
    rebalances: list[tuple[int, int, float]],
) -> Fills:
    """Return one leg's fills; ``which`` is 0 for y, 1 for x; rebalances are (trade, row, size)."""
    leg, bars = ((market.y, market.fill_y), (market.x, market.fill_x))[which]
    closes = (market.close_y, market.close_x)[which]
    tick = (settings.contract_y, settings.contract_x)[which].tick_size
    trade = np.arange(len(path))
    entry = np.array([one.entry for one in path], dtype=np.int64)
    leave = np.array([one.exit for one in path], dtype=np.int64)
    closed = leave < market.rows
    held = sizes.copy()
    for number, _, change in rebalances:
        held[number] += change
    middle = np.array([(t, r) for t, r, _ in rebalances], dtype=np.int64).reshape(-1, 2)
    numbers = np.concatenate((trade, middle[:, 0], trade[closed]))
    decided = np.concatenate((entry, middle[:, 1], leave[closed]))
    changes = np.array([change for _, _, change in rebalances])
    size = np.concatenate((sizes, changes, -held[closed]))
    counts = [len(trade), len(middle), int(closed.sum())]
    kind: Ints = np.repeat(np.array([ENTRY, REBALANCE, EXIT], dtype=np.int64), counts)
    order = (
        np.lexsort((kind == ENTRY, decided, numbers))
        if len(middle)
        else np.argsort(decided * 2 + (kind == ENTRY), kind="stable")
    )
    numbers, decided, size, kind = numbers[order], decided[order], size[order], kind[order]
    bar = bars[decided]
    found = fill_prices(leg, bar, closes[decided], np.sign(size), tick, settings.execution)
    at_s = leg.start_s[bar]
    return Fills(
        numbers, decided, np.searchsorted(market.start_s, at_s), at_s, kind, size,
        found.reference, found.paid,
        np.abs(size) * found.paid * (settings.execution.fee_bps / 1e4),
        np.abs(size) * np.abs(found.paid - found.reference), found.through,
    )  # fmt: skip


def _rebalances(
    market: Market,
    beta: Floats,
    is_log: bool,
    settings: BacktestSettings,
    path: list[Decision],
    size_y: Floats,
    size_x: Floats,
) -> list[tuple[int, int, float]]:
    """Return (trade, row, change of x) that bring x back to what the row's hedge ratio asks."""
    every = settings.rules.rebalance_bars
    if every is None:
        return []
    contract, money = settings.contract_x, settings.money
    found = []
    for number, one in enumerate(path):
        rows = np.arange(market.held[one.entry] + every, min(one.exit, market.rows), every)
        rows = rows[market.held[rows] < market.rows]
        ratio = market.close_y[rows] / market.close_x[rows]
        elasticity = beta[rows] if is_log else beta[rows] / ratio
        usable = (elasticity >= money.lowest_beta) & (elasticity <= money.highest_beta)
        wanted = rounded(np.abs(beta[rows] * (ratio if is_log else 1.0) * size_y[number]), contract)
        held = abs(size_x[number])
        for row, target, is_usable in zip(rows.tolist(), wanted, usable, strict=True):
            change = float(target - held)
            worth = abs(change) * market.close_x[row]
            if is_usable and worth > max(contract.min_notional, 1e-12):
                found.append((number, row, float(np.sign(size_x[number])) * change))
                held = float(target)
    return found


def _settled(
    market: Market, fills: Fills, closes: Floats, rates: Funding
) -> tuple[Ints, Floats, Ints]:
    """Return row, amount and trade of each settlement that met a position.

    A position pays where its entry lies before the settlement and its exit not before it.
    """
    ends = market.start_s + market.bar_s
    inside = (rates.at_s > market.start_s[0]) & (rates.at_s <= ends[-1])
    at_s, rate, mark = rates.at_s[inside], rates.rate[inside], rates.mark[inside]
    done = np.searchsorted(fills.at_s, at_s, side="left")
    held = np.concatenate(([0.0], np.cumsum(fills.size)))[done]
    flat = np.concatenate(([True], fills.kind == EXIT))[done]
    last = closes[np.maximum(np.searchsorted(ends, at_s, side="right") - 1, 0)]
    amount = np.where(flat, 0.0, -held * np.where(np.isnan(mark), last, mark) * rate)
    paid = ~flat
    trade = np.concatenate(([0], fills.trade))[done]
    return np.searchsorted(ends, at_s)[paid], amount[paid], trade[paid]


def _running(rows: int, at: Ints, sizes: Floats) -> Floats:
    """Return what is held by each row's close; exactly 0 between trades."""
    total = np.cumsum(_landed(rows, at, sizes))
    dust = 1e-12 * np.abs(sizes).max(initial=0.0)
    return np.asarray(np.where(np.abs(total) < dust, 0.0, total), dtype=np.float64)


def _landed(rows: int, at: Ints, amounts: Floats) -> Floats:
    return np.bincount(at, amounts, minlength=rows)[:rows].astype(np.float64)


def _ledger(
    market: Market,
    path: list[Decision],
    fills: list[Fills],
    positions: list[Floats],
    funding: Floats,
    equity: Floats,
    hedge_error: Floats,
) -> pl.DataFrame:
    count = len(path)
    is_open = np.array([one.reason == OPEN for one in path], dtype=bool)
    gross, fees, slippage = np.zeros(count), np.zeros(count), np.zeros(count)
    columns: dict[str, Floats | Ints] = {}
    for name, one, position, close in zip(
        "yx", fills, positions, (market.close_y, market.close_x), strict=True
    ):
        gross += np.bincount(one.trade, -one.size * one.reference, minlength=count)[:count]
        fees += np.bincount(one.trade, one.fee, minlength=count)[:count]
        slippage += np.bincount(one.trade, one.slippage, minlength=count)[:count]
        gross[is_open] += position[-1] * close[-1]
        entries, exits = one.kind == ENTRY, one.kind == EXIT
        columns[f"size_{name}"] = one.size[entries]
        columns[f"price_{name}_in"] = one.paid[entries]
        columns[f"price_{name}_out"] = _padded(one.paid[exits], count)
        columns[f"at_{name}_in"] = one.at_s[entries]
        columns[f"at_{name}_out"] = _padded(one.at_s[exits].astype(np.float64), count)
    began = np.maximum(columns.pop("at_y_in"), columns.pop("at_x_in"))
    ended = np.fmax(columns.pop("at_y_out"), columns.pop("at_x_out"))
    last_s = float(market.start_s[-1] + market.bar_s)
    first = np.array([market.held[one.entry] for one in path], dtype=np.int64)
    final = np.array(
        [market.held[one.exit] if one.exit < market.rows else market.rows - 1 for one in path],
        dtype=np.int64,
    )
    return pl.DataFrame(
        {
            "side": ["long" if one.side > 0 else "short" for one in path],
            "decided_row": np.array([one.entry for one in path], dtype=np.int64),
            "entry_ts": _times(began),
            "exit_ts": _times(np.nan_to_num(ended, nan=-1.0).astype(np.int64), ended),
            "reason": [one.reason for one in path],
            **columns,
            "gross": gross,
            "fees": fees,
            "slippage": slippage,
            "funding": funding,
            "net": gross - fees - slippage + funding,
            "bars_held": (np.where(np.isnan(ended), last_s, ended) - began) / market.bar_s,
            "max_adverse": _adverse(equity, first, final),
            "hedge_error": hedge_error,
        },
        schema_overrides={"side": pl.String, "reason": pl.String},
    ).with_columns(pl.col("price_y_out", "price_x_out").fill_nan(None))


def _padded(values: Floats, count: int) -> Floats:
    """Return the values of the closed trades, NaN for the open one at the end."""
    return np.concatenate((values, np.full(count - len(values), np.nan)))


def _times(at_s: Ints, known: Floats | None = None) -> pl.Series:
    found = pl.Series(at_s * 1000, dtype=pl.Int64).cast(pl.Datetime("ms"))
    if known is None:
        return found
    return pl.select(pl.when(pl.Series(np.isfinite(known))).then(found)).to_series()


def _adverse(equity: Floats, first: Ints, final: Ints) -> Floats:
    """Return how far below its start each trade ever stood, ≤ 0."""
    if not len(first):
        return np.empty(0)
    # One trade ends before the next begins, so the pairs of bounds rise, two and two.
    bounds = np.column_stack((first, final + 1)).ravel()
    padded = np.append(equity, np.inf)
    lowest = np.minimum.reduceat(padded, bounds)[::2]
    return np.minimum(0.0, lowest - equity[first - 1])
