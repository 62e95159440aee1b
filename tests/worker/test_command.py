"""The worker's command: practice, status, stopping, following the watchlist."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ROOT, wait_for, worker_process

from core import queries
from core.commands import add_to_watchlist, remove_from_watchlist
from core.config import load_settings
from core.store import open_store
from core.supervisor import start_worker, stop_worker, tail_log, worker_health


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "ingest_worker.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )


def test_practice_follows_the_watchlist_and_stops_on_request_within_five_seconds(
    tmp_path: Path,
) -> None:
    db = tmp_path / "practice.duckdb"
    store = open_store(db)

    def live() -> set[str]:
        if not store.exists():
            return set()
        with store.read(wait_s=20) as con:
            rows = queries.load_symbol_status(con)
        return set(rows.filter(rows["state"] == "live")["symbol"])

    with worker_process(db, "--practice", "--symbols", "BTCUSDT", "--log-json") as worker:
        wait_for(lambda: live() == {"btcusdt"}, what="btcusdt live")
        add_to_watchlist(store, ["ETHUSDT", "币安人生USDT", "nosuchusdt"])
        wait_for(lambda: live() == {"btcusdt", "ethusdt", "币安人生usdt"}, what="added live")
        with store.read() as con:
            rows = queries.load_symbol_status(con)
            assert queries.load_symbols(con)["symbol"].is_in(["btcusdt", "币安人生usdt"]).sum() == 2
        assert rows.filter(rows["symbol"] == "nosuchusdt")["state"].to_list() == ["refused"]
        remove_from_watchlist(store, ["btcusdt", "nosuchusdt"])
        wait_for(lambda: live() == {"ethusdt", "币安人生usdt"}, what="removed gone")

        checked = command("--db", str(db), "--check")
        assert checked.returncode == 0, checked.stdout
        assert f"pid {worker.process.pid}" in checked.stdout

        stop_worker(store)
        assert worker.process.wait(5) == 0
        assert all(json.loads(line)["message"] for line in worker.text().splitlines())
    with store.read() as con:
        status = queries.load_worker_status(con)
    assert status is not None
    assert (status.state, status.buffered_trades) == ("stopped", 0)
    after = command("--db", str(db), "--check")
    assert after.returncode == 1
    assert after.stdout.startswith("stopped")


def test_sigterm_stores_everything_and_exits_with_0(tmp_path: Path) -> None:
    db = tmp_path / "term.duckdb"
    with worker_process(db, "--practice", "--symbols", "btcusdt") as worker:
        store = open_store(db)
        wait_for(lambda: store.exists() and rows(store) > 0)
        status, seconds = worker.stop()
        assert (status, seconds < 5) == (0, True), worker.text()
        assert "everything is stored" in worker.text()


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C reaches a whole console there")
def test_ctrl_c_stores_everything_and_exits_with_0(tmp_path: Path) -> None:
    db = tmp_path / "int.duckdb"
    with worker_process(db, "--practice", "--symbols", "btcusdt") as worker:
        store = open_store(db)
        wait_for(lambda: store.exists() and rows(store) > 0)
        worker.process.send_signal(signal.SIGINT)
        assert worker.process.wait(5) == 0, worker.text()
        assert "everything is stored" in worker.text()


def rows(store) -> int:
    with store.read(wait_s=20) as con:
        return con.execute("select count(*) from trades").fetchall()[0][0]


def test_the_app_starts_a_detached_worker_sees_its_log_and_judges_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERPDUCK_DB", str(tmp_path / "perpduck.duckdb"))
    settings = load_settings()
    db = settings.practice_db()
    assert db == tmp_path / "practice-7.duckdb"
    assert worker_health(db, None).state == "never"
    pid = start_worker(settings, practice=True, symbols=["btcusdt"])
    store = open_store(db)

    def health() -> str:
        if not store.exists():
            return worker_health(db, None).state
        with store.read(wait_s=20) as con:
            return worker_health(db, queries.load_worker_status(con)).state

    try:
        wait_for(lambda: health() == "live", what="live")
        assert "worker started" in tail_log(db)
        with store.read() as con:
            status = queries.load_worker_status(con)
        assert status is not None
        assert (status.pid, status.venue) == (pid, "practice:7")
    finally:
        stop_worker(store)
    wait_for(lambda: health() == "stopped", what="stopped")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--ws-url", "wss://x/market/stream"), "scheme, host and port only"),
        (("--flush-interval", "0"), "0.05 to 5"),
        (("--backfill", "soon"), "30min"),
    ],
)
def test_an_argument_that_cannot_be_used_is_explained(
    arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    found = command("--db", str(tmp_path / "x.duckdb"), *arguments)
    assert found.returncode == 2
    assert words in found.stderr
    assert "Traceback" not in found.stderr


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    db = tmp_path / "letter.duckdb"
    db.write_text("Dear reader, " * 500)
    found = command("--db", str(db), "--practice")
    assert found.returncode == 1
    assert "not a DuckDB file" in found.stderr
    assert "Traceback" not in found.stderr
    assert db.read_text().startswith("Dear reader")


def test_check_without_a_file_says_that_no_worker_ran(tmp_path: Path) -> None:
    found = command("--db", str(tmp_path / "none.duckdb"), "--check")
    assert (found.returncode, found.stdout[:5]) == (1, "never")
