"""How much one may ask for: sizes, rates, how many at a time, and how slowly."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.api.metrics import REQUESTS
from core.api.problems import Problem, problem_response

# Bodies of JSON; uploads have a limit of their own.
JSON_BYTES = 1 << 20
# Who does not go on with a body, or does not take an answer, for so long is dropped; so is who
# needs so much longer than these bytes a second take.
STALL_S, LEAST_BYTES_A_S = 20.0, 8 << 10
MOST_AT_ONCE, MOST_OF_ONE = 256, 64
SIGN_INS_A_MINUTE = 10
# A wrong token costs as much as so many requests.
WRONG_COST = 10
# Who is refused for asking too often hears it so much later: a flood waits, not the server.
PAUSE_S = 0.25
UPLOADS = ("/api/upload_ndjson", "/api/upload_ohlcv")
_ADDRESSES = 4096
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


@dataclass(slots=True)
class Rates:
    """Token buckets by address: ``rate`` a second, ``burst`` at once."""

    rate: float
    burst: float
    _buckets: OrderedDict[str, _Bucket] = field(default_factory=OrderedDict)

    def wait_s(self, address: str, cost: float = 1.0) -> float:
        """Take ``cost``, or what is left of it; returns 0, or how long there will be none."""
        now = time.monotonic()
        bucket = self._buckets.setdefault(address, _Bucket(self.burst, now))
        self._buckets.move_to_end(address)
        while len(self._buckets) > _ADDRESSES:
            self._buckets.popitem(last=False)
        bucket.left = min(self.burst, bucket.left + (now - bucket.at) * self.rate)
        bucket.at = now
        if bucket.left < 1:
            return (1 - bucket.left) / self.rate
        bucket.left = max(0.0, bucket.left - cost)
        return 0.0


class Limits:
    """What one address, and all together, may do."""

    def __init__(
        self,
        *,
        rate: float,
        upload_bytes: int,
        at_once: int = MOST_AT_ONCE,
        of_one: int = MOST_OF_ONE,
        stall_s: float = STALL_S,
        pause_s: float = PAUSE_S,
    ) -> None:
        self.rates = Rates(rate, max(1.0, 2 * rate))
        self.sign_ins = Rates(SIGN_INS_A_MINUTE / 60, SIGN_INS_A_MINUTE)
        self.upload_bytes = upload_bytes
        self.at_once = at_once
        self.of_one = of_one
        self.stall_s = stall_s
        self.pause_s = pause_s
        self.running: Counter[str] = Counter()

    def count(self, scope: Scope, cost: float = 1.0) -> None:
        """Count a request; raises Problem 429."""
        if wait_s := self.rates.wait_s(address_of(scope), cost):
            raise too_many("Too many requests", wait_s)

    def count_sign_in(self, scope: Scope) -> None:
        """Count an attempt to sign in; raises Problem 429."""
        if scope["method"] == "POST" and (wait_s := self.sign_ins.wait_s(address_of(scope))):
            raise too_many("Too many attempts to sign in", wait_s)

    def body_bytes(self, path: str) -> int:
        """Return the most bytes that a body to that path may have."""
        return self.upload_bytes if path in UPLOADS else JSON_BYTES

    @contextlib.contextmanager
    def turn(self, scope: Scope) -> Iterator[None]:
        """Take a place among those that are answered; raises Problem 503."""
        address = address_of(scope)
        for running, most in ((self.running[address], self.of_one),
                              (self.running.total(), self.at_once)):  # fmt: skip
            if running >= most:
                words = f"{most} requests are being answered already; try again."
                raise Problem(503, words, headers={"Retry-After": "1"})
        self.running[address] += 1
        try:
            yield
        finally:
            self.running[address] -= 1
            if not self.running[address]:
                del self.running[address]


def address_of(scope: Scope) -> str:
    """Return whom to count a request for: its address, of IPv6 the network that one host gets."""
    client = scope.get("client")
    return _counted(str(client[0])) if client else ""


@functools.lru_cache(maxsize=1024)
def _counted(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # as a proxy forwards it: any text, of any length
        return host[:64]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_address(int(address) >> 64 << 64))
    return host


def too_many(words: str, wait_s: float) -> Problem:
    """Return the problem of one who asks too often."""
    seconds = max(1, math.ceil(wait_s))
    words = f"{words}; try again in {seconds} s."
    return Problem(429, words, headers={"Retry-After": str(seconds)})


def announced_bytes(headers: Headers) -> float:
    """Return how large a body is by its head: infinite where that is not said."""
    length = headers.get("content-length", "0").strip()
    is_said = "transfer-encoding" not in headers and length.isascii() and length.isdigit()
    return float(length[:18]) if is_said else math.inf


def count_refusal(scope: Scope, problem: Problem) -> None:
    """Count for the metrics what was refused; a method that nobody knows is no label."""
    method = scope["method"] if scope["method"] in _METHODS else "other"
    REQUESTS.labels("refused", method, str(problem.status)).inc()


class Gone(Exception):
    """The other side is too slow, or sends too much."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def demand_size(headers: Headers, most: int) -> None:
    """Raise Problem 413 where the head says that the body is too large."""
    if most < announced_bytes(headers) < math.inf:
        raise _too_large(most)


def _too_large(most: int) -> Problem:
    return Problem(413, f"A body here has {most:,} bytes at most.", headers={"Connection": "close"})


async def patient(
    app: ASGIApp, limits: Limits, most: int | None, scope: Scope, receive: Receive, send: Send
) -> None:
    """Serve a request; an asker for whom one would wait without end is dropped.

    ``most``: the bytes that its body may have, None where the app itself looks after that.
    """
    way = _Way(limits.stall_s, most, receive, send)
    try:
        await app(scope, way.receive, way.send)
    except Gone as gone:
        count_refusal(scope, gone.problem)
        if not way.is_begun:
            gone.problem.headers["Connection"] = "close"
            with contextlib.suppress(Gone):
                await problem_response(gone.problem)(scope, receive, way.send)


class _Way:
    """One request's way in and out: bytes counted, and nobody waited for without end."""

    def __init__(self, stall_s: float, most: int | None, receive: Receive, send: Send) -> None:
        self._most = most
        self._receive = receive
        self._send = send
        self._in = _Patience(stall_s)
        self._out = _Patience(stall_s)
        self._is_read = False
        self.is_begun = False

    async def receive(self) -> Message:
        """Pass on a piece of the body."""
        if self._is_read:  # nothing but the end of the connection is still to come
            return await self._receive()
        try:
            async with self._in:
                message = await self._receive()
        except TimeoutError:
            raise Gone(Problem(408, "No more of the body came in time.")) from None
        self._in.bytes += len(message.get("body", b""))
        if self._most is not None and self._in.bytes > self._most:
            raise Gone(_too_large(self._most))
        self._is_read = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Pass on a piece of the answer."""
        self.is_begun = True
        try:
            async with self._out:
                await self._send(message)
        except TimeoutError:
            raise Gone(Problem(408, "Nothing of the answer was taken in time.")) from None
        self._out.bytes += len(message.get("body", b""))


class _Patience:
    """How long the other side is waited for: in one go, and in all for what it moved."""

    def __init__(self, stall_s: float) -> None:
        self.bytes = 0
        self._stall_s = stall_s
        self._waited_s = 0.0
        self._since = 0.0
        self._timeout: asyncio.Timeout | None = None

    async def __aenter__(self) -> None:
        self._since = time.monotonic()
        left_s = self._stall_s + self.bytes / LEAST_BYTES_A_S - self._waited_s
        self._timeout = asyncio.timeout(min(self._stall_s, left_s))
        await self._timeout.__aenter__()

    async def __aexit__(self, *error: object) -> None:
        self._waited_s += time.monotonic() - self._since
        assert self._timeout is not None
        await self._timeout.__aexit__(*error)  # type: ignore[arg-type]
