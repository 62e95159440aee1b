"""The routes behind their gate on a real socket, in a thread of this process, on a home of its own.

What a route reads is decided by the environment at each request, so one server serves a module.
"""

from __future__ import annotations

import contextlib
import functools
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware

from core.api import Access, Guard, Limits, api_routes
from core.api.calls import Operation
from core.api.openapi import document
from core.api.routes import OPERATIONS
from core.store import Store
from tests.pages.test_pair_page import pair_store

UPLOAD_BYTES = 2 << 20


def api_app() -> Starlette:
    """Return the API as the app mounts it, without the pages."""
    limits = Limits(rate=1e6, upload_bytes=UPLOAD_BYTES)
    gate = Middleware(Guard, access=Access(), limits=limits)
    return Starlette(routes=api_routes(), middleware=[gate])


@contextlib.contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve an ASGI app on a port of its own; yields its address."""
    # Of a named protocol: asyncio then sends small answers at once.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(100)
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), name="api server")
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


@dataclass(frozen=True, slots=True)
class Api:
    """A client of the routes: paths are given without /api."""

    url: str
    client: httpx.Client

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        answer = self.client.request(method, f"{self.url}/api{path}", **options)
        assert_as_documented(method, f"/api{path}", answer)
        return answer

    def get(self, path: str, **params: object) -> httpx.Response:
        # No parameters at all would take the query of the path away.
        return self.ask("GET", path, params=params or None)

    def found(self, path: str, **params: object) -> Any:
        """Return the JSON of an answer that has to be 200."""
        answer = self.get(path, **params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    @property
    def live_url(self) -> str:
        return self.url.replace("http://", "ws://") + "/ws/live"


def _operation(method: str, path: str) -> Operation | None:
    return next((op for op in OPERATIONS if op.method == method
                 and re.fullmatch(re.sub(r"{\w+}", "[^/]+", op.path), path)), None)  # fmt: skip


@functools.cache
def _validator(method: str, path: str, status: int) -> Any:
    """Return what an answer in JSON has to be by the OpenAPI document; None of no known route."""
    if (op := _operation(method, path)) is None:
        return None
    found = document(OPERATIONS)
    content = found["paths"][op.path][method.lower()]["responses"][str(status)]["content"]
    schema = content["application/json"]["schema"]
    return jsonschema.Draft202012Validator({**schema, "components": found["components"]})


def assert_as_documented(method: str, path: str, answer: httpx.Response) -> None:
    """Assert that a successful answer is what the document says: its ETag, JSON field by field."""
    path = path.partition("?")[0]
    if answer.status_code == 200 and (op := _operation(method, path)):
        assert ("etag" in answer.headers) == op.has_etag
    if answer.is_success and answer.headers.get("content-type") == "application/json":
        if validator := _validator(method, path, answer.status_code):
            validator.validate(answer.json())


def assert_problem(answer: httpx.Response, status: int, **members: object) -> dict[str, Any]:
    """Assert that an answer is a problem document (RFC 9457); returns it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    assert told["type"] == "about:blank"
    assert told["title"]
    assert told["status"] == status
    assert told["detail"].endswith(".")
    assert told | members == told
    return told


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    """The routes on a real socket."""
    with served(api_app()) as url, httpx.Client(timeout=30) as client:
        yield Api(url, client)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without any file; the routes look for their files here."""
    monkeypatch.setenv("PERPDUCK_DB", str(tmp_path / "perpduck.duckdb"))
    return tmp_path


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home for all tests of a module, which must leave it as it is."""
    home = tmp_path_factory.mktemp("api")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERPDUCK_DB", str(home / "perpduck.duckdb"))
        yield home


@pytest.fixture(scope="module")
def pairs(shared_home: Path) -> Store:
    """A stopped worker's practice file with an hour of seconds of three symbols."""
    return pair_store(shared_home, 3_600)
