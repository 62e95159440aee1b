"""The whole of it as a user has it: the app, a worker started over HTTP, the practice exchange."""

from __future__ import annotations

import html
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
from processes import wait_for
from prometheus_client.parser import text_string_to_metric_families
from websockets.sync.client import connect

from core import queries
from core.pair_spec import PairSpec
from core.pairs import analyse_pair
from core.store import Store, open_store
from tests.api.conftest import Api, assert_problem
from tests.api.test_api_pairs import time_of
from tests.browser.conftest import ROOT, serving

CHINESE = "币安人生usdt"
WATCHED = ["arbusdt", "opusdt", "btcusdt", CHINESE]
PAIR = {"y": "arbusdt", "x": "opusdt"}
FAR = datetime(2200, 1, 1)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The app with a worker that follows four symbols of the practice exchange."""
    home = tmp_path_factory.mktemp("practice")
    with (
        pytest.MonkeyPatch.context() as patch,
        httpx.Client(timeout=60) as client,
    ):
        patch.setenv("PERPDUCK_PRACTICE_RATE", "120")
        patch.setenv("PERPDUCK_HISTORY", "0")
        with serving(home) as server:
            yield from following(Api(server.url, client))


def following(api: Api) -> Iterator[Api]:
    """Have a worker follow the symbols, and wait for what came before."""
    begun = api.ask(
        "POST", "/ingest/start", params={"source": "practice"},
        json={"mode": "ws", "symbols": [symbol.upper() for symbol in WATCHED]},
    )  # fmt: skip
    assert begun.status_code == 202, begun.text
    told = begun.json()
    assert (told["started"], told["watchlist"]) == (True, sorted(WATCHED))
    pid = told["pid"]
    wait_for(lambda: is_full(api), within_s=90, what="a quarter of an hour of trades")
    assert api.found("/ingest/status")["worker"]["pid"] == pid
    yield api


def is_full(api: Api) -> bool:
    """Whether the worker is live and has filled the last quarter of an hour."""
    if api.found("/health", source="practice")["status"] != "ok":
        return False
    rows = api.found("/ingest/status")["symbols"]
    live = [one for one in rows if one["state"] == "live" and not one["note"]]
    if len(live) < len(WATCHED) or any(one["open_gaps"] for one in rows):
        return False
    return len(api.found("/resampled/arbusdt", limit=1_000)["data"]) > 300


@pytest.fixture(scope="module")
def store(app: Api, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The worker's file, read from this process as well."""
    status = app.found("/ingest/status")
    assert status["source"] == "practice"
    return open_store(next(tmp_path_factory.getbasetemp().glob("practice*/practice-7.duckdb")))


def closed(api: Api, symbol: str, seconds: int = 600) -> tuple[datetime, datetime]:
    """Return a stretch of bars that change no more: no gap is open, which a busy machine makes."""
    wait_for(lambda: is_full(api), within_s=60, what="gaps to be filled")
    newest = time_of(api.found(f"/resampled/{symbol}", limit=1)["data"][0]["ts"])
    end = newest.replace(microsecond=0) - timedelta(seconds=20)
    return end - timedelta(seconds=seconds), end


def test_the_worker_s_state_is_told(app: Api) -> None:
    told = app.found("/ingest/status")
    assert (told["running"], told["state"], told["error"]) == (True, "live", None)
    assert {one["symbol"] for one in told["symbols"]} == set(WATCHED)
    assert all(one["lag_s"] < 60 for one in told["symbols"])
    assert app.found("/health") == {
        "status": "ok", "source": "practice", "worker": "live",
        "reason": "Trades are written as they come.", "remedy": "",
    }  # fmt: skip
    symbols = app.found("/symbols")
    assert set(WATCHED) <= set(symbols["symbols"])
    assert len(symbols["contracts"]) > 20
    more = app.ask("POST", "/ingest/start", json={"symbols": ["solusdt"]})
    assert (more.status_code, more.json()["started"]) == (200, False)
    assert "solusdt" in more.json()["watchlist"]


@pytest.mark.parametrize("symbol", ["arbusdt", CHINESE])
def test_bars_are_the_trades(app: Api, store: Store, symbol: str) -> None:
    start, end = closed(app, symbol)
    asked = {"start": f"{start.isoformat()}Z", "end": f"{end.isoformat()}Z"}
    told = pl.DataFrame(app.found(f"/resampled/{symbol}", **asked)["data"])
    with store.read(wait_s=20, limit_s=10) as con:
        trades = queries.load_trades(con, symbol, start, end)
    bars = trades.sort("ts", "agg_id").group_by_dynamic("ts", every="1s").agg(
        open=pl.col("price").first(), high=pl.col("price").max(), low=pl.col("price").min(),
        close=pl.col("price").last(), volume=pl.col("size").sum(), trades=pl.len(),
    )  # fmt: skip
    assert told["ts"].to_list() == bars["ts"].dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_list()
    for name in ("open", "high", "low", "close", "trades"):
        assert told[name].to_list() == bars[name].to_list(), name
    np.testing.assert_allclose(told["volume"], bars["volume"], rtol=1e-9)
    assert told.height > 30
    quoted = app.ask("GET", f"/export/{symbol.upper()}", params=asked)
    saved = pl.read_csv(quoted.content)
    assert saved["close"].to_list() == told["close"].to_list()


def test_a_pair_is_analysed_as_the_pages_would(app: Api, store: Store) -> None:
    told = app.found("/analytics/pair", **PAIR, range="15m")
    start, end = (time_of(told["range"][name]) for name in ("start", "end"))
    found = analyse_pair(store, PairSpec(**PAIR, timeframe="1s"), start, end)
    assert found.ols.value is not None
    assert told["hedge"]["beta"] == pytest.approx(found.ols.value.beta, rel=1e-12)
    matrix = app.found("/analytics/corr_matrix", symbols="arbusdt,opusdt,btcusdt", timeframe="1s",
                       range="15m")  # fmt: skip
    values = np.array(matrix["matrix"])
    np.testing.assert_allclose(values, values.T)
    np.testing.assert_allclose(np.diag(values), 1.0)


def test_an_answer_is_304_until_trades_come(app: Api) -> None:
    start, end = closed(app, "arbusdt", 60)
    held = {"start": f"{start.isoformat()}Z", "end": f"{end.isoformat()}Z"}
    etag = app.get("/resampled/arbusdt", **held).headers["etag"]

    def has_changed() -> bool:
        answer = app.ask(
            "GET", "/resampled/arbusdt", params=held, headers={"If-None-Match": etag}
        )  # fmt: skip
        assert answer.status_code in (200, 304)
        return answer.status_code == 200

    wait_for(has_changed, what="another trade of the symbol")


def test_the_worker_and_the_api_are_counted(app: Api) -> None:
    wait_for(lambda: is_full(app), within_s=60, what="gaps to be filled")
    text = app.get("/metrics").text
    found = {
        (one.name, one.labels.get("symbol", "")): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
        if one.labels.get("source", "practice") == "practice"
    }
    assert found["perpduck_worker_up", ""] == 1
    for name in ("flush_seconds", "worst_flush_seconds", "file_bytes", "trades_per_second"):
        assert found[f"perpduck_{name}", ""] > 0, name
    for name in ("buffered_trades", "spilled_trades", "reconnects_total", "live_clients"):
        assert found[f"perpduck_{name}", ""] >= 0, name
    for symbol in WATCHED:
        assert found["perpduck_trades_stored_total", symbol] > 0
        assert found["perpduck_lag_seconds", symbol] < 60
        assert found["perpduck_open_gaps", symbol] == 0
    assert 'perpduck_api_requests_total{method="GET",route="/api/symbols",status="200"}' in text
    assert 'perpduck_api_request_seconds_count{route="/api/resampled/{symbol}"}' in text


def received(socket: Any, kind: str) -> dict[str, Any]:
    while True:
        told: dict[str, Any] = json.loads(socket.recv(30))
        assert told["type"] != "error", told
        if told["type"] == kind:
            return told


def test_everything_live_is_told(app: Api, store: Store) -> None:
    rule = app.ask(
        "POST", "/alerts",
        json={"metric": "price", "symbol_y": "arbusdt", "op": ">", "threshold": 0,
              "timeframe": "1s", "when": "live"},
    )  # fmt: skip
    assert rule.status_code == 201, rule.text
    topics = ["trades:arbusdt", "bars:arbusdt:1s", "pair:arbusdt:opusdt:1s", "alerts"]
    with connect(app.live_url, proxy=None) as socket:
        socket.send(json.dumps({"subscribe": topics}))
        assert received(socket, "subscribed")["topics"] == sorted(topics)
        trades = received(socket, "trades")["trades"]
        bars = received(socket, "bars")
        pair = received(socket, "pair")
        trades += received(socket, "trades")["trades"]
        beat = received(socket, "heartbeat")
        # It may have fired before the subscription.
        rule_ids = {one["rule_id"] for one in app.found("/alerts/events")["events"]}
        if rule.json()["id"] not in rule_ids:
            assert received(socket, "alert")["rule_id"] == rule.json()["id"]
    assert set(WATCHED) <= set(beat["symbols"])
    assert all(one["price"] > 0 for one in beat["symbols"].values() if one["ts"])
    assert bars["timeframe"] == "1s"
    assert pair["zscore"] is None or abs(pair["zscore"]) < 100
    with store.read(wait_s=20, limit_s=10) as con:
        kept = dict(
            con.execute(
                "select agg_id, price from trades where symbol = 'arbusdt' and agg_id in "
                "(select unnest(?))",
                [[one["agg_id"] for one in trades]],
            ).fetchall()
        )
    assert {one["agg_id"]: one["price"] for one in trades} == kept
    gone = app.ask("DELETE", f"/alerts/{rule.json()['id']}")
    assert gone.status_code == 204


def commands(app: Api) -> dict[str, list[str]]:
    """Return the curl lines of the documentation page by operation, for this server."""
    text = app.get("/docs").text
    found = re.findall(r'<details id="(\w+)">.*?<pre>(.*?)</pre>', text, re.DOTALL)
    here = app.url.removeprefix("http://")
    return {
        name: shlex.split(html.unescape(line).replace("127.0.0.1:8501", here))
        for name, line in found
    }


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_every_curl_line_of_the_page_works(app: Api, tmp_path: Path) -> None:
    lines = commands(app)
    at = 1_795_000_020_000
    ticks = [{"symbol": "mineusdt", "ts": at + i * 1000, "price": 5 + i % 3} for i in range(50)]
    (tmp_path / "ticks.ndjson").write_text("\n".join(map(json.dumps, ticks)))
    bars = [f"{at + i * 60_000},5,6,4,5,1" for i in range(20)]
    (tmp_path / "bars.csv").write_text("\n".join(["ts,open,high,low,close,volume", *bars]))
    ids: dict[str, str] = {}
    # What stops or removes comes last.
    order = sorted(
        lines, key=lambda name: (name.startswith("delete"), name == "get_api_uploads_id")
    )
    for name in order:
        if name == "post_api_ingest_stop" or "scans" in name:
            continue
        made = [
            word.replace("/ID", f"/{ids.get(name.split('_')[2], 'ID')}") for word in lines[name]
        ]
        command = [made[0], "-sS", "-w", "%{stderr}%{http_code}", *made[1:]]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, timeout=60, env=os.environ | {"LC_ALL": "C"}
        )
        assert done.returncode == 0, (made, done.stderr)
        assert done.stderr[-3:-1] == b"20", (made, done.stderr, done.stdout[:500])
        if name.startswith("post") and b'"id"' in done.stdout:
            kind = "uploads" if "upload" in name else name.split("_")[2]
            ids[kind] = json.loads(done.stdout)["id"]
    assert set(ids) == {"alerts", "uploads"}
    saved = {path.name for path in tmp_path.iterdir()}
    assert {"perpduck-arbusdt-1s.csv", "perpduck-arbusdt-opusdt-1s.csv"} <= saved


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("sh")), reason="no curl or shell")
def test_every_line_of_the_readme_works(app: Api, tmp_path: Path) -> None:
    told = (ROOT / "README.md").read_text(encoding="utf-8").partition("## The API")[2]
    text = told.partition("```sh\n")[2].partition("```")[0].replace("\\\n", "")
    here = app.url.removeprefix("http://")
    lines = [line for line in text.replace("127.0.0.1:8501", here).splitlines() if line]
    assert len(lines) > 15
    for line in lines:
        if "/scans" in line:
            continue
        command = line.replace("curl ", "curl -sS --fail ", 1)
        done = subprocess.run(
            ["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, (line, done.stderr, done.stdout[:500])
    assert {path.name for path in tmp_path.iterdir()} == {
        "pair.csv", "arbusdt.parquet", "ticks.ndjson",
    }  # fmt: skip


def test_the_pages_are_on_the_same_port(app: Api) -> None:
    page = app.client.get(f"{app.url}/")
    assert page.headers["content-type"].startswith("text/html")
    assert app.client.get(f"{app.url}/_stcore/health").text == "ok"
    assert_problem(app.get("/nothing"), 404)
    assert app.get("/docs").status_code == 200


def test_the_worker_ends_when_it_is_told_to(app: Api) -> None:
    told = app.ask("POST", "/ingest/stop")
    assert (told.status_code, told.json()["stopping"]) == (202, True)
    wait_for(lambda: app.found("/health")["worker"] == "stopped", what="stopped")
    assert_problem(app.ask("POST", "/ingest/stop"), 409)
    assert app.found("/ingest/status")["running"] is False
    assert app.found("/resampled/arbusdt", limit=5)["data"]
