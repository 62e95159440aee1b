"""The worker: feed → buffer → store, holes filled, status kept, stopped without loss."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path

import polars as pl

from core.alerts.job import AlertJob
from core.backfill import GapFiller
from core.buffer import TradeBuffer
from core.config import Settings
from core.errands import Errands
from core.errors import (
    AlertsFailed,
    FeedLost,
    StoreBusy,
    StoreError,
    StoreFull,
    WrongFile,
    WrongVenue,
)
from core.feed.backoff import backoff_delays
from core.feed.gaps import Gap
from core.feed.rest import RestClient
from core.feed.stream import StreamPool
from core.flush import Outcome, Work, flush
from core.intake import Intake
from core.models import SymbolInfo, SymbolStatus
from core.report import Report
from core.store import Store
from core.trade_writer import Missing, utc_now
from core.vitals import Vitals

logger = logging.getLogger(__name__)

# One transaction stays short enough for readers to get their turn.
FLUSH_ROWS = 200_000
# The whole stop has 5 s; what cannot be stored by then is spilled, and stored at the next start.
STOP_FLUSH_S = 1.8
END_S = 1.2


class Worker:
    """One worker on one file. `run` returns when it was stopped, with everything safe."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        rest: RestClient,
        *,
        started_at: datetime | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._rest = rest
        self._started_at = started_at or utc_now()
        self._stopping = asyncio.Event()
        self._vitals = Vitals(
            settings.venue, self._started_at, _now_ms, silence_s=settings.silence_s
        )
        self.buffer = TradeBuffer(spill_folder(settings), max_rows=settings.buffer_rows)
        self._pool = StreamPool(
            settings.ws_url,
            lambda frames: self._intake.take(frames),
            streams_per_connection=settings.streams_per_connection,
            silence_s=settings.silence_s,
            recycle_s=settings.recycle_s,
        )
        self._filler = GapFiller(
            rest,
            horizon_ms=lambda: self._vitals.exchange_ms() - int(settings.history_s * 1000),
            exchange_ms=self._vitals.exchange_ms,
            accept=self._take_page,
        )
        self._missing: list[Missing] = []
        self._gaps: dict[str, list[Gap]] = {}
        self._watchlist: list[str] = []
        self._watchlist_version = -1
        self._new_contracts: Sequence[SymbolInfo] = ()
        self._to_watch: list[str] = []
        self._file_trouble = ""
        self._job_trouble = ""
        self._failure = ""
        self._errands = Errands(
            settings,
            rest,
            self._vitals,
            store,
            add=self.buffer.add,
            on_contracts=self._take_contracts,
            reconnects=lambda: sum(c.reconnects for c in self._pool.status()),
        )
        self._intake = Intake(self._vitals, self._errands, self.buffer)
        self._alerts = AlertJob(settings, store, self._vitals, self._errands.sure)
        self._report = Report(
            self._pool, self._filler, self._errands, self._vitals, self.buffer, rest
        )

    def note(self) -> str:
        """Say in plain words what is wrong now, empty when nothing is."""
        trouble = self._job_trouble or self._alerts.trouble
        return self._report.note(self._watchlist, self._file_trouble, trouble)

    def stop(self, failure: str = "") -> None:
        """Ask for the end; `run` writes what there is and returns.

        ``failure`` says why the worker cannot go on, where it is not asked to stop.
        """
        self._failure = self._failure or failure
        self._stopping.set()

    async def run(self, symbols: Sequence[str]) -> None:
        """Ingest until stopped.

        Raises WrongFile or WrongVenue if the file stops being ours, FeedLost after a failure.
        """
        self._to_watch = list(symbols)
        jobs: dict[str, Callable[[], Awaitable[None]]] = {
            "stream": self._pool.run,
            "gaps": self._filler.run,
            "spill": self.buffer.keep_within_memory,
            **self._errands.jobs(),
            "alerts": self._alerts.run,
        }
        tasks = [asyncio.create_task(self._endlessly(name, job)) for name, job in jobs.items()]
        flushing = asyncio.create_task(self._flush_until_stopped())
        stopped = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([flushing, stopped], return_when=asyncio.FIRST_COMPLETED)
        self._stopping.set()
        for task in tasks:
            task.cancel()
        await asyncio.wait([flushing, *tasks], timeout=END_S)
        try:
            await flushing
            await self._finish("failed" if self._failure else "stopped")
        finally:
            await self.buffer.keep_the_rest()
        if self._failure:
            raise FeedLost(self._failure)

    async def _endlessly(self, name: str, job: Callable[[], Awaitable[None]]) -> None:
        """Run a job that should never end; whatever ends it, it begins again and is told of."""
        delays = backoff_delays()
        while True:
            try:
                await job()
            except Exception as error:
                logger.exception("%s failed and begins again", name)
                self._job_trouble = f"The worker's job {name!r} failed ({error}) and began again."
            await asyncio.sleep(next(delays))

    # -- in ------------------------------------------------------------------------------

    def _take_page(self, trades: pl.DataFrame, missing: list[Missing]) -> None:
        self.buffer.add(trades)
        self._missing.extend(missing)

    # -- out -----------------------------------------------------------------------------

    async def _flush_until_stopped(self) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            more = await self._flush_once(self._settings.busy_wait_s)
            rest_s = 0.0 if more else self._settings.flush_interval_s
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(
                    self._stopping.wait(), max(0.01, began + rest_s - time.monotonic())
                )

    async def _flush_once(self, wait_s: float, *, state: str = "live") -> bool:
        """Write one batch; returns whether there is more to write at once."""
        trades, batches = self.buffer.peek(FLUSH_ROWS)
        self.buffer.in_flight = batches
        missing = list(self._missing)
        # Under a backlog fetched pages may still be behind what this write takes.
        fetched = self._filler.pending() if len(trades) == len(self.buffer) else {}
        watch, contracts = list(self._to_watch), self._new_contracts
        work = Work(
            trades=trades,
            missing=missing,
            status=self._report.worker_row(
                state, note=self.note() if state == "live" else self._failure, writing=len(trades)
            ),
            symbol_rows=self._symbol_rows(),
            contracts=contracts,
            watch=watch,
            heard=self._alerts.heard(self._watchlist, is_whole=len(trades) == len(self.buffer)),
        )
        began = time.monotonic()
        try:
            outcome = await asyncio.to_thread(
                flush,
                self._store,
                work,
                now_ms=_now_ms(),
                started_at=self._started_at,
                watchlist_version=self._watchlist_version,
                wait_s=wait_s,
                alerts=self._alerts.watch,
            )
        except AlertsFailed as error:
            self.buffer.in_flight = 0
            self._alerts.failed(error)
            return True
        except (StoreError, OSError, pl.exceptions.PolarsError) as error:
            self.buffer.in_flight = 0
            await self._note_file_trouble(error)
            return False
        self._vitals.flushed(time.monotonic() - began)
        self._file_trouble = ""
        self.buffer.drop(batches)
        self._missing = self._missing[len(missing) :]
        self._filler.committed(fetched)
        self._to_watch = self._to_watch[len(watch) :]
        if contracts is self._new_contracts:
            self._new_contracts = ()
        self._follow(outcome)
        if work.heard is not None:
            self._alerts.looked(outcome.fired)
        return len(self.buffer) >= FLUSH_ROWS // 2

    def _symbol_rows(self) -> list[SymbolStatus]:
        refusals = self._report.refusals(self._watchlist)
        rows = self._vitals.symbol_rows(
            self._watchlist, self._gaps, refusals, lines=self._pool.lines()
        )
        return self._errands.with_progress(rows)

    async def _note_file_trouble(self, error: Exception) -> None:
        if isinstance(error, WrongFile | WrongVenue):
            raise error
        if str(error) != self._file_trouble:
            logger.warning("writing waits, nothing is lost: %s", error)
        self._file_trouble = str(error)
        if not isinstance(error, StoreBusy):
            await asyncio.sleep(0.5 if isinstance(error, StoreFull) else 1.0)

    def _follow(self, outcome: Outcome) -> None:
        """Take up what the file says: whom to watch, what is missing, whether to stop."""
        self._vitals.stored(outcome.result.stored_by_symbol)
        self._gaps = outcome.open_gaps
        self._watchlist_version = outcome.watchlist_version
        if outcome.watchlist is not None:
            self._errands.follow(outcome.watchlist, outcome.last_ids)
            self._intake.note_last_ids(outcome.last_ids)
            self._watchlist = outcome.watchlist
            self._subscribe()
        watched = set(self._watchlist)
        self._filler.update({s: gaps for s, gaps in self._gaps.items() if s in watched})
        if outcome.stop_requested:
            logger.info("a stop was asked for through the file")
            self.stop()

    def _take_contracts(self, contracts: Sequence[SymbolInfo]) -> None:
        self._new_contracts = contracts
        self._subscribe()

    def _subscribe(self) -> None:
        wanted = set(self._watchlist)
        if self._errands.tradable is not None:
            wanted &= self._errands.tradable
        self._intake.expect(wanted)
        self._pool.set_symbols(wanted)

    async def _finish(self, state: str) -> None:
        """Store what is left, for as long as a stop may take."""
        deadline = time.monotonic() + STOP_FLUSH_S
        while (left := deadline - time.monotonic()) > 0:
            more = await self._flush_once(min(left, 0.5), state=state)
            if not self._file_trouble and not more and not len(self.buffer):
                logger.info("stopped; everything is stored")
                with contextlib.suppress(StoreError):
                    await asyncio.to_thread(self._store.checkpoint, wait_s=0.2)
                return


def spill_folder(settings: Settings) -> Path:
    """Return where rows of this file and venue wait while the file cannot be written."""
    return Path(f"{settings.db}.spill-{settings.venue.replace(':', '-')}")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
