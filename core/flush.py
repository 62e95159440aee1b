"""One flush: everything that the worker writes at a time, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from core import queries
from core.commands import (
    take_wishes,
    write_symbols,
    write_watchlist,
    write_worker_status,
)
from core.feed.gaps import Gap
from core.models import FlushResult, SymbolInfo, SymbolStatus, WorkerStatus
from core.store import Store
from core.trade_writer import Missing, write_trades


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be written."""

    trades: pl.DataFrame
    missing: Sequence[Missing]
    status: WorkerStatus
    symbol_rows: Sequence[SymbolStatus]
    contracts: Sequence[SymbolInfo] = ()
    watch: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the file says after the write; ``watchlist`` is None while it has not changed."""

    result: FlushResult
    watchlist_version: int
    stop_requested: bool
    watchlist: list[str] | None = None
    last_ids: dict[str, int] = field(default_factory=dict)
    open_gaps: dict[str, list[Gap]] = field(default_factory=dict)


def flush(
    store: Store,
    work: Work,
    *,
    now_ms: int,
    started_at: datetime,
    watchlist_version: int,
    wait_s: float,
) -> Outcome:
    """Write, read back what the worker follows, and commit.

    ``watchlist_version`` is the one that the worker knows. Raises StoreBusy, StoreFull and the
    other StoreErrors; then nothing was written.
    """
    with store.write(wait_s=wait_s) as con:
        if work.contracts:
            write_symbols(con, work.contracts)
        if work.watch:
            write_watchlist(con, work.watch)
        result = write_trades(con, work.trades, now_ms=now_ms, missing=work.missing)
        write_worker_status(con, work.status, work.symbol_rows)
        wishes = take_wishes(con, started_at)
        changed = wishes.watchlist_version != watchlist_version
        return Outcome(
            result=result,
            watchlist_version=wishes.watchlist_version,
            stop_requested=wishes.stop,
            watchlist=queries.load_watchlist(con)["symbol"].to_list() if changed else None,
            last_ids=queries.load_last_ids(con) if changed else {},
            open_gaps=queries.load_open_gaps(con),
        )
