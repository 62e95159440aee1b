"""The live feed: as many connections as the symbols need, and all their frames in batches."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

from core.errors import ConfigError
from core.feed.backoff import backoff_delays
from core.feed.line import ConnectionStatus, Line
from core.feed.messages import stream_names
from core.feed.plan import planned_symbols
from core.feed.session import BATCH_FRAMES, Session, SessionSettings

__all__ = ["STREAM_PATH", "ConnectionStatus", "StreamPool"]

_log = logging.getLogger(__name__)

# aggTrade and markPrice are delivered on this path only; the others acknowledge and stay silent.
STREAM_PATH = "/market/stream"
STREAMS_PER_SYMBOL = len(stream_names("x"))


class StreamPool:
    """Keeps the streams of a changing set of symbols coming; lives on one event loop.

    ``on_frames`` is called on the loop with raw frames as they came, replies included, every
    ``batch_s`` or when ``BATCH_FRAMES`` wait. Of the ten messages a second that the exchange
    takes, ``control_per_s`` are used, which leaves room for pings and pongs. ``clock`` is
    monotonic; ``delays`` makes the back-off of a connection.
    """

    def __init__(
        self,
        ws_url: str,
        on_frames: Callable[[list[bytes]], None],
        *,
        streams_per_connection: int = 200,
        silence_s: float = 20.0,
        recycle_s: float = 23 * 3600.0,
        control_per_s: int = 5,
        batch_s: float = 0.05,
        clock: Callable[[], float] = time.monotonic,
        delays: Callable[[], Iterator[float]] = backoff_delays,
    ) -> None:
        if streams_per_connection < STREAMS_PER_SYMBOL or not 1 <= control_per_s <= 10:
            raise ConfigError(
                f"{streams_per_connection} streams a connection and {control_per_s} control "
                f"messages a second were asked for; use at least {STREAMS_PER_SYMBOL}, and 1 to 10"
            )
        self._on_frames = on_frames
        self._room = streams_per_connection // STREAMS_PER_SYMBOL
        self._recycle_s = recycle_s
        self._batch_s = batch_s
        url = ws_url.rstrip("/") + STREAM_PATH
        self._settings = SessionSettings(url, silence_s, control_per_s, clock, delays)
        self._symbols: frozenset[str] = frozenset()
        self._lines: dict[Line, list[str]] = {}
        self._tasks: dict[Line, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._opened = 0
        self._is_running = False

    def set_symbols(self, symbols: Collection[str]) -> None:
        """Follow exactly these symbols from now on; to be called on the loop, at any time."""
        self._symbols = frozenset(symbol.lower() for symbol in symbols)
        if self._is_running:
            self._replan()

    def status(self) -> list[ConnectionStatus]:
        """Return every connection as it is now, in the order in which they were opened."""
        rows = [line.status() for line in self._lines]
        if any(row.is_carrying for row in rows):
            return rows
        return [replace(row, state="silent") if row.state == "stalled" else row for row in rows]

    def lines(self) -> dict[str, ConnectionStatus]:
        """Return, by symbol, the connection that its streams were put on."""
        return {
            symbol: row
            for row, symbols in zip(self.status(), self._lines.values(), strict=True)
            for symbol in symbols
        }

    async def run(self) -> None:
        """Keep the feed up until cancelled; the last frames are delivered before it returns."""
        self._is_running = True
        self._replan()
        try:
            while True:
                await asyncio.sleep(self._batch_s)
                self._flush()
        finally:
            self._is_running = False
            tasks = [*self._tasks.values(), *self._leaving]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._lines.clear()
            self._tasks.clear()

    def _replan(self) -> None:
        lines = list(self._lines)
        plan = planned_symbols(list(self._lines.values()), self._symbols, self._room)
        for place, symbols in enumerate(plan):
            if not symbols:
                if place < len(lines):
                    self._close(lines[place])
                continue
            line = lines[place] if place < len(lines) else self._new_line()
            self._lines[line] = symbols
            line.want([name for symbol in symbols for name in stream_names(symbol)])
            if line not in self._tasks:
                self._tasks[line] = asyncio.create_task(line.run(), name=line.name)

    def _new_line(self) -> Line:
        self._opened += 1
        return Line(f"market-{self._opened}", self._settings, self._take, self._recycle_s)

    def _close(self, line: Line) -> None:
        del self._lines[line]
        task = self._tasks.pop(line)
        task.cancel()
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def _flush(self) -> None:
        batch: list[bytes] = []
        # on_frames may change the symbols, and so the connections.
        for session in [session for line in self._lines for session in line.sessions]:
            batch += session.take()
            if len(batch) >= BATCH_FRAMES:
                self._deliver(batch)
                batch = []
        self._deliver(batch)

    def _take(self, session: Session) -> None:
        self._deliver(session.take())

    def _deliver(self, frames: list[bytes]) -> None:
        if not frames:
            return
        try:
            self._on_frames(frames)
        except Exception:
            # The socket must be read whatever happens to its frames: they are one more gap.
            _log.exception("%d frames were lost behind the feed", len(frames))
