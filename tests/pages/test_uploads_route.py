"""The route that takes files from the browser: who may, what it takes, what it leaves behind."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from pages.shared import upload_route
from pages.shared.upload_route import PATH, TOKEN_HEADER, allow, sweep, upload_routes

HOME = "http://127.0.0.1:8501"


class Client:
    """Asks the route, one request at a time."""

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(Starlette(routes=list(upload_routes())))
            async with httpx.AsyncClient(transport=transport, base_url=HOME) as client:
                return await client.request(method, path, **options)

        return asyncio.run(ask())

    def put(self, path: str, **options: Any) -> httpx.Response:
        return self.request("PUT", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)


@pytest.fixture
def client() -> Client:
    return Client()


def headers(folder: Path, **changed: str | None) -> dict[str, str]:
    """What the page's own script sends; None leaves a header out."""
    sent: dict[str, str | None] = {"Origin": HOME, TOKEN_HEADER: allow(folder)}
    sent |= {name.replace("_", "-"): value for name, value in changed.items()}
    return {name: value for name, value in sent.items() if value is not None}


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_file_arrives_byte_by_byte(client: Client, tmp_path: Path) -> None:
    data = os.urandom(3 * upload_route.BLOCK_BYTES + 17)
    answer = client.put(PATH, params={"name": "a.zip"}, content=data, headers=headers(tmp_path))
    assert (answer.status_code, answer.json()) == (201, {"name": "a.zip", "bytes": len(data)})
    assert (tmp_path / "a.zip").read_bytes() == data
    assert left(tmp_path) == ["a.zip"]


def test_any_alphabet_may_name_a_file(client: Client, tmp_path: Path) -> None:
    name = "币安人生USDT-trades-2026-09.zip"
    client.put(PATH, params={"name": name}, content=b"x", headers=headers(tmp_path))
    assert left(tmp_path) == [name]


def test_the_same_name_again_replaces_it_whole(client: Client, tmp_path: Path) -> None:
    for content in (b"long and old", b"new"):
        client.put(PATH, params={"name": "a.csv"}, content=content, headers=headers(tmp_path))
    assert (tmp_path / "a.csv").read_bytes() == b"new"


@pytest.mark.parametrize(
    "changed",
    [
        {"Origin": None},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:8502"},
        {"Origin": "http://127.0.0.1.evil.example:8501"},
        {"Origin": "file://127.0.0.1:8501"},
        {"Host": "evil.example"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"X_Perpduck_Token": None},
        {"X_Perpduck_Token": "guessed"},
        {"X_Perpduck_Token": ""},
    ],
)
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_nobody_else_may_upload(
    client: Client, tmp_path: Path, changed: dict[str, str | None], method: str
) -> None:
    sent = headers(tmp_path, **changed)
    answer = client.request(
        method, PATH, params={"name": "a.csv", "bytes": "1"}, content=b"x", headers=sent
    )
    assert answer.status_code == 403
    assert left(tmp_path) == []


def test_a_page_behind_a_proxy_with_tls_may(client: Client, tmp_path: Path) -> None:
    sent = headers(tmp_path, Origin="https://desk.example", Host="desk.example")
    assert client.put(PATH, params={"name": "a"}, content=b"x", headers=sent).status_code == 201


def test_a_token_ends_with_its_time_and_lives_on_when_renewed(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = allow(tmp_path)
    sent = {"Origin": HOME, TOKEN_HEADER: token}
    monkeypatch.setattr(upload_route, "GRANT_S", -1.0)
    answer = client.put(PATH, params={"name": "a"}, content=b"x", headers=sent)
    assert (answer.status_code, answer.json()["error"].endswith("reload it")) == (403, True)
    monkeypatch.setattr(upload_route, "GRANT_S", 3600.0)
    assert allow(tmp_path, token) == token
    assert client.put(PATH, params={"name": "a"}, content=b"x", headers=sent).status_code == 201


def test_old_tokens_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_route, "GRANTS", 3)
    first = allow(tmp_path)
    others = [allow(tmp_path) for _ in range(3)]
    assert first not in upload_route._grants
    assert list(upload_route._grants) == others


@pytest.mark.parametrize(
    "name",
    [
        "", " ", ".", "..", ".hidden", "../a.csv", "a/b.csv", "/etc/passwd", "..\\a.csv",
        "C:\\a.csv", "C:a.csv", "a\x00.csv", "a\n.csv", "a\u202egpj.csv", "x.part", "x" * 181,
        "é" * 91, "a.", "a?.csv",
    ],
)  # fmt: skip
def test_names_that_are_more_than_a_name_are_refused(
    client: Client, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "in"
    answer = client.put(PATH, params={"name": name}, content=b"x", headers=headers(folder))
    assert answer.status_code == 400
    assert "rename" in answer.json()["error"] or "too long" in answer.json()["error"]
    assert left(tmp_path) == []


def test_a_file_larger_than_the_disk_is_refused_before_it_comes(
    client: Client, tmp_path: Path
) -> None:
    asked = {"name": "big.zip", "bytes": str(10**18)}
    answer = client.post(PATH, params=asked, headers=headers(tmp_path))
    assert answer.status_code == 507
    assert "python -m core.imports" in answer.json()["error"]
    asked["bytes"] = "1000"
    assert client.post(PATH, params=asked, headers=headers(tmp_path)).status_code == 200
    assert left(tmp_path) == []


def test_the_reserve_stays_free(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_route, "RESERVE_BYTES", 10**18)
    answer = client.put(PATH, params={"name": "a"}, content=b"x", headers=headers(tmp_path))
    assert answer.status_code == 507
    assert left(tmp_path) == []


def test_a_length_must_be_told_and_an_empty_file_is_none(client: Client, tmp_path: Path) -> None:
    async def untold() -> AsyncIterator[bytes]:
        yield b"x"

    sent = headers(tmp_path)
    assert client.put(PATH, params={"name": "a"}, content=untold(), headers=sent).status_code == 411
    assert client.put(PATH, params={"name": "a"}, content=b"", headers=sent).status_code == 400
    asked = {"name": "a", "bytes": "²"}
    assert client.post(PATH, params=asked, headers=sent).status_code == 411
    assert left(tmp_path) == []


def told(folder: Path, length: int, *events: dict[str, Any]) -> dict[str, Any]:
    """Send a request event by event, as no proper client would; returns the answer's start."""
    sent = {"host": "127.0.0.1:8501", "content-length": str(length)} | headers(folder)
    scope = {
        "type": "http", "method": "PUT", "path": PATH, "raw_path": PATH.encode(),
        "query_string": b"name=half.csv", "root_path": "", "scheme": "http",
        "headers": [(key.lower().encode(), value.encode()) for key, value in sent.items()],
    }  # fmt: skip
    coming = iter(events)
    answers: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return next(coming)

    async def send(message: Any) -> None:
        answers.append(message)

    asyncio.run(Starlette(routes=list(upload_routes()))(scope, receive, send))
    return answers[0]


BODY = {"type": "http.request", "body": b"12345", "more_body": True}
LAST = {"type": "http.request", "body": b"", "more_body": False}
GONE = {"type": "http.disconnect"}


@pytest.mark.parametrize(
    ("length", "events"),
    [(10, (BODY, GONE)), (10, (BODY, LAST)), (4, (BODY, LAST)), (7, (BODY, BODY, LAST))],
    ids=["went away", "ended early", "too much", "too much later"],
)
def test_a_half_upload_leaves_nothing(
    tmp_path: Path, length: int, events: tuple[dict[str, Any], ...]
) -> None:
    assert told(tmp_path, length, *events)["status"] == 400
    assert left(tmp_path) == []


def test_a_half_upload_keeps_the_whole_one_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "half.csv").write_bytes(b"whole")
    told(tmp_path, 10, BODY, GONE)
    assert (tmp_path / "half.csv").read_bytes() == b"whole"


def test_a_disk_that_gets_full_is_named(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(upload_route, "_stream", full)
    answer = client.put(PATH, params={"name": "a"}, content=b"x", headers=headers(tmp_path))
    assert answer.status_code == 507
    assert "disk is full" in answer.json()["error"]
    assert left(tmp_path) == []


def test_parts_of_a_killed_server_are_swept_in_time(tmp_path: Path) -> None:
    old, new, other = tmp_path / ".old.part", tmp_path / ".new.part", tmp_path / "kept.csv"
    for path in (old, new, other):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    os.utime(other, (0, 0))
    sweep(tmp_path)
    assert left(tmp_path) == [".new.part", "kept.csv"]


@pytest.mark.parametrize("method", ["GET", "DELETE", "HEAD"])
def test_nothing_else_is_answered(client: Client, tmp_path: Path, method: str) -> None:
    assert client.request(method, PATH, headers=headers(tmp_path)).status_code == 405
