"""The worker: feed → buffer → store, holes filled, status kept, stopped without loss."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from core.backfill import GapFiller
from core.buffer import TradeBuffer
from core.config import Settings
from core.errands import Errands
from core.errors import StoreBusy, StoreError, StoreFull, WrongFile
from core.feed.gaps import Gap
from core.feed.messages import Parsed, parse_frames
from core.feed.rest import RestClient
from core.feed.stream import StreamPool
from core.flush import Outcome, Work, flush
from core.models import SymbolInfo, WorkerStatus
from core.store import Store
from core.trade_writer import Missing, utc_now
from core.vitals import Vitals

logger = logging.getLogger(__name__)

# One transaction stays short enough for readers to get their turn.
FLUSH_ROWS = 200_000
BEHIND_S = 5.0
# The whole stop has 5 s; what cannot be stored by then is spilled, and stored at the next start.
STOP_FLUSH_S = 2.5


class Worker:
    """One worker on one file. `run` returns when it was stopped, with everything safe."""

    def __init__(self, settings: Settings, store: Store, rest: RestClient) -> None:
        self._settings = settings
        self._store = store
        self._rest = rest
        self._started_at = utc_now()
        self._stopping = asyncio.Event()
        self._vitals = Vitals(settings.venue, self._started_at, _now_ms)
        self.buffer = TradeBuffer(Path(f"{settings.db}.spill"), max_rows=settings.buffer_rows)
        self._pool = StreamPool(
            settings.ws_url,
            self._take_frames,
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
        self._in_flight = 0  # the oldest batches, which a transaction has right now
        self._missing: list[Missing] = []
        self._gaps: dict[str, list[Gap]] = {}
        self._watchlist: list[str] = []
        self._watchlist_version = -1
        self._known: frozenset[str] | None = None
        self._new_contracts: Sequence[SymbolInfo] = ()
        self._to_watch: list[str] = []
        self._file_trouble = ""
        self._errands = Errands(
            settings,
            rest,
            self._vitals,
            add=self.buffer.add,
            on_contracts=self._take_contracts,
            reconnects=lambda: sum(c.reconnects for c in self._pool.status()),
        )

    def stop(self) -> None:
        """Ask for the end; `run` writes what there is and returns."""
        self._stopping.set()

    async def run(self, symbols: Sequence[str]) -> None:
        """Ingest until stopped. Raises WrongFile or WrongVenue if the file stops being ours."""
        self._to_watch = list(symbols)
        tasks = [
            asyncio.create_task(self._pool.run(), name="stream"),
            asyncio.create_task(self._filler.run(), name="gaps"),
            asyncio.create_task(self._errands.keep_clock(), name="clock"),
            asyncio.create_task(self._errands.keep_contracts(), name="contracts"),
            asyncio.create_task(self._errands.keep_history(), name="history"),
            asyncio.create_task(self._spill(), name="spill"),
        ]
        flushing = asyncio.create_task(self._flush_until_stopped(), name="flush")
        try:
            await asyncio.wait([flushing, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done() and not task.cancelled() and (error := task.exception()):
                    logger.error("%s ended: %s", task.get_name(), error, exc_info=error)
        finally:
            self._stopping.set()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=1.5)
        await flushing
        await self._finish()

    # -- in ------------------------------------------------------------------------------

    def _take_frames(self, frames: list[bytes]) -> None:
        parsed = parse_frames(frames, self._known)
        self._count_rejects(parsed)
        if len(parsed.trades):
            self._vitals.received(parsed.trades, parsed.event_ms)
            self.buffer.add(parsed.trades)
            self._errands.heard(parsed.event_ms)

    def _count_rejects(self, parsed: Parsed) -> None:
        for kind, count in parsed.rejects.items():
            if not self._vitals.rejected[kind]:
                logger.warning(
                    "left out a frame (%s): %s; further ones of this kind are only counted",
                    kind,
                    parsed.samples.get(kind, ""),
                )
            self._vitals.rejected[kind] += count

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
        self._in_flight = batches
        missing, fetched = list(self._missing), self._filler.pending()
        watch, contracts = list(self._to_watch), self._new_contracts
        work = Work(
            trades=trades,
            missing=missing,
            status=self._worker_row(state, len(trades)),
            symbol_rows=self._vitals.symbol_rows(self._watchlist, self._gaps, self._notes()),
            contracts=contracts,
            watch=watch,
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
            )
        except StoreError as error:
            self._in_flight = 0
            await self._note_file_trouble(error)
            return False
        self._vitals.flushed(time.monotonic() - began)
        self._file_trouble = ""
        self.buffer.drop(batches)
        self._in_flight = 0
        self._missing = self._missing[len(missing) :]
        self._filler.committed(fetched)
        self._to_watch = self._to_watch[len(watch) :]
        if contracts is self._new_contracts:
            self._new_contracts = ()
        self._follow(outcome)
        return len(self.buffer) >= FLUSH_ROWS // 2

    async def _note_file_trouble(self, error: StoreError) -> None:
        if isinstance(error, WrongFile):
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
        self._known = frozenset(wanted)
        self._pool.set_symbols(wanted)

    async def _finish(self) -> None:
        """Store what is left; what the file does not take in time goes to the spill folder."""
        deadline = time.monotonic() + STOP_FLUSH_S
        while (left := deadline - time.monotonic()) > 0:
            more = await self._flush_once(left, state="stopped")
            if not self._file_trouble and not more and not len(self.buffer):
                logger.info("stopped; everything is stored")
                return
        if (rest := self.buffer.take_for_spill(0)) is not None:
            path = await asyncio.to_thread(self.buffer.write_spill, rest)
            logger.warning("stopped; %d trades wait in %s for the next start", len(rest), path)

    async def _spill(self) -> None:
        """Move rows from memory to disk while the file cannot be written."""
        while True:
            await asyncio.sleep(0.5)
            if not self.buffer.is_over():
                continue
            taken = self.buffer.take_for_spill(self._in_flight)
            if taken is None:
                continue
            try:
                path = await asyncio.to_thread(self.buffer.write_spill, taken)
            except OSError as error:
                logger.warning("the buffer stays in memory: %s", error)
                self.buffer.add(taken)
                await asyncio.sleep(5.0)
            else:
                self.buffer.note_spilled(path, len(taken))

    # -- status --------------------------------------------------------------------------

    def _worker_row(self, state: str, writing: int) -> WorkerStatus:
        connections = self._pool.status()
        self._vitals.connections = sum(c.state == "live" for c in connections)
        self._vitals.reconnects = sum(c.reconnects for c in connections)
        self._vitals.weight_used = self._rest.weight_used
        return self._vitals.worker_row(
            state=state,
            now=utc_now(),
            buffered=max(0, self.buffer.rows - writing),
            spilled=self.buffer.spilled_rows,
            note="" if state == "stopped" else self.note(),
        )

    def note(self) -> str:
        """Say in plain words what is wrong now, empty when nothing is."""
        connections = self._pool.status()
        if any(c.restricted for c in connections) or self._filler.restricted:
            return (
                "The exchange does not serve this location (451). "
                "Use the practice exchange, or run Perpduck where it is served."
            )
        if self._file_trouble:
            return self._file_trouble
        if self._watchlist and connections and not self._vitals.connections:
            return f"The exchange cannot be reached: {connections[0].last_error or 'connecting'}"
        lags = [lag for s in self._watchlist if (lag := self._vitals.lag_s(s)) is not None]
        if lags and min(lags) > BEHIND_S:
            return f"Trades arrive {min(lags):.0f} s late."
        return self._filler.trouble or self._errands.trouble

    def _notes(self) -> dict[str, str]:
        tradable = self._errands.tradable
        if tradable is None:
            return {}
        return {
            symbol: "not a perpetual that is trading on this exchange"
            for symbol in self._watchlist
            if symbol not in tradable
        }


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
