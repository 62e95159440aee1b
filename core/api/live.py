"""The WebSocket /ws/live: a heartbeat a second, and what a client subscribed to.

What is sent is made once a second for all clients. Every client has its own sender; one that
does not take what it is sent in time is dropped, never buffered for.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from anyio import CapacityLimiter, to_thread
from msgspec import Meta, Struct
from starlette.websockets import WebSocket

from core.api.guard import refuse_socket
from core.api.limits import address_of
from core.api.metrics import CLIENTS, DROPPED
from core.api.problems import Problem, bad_parameter, problem_of
from core.api.subjects import source_of
from core.api.topics import Topic, topic_of
from core.errors import PerpduckError
from core.live.feeder import feeder
from core.live.window import epoch_ms

logger = logging.getLogger(__name__)
T = TypeVar("T")

PERIOD_S = 1.0
# A client that has not taken a message by then is dropped.
SEND_S = 5.0
MOST_TOPICS, MOST_TEXT, MOST_WAITING = 20, 16_384, 64
MOST_CLIENTS, MOST_OF_ONE = 400, 250
TOO_BIG, TOO_SLOW, NO_TEXT = 1009, 1008, 1003
# Threads of the connections' own: a flood of requests must not hold a heartbeat up.
THREADS = 4
# Messages a second that one client may send us.
MOST_ASKED = 20


class Asked(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a client sends: topics to add, topics to leave."""

    subscribe: Annotated[list[str], Meta(max_length=100)] = []
    unsubscribe: Annotated[list[str], Meta(max_length=100)] = []


class Client:
    """One connection: its topics, and the few messages that wait to be sent."""

    def __init__(self, socket: WebSocket, source: str) -> None:
        self.socket = socket
        self.source = source
        self.topics: dict[str, Topic] = {}
        self.dropped: Callable[[], object] = lambda: None
        self._asked: list[float] = []
        self._waiting: asyncio.Queue[str] = asyncio.Queue(MOST_WAITING)

    def tell(self, message: str) -> None:
        """Have a message sent; a client for whom too many wait already is dropped."""
        try:
            self._waiting.put_nowait(message)
        except asyncio.QueueFull:
            self.dropped()

    async def send_all(self) -> None:
        """Send what is put, until the client is gone; TimeoutError where it is too slow."""
        while True:
            message = await self._waiting.get()
            async with asyncio.timeout(SEND_S):
                await self.socket.send_text(message)

    def may_ask(self) -> bool:
        """Whether the client has not asked too much of late."""
        now = time.monotonic()
        self._asked = [at for at in self._asked if now - at < 1.0]
        self._asked.append(now)
        return len(self._asked) <= MOST_ASKED


class Hub:
    """All clients of the process, and the second's turn that serves them."""

    def __init__(self) -> None:
        self._clients: set[Client] = set()
        self._places: Counter[str] = Counter()
        self._news: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None

    async def serve(self, socket: WebSocket) -> None:
        """Serve one connection until it ends."""
        address = address_of(socket.scope)
        if self._places.total() >= MOST_CLIENTS or self._places[address] >= MOST_OF_ONE:
            words = f"{MOST_CLIENTS} connections are open already, or {MOST_OF_ONE} of this address"
            full = Problem(503, f"{words}; try again.", headers={"Retry-After": "5"})
            await refuse_socket(full, socket.scope, socket.receive, socket.send)
            return
        self._places[address] += 1
        try:
            await self._serve(socket)
        finally:
            self._places[address] -= 1
            if not self._places[address]:
                del self._places[address]

    async def _serve(self, socket: WebSocket) -> None:
        try:
            source = await _in_thread(_source_name, socket.query_params.get("source"))
        except (Problem, PerpduckError) as error:
            problem = error if isinstance(error, Problem) else problem_of(error)
            await refuse_socket(problem, socket.scope, socket.receive, socket.send)
            return
        await socket.accept()
        client = Client(socket, source)
        self._clients.add(client)
        CLIENTS.inc()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._turns())
        try:
            await self._talk(client)
        finally:
            self._clients.discard(client)
            CLIENTS.dec()

    async def _talk(self, client: Client) -> None:
        """Listen and send at once, until either ends."""
        tasks = [
            asyncio.create_task(self._listen(client)),
            asyncio.create_task(client.send_all()),
        ]
        client.dropped = tasks[1].cancel
        done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if tasks[1] in done and (tasks[1].cancelled() or _is_slow(tasks[1])):
            DROPPED.inc()
            with contextlib.suppress(Exception):
                async with asyncio.timeout(1.0):
                    await client.socket.close(TOO_SLOW, "too slow")

    async def _listen(self, client: Client) -> None:
        while True:
            message = await client.socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is None:
                await client.socket.close(NO_TEXT, "messages are JSON text")
                return
            if len(text) > MOST_TEXT:
                await client.socket.close(TOO_BIG, f"at most {MOST_TEXT} characters a message")
                return
            if not client.may_ask():
                await client.socket.close(TOO_SLOW, f"at most {MOST_ASKED} messages a second")
                return
            answer = await self._heard(client, text)
            client.tell(msgspec.json.encode(answer).decode())

    async def _heard(self, client: Client, text: str) -> dict[str, Any]:
        try:
            asked = msgspec.json.decode(text, type=Asked)
            left = {name.strip().lower() for name in asked.unsubscribe}
            topics = {key: one for key, one in client.topics.items() if key not in left}
            for name in asked.subscribe:
                key = name.strip().lower()
                if len(topics) >= MOST_TOPICS and key not in topics:
                    raise Problem(400, f"A connection has at most {MOST_TOPICS} topics.")
                if key not in topics:
                    topics[key] = await _in_thread(topic_of, client.source, key)
            # All of it or nothing.
            client.topics = topics
        except (msgspec.MsgspecError, UnicodeError) as error:
            return {"type": "error", "detail": f"This is no request: {error}"}
        except (Problem, PerpduckError) as error:
            return {"type": "error", "detail": str(error)}
        return {"type": "subscribed", "topics": sorted(client.topics)}

    async def _turns(self) -> None:
        """Serve everybody once a second, on the second, as long as there is anybody."""
        while self._clients:
            await asyncio.sleep(PERIOD_S - time.time() % PERIOD_S)
            try:
                await self._turn()
            except Exception:
                logger.exception("a turn of the live connections failed")

    async def _turn(self) -> None:
        clients = list(self._clients)
        for name in {client.source for client in clients}:
            beat = await _in_thread(_heartbeat, name)
            for client in clients:
                if client.source == name:
                    client.tell(beat)
        if self._news is None or self._news.done():
            # What takes longer than a second holds no heartbeat up.
            self._news = asyncio.create_task(self._tell_news())

    async def _tell_news(self) -> None:
        for topic in {topic for client in self._clients for topic in client.topics.values()}:
            for told in await _in_thread(topic.turn):
                for client in list(self._clients):
                    if topic in client.topics.values():
                        client.tell(told)


@functools.lru_cache(maxsize=1)
def _limiter() -> CapacityLimiter:
    return CapacityLimiter(THREADS)


async def _in_thread(call: Callable[..., T], *given: Any) -> T:
    return await to_thread.run_sync(call, *given, limiter=_limiter())


def _is_slow(task: asyncio.Task[None]) -> bool:
    return not task.cancelled() and isinstance(task.exception(), TimeoutError)


def _source_name(name: str | None) -> str:
    if name not in (None, "binance", "practice"):
        raise bad_parameter("source", f"source is {name[:80]!r}; use binance or practice")
    return source_of(name).name


def _heartbeat(name: str) -> str:
    """Return a source's heartbeat: each watched symbol's last price and trade."""
    pulse = feeder(source_of(name).store).pulse()
    symbols: dict[str, Any] = {}
    if pulse.symbols.height:
        rows = pulse.symbols.select("symbol", "last_price", "last_trade_ts", "lag_s").iter_rows()
        for symbol, price, at, lag_s in rows:
            ts = None if at is None else epoch_ms(at) / 1000
            symbols[symbol] = {"price": price, "ts": ts, "lag_s": lag_s}
    told = {
        "type": "heartbeat",
        "ts": round(time.time(), 3),
        "source": name,
        "worker": pulse.health.state,
        "symbols": symbols,
    }
    return msgspec.json.encode(told).decode()


HUB = Hub()


async def live(socket: WebSocket) -> None:
    """Serve one connection."""
    await HUB.serve(socket)
