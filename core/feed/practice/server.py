"""The practice exchange on loopback: one port for WebSocket streams and REST calls.

Frames are written straight to the transport (`delivery`), whole frames in one write a batch;
between them the websockets library writes pings and control replies, whole frames too.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from core.feed.practice.batches import Moment, Preload, preload
from core.feed.practice.delivery import Delivery, SendReport
from core.feed.practice.faults import Faults, FaultSettings, parsed
from core.feed.practice.limits import LimitSettings, WeightLimiter
from core.feed.practice.market import Market
from core.feed.practice.rest import Answer, RestApi
from core.feed.practice.session import MAX_STREAMS, Session, route_of
from core.feed.practice.wire import json_bytes

log = logging.getLogger(__name__)

_LONGEST_GAP_MS = 10_000  # of the wall clock, between two ticks


@dataclass
class PracticeExchange:
    """The exchange as an async context manager; all settings are keyword arguments.

    `speed` k runs the market clock k times as fast as the wall clock from `start_ms` (default:
    now) on; None sends a preload of `preload_trades` trades as fast as the socket takes it, and
    the market clock is the time of the last trade sent.  Each subscriber of a preload gets it
    from the start (`settle_s` after its first trade subscription, so that subscriptions sent in
    several messages count together).
    `max_buffer` is how many unread bytes a client may leave before it is disconnected.
    """

    seed: int = 7
    rate: float = 60.0
    speed: float | None = 1.0
    port: int = 0
    start_ms: int | None = None
    preload_trades: int = 1_000_000
    loop_preload: bool = False
    settle_s: float = 0.2
    tick_s: float = 0.03
    ping_interval_s: float | None = 180.0
    ping_timeout_s: float | None = 600.0
    close_after_s: float = 86_400.0
    max_buffer: int = 64 << 20
    max_streams: int = MAX_STREAMS
    history_hours: float = 48.0
    limits: LimitSettings = field(default_factory=LimitSettings)
    fault_settings: FaultSettings = field(default_factory=FaultSettings)
    on_report: Callable[[SendReport], None] | None = None

    def __post_init__(self) -> None:
        if self.speed is not None and not self.speed > 0:
            raise ValueError(f"speed {self.speed!r}: give a positive number, or None for max")
        self.market = Market(self.seed, self.rate)
        self.faults = Faults(self.fault_settings)
        self._delivery = Delivery(self.market, self.faults, self.max_buffer)
        self._delivery.on_report = self.on_report
        limiter = WeightLimiter(self.limits)
        self._rest = RestApi(self, limiter, self.faults, self.history_hours)
        self._tasks: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(1, "practice-rest")
        self._server: Server | None = None
        self._preload: Preload | None = None
        self._begin_ms, self._begin_s = 0, 0.0

    async def __aenter__(self) -> Self:
        self._begin_ms = int(time.time() * 1000) if self.start_ms is None else self.start_ms
        if self.speed is None:
            self._delivery.sent_ms = self._begin_ms - 1
            self._preload = await asyncio.to_thread(
                preload, self.market, self._begin_ms, max(1, self.preload_trades)
            )
        self._begin_s = time.monotonic()
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            self.port,
            process_request=self._before_handshake,
            compression=None,
            ping_interval=self.ping_interval_s,
            ping_timeout=self.ping_timeout_s,
            open_timeout=600,  # a REST answer may be slow on purpose
            close_timeout=1,
            write_limit=1 << 20,
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        self._start(self._emit())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._delivery.drop_all()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        self._threads.shutdown(wait=False, cancel_futures=True)

    @property
    def ws_url(self) -> str:
        """Base of the WebSocket routes, without a path."""
        return f"ws://127.0.0.1:{self.port}"

    @property
    def rest_url(self) -> str:
        """Base of the REST calls, without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def sent(self) -> int:
        """Trade frames written so far, over all connections."""
        return self._delivery.sent

    @property
    def reports(self) -> list[SendReport]:
        """The preloads sent to the end so far."""
        return self._delivery.reports

    @property
    def connections(self) -> int:
        """How many WebSocket connections are open."""
        return len(self._delivery.sessions)

    @property
    def preloaded(self) -> Preload | None:
        """What a run at full speed sends."""
        return self._preload

    def now_ms(self) -> int:
        """The market clock, epoch ms."""
        if self.speed is None:
            return self._delivery.sent_ms
        if self.speed == 1.0 and self.start_ms is None:
            return int(time.time() * 1000)
        return self._begin_ms + int((time.monotonic() - self._begin_s) * 1000 * self.speed)

    def end_id(self, symbol: str) -> int:
        """One past the newest id that has happened (never past a preload's end)."""
        end = self.market.first_id(symbol, self.now_ms() + 1)
        return min(end, self._preload.end_ids[symbol]) if self._preload else end

    def drop_all(self) -> int:
        """Abort every connection now, as a cut cable does; returns how many."""
        return self._delivery.drop_all()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_log_failure)

    async def _before_handshake(
        self, connection: ServerConnection, request: Request
    ) -> Response | None:
        if "Upgrade" not in request.headers:
            return _response(await self._answer(request.path))
        if self.faults.settings.refuse == "close":
            connection.transport.abort()
        if self.faults.settings.refuse:
            return _response(Answer(503, b"Service unavailable\n"))
        if route_of(request.path) is None:
            return _response(Answer(404, b"Not found\n"))
        return None

    async def _answer(self, target: str) -> Answer:
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        if parts.path == "/practice/faults":
            return self._control(query)
        if self.faults.settings.slow_rest_s:
            await asyncio.sleep(self.faults.settings.slow_rest_s)
        status = self.faults.take_rest_status()
        if status:
            return self._rest.failed(status)
        # A kline of days means generating them: not on the loop that feeds the sockets.
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._rest.answer, parts.path, query)

    def _control(self, query: dict[str, str]) -> Answer:
        """`/practice/faults?name=value&…`; also `clear=1` and `drop=now`."""
        try:
            if query.pop("clear", ""):
                self.faults.clear()
            drop = query.pop("drop", "")
            self.faults.set(**parsed(query))
        except ValueError as error:
            return Answer(400, json_bytes({"error": str(error)}))
        dropped = self.drop_all() if drop else 0
        state = {"dropped": dropped, "sent": self.sent, "connections": self.connections}
        return Answer(200, json_bytes({**self.faults.as_json(), **state}))

    async def _serve(self, connection: ServerConnection) -> None:
        request = connection.request
        route = route_of(request.path) if request is not None else None
        if route is None:
            return
        session = Session(route, self.max_streams)
        if session.overfull:
            await connection.close(1008, "too many streams")
            return
        self._delivery.sessions[connection] = session
        closer = asyncio.get_running_loop().call_later(
            self.faults.settings.close_after_s or self.close_after_s,
            lambda: self._start(connection.close(1001, "connection lifetime is over")),
        )
        try:
            if self._preload is not None:
                sending = self._delivery.send_preload(
                    self._preload, connection, self.settle_s, self.loop_preload
                )
                self._start(sending)
            await self._converse(connection, session)
        except ConnectionClosed:
            pass  # aborted, by the client or by a fault
        finally:
            closer.cancel()
            del self._delivery.sessions[connection]

    async def _converse(self, connection: ServerConnection, session: Session) -> None:
        async for message in connection:
            if session.too_fast(time.monotonic()):
                await connection.close(1008, "Too many requests")
                return
            await connection.send(session.reply(message))

    async def _emit(self) -> None:
        """Every tick, write each connection the trades since the tick before.

        With a preload only mark prices are written, every second of the wall clock.
        """
        last_ms, last_s = self.now_ms(), int(time.monotonic())
        while True:
            await asyncio.sleep(self.tick_s)
            now_ms, now_s = self.now_ms(), int(time.monotonic())
            if self._preload is not None:
                if now_s > last_s:
                    self._delivery.beat(now_ms, 3_000 if now_s // 3 > last_s // 3 else 1_000)
            elif now_ms - last_ms > _LONGEST_GAP_MS * (self.speed or 1.0):
                # The machine slept: as with the real exchange, nothing is replayed.
                self.drop_all()
            elif now_ms > last_ms:
                self._delivery.deliver(Moment(self.market, last_ms + 1, now_ms + 1))
                if now_ms // 1_000 > last_ms // 1_000:
                    third = now_ms // 3_000 > last_ms // 3_000
                    self._delivery.beat(now_ms // 1_000 * 1_000, 3_000 if third else 1_000)
                    self._prepare(now_ms)
            last_ms, last_s = max(now_ms, last_ms), now_s

    def _prepare(self, now_ms: int) -> None:
        """Make what one symbol needs a minute from now, so that no tick makes it for all.

        At midnight 23 day tables would otherwise hold up one tick for a quarter of a second.
        """
        if self.speed is not None and self.speed <= 60 and self.connections:
            symbols = self.market.symbols
            symbol = symbols[now_ms // 1_000 % len(symbols)]
            self.market.first_id(symbol, now_ms + int(60_000 * self.speed))


def _response(answer: Answer) -> Response:
    headers = Headers(answer.headers)
    headers["Content-Type"] = "application/json;charset=UTF-8"
    headers["Content-Length"] = str(len(answer.body))
    headers["Connection"] = "close"
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = "Error"
    return Response(answer.status, phrase, headers, answer.body)


def _log_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("a task of the practice exchange failed", exc_info=task.exception())
