"""A small exchange on loopback with a few ways to misbehave, and a feed to try on it."""

from __future__ import annotations

import asyncio
import contextlib
import http
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.protocol import State

from core.feed.messages import parse_frames
from core.feed.stream import ConnectionStatus, StreamPool


class Exchange:
    """Acknowledges and delivers numbered trades on every subscribed aggTrade stream."""

    def __init__(self) -> None:
        self.next_id = 0
        self.clients: list[ServerConnection] = []
        self.streams: dict[ServerConnection, set[str]] = {}
        self.messages: list[tuple[float, dict[str, Any]]] = []
        self.status: int | None = None
        self.is_silent = False
        self.silent_clients: set[ServerConnection] = set()
        self.refused_names: set[str] = set()
        self.paths: list[str] = []
        self.url = ""

    def admit(self, connection: ServerConnection, request: Request) -> Response | None:
        self.paths.append(request.path)
        if self.status is None:
            return None
        return connection.respond(http.HTTPStatus(self.status), "not you")

    async def serve(self, connection: ServerConnection) -> None:
        self.clients.append(connection)
        self.streams[connection] = set()
        with contextlib.suppress(ConnectionClosed):
            async for text in connection:
                message = json.loads(text)
                self.messages.append((asyncio.get_running_loop().time(), message))
                await connection.send(json.dumps(self.reply(connection, message)))
        del self.streams[connection]

    def reply(self, connection: ServerConnection, message: dict[str, Any]) -> dict[str, Any]:
        names = set(message["params"])
        if names & self.refused_names:
            return {"error": {"code": 2, "msg": "Invalid request"}, "id": message["id"]}
        if message["method"] == "SUBSCRIBE":
            self.streams[connection] |= names
        else:
            self.streams[connection] -= names
        return {"result": None, "id": message["id"]}

    async def emit(self) -> None:
        while True:
            await asyncio.sleep(0.01)
            self.next_id += 1
            for connection, names in list(self.streams.items()):
                if self.is_silent or connection in self.silent_clients:
                    continue
                if connection.state is not State.OPEN:
                    continue
                for name in sorted(names):
                    if name.endswith("@aggTrade"):
                        connection.protocol.send_text(trade(name, self.next_id))
                        connection.send_data()


def trade(stream: str, agg_id: int) -> bytes:
    data = {
        "e": "aggTrade",
        "E": 1_730_612_345_123,
        "s": stream.split("@")[0].upper(),
        "a": agg_id,
        "p": "1.5",
        "q": "2",
        "T": 1_730_612_345_120,
        "m": False,
    }
    return json.dumps({"stream": stream, "data": data}, separators=(",", ":")).encode()


@contextlib.asynccontextmanager
async def listening(exchange: Exchange) -> AsyncIterator[Server]:
    async with serve(
        exchange.serve, "127.0.0.1", 0, process_request=exchange.admit, close_timeout=0.5
    ) as server:
        exchange.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        emitting = asyncio.create_task(exchange.emit())
        try:
            yield server
        finally:
            emitting.cancel()
            await asyncio.gather(emitting, return_exceptions=True)


def quick() -> Iterator[float]:
    while True:
        yield 0.05


class Feed:
    """A pool under test, with what it delivered."""

    def __init__(self, exchange: Exchange, **options: Any) -> None:
        self.frames: list[bytes] = []
        self.batches = 0
        given: dict[str, Any] = {"silence_s": 0.4, "delays": quick, "batch_s": 0.02, **options}
        self.pool = StreamPool(exchange.url, self.take, **given)

    def take(self, frames: list[bytes]) -> None:
        self.batches += 1
        self.frames += frames

    def ids(self, symbol: str) -> set[int]:
        trades = parse_frames(self.frames, None).trades
        return set(trades.filter(trades["symbol"] == symbol)["agg_id"])

    @property
    def first(self) -> ConnectionStatus:
        return self.pool.status()[0]


async def until(condition: Callable[[], object], within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


def play(scene: Callable[[Exchange, Feed], Any], **options: Any) -> None:
    """Run a scene with an exchange and a feed that is then cancelled."""

    async def run() -> None:
        exchange = Exchange()
        async with listening(exchange):
            feed = Feed(exchange, **options)
            task = asyncio.create_task(feed.pool.run())
            try:
                await scene(exchange, feed)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            assert asyncio.all_tasks() >= {asyncio.current_task()}
            left = [other.get_name() for other in asyncio.all_tasks() if "market" in str(other)]
            assert left == []

    asyncio.run(run())
