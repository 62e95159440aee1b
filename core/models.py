"""The frozen records that pass between the rooms of the house."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

# One name for a frame of trades wherever it travels: wire → buffer → store.
# ts is UTC in milliseconds; price is in quote units, size in base units.
TRADE_SCHEMA: dict[str, Any] = {
    "symbol": pl.String,
    "agg_id": pl.Int64,
    "ts": pl.Datetime("ms"),
    "price": pl.Float64,
    "size": pl.Float64,
    "buyer_is_maker": pl.Boolean,
    "source": pl.String,
}

# Uploaded ticks and raw trades: ts is UTC in microseconds; size in base units, None where the
# file has none; side is the taker's, "buy" or "sell" or None; id None where there is none.
TICK_SCHEMA: dict[str, Any] = {
    "symbol": pl.String,
    "id": pl.Int64,
    "ts": pl.Datetime("us"),
    "price": pl.Float64,
    "size": pl.Float64,
    "side": pl.String,
}

# The exchange's own bars; ts is the bar's start, UTC.
KLINE_SCHEMA: dict[str, Any] = {
    "symbol": pl.String,
    "ts": pl.Datetime("ms"),
    "open": pl.Float64,
    "high": pl.Float64,
    "low": pl.Float64,
    "close": pl.Float64,
    "volume": pl.Float64,
    "quote_volume": pl.Float64,
    "trades": pl.Int64,
    "taker_buy_volume": pl.Float64,
}

# Bars that a user uploads, of one symbol and timeframe; ts is the bar's start, UTC.
BAR_SCHEMA: dict[str, Any] = {
    "ts": pl.Datetime("ms"),
    "open": pl.Float64,
    "high": pl.Float64,
    "low": pl.Float64,
    "close": pl.Float64,
    "volume": pl.Float64,
}

# Rows of a file that were left out, by line number (1 is the file's first line).
REJECT_SCHEMA: dict[str, Any] = {"line": pl.Int64, "reason": pl.String, "text": pl.String}


@dataclass(frozen=True, slots=True)
class SymbolInfo:
    """One contract of the exchange: lower-case key, grid steps in quote and base units."""

    symbol: str
    status: str
    contract_type: str
    base_asset: str
    quote_asset: str
    tick_size: float
    step_size: float
    min_notional: float

    @property
    def is_tradable(self) -> bool:
        """Whether Perpduck offers it: a perpetual that is trading now."""
        return self.status == "TRADING" and self.contract_type in (
            "PERPETUAL",
            "TRADIFI_PERPETUAL",
        )


@dataclass(frozen=True, slots=True)
class MarkPrice:
    """One mark price event; prices in quote units, the funding rate as a fraction."""

    symbol: str
    event_ms: int
    mark_price: float
    index_price: float
    funding_rate: float
    next_funding_ms: int


@dataclass(frozen=True, slots=True)
class SymbolStatus:
    """What the worker knows of one symbol right now; times UTC, lag in seconds."""

    symbol: str
    state: str
    last_price: float | None
    last_trade_ts: datetime | None
    lag_s: float | None
    trades_per_s: float
    trades_stored: int
    reconnects: int
    open_gaps: int
    missing_trades: int
    note: str


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """The worker's own row in the file; times UTC, durations seconds."""

    pid: int
    host: str
    version: str
    venue: str
    state: str
    started_at: datetime
    updated_at: datetime
    buffered_trades: int
    spilled_trades: int
    flush_s: float
    worst_flush_s: float
    trades_per_s: float
    connections: int
    reconnects: int
    rejected: int
    weight_used: int
    note: str


@dataclass(frozen=True, slots=True)
class FlushResult:
    """What one write transaction did."""

    stored: int
    duplicates: int
    stored_by_symbol: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CoverageSummary:
    """How complete one symbol's trades are over a range: ids held, ids missing, since when."""

    symbol: str
    held: int
    missing: int
    since: datetime | None
    until: datetime | None

    @property
    def fraction(self) -> float | None:
        """Share of the ids in the range that are held, None where nothing is known."""
        total = self.held + self.missing
        return self.held / total if total else None
