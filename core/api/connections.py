"""Open connections: how many there may be, and which are dropped.

Uvicorn closes a connection some seconds after its last answer. It waits without end for a first
request, for the rest of one, and for somebody to take what was sent to a closed connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from core.api.guard import LIVE
from core.api.limits import LEAST_BYTES_A_S
from core.api.live import MOST_TEXT

logger = logging.getLogger(__name__)

# Nobody needs longer for a request's head, nor, without any progress, for the end of an answer.
HEAD_S, LINGER_S = 10.0, 10.0
LOOK_S = 1.0
MOST_OPEN = 1_000
# What the system may hold back of what is sent to a client of /ws/live.
LIVE_BUFFER_BYTES = 128 << 10
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class _Wait:
    """What a connection is waited for, and until when."""

    kind: str
    cycle: object
    until: float


class Crowd:
    """The open connections of one server.

    ``connections`` are uvicorn's protocols: of HTTP with the ``cycle`` of the last request, of a
    WebSocket without.
    """

    def __init__(
        self,
        connections: Collection[Any],
        *,
        most: int = MOST_OPEN,
        head_s: float = HEAD_S,
        linger_s: float = LINGER_S,
    ) -> None:
        self._connections = connections
        self._most = most
        self._head_s = head_s
        self._linger_s = linger_s
        self._waits: dict[Any, _Wait] = {}

    def admit(self, newcomer: Any) -> None:
        """Make room for a new connection: who has most of them loses the longest idle one."""
        if len(self._connections) <= self._most:
            return
        held = [one for one in self._connections if not one.transport.is_closing()]
        if len(held) <= self._most:
            return
        having = Counter(_host(one) for one in held)
        most = max(having.values())
        idle = [one for one in held if one is not newcomer and _is_idle(one)]
        idle = [one for one in idle if having[_host(one)] == most]
        if idle:
            _reset(min(idle, key=self._since).transport)
        else:
            newcomer.transport.write(_FULL)
            newcomer.transport.close()

    def drop_idle(self, now: float) -> int:
        """Drop who has been waited for too long; returns how many."""
        waits, dropped = {}, 0
        for one in list(self._connections):
            wait = self._wait(one, now)
            if wait is None:
                continue
            if now >= wait.until:
                _reset(one.transport)
                dropped += 1
            else:
                waits[one] = wait
        self._waits = waits
        return dropped

    def _wait(self, one: Any, now: float) -> _Wait | None:
        before = self._waits.get(one)
        cycle = getattr(one, "cycle", None)
        if one.transport.is_closing():
            kind, seconds = "closing", 0.0
            if cycle is None or cycle.response_complete:  # else its answer was given up
                unsent = one.transport.get_write_buffer_size()
                seconds = self._linger_s + unsent / LEAST_BYTES_A_S
        elif _is_idle(one):
            kind, seconds = "idle", self._head_s
        else:
            return None
        if before is not None and before.kind == kind and before.cycle is cycle:
            return before
        return _Wait(kind, cycle, now + seconds)

    def _since(self, one: Any) -> float:
        wait = self._waits.get(one)
        return wait.until if wait else float("inf")


def _is_idle(one: Any) -> bool:
    """Return whether a connection is one of HTTP on which nothing is being answered."""
    return hasattr(one, "cycle") and (one.cycle is None or one.cycle.response_complete)


def _host(one: Any) -> str:
    return str(one.client[0]) if one.client else ""


def serving() -> uvicorn.Server | None:
    """Return the uvicorn that runs in this process's main thread: it takes the signals."""
    owner = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return owner if isinstance(owner, uvicorn.Server) else None


@contextlib.asynccontextmanager
async def minded(server: uvicorn.Server | None = None, **limits: Any) -> AsyncIterator[None]:
    """Mind a server's connections; to be entered before it accepts any, as a lifespan is.

    ``limits`` are those of `Crowd`. Another server than uvicorn has to look after its own.
    """
    server = server or serving()
    if server is None:
        logger.info("connections are not minded: the server is not uvicorn in the main thread")
        yield
        return
    crowd = Crowd(server.server_state.connections, **{"most": _most_open()} | limits)
    config = server.config
    config.http_protocol_class = _admitting(config.http_protocol_class, crowd)
    if config.ws_protocol_class is WebSocketsSansIOProtocol:
        config.ws_protocol_class = Frugal
    task = asyncio.create_task(_look_after(crowd))
    try:
        yield
    finally:
        task.cancel()


def _most_open() -> int:
    """Return how many connections leave files enough for everything else."""
    try:
        import resource
    except ImportError:  # Windows counts no files
        return MOST_OPEN
    return max(64, min(MOST_OPEN, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2))


async def _look_after(crowd: Crowd) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            crowd.drop_idle(loop.time())
        except Exception:
            logger.exception("the connections could not be looked at")


def _admitting(base: type[Any], crowd: Crowd) -> type[Any]:
    """Return uvicorn's HTTP connection with a look at how many there are."""

    class Admitted(base):  # type: ignore[misc]
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            without_delay(transport)
            crowd.admit(self)

        def send_400_response(self, msg: str) -> None:
            # Garbage amid a request that is being answered: there is nobody left to answer.
            try:
                super().send_400_response(msg)
            except h11.LocalProtocolError:
                self.transport.abort()
            if self.cycle is not None:
                self.cycle.disconnected = True
                self.cycle.message_event.set()

    return Admitted


class Frugal(WebSocketsSansIOProtocol):
    """Uvicorn's WebSocket with the sizes of /ws/live; the pages' has Streamlit's own."""

    def handle_connect(self, event: Request) -> None:
        """Begin, now that the path is known."""
        if event.path.partition("?")[0].endswith(LIVE):
            self.conn.max_message_size = MOST_TEXT
            _send_buffer(self.transport)
        super().handle_connect(event)


def without_delay(transport: asyncio.Transport) -> None:
    """Have small answers sent at once.

    A socket that was made for no named protocol, as Streamlit's, does not get this from asyncio,
    and an answer on a kept connection then waits some 40 ms for the other side.
    """
    found = transport.get_extra_info("socket")
    if found is not None and found.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _reset(transport: asyncio.Transport) -> None:
    """End a connection at once; what was not taken of it is forgotten by the system too."""
    found = transport.get_extra_info("socket")
    if found is not None:
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _send_buffer(transport: asyncio.Transport) -> None:
    found = transport.get_extra_info("socket")
    if found is not None:
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LIVE_BUFFER_BYTES)
