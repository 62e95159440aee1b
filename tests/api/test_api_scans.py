"""Scans for programs: begun, followed, read, as JSON and as a file; what cannot be is a problem."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from core.live.scans import begin_scan, scan_run
from core.scanning.kept import load_scan
from core.scanning.settings import ScanSettings
from core.store import Store, open_store
from core.supervisor import WorkerLock
from tests.api.conftest import Api, assert_problem
from tests.scanning.markets import market_store, now, planted, walks


@pytest.fixture
def market(home: Path) -> Store:
    """Seven symbols over half a day, one pair planted."""
    logs = walks(6, 720, seed=5, volatility=5e-4)
    logs["hubusdt"] = planted(logs["s000usdt"], half_life=3, sigma=0.004)
    return market_store(home / "practice-7.duckdb", logs, until=now().replace(microsecond=0))


def begun(api: Api, body: dict[str, Any]) -> str:
    answer = api.ask("POST", "/scans", json=body)
    assert answer.status_code == 202, answer.text
    place = answer.headers["location"]
    assert place == f"/api/scans/{answer.json()['id']}?source=practice"
    return place.removeprefix("/api")


def ended(api: Api, place: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while (answer := api.get(place)).status_code == 202:
        told = answer.json()
        assert told["state"] == "running"
        assert 0 <= told["share"] <= 1
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_scan_is_begun_followed_and_read(api: Api, market: Store) -> None:
    assert_problem(api.get("/scans/latest"), 404)
    found = ended(api, begun(api, {"span": "6h", "aic": True, "lag": 3, "level": 0.1}))
    with market.read() as con:
        kept = load_scan(con)
    assert kept is not None
    assert kept.settings == ScanSettings(span="6h", is_aic=True, lag=3, level=0.1)
    assert kept.asked_by == "program"
    assert found["state"] == "done"
    assert found["id"] == kept.id
    assert (found["tested"], found["confirmed"]) == (42, kept.confirmed)
    assert found["noise"]["tested"] == kept.noise.tested
    assert found["windows"]["test_end"].endswith("Z")
    assert found["headline"].startswith("Tested 42 ordered pairs of 7 symbols")
    first = found["pairs"][0]
    assert (first["y"], first["x"], first["stage"]) == ("hubusdt", "s000usdt", "confirmed")
    assert first["statistic"] == kept.pairs["statistic"][0]
    assert (first["survived_scans"], first["of_scans"]) == (1, 1)
    assert len(found["pairs"]) == kept.pairs.height
    assert api.found("/scans/latest") == found


def test_what_was_begun_on_one_file_is_found_there(api: Api, market: Store) -> None:
    """Without a source the file of the live worker is asked, which is now the other one."""
    place = begun(api, {"span": "6h"})
    other = open_store(market.path.with_name("perpduck.duckdb"))
    other.prepare("binance")
    lock = WorkerLock(other.path)
    lock.take()
    try:
        assert ended(api, place)["id"] in place
        assert_problem(api.get(place.partition("?")[0]), 404)
    finally:
        lock.release()


def test_the_table_comes_as_a_file_and_unchanged_as_304(api: Api, market: Store) -> None:
    place = begun(api, {"span": "6h", "symbols": ["S000usdt", "hubusdt", "s003usdt"]})
    found = ended(api, place)
    assert found["settings"]["symbols"] == ["hubusdt", "s000usdt", "s003usdt"]
    answer = api.get("/scans/latest", format="parquet")
    table = pl.read_parquet(io.BytesIO(answer.content))
    with market.read() as con:
        kept = load_scan(con)
    assert kept is not None
    assert table.equals(kept.pairs.drop("spark"))
    assert len(api.found("/scans/latest", limit=1)["pairs"]) == 1
    ms = api.found("/scans/latest", ts_format="ms")["started_at"]
    assert isinstance(ms, int)
    etag = api.get("/scans/latest").headers["etag"]
    again = api.ask("GET", "/scans/latest", headers={"If-None-Match": etag})
    assert again.status_code == 304
    ended(api, begun(api, {"span": "6h"}))
    assert api.get("/scans/latest").headers["etag"] != etag
    # The older one stays under its own name.
    assert api.found(place)["id"] == found["id"]


def test_what_cannot_be_scanned_is_a_problem(api: Api, market: Store) -> None:
    assert_problem(api.ask("POST", "/scans", json={"span": "2h"}), 400, parameter="span")
    assert_problem(api.ask("POST", "/scans", json={"lag": 11}), 400, parameter="lag")
    assert_problem(api.ask("POST", "/scans", json={"symbols": ["nousdt"]}), 404)
    told = api.ask("POST", "/scans", json={"span": "6h", "timeframe": "5min"})
    assert "a scan needs 200" in assert_problem(told, 400, parameter="span")["detail"]
    place = begun(api, {"span": "6h", "min_turnover": 1e14})
    run = scan_run(market)
    assert run is not None
    run.wait(60)
    assert "turned over" in assert_problem(api.get(place), 422)["detail"]
    assert_problem(api.get("/scans/0123456789abcdef"), 404)


def test_a_second_scan_waits_for_the_first(api: Api, market: Store) -> None:
    begin_scan(market, ScanSettings(span="6h"), asked_by="page")
    try:
        # Whether the first is over by now is up to the machine: it is begun until one meets it.
        for _ in range(50):
            answer = api.ask("POST", "/scans", json={"span": "6h"})
            if answer.status_code == 409:
                break
        assert "A scan is running" in assert_problem(answer, 409)["detail"]
    finally:
        last = scan_run(market)
        assert last is not None
        last.wait(60)
