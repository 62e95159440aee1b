"""A backtest of a stored pair: both legs' bars, funding and contracts read from the file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl

from core.backtest import Backtest, BacktestSettings, Contract, Market, Signals, backtest
from core.backtest import funding as funding_of
from core.backtest import leg as leg_of
from core.backtest import market as market_of
from core.backtest.pairing import signals
from core.errors import NotEnoughData
from core.pair_series import aligned
from core.pair_spec import PairSpec
from core.pairs import Legs
from core.queries import load_bars, load_coverage, load_funding, load_symbols
from core.store import Store

# Bars of the pair that one lease reads: some 0.1 s.
BARS_A_LEASE = 40_000
_CLOSES = ("symbol", "ts", "close", "volume")


@dataclass(frozen=True, slots=True, eq=False)
class Traded:
    """What a backtest of a pair stands on.

    ``rows`` are the aligned bars of the range and ``lead`` those before it, as in
    `core.pairs.PairAnalysis`; ``legs`` the closes with their coverage. ``klines_share``: share of
    the legs' bars that are not from our own trades.
    """

    spec: PairSpec
    legs: Legs
    rows: pl.DataFrame
    lead: pl.DataFrame
    market: Market
    signals: Signals
    contract_y: Contract
    contract_x: Contract
    klines_share: float


def load_traded(store: Store, spec: PairSpec, start: datetime, end: datetime) -> Traded:
    """Read what a backtest of [start, end) needs, and the bars before it that it stands on.

    Raises NotEnoughData where the legs share fewer than two bars, and what the store raises.
    """
    symbols = tuple(dict.fromkeys((spec.y, spec.x)))
    bars = _read_bars(store, spec, symbols, start, end)
    with store.read() as con:
        coverage = tuple(load_coverage(con, symbol, start, end) for symbol in symbols)
        rates = load_funding(con, symbols, start, end)
        contracts = load_symbols(con)
    frame = aligned(spec, bars.select(_CLOSES))
    rows = frame.filter(pl.col("ts") >= start)
    if rows.height < 2:
        raise NotEnoughData(
            f"{spec.y.upper()} and {spec.x.upper()} share {rows.height} {spec.timeframe} bars from "
            f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC; choose a longer range"
        )
    lead = frame.filter(pl.col("ts") < start).tail(spec.warm_bars)
    inside = bars.filter(pl.col("ts") >= start)
    y, x = (leg_of(inside.filter(pl.col("symbol") == symbol)) for symbol in (spec.y, spec.x))
    paid_y, paid_x = (
        funding_of(rates.filter(pl.col("symbol") == symbol)) for symbol in (spec.y, spec.x)
    )
    return Traded(
        spec, Legs(bars.select(_CLOSES), start, end, coverage), rows, lead,
        market_of(rows, y, x, bar_s=spec.bar_s, funding_y=paid_y, funding_x=paid_x),
        signals(spec, rows, lead),
        _contract(contracts, spec.y), _contract(contracts, spec.x),
        float(inside.select((pl.col("origin") != "trades").mean()).item() or 0.0),
    )  # fmt: skip


def run_backtest(traded: Traded, settings: BacktestSettings) -> Backtest:
    """Return the backtest with the contracts' own ticks, steps and least notionals."""
    own = replace(settings, contract_y=traded.contract_y, contract_x=traded.contract_x)
    return backtest(traded.market, traded.signals, own)


def _read_bars(
    store: Store, spec: PairSpec, symbols: tuple[str, ...], start: datetime, end: datetime
) -> pl.DataFrame:
    at = start - timedelta(seconds=(3 * spec.warm_bars + spec.carry_bars) * spec.bar_s)
    length = timedelta(seconds=BARS_A_LEASE * spec.bar_s)
    parts = []
    while at < end:
        with store.read() as con:
            parts.append(load_bars(con, symbols, spec.timeframe, at, min(at + length, end)))
        at += length
    return pl.concat(parts).sort("symbol", "ts")


def _contract(contracts: pl.DataFrame, symbol: str) -> Contract:
    """Return the contract's grid; a dataset's symbol has that of the symbol itself."""
    found = contracts.filter(pl.col("symbol") == symbol.partition("@")[0])
    if found.is_empty():
        return Contract()
    return Contract(*found.select("tick_size", "step_size", "min_notional").row(0))
