"""The gate alone, asked message by message, and the whole app as its user starts it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Scope

from core.api import Access, Guard, Limits
from tests.browser.conftest import ROOT, free_port, stop_workers, wait_until

TOKEN = "correct-horse-battery-staple"
HERE = "127.0.0.1:8501"
BEARER = {"authorization": f"Bearer {TOKEN}"}
Act = Callable[[], Awaitable[object]]
# Elsewhere only 127.0.0.1 is this machine.
many_loopbacks = pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is Linux's")


@dataclass
class Told:
    """What came back."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_through: bool = False
    closed: int = 0

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json", self
        found: dict[str, Any] = json.loads(self.body)
        assert found["status"] == self.status
        return found


async def through(scope: Scope, receive: Any, send: Any) -> None:
    """Stand for the app behind the gate: read the body, answer 200, or accept."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        return
    size = 0
    while (message := await receive())["type"] == "http.request":
        size += len(message["body"])
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-app", b"yes")]})
    await send({"type": "http.response.body", "body": b"%d" % size})


def limits(**changed: Any) -> Limits:
    """Limits that nobody reaches, but for those given; refusals are not put off."""
    return Limits(**({"rate": 1e6, "upload_bytes": 1 << 20, "pause_s": 0.0} | changed))


def gate(access: Access | None = None, app: ASGIApp = through, **changed: Any) -> Guard:
    return Guard(app, access or Access(), limits(**changed))


def asked_scope(path: str, headers: dict[str, str] | None, **changed: Any) -> Scope:
    """The scope of a request from this machine, as uvicorn makes it; None leaves a header out."""
    path, _, query = path.partition("?")
    sent = {"host": HERE} | {name.lower(): text for name, text in (headers or {}).items()}
    scope: Scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "root_path": "",
        "query_string": query.encode(),
        "scheme": "http",
        "server": ("127.0.0.1", 8501),
        "client": ("127.0.0.1", 50_000),
        "headers": [(n.encode(), t.encode("latin-1")) for n, t in sent.items() if t is not None],
        "extensions": {"websocket.http.response": {}},
    }
    return scope | changed


async def asked(
    app: ASGIApp,
    path: str,
    headers: dict[str, str] | None = None,
    *,
    body: Sequence[bytes | Act] = (b"",),
    taken: Act | None = None,
    **changed: Any,
) -> Told:
    """Ask and return what came back; in the body's place something may happen instead.

    ``taken`` is waited for by each piece of the answer, as a slow reader makes one wait.
    """
    told, pieces = Told(), list(body)

    async def receive() -> Message:
        if changed.get("type") == "websocket":
            return {"type": "websocket.connect"}
        while pieces and not isinstance(pieces[0], bytes):
            act = pieces.pop(0)
            assert callable(act)
            await act()
        if not pieces:
            return {"type": "http.disconnect"}
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message: Message) -> None:
        kind = message["type"].removeprefix("websocket.")
        if kind == "http.response.start":
            assert not told.status
            told.status = message["status"]
            told.headers = {n.decode(): t.decode("latin-1") for n, t in message["headers"]}
            told.is_through = "x-app" in told.headers
        elif kind == "http.response.body":
            told.body += message.get("body", b"")
        elif kind == "accept":
            told.status, told.is_through = 101, True
        elif kind == "close":
            told.closed = message["code"]
        if taken is not None:
            await taken()

    await app(asked_scope(path, headers, **changed), receive, send)
    return told


def ask(app: ASGIApp, path: str, headers: dict[str, str] | None = None, **options: Any) -> Told:
    """The same from a test that is no coroutine."""
    return asyncio.run(asked(app, path, headers, **options))


def post(app: ASGIApp, path: str, headers: dict[str, str] | None = None, **options: Any) -> Told:
    return ask(app, path, headers, **({"method": "POST"} | options))


def connect(app: ASGIApp, path: str, headers: dict[str, str] | None = None, **options: Any) -> Told:
    return ask(app, path, headers, type="websocket", scheme="ws", **options)


@dataclass(frozen=True)
class Running:
    """The app as a process."""

    address: str
    port: int
    pid: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}"

    @property
    def host(self) -> str:
        return f"{self.address}:{self.port}"


def is_up(address: str, port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}:{port}/_stcore/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextlib.contextmanager
def running(home: Path, *, address: str = "127.0.0.1", **environment: str) -> Iterator[Running]:
    """Run the app on an address of the loopback; its log may hold no traceback."""
    port, log = free_port(), home / "server.log"
    command = [
        sys.executable, "-m", "streamlit", "run", "streamlit_app.py", "--server.port", str(port),
        "--server.headless", "true", "--server.address", address,
    ]  # fmt: skip
    given = {"PERPDUCK_DB": str(home / "perpduck.duckdb"), "TZ": "UTC"} | environment
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | given, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_until(lambda: is_up(address, port), 60, "the server did not come up")
        yield Running(address, port, process.pid, log)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            stop_workers(home)
    assert "Traceback" not in log.read_text(encoding="utf-8")
