"""One WebSocket connection from its handshake to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Opcode
from websockets.http11 import Request, Response

from core.feed.addresses import is_loopback
from core.feed.backoff import backoff_delays
from core.feed.messages import parse_reply
from core.feed.subscriptions import ControlRate, Subscriptions
from core.feed.watchdog import SilenceWatch

# At level DEBUG websockets writes a line a frame; nobody wants that, whatever the root logs.
_wire_log = logging.getLogger(__name__ + ".wire")
_wire_log.setLevel(logging.INFO)

# Frames of one connection that are handed over at once when they come faster than the clock.
BATCH_FRAMES = 10_000
_ENVELOPE = b'{"stream":'
_CLOSE_S = 2.0
_TEXT, _BINARY = Opcode.TEXT, Opcode.BINARY


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What every connection of a pool shares; durations in seconds."""

    url: str
    silence_s: float
    control_per_s: int
    clock: Callable[[], float]
    delays: Callable[[], Iterator[float]] = backoff_delays
    open_s: float = 10.0


class FrameConnection(ClientConnection):
    """Collects whole messages in a list as they are parsed.

    Passing each one through a queue and a task costs 1.3 µs (measured: 4.5 µs a frame with
    recv(), 3.2 µs so). Anything out of the ordinary, such as a message in fragments, still goes
    to recv(), and so would everything should websockets change what is overridden here.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.received: list[bytes] = []
        self.on_full: Callable[[], None] | None = None

    def process_event(self, event: Any) -> None:
        """Keep a whole message; leave everything else to websockets."""
        if isinstance(event, Request | Response):
            super().process_event(event)
        elif event.fin and (event.opcode is _TEXT or event.opcode is _BINARY):
            self.received.append(bytes(event.data))
        else:
            super().process_event(event)

    def data_received(self, data: bytes) -> None:
        """Parse what the socket had; hand over early when a flood has filled a batch."""
        super().data_received(data)
        if len(self.received) >= BATCH_FRAMES and self.on_full is not None:
            self.on_full()


class Session:
    """A connection with its subscriptions and its watchdog.

    ``on_full`` is called when a whole batch waits; ``on_error`` with what went wrong in words.
    """

    def __init__(
        self,
        settings: SessionSettings,
        on_full: Callable[[Session], None],
        on_error: Callable[[str], None],
    ) -> None:
        self.settings = settings
        self.subscriptions = Subscriptions(delays=settings.delays)
        self.connected_at = settings.clock()
        self.watch = SilenceWatch(settings.silence_s, self.connected_at)
        self.frames = 0
        self.last_frame_at: float | None = None
        self._on_full = on_full
        self._on_error = on_error
        self._rate = ControlRate(settings.control_per_s)
        self._changed = asyncio.Event()
        self._connection: FrameConnection | None = None
        self._has_ended = False

    @property
    def is_delivering(self) -> bool:
        """Whether data has come, and was not too long ago; False once the connection ended."""
        watch = self.watch
        return not self._has_ended and watch.has_heard and watch.silent_s < watch.silence_s

    @property
    def is_carrying(self) -> bool:
        """Whether all streams are acknowledged and data has come."""
        return self.subscriptions.is_complete and self.watch.has_heard

    def want(self, streams: Collection[str]) -> None:
        """Replace the wanted streams; the exchange is told within the control rate."""
        self.subscriptions.want(streams)
        self._changed.set()

    async def open(self) -> None:
        """Connect; raises what websockets and the operating system raise."""
        connection = await connect(
            self.settings.url,
            create_connection=FrameConnection,
            # A frame is 250 bytes: deflating saves no CPU at either end, and Binance offers none.
            compression=None,
            proxy=None if is_loopback(self.settings.url) else True,
            open_timeout=self.settings.open_s,
            # The watchdog finds a dead connection in silence_s. Pings only keep the path open,
            # and a pong may wait behind a backlog of data: a minute is not too long.
            ping_interval=20,
            ping_timeout=60,
            close_timeout=_CLOSE_S,
            max_size=2**20,
            logger=_wire_log,
        )
        assert isinstance(connection, FrameConnection)
        self._connection = connection
        connection.on_full = lambda: self._on_full(self)
        now = self.settings.clock()
        self.connected_at = now
        self.watch = SilenceWatch(self.settings.silence_s, now)

    async def run(self) -> str:
        """Serve the opened connection until it ends; return why it did, empty when silent."""
        assert self._connection is not None
        tasks = [
            asyncio.create_task(job(self._connection))
            for job in (self._read, self._control, self._watch)
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return next(task.result() for task in tasks if task in done)
        finally:
            self._has_ended = True
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def take(self) -> list[bytes]:
        """Return the frames that have come since the last call, and note what they tell."""
        if self._connection is None or not self._connection.received:
            return []
        frames = self._connection.received
        self._connection.received = []
        now = self.settings.clock()
        unusual = [frame for frame in frames if not frame.startswith(_ENVELOPE)]
        data = len(frames) - len(unusual)
        for frame in unusual:
            reply = parse_reply(frame)
            if reply is None:
                data += b'"data"' in frame or b'"e"' in frame
            elif (error := self.subscriptions.on_reply(reply, now)) is not None:
                self._on_error(error)
        if unusual:
            self._changed.set()
        if data:
            self.watch.heard(now)
            self.last_frame_at = now
        self.frames += len(frames)
        return frames

    async def close(self) -> None:
        """Say goodbye, for two seconds at most."""
        if self._connection is not None:
            await self._connection.close()

    def abort(self) -> None:
        """Drop a connection that does not answer anyway."""
        if self._connection is not None:
            self._connection.transport.abort()

    async def _read(self, connection: FrameConnection) -> str:
        try:
            while True:
                # In two lines: take() puts a new list in place while recv() waits.
                frame = await connection.recv(decode=False)
                connection.received.append(frame)
        except ConnectionClosed as closed:
            if closed.rcvd is None:
                return f"the connection broke off: {closed.__cause__ or closed}"
            return f"the exchange closed the connection: {closed.rcvd.code} {closed.rcvd.reason}"

    async def _control(self, connection: FrameConnection) -> str:
        subscriptions = self.subscriptions
        while True:
            self._changed.clear()
            now = self.settings.clock()
            if (error := subscriptions.expire(now)) is not None:
                self._on_error(error)
            pause_s = self._rate.delay_s(now)
            if pause_s <= 0 and (message := subscriptions.next_message(now)) is not None:
                self._rate.spend(now)
                try:
                    await connection.send(message)
                except ConnectionClosed as closed:
                    return f"the connection broke off: {closed}"
                continue
            due = subscriptions.next_due(now)
            wait_s = None if due is None else max(due - now, pause_s, 0.01)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()

    async def _watch(self, connection: FrameConnection) -> str:
        step_s = min(self.settings.silence_s / 8, 0.5)
        while True:
            await asyncio.sleep(step_s)
            now = self.settings.clock()
            if not self.subscriptions.wanted:
                self.watch.silent_s = 0.0
            if self.watch.tick(now):
                return ""
