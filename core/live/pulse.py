"""The state of one file and its worker, as last read."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from core import queries
from core.bar_sql import TIMEFRAMES
from core.errors import PerpduckError
from core.models import WorkerStatus
from core.store import Connection
from core.supervisor import Health, worker_health

# A worker in one of these states writes what it gets, or is about to.
WRITING = ("starting", "live", "behind", "restricted")


@dataclass(frozen=True, slots=True)
class Span:
    """From when to when one origin has bars, and of which timeframes; times UTC."""

    origin: str
    timeframe: str
    first: datetime
    last: datetime

    @property
    def is_live(self) -> bool:
        """Whether the worker adds to it, trade by trade."""
        return self.origin == "trades"

    def gives(self, timeframe: str) -> bool:
        """Whether bars of that timeframe are made of it."""
        if self.origin == "upload":
            return timeframe == self.timeframe
        return TIMEFRAMES[timeframe] >= TIMEFRAMES[self.timeframe]


def dataset_of(symbol: str) -> str:
    """Return the dataset that a symbol's key names, "" for the exchange's own."""
    return symbol.partition("@")[2]


@dataclass(frozen=True, slots=True)
class Pulse:
    """The state of the file and its worker, as last read; ``error`` says why it is old."""

    health: Health
    status: WorkerStatus | None = None
    symbols: pl.DataFrame = field(default_factory=pl.DataFrame)
    watchlist: tuple[str, ...] = ()
    stored: tuple[str, ...] = ()
    spans: Mapping[str, tuple[Span, ...]] = field(default_factory=dict)
    contracts: pl.DataFrame = field(default_factory=pl.DataFrame)
    tick_sizes: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)
    error: PerpduckError | None = None
    read_at: float = 0.0

    def bounds(self, symbol: str, timeframe: str) -> tuple[datetime, datetime] | None:
        """Return from when to when there are bars of that timeframe, None where there are none."""
        found = [span for span in self.spans.get(symbol, ()) if span.gives(timeframe)]
        if not found:
            return None
        return min(span.first for span in found), max(span.last for span in found)

    def held(self) -> tuple[datetime, datetime] | None:
        """Return from when to when any symbol has bars of any timeframe."""
        found = [span for symbol in self.stored for span in self.spans[symbol]]
        if not found:
            return None
        return min(span.first for span in found), max(span.last for span in found)

    @property
    def datasets(self) -> tuple[str, ...]:
        """The names of the uploaded datasets, in order."""
        return tuple(sorted({dataset_of(symbol) for symbol in self.spans} - {""}))

    def of(self, dataset: str) -> Pulse:
        """Return the pulse of that dataset alone; of "" that of all that is no dataset.

        A dataset has no worker: nothing of it is ever late, and no bar of it still forms.
        """
        stored = tuple(symbol for symbol in self.stored if dataset_of(symbol) == dataset)
        if not dataset:
            return replace(self, stored=stored)
        health = Health("dataset", f"The uploaded dataset {dataset}; nothing of it is live.", "")
        return replace(self, stored=stored, health=health)

    @property
    def open_gaps(self) -> int:
        """How many gaps are open over all watched symbols."""
        return int(self.symbols["open_gaps"].sum()) if self.symbols.height else 0

    @property
    def silent_s(self) -> float:
        """Seconds since the newest trade of any stored symbol; 0 where there is none."""
        newest = max(
            (span.last for spans in self.spans.values() for span in spans if span.is_live),
            default=None,
        )
        if newest is None:
            return 0.0
        return (datetime.now(UTC).replace(tzinfo=None) - newest).total_seconds()

    @property
    def lag_s(self) -> float | None:
        """How far the slowest watched symbol is behind the exchange, in seconds."""
        if not self.symbols.height:
            return None
        slowest = self.symbols["lag_s"].max()
        return float(slowest) if isinstance(slowest, int | float) else None


def spans_by_symbol(spans: pl.DataFrame) -> dict[str, tuple[Span, ...]]:
    """Return the rows of `core.queries.load_spans` by symbol, in their order.

    The last uploaded bar reaches to its end, as the last trade does to itself.
    """
    found: dict[str, tuple[Span, ...]] = {}
    for symbol, origin, timeframe, first, last in spans.iter_rows():
        if origin == "upload":
            last += timedelta(seconds=TIMEFRAMES[timeframe])
        found[symbol] = (*found.get(symbol, ()), Span(origin, timeframe, first, last))
    return found


def read_pulse(con: Connection, path: Path, known: Pulse | None) -> Pulse:
    """Read the state of the file; what has not changed since ``known`` is not read again."""
    versions = queries.load_versions(con)
    status = queries.load_worker_status(con)
    if known and known.contracts.height and _same(known.versions, versions, "symbols"):
        contracts, tick_sizes = known.contracts, known.tick_sizes
    else:
        contracts = queries.load_symbols(con)
        tick_sizes = dict(contracts.select("symbol", "tick_size").iter_rows())
    if known and known.watchlist and _same(known.versions, versions, "watchlist"):
        watchlist = known.watchlist
    else:
        watchlist = tuple(queries.load_watchlist(con)["symbol"])
    spans = spans_by_symbol(queries.load_spans(con))
    return Pulse(
        health=worker_health(path, status),
        status=status,
        symbols=queries.load_symbol_status(con),
        watchlist=watchlist,
        stored=tuple(spans),
        spans=spans,
        contracts=contracts,
        tick_sizes=tick_sizes,
        versions=versions,
        read_at=time.monotonic(),
    )


def _same(old: Mapping[str, int], new: Mapping[str, int], scope: str) -> bool:
    return old.get(scope) == new.get(scope)


def judged(path: Path, before: Pulse | None, error: PerpduckError | None) -> Pulse:
    """Return the last pulse with the worker judged anew, since a dead one changes no file."""
    health = worker_health(path, before.status if before else None)
    if before is None:
        return Pulse(health=health, error=error)
    return replace(before, health=health, error=error)
