"""What cannot be answered is a problem document (RFC 9457) that says what to do."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.api.problems import Problem
from core.api.routes import OPERATIONS
from core.live.feeder import feeder
from core.live.sources import named
from core.store import Store, open_store
from core.supervisor import WorkerLock, stop_worker
from tests.api.conftest import UPLOAD_BYTES, Api, assert_problem
from tests.pages.conftest import held
from tests.pages.test_pair_page import pair_store

PAIR = {"y": "arbusdt", "x": "opusdt"}
BARS, ANALYSIS, MATRIX = "/resampled/arbusdt", "/analytics/pair", "/analytics/corr_matrix"


@pytest.mark.parametrize(
    ("path", "params", "name", "allowed"),
    [
        (ANALYSIS, {"y": "arbusdt"}, "x", {"minLength": 1, "maxLength": 80}),
        (ANALYSIS, PAIR | {"nope": "1"}, "nope", ["x", "y", "roll_window", "ts_format"]),
        (ANALYSIS, PAIR | {"roll_window": "2"}, "roll_window", {"minimum": 3, "maximum": 100_000}),
        (ANALYSIS, PAIR | {"roll_window": "100001"}, "roll_window", {"maximum": 100_000}),
        (ANALYSIS, PAIR | {"roll_window": "9" * 400}, "roll_window", {"minimum": 3}),
        (ANALYSIS, PAIR | {"roll_window": "many"}, "roll_window", {"type": "integer"}),
        (ANALYSIS, PAIR | {"regression": "magic"}, "regression",
         {"enum": ["kalman", "ols", "refit", "rolling", "tls"]}),
        (ANALYSIS, PAIR | {"price_scale": "sqrt"}, "price_scale", {"enum": ["log", "raw"]}),
        (ANALYSIS, PAIR | {"min_volume": "-1"}, "min_volume", {"minimum": 0}),
        (ANALYSIS, PAIR | {"min_volume": "nan"}, "min_volume", {"minimum": 0}),
        (ANALYSIS, PAIR | {"min_volume": "inf"}, "min_volume", {"maximum": 1e15}),
        (ANALYSIS, PAIR | {"min_volume": "1e999"}, "min_volume", {"maximum": 1e15}),
        (ANALYSIS, PAIR | {"limit": "0"}, "limit", {"minimum": 1, "maximum": 100_000}),
        (ANALYSIS, PAIR | {"range": "3h"}, "range",
         {"enum": ["15m", "1d", "1h", "6h", "7d", "all"]}),
        (ANALYSIS, PAIR | {"timeframe": "7w"}, "timeframe", ["1s", "1min", "1m", "1d"]),
        (ANALYSIS, PAIR | {"carry": "1001"}, "carry", {"minimum": 0, "maximum": 1000}),
        (ANALYSIS, PAIR | {"burn_in": "199"}, "burn_in", {"minimum": 200}),
        (ANALYSIS, PAIR | {"hold": "0"}, "hold", {"minimum": 1}),
        (ANALYSIS, PAIR | {"ts_format": "unix"}, "ts_format", {"enum": ["iso", "ms"]}),
        (ANALYSIS, PAIR | {"x": "ARBUSDT"}, "x", None),
        (ANALYSIS, PAIR | {"x": "x" * 81}, "x", {"maxLength": 80}),
        (ANALYSIS, PAIR | {"x": "\0"}, "x", None),
        (ANALYSIS, PAIR | {"source": "kraken"}, "source", {"enum": ["binance", "practice"]}),
        (BARS, {"limit": "10001"}, "limit", {"minimum": 1, "maximum": 10_000}),
        (BARS, {"start": "yesterday"}, "start", "ISO 8601"),
        (BARS, {"start": "1969-12-31"}, "start", "1970 to 2199"),
        (BARS, {"end": "2200-01-01"}, "end", "1970 to 2199"),
        (BARS, {"start": "10000000"}, "start", "1970 to 2199"),
        (BARS, {"end": "99999999999999"}, "end", "1970 to 2199"),
        (BARS, {"start": "2026-01-02", "end": "2026-01-01"}, "end", None),
        (BARS, {"start": "2026-01-02", "end": "2026-01-02"}, "end", None),
        ("/export/arbusdt", {"format": "xlsx"}, "format", {"enum": ["arrow", "csv", "parquet"]}),
        (MATRIX, {"symbols": "arbusdt"}, "symbols", {"minItems": 2, "maxItems": 200}),
        (MATRIX, {"symbols": "arbusdt,ARBUSDT,,"}, "symbols", {"minItems": 2}),
        (MATRIX, {"symbols": "a" * 8_001}, "symbols", {"maxLength": 8_000}),
        (MATRIX, {}, "symbols", {"minLength": 3}),
        (MATRIX, {"symbols": "arbusdt,opusdt", "kind": "kendall"}, "kind",
         {"enum": ["pearson", "spearman"]}),
        ("/alerts/events", {"limit": "1001"}, "limit", {"maximum": 1000}),
        ("/symbols", {"dataset": "mine"}, "dataset", ["source"]),
    ],
)  # fmt: skip
def test_a_bad_parameter_is_named_with_what_is_allowed(
    api: Api, pairs: Store, path: str, params: dict[str, str], name: str, allowed: Any
) -> None:
    told = assert_problem(api.get(path, **params), 400, parameter=name)
    if isinstance(allowed, dict):
        assert told["allowed"] | allowed == told["allowed"]
    elif isinstance(allowed, list):
        assert set(allowed) <= set(told["allowed"])
    elif allowed:
        assert allowed in told["allowed"]


def test_limits_themselves_are_taken(api: Api, pairs: Store) -> None:
    for params in (
        {"roll_window": 3, "carry": 1000, "hold": 1, "burn_in": 200, "limit": 1},
        {"roll_window": 100_000, "hold": 100_000, "burn_in": 100_000, "limit": 100_000},
        {"min_volume": 0, "roll_window": ""},
    ):
        assert api.found(ANALYSIS, **PAIR, **params)
    for limit in (1, 10_000):
        assert api.found(BARS, limit=limit, start="1970-01-01", end="2199-12-31")["data"]


def test_a_parameter_given_twice_is_named(api: Api, pairs: Store) -> None:
    answer = api.ask("GET", f"{ANALYSIS}?y=arbusdt&y=opusdt&x=btcusdt")
    assert_problem(answer, 400, parameter="y")


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/resampled/nosuch", {}), ("/export/nosuch", {}), (ANALYSIS, PAIR | {"x": "nosuch"}),
        ("/analytics/pair_export", PAIR | {"y": "nosuch"}), (BARS, {"dataset": "nosuch"}),
        (MATRIX, {"symbols": "arbusdt,nosuch"}), ("/resampled/%20", {}),
        ("/resampled/arbusdt@nosuch", {}), ("/resampled/" + "x" * 300, {}),
    ],
)  # fmt: skip
def test_an_unknown_symbol_is_404_with_those_there_are(
    api: Api, pairs: Store, path: str, params: dict[str, str]
) -> None:
    told = assert_problem(api.get(path, **params), 404)
    assert "there is arbusdt, btcusdt, opusdt" in told["detail"]


def test_what_is_no_route_is_404(api: Api) -> None:
    for path in ("/nothing", "/symbols/", "/resampled", "/resampled/a/b", "/uploads/..%2f..%2fx"):
        for method in ("GET", "POST", "OPTIONS"):
            answer = api.ask(method, path, headers={"Content-Type": "application/json"})
            assert_problem(answer, 404)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
@pytest.mark.parametrize("path", sorted({op.path for op in OPERATIONS} | {"/api/docs"}))
def test_another_method_is_405_with_those_there_are(api: Api, method: str, path: str) -> None:
    known = {op.method for op in OPERATIONS if op.path == path} or {"GET"}
    if method in known:
        return
    filled = path.removeprefix("/api").format(symbol="arbusdt", id="x")
    answer = api.ask(method, filled, headers={"Content-Type": "application/json"})
    assert_problem(answer, 405)
    allowed = set(answer.headers["allow"].split(", "))
    assert allowed == (known | {"HEAD"} if "GET" in known else known)


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/symbols", BARS])
def test_head_is_get_without_its_body(api: Api, pairs: Store, path: str) -> None:
    full, head = api.get(path), api.ask("HEAD", path)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "content-length", "cache-control", "etag"):
        assert head.headers.get(name) == full.headers.get(name), name


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("path", ["/alerts", "/backtests", "/ingest/start"])
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'"\\ud800"', b"[" * 100_000, b"{}{}", b"NaN",
     b'{"a":1', b'{"nope":1}'],
)  # fmt: skip
def test_a_body_that_is_no_json_object_is_400(
    api: Api, pairs: Store, path: str, body: bytes
) -> None:
    assert_problem(api.ask("POST", path, content=body, headers=JSON), 400)


@pytest.mark.parametrize("media", [None, "text/plain", "application/x-www-form-urlencoded"])
@pytest.mark.parametrize("path", ["/alerts", "/backtests", "/ingest/start", "/upload_ndjson"])
def test_a_body_of_another_kind_is_415(api: Api, path: str, media: str | None) -> None:
    headers = {"Content-Type": media} if media else {}
    assert_problem(api.ask("POST", path, content=b"{}", headers=headers), 415)


def test_what_is_too_large_is_413(api: Api, home: Path) -> None:
    large = b" " * ((1 << 20) + 1)
    assert_problem(api.ask("POST", "/alerts", content=large, headers=JSON), 413)
    file = {"file": ("a.ndjson", b"x" * UPLOAD_BYTES)}
    assert_problem(api.ask("POST", "/upload_ndjson", files=file), 413)
    assert not list(home.iterdir())


@pytest.mark.parametrize(
    ("path", "params"),
    [(BARS, {}), ("/symbols", {}), (ANALYSIS, PAIR), (MATRIX, {"symbols": "a,b"}), ("/alerts", {})],
)
def test_without_a_file_everything_asked_of_it_is_404(
    api: Api, home: Path, path: str, params: dict[str, str]
) -> None:
    told = assert_problem(api.get(path, **params), 404)
    assert "perpduck.duckdb" in told["detail"]
    assert api.found("/health")["worker"] == "never"
    assert api.found("/ingest/status")["state"] == "never"


def test_a_busy_file_is_503_and_says_when_to_try_again(api: Api, home: Path) -> None:
    store = pair_store(home, 60)
    with held(store.path):
        for path, params in ((BARS, {}), (ANALYSIS, PAIR), ("/symbols", {}), ("/alerts", {})):
            answer = api.get(path, **params)
            told = assert_problem(answer, 503)
            assert int(answer.headers["retry-after"]) >= 1
            assert "practice-7.duckdb" in told["detail"]
        added = api.ask("POST", "/alerts", json={"metric": "disk", "op": "<", "threshold": 1})
        assert_problem(added, 503)
        assert api.found("/health")["status"] == "degraded"
        assert "practice-7" in api.found("/ingest/status")["error"]
        assert api.get("/metrics").status_code == 200
    feeder(store).refresh()
    assert api.found(BARS)["data"]


def test_what_does_not_pass_by_waiting_says_nothing_of_trying_again(
    api: Api, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "perpduck.duckdb").write_text("Dear reader, " * 500)
    answer = api.get("/symbols")
    assert "not a DuckDB file" in assert_problem(answer, 500)["detail"]
    assert "retry-after" not in answer.headers
    assert (home / "perpduck.duckdb").read_text().startswith("Dear reader")
    monkeypatch.setenv("PERPDUCK_WS_URL", "nowhere")
    answer = api.get("/symbols")
    assert "--ws-url" in assert_problem(answer, 500)["detail"]
    assert "retry-after" not in answer.headers


def started(api: Api, *symbols: str) -> httpx.Response:
    asked: dict[str, Any] = {"params": {"source": "practice"}, "json": {"symbols": symbols}}
    return api.ask("POST", "/ingest/start", **asked)


@pytest.fixture
def worker(home: Path) -> Iterator[WorkerLock]:
    """What a worker of the practice file holds."""
    pair_store(home, 60)
    lock = WorkerLock(open_store(home / "practice-7.duckdb").path)
    lock.take()
    try:
        yield lock
    finally:
        lock.release()


def test_a_worker_that_is_stopping_is_409(api: Api, home: Path, worker: WorkerLock) -> None:
    more = started(api, "newusdt")
    assert (more.status_code, more.json()["started"]) == (200, False)
    assert "newusdt" in more.json()["watchlist"]
    stopped = api.ask("POST", "/ingest/stop", params={"source": "practice"})
    assert (stopped.status_code, stopped.json()["stopping"]) == (202, True)
    again = started(api)
    assert_problem(again, 409)
    assert "retry-after" in again.headers
    # Another worker that has begun meanwhile is not the one that was stopped.
    worker.release()
    assert_problem(api.ask("POST", "/ingest/stop", params={"source": "practice"}), 409)
    worker.take()
    (home / "practice-7.duckdb.worker.pid").write_text(str(os.getppid()))
    assert started(api, "otherusdt").status_code == 200


def test_a_worker_that_the_data_page_stops_is_stopping_too(api: Api, worker: WorkerLock) -> None:
    stop_worker(named("practice").store)
    assert_problem(started(api), 409)


@pytest.mark.parametrize("path", [ANALYSIS, "/analytics/pair_export", MATRIX])
def test_what_computes_for_long_holds_nobody_else_up(
    api: Api, pairs: Store, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    go, begun = threading.Event(), threading.Semaphore(0)

    def endless(*_: object) -> None:
        begun.release()
        assert go.wait(20)
        raise Problem(422, "It was only a test.")

    monkeypatch.setattr("core.api.pairs._asked", endless)
    monkeypatch.setattr("core.api.matrix.subject_of", endless)
    asked = {"symbols": "arbusdt,opusdt"} if path == MATRIX else PAIR
    api.found("/symbols")
    with ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(api.get, path, **asked) for _ in range(16)]
        try:
            assert begun.acquire(timeout=10)
            assert httpx.get(f"{api.url}/api/symbols", timeout=5).status_code == 200
        finally:
            go.set()
        assert {one.result().status_code for one in answers} == {422}


def test_an_answer_that_fails_is_a_problem_and_in_the_log(
    api: Api, pairs: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a secret of the inside")

    monkeypatch.setattr("core.api.bars._stretch", broken)
    told = assert_problem(api.get(BARS), 500)
    assert "ZeroDivisionError" in told["detail"]
    assert "secret" not in told["detail"]
    assert "a secret of the inside" in caplog.text
