"""The live feed under hostile clients: places, sizes, topics, and nobody is buffered for."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Router, WebSocketRoute
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection, connect

from core.api import live, topics
from core.api.connections import LIVE_BUFFER_BYTES
from core.api.live import MOST_ASKED, MOST_TEXT, MOST_TOPICS, MOST_WAITING, Client
from core.api.metrics import CLIENTS, DROPPED
from tests.api.conftest import Api
from tests.api.safe_servers import asked_scope, many_loopbacks
from tests.api.test_api_safety_connections import minding
from tests.browser.conftest import wait_until


@pytest.fixture
def port(home: Path) -> Iterator[int]:
    """The live feed of an empty home, behind its gate, with its connections minded."""
    with minding(Router([WebSocketRoute("/ws/live", live.live)])) as (found, _):
        yield found


@contextlib.contextmanager
def client(port: int, **options: Any) -> Iterator[ClientConnection]:
    url = f"ws://127.0.0.1:{port}/ws/live"
    with connect(url, proxy=None, compression=None, **options) as made:
        yield made


def answer(made: ClientConnection) -> dict[str, Any]:
    """The next message that is no heartbeat."""
    while True:
        told: dict[str, Any] = json.loads(made.recv(20))
        if told["type"] != "heartbeat":
            return told


def closed(made: ClientConnection) -> tuple[int, str]:
    """Read until the server closes; the code and the reason it gives."""
    try:
        while True:
            made.recv(20)
    except ConnectionClosed as ended:
        return (ended.rcvd.code, ended.rcvd.reason) if ended.rcvd else (0, "")


@many_loopbacks
def test_one_address_has_so_many_places_and_gets_them_back(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_OF_ONE", 2)
    with client(port), client(port) as second:
        with pytest.raises(InvalidStatus) as refused, client(port):
            pass
        assert refused.value.response.status_code == 503
        assert refused.value.response.headers["retry-after"] == "5"
        with client(port, source_address=("127.0.0.2", 0)) as other:
            assert json.loads(other.recv(20))["type"] == "heartbeat"
        second.close()
        wait_until(lambda: live.HUB._places.total() == 1, 20, "the place was not given back")
        with client(port) as third:
            assert json.loads(third.recv(20))["type"] == "heartbeat"


@many_loopbacks
def test_so_many_have_a_place_in_all(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_CLIENTS", 2)
    with (
        client(port),
        client(port, source_address=("127.0.0.2", 0)),
        pytest.raises(InvalidStatus) as refused,
        client(port, source_address=("127.0.0.3", 0)),
    ):
        pass
    assert refused.value.response.status_code == 503


def test_places_are_taken_before_anything_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand handshakes in one moment find no more places than one after the other."""
    monkeypatch.setattr(live, "MOST_OF_ONE", 3)
    hub, accepted, refused = live.Hub(), 0, 0
    both = asyncio.Event()

    async def one() -> None:
        async def receive() -> dict[str, Any]:
            await both.wait()
            return {"type": "websocket.disconnect", "code": 1000}

        async def send(message: dict[str, Any]) -> None:
            nonlocal accepted, refused
            accepted += message["type"] == "websocket.accept"
            refused += message["type"] == "websocket.http.response.start"

        scope = asked_scope("/ws/live", {}, type="websocket")
        socket = live.WebSocket(scope, receive, send)
        monkeypatch.setattr(socket, "accept", lambda: send({"type": "websocket.accept"}))
        with contextlib.suppress(RuntimeError):
            await hub.serve(socket)

    async def run() -> None:
        tasks = [asyncio.create_task(one()) for _ in range(20)]
        while accepted + refused < 20:
            await asyncio.sleep(0.01)
        both.set()
        await asyncio.gather(*tasks)

    monkeypatch.setattr(live, "_source_name", lambda _: "practice")
    asyncio.run(run())
    assert (accepted, refused) == (3, 17)
    assert hub._places.total() == 0


def test_a_message_that_is_too_large_ends_the_connection_before_it_is_whole(port: int) -> None:
    """Streamlit lets its own have 200 MB: the part that has come is all that is ever kept."""
    with client(port) as made:
        head = Frame(Opcode.TEXT, b"x").serialize(mask=True)[:1] + bytes([0x80 | 127])
        made.socket.sendall(head + (200 << 20).to_bytes(8, "big") + b"\0\0\0\0" + b"x" * 100)
        assert closed(made)[0] == 1009
    with client(port) as made:
        with contextlib.suppress(ConnectionClosed):
            made.send(["x" * (MOST_TEXT // 2)] * 3)  # in pieces
        assert closed(made)[0] == 1009


def test_binary_messages_and_too_many_end_it_with_a_reason(port: int) -> None:
    with client(port) as made:
        made.send(b"\x00\x01")
        assert closed(made) == (1003, "messages are JSON text")
    with client(port) as made:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(2 * MOST_ASKED):
                made.send("{}")
        assert closed(made) == (1008, f"at most {MOST_ASKED} messages a second")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[]",
        "{",
        '{"a":1}',
        '{"subscribe":1}',
        "[" * 16_000,
        '{"subscribe":' + "[" * 16_000,
        '{"subscribe":["\\ud800"]}',
        '{"subscribe":["pair:a:b:c:d"]}',
        '{"subscribe":["\\u0000"]}',
    ],
)
def test_whatever_is_said_it_is_answered(port: int, text: str) -> None:
    with client(port) as made:
        made.send(text)
        assert answer(made)["type"] == "error"
        made.send('{"subscribe":[]}')
        assert answer(made) == {"type": "subscribed", "topics": []}


def test_topics_are_few_for_one_and_for_all_together(
    api: Api, pairs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topics, "MOST_TOPICS", MOST_TOPICS + 2)
    frames = ["1s", "5s", "15s", "1min", "5min", "15min", "1h"]
    names = [f"bars:{s}:{t}" for s in ("arbusdt", "opusdt", "btcusdt") for t in frames]
    url, options = api.live_url, {"proxy": None, "compression": None}
    with connect(url, **options) as first, connect(url, **options) as second:  # type: ignore[arg-type]
        first.send(json.dumps({"subscribe": names[:MOST_TOPICS]}))
        assert len(answer(first)["topics"]) == MOST_TOPICS
        first.send(json.dumps({"subscribe": names[MOST_TOPICS:]}))
        assert "at most" in answer(first)["detail"]
        second.send(json.dumps({"subscribe": ["alerts", "trades:arbusdt", "trades:opusdt"]}))
        assert "listened to already" in answer(second)["detail"]
        # One that is listened to costs nothing more.
        second.send(json.dumps({"subscribe": names[:1]}))
        assert names[0] in answer(second)["topics"]


def test_messages_wait_for_a_slow_client_up_to_a_number_and_no_further() -> None:
    class Socket:
        sent = 0

        async def send_text(self, _: str) -> None:
            self.sent += 1
            await asyncio.Event().wait()

    async def run() -> None:
        slow = Client(Socket(), "practice")  # type: ignore[arg-type]
        task = asyncio.create_task(slow.send_all())
        slow.dropped = task.cancel
        await asyncio.sleep(0)
        for _ in range(10 * MOST_WAITING):
            slow.tell("x")
            await asyncio.sleep(0)
        assert slow._waiting.qsize() == MOST_WAITING
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_who_does_not_read_is_dropped_and_others_hear_every_beat(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent is made large, so that the system's own buffers are full at once."""
    monkeypatch.setattr(live, "SEND_S", 0.3)
    monkeypatch.setattr(live, "MOST_WAITING", 10_000)
    monkeypatch.setattr(live, "PERIOD_S", 0.2)
    monkeypatch.setattr(live, "_heartbeat", lambda _: json.dumps({"type": "x" * (4 << 20)}))
    dropped = DROPPED._value.get()
    deaf = socket.create_connection(("127.0.0.1", port))
    deaf.sendall(
        b"GET /ws/live HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    with deaf, client(port, max_size=None) as hearing:
        for _ in range(5):
            hearing.recv(20)
        wait_until(lambda: DROPPED._value.get() == dropped + 1, 20, "it was not dropped")
        wait_until(lambda: CLIENTS._value.get() == 1, 20, "it is still a client")
        hearing.recv(20)


def test_only_the_live_feed_is_kept_small(home: Path) -> None:
    """The pages' connection needs what Streamlit gives it: uploads and pictures go over it."""

    async def other(web_socket: live.WebSocket) -> None:
        await web_socket.accept()
        await web_socket.receive()

    paths = [WebSocketRoute("/ws/live", live.live), WebSocketRoute("/_stcore/stream", other)]
    with minding(Router(paths)) as (port, server):
        found = {}
        for path in ("/ws/live", "/_stcore/stream"):
            url = f"ws://127.0.0.1:{port}{path}"
            with connect(url, proxy=None, compression=None):
                (one,) = server.server_state.connections
                system = one.transport.get_extra_info("socket")
                held = system.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
                found[path] = one.conn.max_message_size, held
            wait_until(lambda: not server.server_state.connections, 20, "it does not go")
    assert found["/ws/live"][0] == MOST_TEXT
    assert found["/ws/live"][1] <= 2 * LIVE_BUFFER_BYTES  # Linux counts its own share as well
    assert found["/_stcore/stream"][0] == server.config.ws_max_size
    assert found["/_stcore/stream"][1] > found["/ws/live"][1]
