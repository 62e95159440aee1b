"""What programs are told of the worker, of symbols and of bars."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from core.api.replies.parts import Instant, Reply


class WorkerTold(Reply):
    """The worker's own row in the file; durations in seconds."""

    pid: int
    host: str
    version: str
    venue: str
    state: str
    started_at: Instant
    updated_at: Instant
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


class SymbolTold(Reply):
    """How one watched symbol fares."""

    symbol: str
    state: str
    last_price: float | None
    last_trade_ts: Instant | None
    lag_s: float | None
    trades_per_s: float | None
    trades_stored: int
    reconnects: int
    open_gaps: int
    missing_trades: int
    note: str


class IngestStatus(Reply):
    """The worker, its symbols and their lag."""

    source: str
    running: bool
    state: str
    reason: str
    remedy: str
    watchlist: list[str]
    worker: WorkerTold | None
    symbols: list[SymbolTold]
    error: str | None
    started: Annotated[
        bool | UnsetType, Meta(description="Of a start: whether a worker was started for it.")
    ] = UNSET
    pid: Annotated[int | UnsetType, Meta(description="Of a started worker.")] = UNSET
    stopping: Annotated[bool | UnsetType, Meta(description="Of a stop.")] = UNSET


class Health(Reply):
    """Whether trades are being written, and what to do where they are not."""

    status: Literal["ok", "degraded"]
    source: str
    worker: str
    reason: str
    remedy: str


class Symbols(Reply):
    """What is stored, watched, and on the exchange."""

    source: str
    symbols: list[str]
    watchlist: list[str]
    datasets: list[str]
    contracts: list[str]


class Bar(Reply):
    """One bar, beginning at ts."""

    ts: Instant
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float | None
    trades: int | None
    taker_buy_volume: float | None
    origin: Annotated[str, Meta(description="Made of trades, the exchange's klines, or uploaded.")]


class Bars(Reply):
    """Bars, oldest first."""

    symbol: str
    timeframe: str
    data: list[Bar]


class Matrix(Reply):
    """Correlations, rows and columns in the order of symbols."""

    symbols: list[str]
    matrix: list[list[float | None]]
    timeframe: str
    on: str
    kind: str
    start: Instant | None
    end: Instant | None
    bars: Annotated[dict[str, int], Meta(description="How many bars each symbol has.")]
