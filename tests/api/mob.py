"""A hundred clients that hang, half-close, flood and lie; what each saw in the end."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import streamlit

WEB_SOCKET = (
    b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
_chance = random.Random(7)
# What cannot be read, and must be refused or dropped.
GARBAGE = (
    _chance.randbytes(2000),
    b"\0" * 100_000,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + _chance.randbytes(500),  # the begin of TLS
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /" + b"x" * 200_000,
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X-Long: y\r\n" * 20_000,
    b"POST /api/ingest/stop HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n",
    b"POST /api/ingest/stop HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZ\r\n",
    *((WEB_SOCKET % path, b"\xff" * 200) for path in (b"/ws/live", b"/_stcore/stream")),
)
MOST_SENT = 3_000


def largest_file() -> str:
    """The path of the largest file that the pages are made of: several megabytes."""
    root = Path(streamlit.__file__).parent / "static"
    found = max(root.glob("static/**/*.*"), key=lambda path: path.stat().st_size)
    return f"/{found.relative_to(root).as_posix()}"


class Mob:
    """Bad clients of one server, ten of each kind, until each is dropped or it is over."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.over = asyncio.Event()
        self.dropped: Counter[str] = Counter()
        self.refused: Counter[int] = Counter()

    async def run(self) -> None:
        """Send them all, wait until those that must be are dropped, and call the rest off."""
        kinds: list[Callable[[], Awaitable[None]]] = [
            lambda: self._hang("silent", b""),
            lambda: self._hang("half a line", b"GET /api/inge"),
            lambda: self._hang("half a head", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: b\r\n"),
            lambda: self._hang("half a body", self._post(b'{"symbols": [')),
            lambda: self._hang("half a next", self._get(b"/_stcore/health") + b"GE", reads=True),
            lambda: self._hang("deaf to a file", self._get(largest_file().encode()) * 3),
            self._half_close,
            self._flood,
            self._deaf_web_socket,
        ]
        tasks = [asyncio.create_task(kind()) for kind in kinds for _ in range(10)]  # type: ignore[arg-type]
        for one in GARBAGE:
            said = one if isinstance(one, tuple) else (one,)
            tasks.append(asyncio.create_task(self._hang("garbage", *said, reads=True)))
        assert len(tasks) == 100
        must = [task for n, task in enumerate(tasks) if n < 60 or n >= 90]
        _, left = await asyncio.wait(must, timeout=120)
        self.over.set()
        for task in left:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not left, f"{len(left)} are still there; dropped: {self.dropped}"

    def _get(self, path: bytes) -> bytes:
        return b"GET " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

    def _post(self, begin: bytes) -> bytes:
        head = b"POST /api/ingest/start HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n"
        return head + b"Content-Type: application/json\r\n\r\n" + begin

    def _socket(self) -> socket.socket:
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.setblocking(False)
        return made

    async def _hang(self, kind: str, *said: bytes, reads: bool = False) -> None:
        """Say something, and more once it is answered, until the other side has had enough."""
        loop = asyncio.get_running_loop()
        with self._socket() as made, contextlib.suppress(OSError):
            await loop.sock_connect(made, ("127.0.0.1", self._port))
            for number, part in enumerate(said):
                if number:
                    await loop.sock_recv(made, 4096)
                await loop.sock_sendall(made, part)
            if reads:
                while await loop.sock_recv(made, 4096):
                    pass
            else:
                await _reset(made)
        self.dropped[kind] += 1

    async def _half_close(self) -> None:
        """Ask, say that nothing more will come, and read what comes."""
        loop = asyncio.get_running_loop()
        while not self.over.is_set():
            with self._socket() as made, contextlib.suppress(OSError):
                await loop.sock_connect(made, ("127.0.0.1", self._port))
                await loop.sock_sendall(made, self._get(b"/api/ingest/status"))
                made.shutdown(socket.SHUT_WR)
                while await loop.sock_recv(made, 4096):
                    pass
            await asyncio.sleep(0.2)

    async def _flood(self) -> None:
        """Ask as fast as answers come, for as long as it lasts."""
        loop, sent = asyncio.get_running_loop(), 0
        while not self.over.is_set() and sent < MOST_SENT:
            with self._socket() as made, contextlib.suppress(OSError):
                await loop.sock_connect(made, ("127.0.0.1", self._port))
                while not self.over.is_set() and sent < MOST_SENT:
                    await loop.sock_sendall(made, self._get(b"/api/openapi.json"))
                    sent += 1
                    if not (status := await self._status(made)):
                        break
                    self.refused[status] += 1

    async def _status(self, made: socket.socket) -> int:
        """Read one answer to its end; the status, 0 where the connection has ended."""
        loop, read = asyncio.get_running_loop(), b""
        while b"\r\n\r\n" not in read:
            if not (part := await loop.sock_recv(made, 4096)):
                return 0
            read += part
        head, _, body = read.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        while len(body) < length:
            if not (part := await loop.sock_recv(made, 65_536)):
                return 0
            body += part
        return int(head.split()[1])

    async def _deaf_web_socket(self) -> None:
        """Listen to much and read none of it."""
        loop = asyncio.get_running_loop()
        with self._socket() as made, contextlib.suppress(OSError):
            await loop.sock_connect(made, ("127.0.0.1", self._port))
            await loop.sock_sendall(made, WEB_SOCKET % b"/ws/live")
            await self.over.wait()


async def _reset(made: socket.socket) -> None:
    """Wait, without reading, until the other side has let go of a connection."""
    while True:
        await asyncio.sleep(0.2)
        state = made.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        if state != 1:  # no longer established
            return
