"""Writing to the connections: paced batches, mark prices, and whole preloads.

Only connections in the open state are written to: after a close frame nothing may follow.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from core.feed.practice.batches import Moment, Preload, Slice, part_of
from core.feed.practice.faults import Faults
from core.feed.practice.market import Market
from core.feed.practice.rest import mark_price_update
from core.feed.practice.session import Session
from core.feed.practice.symbols import SYMBOLS
from core.feed.practice.wire import enveloped, frames_in

log = logging.getLogger(__name__)

_POLL_S = 0.02


@dataclass(frozen=True)
class SendReport:
    """One complete sending of a preload: frames, seconds, and our share of one core meanwhile."""

    frames: int
    seconds: float
    cpu_share: float


class Delivery:
    """The open connections and everything that is written to them unasked.

    `max_buffer` is how many unread bytes a client may leave before it is disconnected (paced
    mode; a preload waits for its reader instead).  `sent` counts trade frames, `sent_ms` is the
    time of the newest trade of a preload that was sent.
    """

    def __init__(self, market: Market, faults: Faults, max_buffer: int) -> None:
        self._market, self._faults, self._max_buffer = market, faults, max_buffer
        self.sessions: dict[ServerConnection, Session] = {}
        self.sent = 0
        self.sent_ms = 0
        self.reports: list[SendReport] = []
        self.on_report: Callable[[SendReport], None] | None = None

    def drop_all(self) -> int:
        """Abort every connection now, as a cut cable does; returns how many."""
        for connection in list(self.sessions):
            connection.transport.abort()
        return len(self.sessions)

    def deliver(self, moment: Moment) -> None:
        """Write each connection its trades of a moment, in one piece."""
        for connection, session in list(self.sessions.items()):
            if session.trade_symbols and _writable(connection):
                frames = moment.frames(session.trade_symbols, session.route.combined)
                if frames and not self._silent(session):
                    self._write_trades(connection, session, frames)

    def beat(self, at_ms: int, period_ms: int) -> None:
        """Write markPrice as of `at_ms` to the streams whose period is at most `period_ms`."""
        for connection, session in list(self.sessions.items()):
            if session.stalled or self._faults.settings.stall:
                continue
            frames = [
                enveloped(
                    name,
                    mark_price_update(self._market, SYMBOLS[symbol], at_ms),
                    session.route.combined,
                )
                for name, symbol, every in session.mark_streams
                if every <= period_ms
            ]
            self._write(connection, b"".join(frames))

    async def send_preload(
        self, whole: Preload, connection: ServerConnection, settle_s: float, loop: bool
    ) -> None:
        """Write a preload to one subscriber as fast as its socket takes it, from the start.

        Waits for the first trade subscription and `settle_s` more; a subscriber of the combined
        stream of all symbols gets the prepared bytes, any other gets its part encoded first.
        """
        session = self.sessions[connection]
        while not session.trade_symbols:
            await asyncio.sleep(_POLL_S)
            if connection not in self.sessions:
                return
        await asyncio.sleep(settle_s)
        wanted = set(session.trade_symbols)
        symbols = tuple(s for s in self._market.symbols if s in wanted)
        combined = session.route.combined
        if len(symbols) < len(SYMBOLS) or not combined:
            whole = await asyncio.to_thread(part_of, self._market, whole, symbols, combined)
        with contextlib.suppress(ConnectionError, ConnectionClosed):
            while await self._send_once(connection, session, whole) and loop:
                pass

    async def _send_once(
        self, connection: ServerConnection, session: Session, whole: Preload
    ) -> bool:
        """Send all slices; false when the connection ended before.  Reports either way."""
        wall, cpu, before = time.monotonic(), time.process_time(), session.frames
        try:
            for piece in whole.slices:
                while self._silent(session):
                    await asyncio.sleep(_POLL_S)
                if not _writable(connection):
                    return False
                self._write_slice(connection, session, piece)
                self.sent_ms = max(self.sent_ms, piece.last_ms)
                await connection.drain()
            return True
        finally:
            seconds = max(time.monotonic() - wall, 1e-9)
            share = (time.process_time() - cpu) / seconds
            self.reports.append(SendReport(session.frames - before, seconds, share))
            if self.on_report is not None:
                self.on_report(self.reports[-1])

    def _write_slice(self, connection: ServerConnection, session: Session, piece: Slice) -> None:
        if self._faults.on_frames() or self._faults.settings.drop_every_frames:
            self._write_trades(connection, session, frames_in(piece.data))
            return
        connection.transport.write(piece.data)
        session.frames += piece.frames
        self.sent += piece.frames

    def _write_trades(
        self, connection: ServerConnection, session: Session, frames: list[bytes]
    ) -> None:
        if self._faults.on_frames():
            frames = self._faults.applied(frames)
        every = self._faults.settings.drop_every_frames
        last = every and session.frames + len(frames) >= every
        if last:
            frames = frames[: max(0, every - session.frames)]
        session.frames += len(frames)
        self.sent += len(frames)
        self._write(connection, b"".join(frames))
        if last:
            # The transport's close() sends what is buffered first: exactly `every` arrive.
            connection.transport.close()

    def _silent(self, session: Session) -> bool:
        if not session.stalled and self._faults.take_stall():
            session.stalled = True
        return session.stalled or self._faults.settings.stall

    def _write(self, connection: ServerConnection, data: bytes) -> None:
        transport = connection.transport
        if not data or not _writable(connection):
            return
        transport.write(data)
        if transport.get_write_buffer_size() > self._max_buffer:
            log.warning("a client left %d bytes unread: disconnected", self._max_buffer)
            transport.abort()


def _writable(connection: ServerConnection) -> bool:
    return connection.state is State.OPEN and not connection.transport.is_closing()
