"""One flush: everything that the worker writes at a time, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import polars as pl

from core import queries
from core.alerts.seen import Heard
from core.alerts.watch import Watch
from core.commands import (
    take_wishes,
    write_symbols,
    write_watchlist,
    write_worker_status,
)
from core.errors import AlertsFailed
from core.feed.gaps import Gap
from core.models import FlushResult, SymbolInfo, SymbolStatus, WorkerStatus
from core.store import Connection, Store
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
    # What alert rules are judged by, where they are looked at now.
    heard: Heard | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the file says after the write; ``watchlist`` is None while it has not changed."""

    result: FlushResult
    watchlist_version: int
    stop_requested: bool
    watchlist: list[str] | None = None
    last_ids: dict[str, int] = field(default_factory=dict)
    open_gaps: dict[str, list[Gap]] = field(default_factory=dict)
    fired: int = 0


def flush(
    store: Store,
    work: Work,
    *,
    now_ms: int,
    started_at: datetime,
    watchlist_version: int,
    wait_s: float,
    alerts: Watch | None = None,
) -> Outcome:
    """Write, read back what the worker follows, look at the alert rules, and commit.

    ``watchlist_version`` is the one that the worker knows. Raises StoreBusy, StoreFull and the
    other StoreErrors, AlertsFailed where the rules could not be looked at; then nothing was
    written, and ``alerts`` has forgotten what it took for written.
    """
    try:
        return _flush(store, work, now_ms, started_at, watchlist_version, wait_s, alerts)
    except BaseException:
        if alerts is not None:
            alerts.forget()
        raise


def _flush(
    store: Store,
    work: Work,
    now_ms: int,
    started_at: datetime,
    watchlist_version: int,
    wait_s: float,
    alerts: Watch | None,
) -> Outcome:
    with store.write(wait_s=wait_s) as con:
        if work.contracts:
            write_symbols(con, work.contracts)
        if work.watch:
            write_watchlist(con, work.watch)
        result = write_trades(con, work.trades, now_ms=now_ms, missing=work.missing)
        write_worker_status(con, work.status, work.symbol_rows)
        wishes = take_wishes(con, started_at)
        changed = wishes.watchlist_version != watchlist_version
        open_gaps = queries.load_open_gaps(con)
        fired = 0
        if alerts is not None and work.heard is not None:
            fired = _look(con, alerts, replace(work.heard, gaps=open_gaps), result)
        return Outcome(
            result=result,
            watchlist_version=wishes.watchlist_version,
            stop_requested=wishes.stop,
            watchlist=queries.load_watchlist(con)["symbol"].to_list() if changed else None,
            last_ids=queries.load_last_ids(con) if changed else {},
            open_gaps=open_gaps,
            fired=fired,
        )


def _look(con: Connection, alerts: Watch, heard: Heard, result: FlushResult) -> int:
    """Look at the rules; whatever goes wrong there, the caller can write without them."""
    try:
        return alerts.look(con, replace(heard, touched=result.stored_by_symbol.keys()))
    except Exception as error:
        raise AlertsFailed(f"Alert rules could not be looked at: {error}") from error
