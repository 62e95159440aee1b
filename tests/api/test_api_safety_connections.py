"""Open connections: who asks nothing, takes nothing or has too many loses them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware

from core.api import Access, Guard, Limits, connections, minded
from core.api.connections import Crowd, serving
from core.api.limits import LEAST_BYTES_A_S
from tests.browser.conftest import wait_until


@dataclass(eq=False)
class Transport:
    """A connection's transport, as much as is asked of it."""

    unsent: int = 0
    closing: bool = False
    aborted: bool = False
    written: bytes = b""

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_extra_info(self, _: str) -> None:
        return None

    def abort(self) -> None:
        self.aborted = self.closing = True

    def close(self) -> None:
        self.closing = True

    def write(self, data: bytes) -> None:
        self.written += data


@dataclass(eq=False)
class Connection:
    """A connection of HTTP: idle where its last request was answered."""

    host: str = "127.0.0.1"
    cycle: Any = None
    transport: Transport = field(default_factory=Transport)

    @property
    def client(self) -> tuple[str, int]:
        return self.host, 1


@dataclass(eq=False)
class WebSocket:
    """A connection that became a WebSocket."""

    transport: Transport = field(default_factory=Transport)
    client: tuple[str, int] = ("127.0.0.1", 1)


def answered() -> Any:
    return SimpleNamespace(response_complete=True)


def answering() -> Any:
    return SimpleNamespace(response_complete=False)


def crowd(*members: Any, **limits: Any) -> Crowd:
    return Crowd(set(members), **({"head_s": 10.0, "linger_s": 10.0} | limits))


def test_who_never_asks_is_dropped() -> None:
    silent, busy = Connection(), Connection(cycle=answering())
    minding = crowd(silent, busy)
    assert [minding.drop_idle(now) for now in (0.0, 9.9, 10.0)] == [0, 0, 1]
    assert silent.transport.aborted
    assert not busy.transport.aborted


def test_who_goes_on_asking_is_not_and_half_a_next_request_counts_from_the_last() -> None:
    kept = Connection(cycle=answered())
    minding = crowd(kept)
    for now in range(0, 60, 5):  # always between two requests whenever one looks
        kept.cycle = answered()
        assert minding.drop_idle(float(now)) == 0
    assert minding.drop_idle(65.0) == 1


def test_what_is_closed_has_to_be_taken_in_time() -> None:
    """Uvicorn closes it, the system keeps it open for whoever does not read the rest."""
    small = Connection(cycle=answered(), transport=Transport(closing=True))
    large = Connection(cycle=answered(), transport=Transport(20 * LEAST_BYTES_A_S, closing=True))
    web_socket = WebSocket(Transport(closing=True))
    minding = crowd(small, large, web_socket)
    assert minding.drop_idle(0.0) == 0
    assert minding.drop_idle(10.0) == 2
    assert not large.transport.aborted
    assert minding.drop_idle(29.0) == 0
    assert minding.drop_idle(30.0) == 1


def test_an_answer_that_was_given_up_is_not_waited_for_again() -> None:
    deaf = Connection(cycle=answering(), transport=Transport(1 << 20, closing=True))
    assert crowd(deaf).drop_idle(0.0) == 1


def test_an_open_web_socket_may_be_silent() -> None:
    web_socket = WebSocket()
    minding = crowd(web_socket)
    assert [minding.drop_idle(now) for now in (0.0, 1e6)] == [0, 0]


def test_where_there_are_too_many_the_one_with_most_loses_the_longest_idle() -> None:
    old, new = Connection("10.0.0.1"), Connection("10.0.0.1")
    busy, other = Connection("10.0.0.1", cycle=answering()), Connection("10.0.0.2")
    members: set[Any] = {old, busy, other}
    minding = Crowd(members, most=4)
    minding.drop_idle(0.0)
    members.add(new)
    minding.drop_idle(1.0)
    newcomer = Connection("10.0.0.3")
    members.add(newcomer)
    minding.admit(newcomer)
    assert [one.transport.aborted for one in (old, new, busy, other, newcomer)] == [
        True, False, False, False, False,
    ]  # fmt: skip


def test_where_all_of_them_are_busy_the_newcomer_is_told() -> None:
    members = {Connection(cycle=answering()) for _ in range(3)}
    newcomer = Connection("10.0.0.3")
    minding = Crowd(members | {newcomer}, most=3)
    minding.admit(newcomer)
    assert newcomer.transport.written.startswith(b"HTTP/1.1 503 ")
    assert newcomer.transport.closing
    assert not any(one.transport.closing for one in members)


def test_it_leaves_files_enough_for_everything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    for files, most in ((1024, 512), (1 << 20, connections.MOST_OPEN), (70, 64)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        assert connections._most_open() == most


def test_the_server_is_the_one_that_takes_the_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    server = uvicorn.Server(uvicorn.Config("x:y", log_config=None))
    monkeypatch.setattr("signal.getsignal", lambda _: server.handle_exit)
    assert serving() is server
    for other in (None, 0, lambda *_: None):
        monkeypatch.setattr("signal.getsignal", lambda _, other=other: other)
        assert serving() is None


@contextlib.contextmanager
def minding(app: Any, **limits: Any) -> Iterator[tuple[int, uvicorn.Server]]:
    """Serve an app whose lifespan minds the connections, as the pages' does."""
    server: uvicorn.Server

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> Any:
        async with minded(server, **limits):
            yield

    gate = Middleware(Guard, access=Access(), limits=Limits(rate=1e6, upload_bytes=1))
    whole = Starlette(lifespan=lifespan, middleware=[gate])
    whole.mount("/", app)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(whole, log_config=None, access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            wait_until(lambda: server.started, 20, "it does not start")
            yield listening.getsockname()[1], server
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive(), "a client holds the server's end up"


async def much(scope: Any, receive: Any, send: Any) -> None:
    """Answer with more than any buffer holds, in one piece."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x" * (32 << 20)})


def talk(port: int, data: bytes = b"") -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), 20)
    made.sendall(data)
    return made


GET = b"GET /much HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.mark.parametrize(
    "said", [b"", b"GET /mu", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", GET, GET + b"G"],
    ids=["nothing", "half a line", "half a head", "a request, reading nothing", "and half a next"],
)  # fmt: skip
def test_whoever_goes_no_further_is_gone_from_a_real_server(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LOOK_S", 0.05)
    monkeypatch.setattr(connections, "LEAST_BYTES_A_S", 1 << 30)
    with minding(much, head_s=0.2, linger_s=0.2) as (port, server), talk(port, said):
        wait_until(lambda: server.server_state.connections, 20, "it was not let in")
        wait_until(lambda: not server.server_state.connections, 20, "it is still there")


def test_a_crowd_leaves_room_for_others_on_a_real_server() -> None:
    with minding(much, most=20, head_s=600.0) as (port, server), contextlib.ExitStack() as held:
        for _ in range(60):
            held.enter_context(talk(port))
        with talk(port, GET) as asking:
            assert asking.recv(12) == b"HTTP/1.1 200"
        wait_until(lambda: len(server.server_state.connections) <= 20, 20, "too many are open")


def test_small_answers_are_sent_at_once() -> None:
    """Streamlit's listening socket is of no named protocol, so asyncio leaves them to Nagle."""
    with minding(much) as (port, server), talk(port):
        wait_until(lambda: server.server_state.connections, 20, "it was not let in")
        (one,) = server.server_state.connections
        found = one.transport.get_extra_info("socket")
        assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("answer", ["before", "amid", "at once"])
def test_garbage_amid_a_request_is_the_end_and_no_error_of_ours(
    answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Uvicorn would answer the garbage, then the request, and say in the log that it cannot."""
    ended = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            if answer != "before":
                await send({"type": "http.response.start", "status": 200, "headers": []})
            while (await receive())["type"] != "http.disconnect":
                pass
            await send({"type": "http.response.start", "status": 200, "headers": []})
        finally:
            ended.set()

    head = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    garbage = b"no number\r\n"
    first = head + garbage if answer == "at once" else head
    with minding(app) as (port, server), talk(port, first) as liar:
        if answer == "amid":
            assert liar.recv(12) == b"HTTP/1.1 200"
        if answer != "at once":
            liar.sendall(garbage)
        wait_until(lambda: not server.server_state.connections, 20, "it is still there")
        assert ended.wait(20)
    assert [one for one in caplog.records if one.exc_info] == []


def test_another_server_than_uvicorn_minds_its_own() -> None:
    async def run() -> None:
        async with minded():
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())
