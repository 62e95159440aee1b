"""A backtest of a stored pair: both legs' bars, funding and contracts read from the file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl

from core.backtest import Backtest, BacktestSettings, Contract, Market, Signals, backtest
from core.backtest import funding as funding_of
from core.backtest import leg as leg_of
from core.backtest import market as market_of
from core.backtest.honesty import window_lengths
from core.backtest.pairing import signals
from core.errors import NotEnoughData
from core.models import CoverageSummary
from core.pair_series import aligned
from core.pair_spec import PairSpec
from core.queries import load_bars, load_coverage, load_funding, load_symbols
from core.store import Store

# Bars of the pair that one lease reads: some 0.1 s.
BARS_A_LEASE = 40_000
_CLOSES = ("symbol", "ts", "close", "volume")


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """All that is read for a backtest of [start, end): what a bundle has to hold.

    ``bars`` are both legs' from well before ``start`` on (`BARS`), ``rates`` their settlements
    (`RATES`), ``contracts`` the grids of y and of x.
    """

    spec: PairSpec
    start: datetime
    end: datetime
    bars: pl.DataFrame
    rates: pl.DataFrame
    contracts: tuple[Contract, Contract]
    coverage: tuple[CoverageSummary, ...]


BARS = (
    "symbol", "ts", "open", "high", "low", "close", "volume", "quote_volume", "origin",
)  # fmt: skip
RATES = ("symbol", "ts", "rate", "mark_price")


@dataclass(frozen=True, slots=True, eq=False)
class Traded:
    """What a backtest of a pair stands on.

    ``rows`` are the aligned bars of the range and ``lead`` those before it, as in
    `core.pairs.PairAnalysis`. ``klines_share``: share of the legs' bars that are not from our own
    trades.
    """

    inputs: Inputs
    rows: pl.DataFrame
    lead: pl.DataFrame
    market: Market
    signals: Signals
    klines_share: float

    @property
    def spec(self) -> PairSpec:
        """What was asked."""
        return self.inputs.spec


def read_inputs(store: Store, spec: PairSpec, start: datetime, end: datetime) -> Inputs:
    """Read what a backtest of [start, end) needs, and the bars before it that it stands on.

    The bars before reach as far as the longest window of the sensitivity check.
    """
    symbols = tuple(dict.fromkeys((spec.y, spec.x)))
    bars = _read_bars(store, spec, symbols, start, end)
    with store.read() as con:
        coverage = tuple(load_coverage(con, symbol, start, end) for symbol in symbols)
        rates = load_funding(con, symbols, start, end)
        contracts = load_symbols(con)
    return Inputs(
        spec, start, end, bars.select(BARS), rates.select(RATES),
        (_contract(contracts, spec.y), _contract(contracts, spec.x)), coverage,
    )  # fmt: skip


def traded_of(found: Inputs) -> Traded:
    """Return what a backtest stands on; raises NotEnoughData below two common bars."""
    spec, start, end, bars = found.spec, found.start, found.end, found.bars
    frame = aligned(spec, bars.select(_CLOSES))
    rows = frame.filter(pl.col("ts") >= start)
    if rows.height < 2:
        raise NotEnoughData(
            f"{spec.y.upper()} and {spec.x.upper()} share {rows.height} {spec.timeframe} bars from "
            f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC; choose a longer range"
        )
    lead = frame.filter(pl.col("ts") < start).tail(_lead_bars(spec))
    inside = bars.filter(pl.col("ts") >= start)
    y, x = (leg_of(inside.filter(pl.col("symbol") == symbol)) for symbol in (spec.y, spec.x))
    paid_y, paid_x = (
        funding_of(found.rates.filter(pl.col("symbol") == symbol)) for symbol in (spec.y, spec.x)
    )
    return Traded(
        found, rows, lead,
        market_of(rows, y, x, bar_s=spec.bar_s, funding_y=paid_y, funding_x=paid_x),
        signals(spec, rows, lead),
        float(inside.select((pl.col("origin") != "trades").mean()).item() or 0.0),
    )  # fmt: skip


def load_traded(store: Store, spec: PairSpec, start: datetime, end: datetime) -> Traded:
    """Read what a backtest of [start, end) needs; raises NotEnoughData, and what a store raises."""
    return traded_of(read_inputs(store, spec, start, end))


def _lead_bars(spec: PairSpec) -> int:
    """Return the bars before the range that the longest window tried needs."""
    if spec.method == "kalman":
        return spec.warm_bars
    return replace(spec, window_bars=max(window_lengths(spec))).warm_bars


def run_backtest(traded: Traded, settings: BacktestSettings) -> Backtest:
    """Return the backtest with the contracts' own ticks, steps and least notionals."""
    y, x = traded.inputs.contracts
    own = replace(settings, contract_y=y, contract_x=x)
    return backtest(traded.market, traded.signals, own)


def _read_bars(
    store: Store, spec: PairSpec, symbols: tuple[str, ...], start: datetime, end: datetime
) -> pl.DataFrame:
    # Bars are missing here and there: half as many again as would do if none were.
    before = max(3 * spec.warm_bars, round(1.5 * _lead_bars(spec))) + spec.carry_bars
    at = start - timedelta(seconds=before * spec.bar_s)
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
