"""A file that is held, a disk that is full: the worker keeps reading and loses nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from exchange import Rig, assert_same_as_exchange, run_rig, until
from processes import wait_for, worker_process

from core import queries, store_file
from core.errors import StoreFull
from core.ingest import spill_folder
from core.store import Store, open_store

HOLD = """
import sys, time, duckdb
while True:
    try:
        con = duckdb.connect(sys.argv[1])
        break
    except duckdb.IOException:
        time.sleep(0.001)
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""


@pytest.mark.timeout(200)
def test_a_file_held_for_30_s_costs_nothing_but_time(tmp_path: Path) -> None:
    ends: list[tuple[Rig, int]] = []

    async def scenario(rig: Rig) -> None:
        assert rig.worker is not None
        buffer = rig.worker.buffer
        holder = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", HOLD, str(rig.settings.db), "30"),
            stdout=asyncio.subprocess.PIPE,
        )
        assert holder.stdout is not None
        assert (await holder.stdout.readline()).strip() == b"held"
        sent = rig.exchange.sent
        await asyncio.sleep(12)
        half = len(buffer)
        await asyncio.sleep(12)
        received = len(buffer)
        assert received > half > 0
        assert buffer.spilled_rows > 0
        assert received >= 0.8 * (rig.exchange.sent - sent)
        assert await holder.wait() == 0
        since_ms = rig.exchange.now_ms()
        await until(lambda: rig.caught_up(since_ms) and not buffer.spilled_rows, within_s=60)
        ends.append((rig, since_ms))

    run_rig(tmp_path, scenario, rate=2000.0, buffer_rows=3_000, busy_wait_s=2.0)
    rig, since_ms = ends[0]
    assert_same_as_exchange(rig.store, rig.exchange.market, rig.symbols, until_ms=since_ms)
    assert list(spill_folder(rig.settings).glob("*.parquet")) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(place)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path, leave: int) -> Path:
    ballast = place / "ballast"
    while True:
        try:
            with ballast.open("wb") as out:
                out.write(bytes(shutil.disk_usage(place).free - leave))
            return ballast
        except OSError:
            # The worker took some of it since the question.
            ballast.unlink()


def test_a_disk_that_runs_full_in_the_middle_of_writes_corrupts_nothing(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the store's own margin, so that DuckDB itself meets the end of the disk."""
    monkeypatch.setattr("core.store.MIN_FREE_BYTES", 0)
    ends: list[tuple[Rig, int]] = []

    async def scenario(rig: Rig) -> None:
        assert rig.worker is not None
        ballast = fill(small_disk, 200_000)
        await until(lambda: "full" in rig.worker.note(), within_s=40)
        await asyncio.sleep(2.0)
        assert len(rig.worker.buffer) > 0
        ballast.unlink()
        since_ms = rig.exchange.now_ms()
        await until(lambda: rig.caught_up(since_ms), within_s=40)
        ends.append((rig, since_ms))

    run_rig(small_disk, scenario, rate=3000.0)
    rig, since_ms = ends[0]
    assert_same_as_exchange(rig.store, rig.exchange.market, rig.symbols, until_ms=since_ms)


def test_a_nearly_full_disk_is_told_in_plain_words_and_writing_resumes(small_disk: Path) -> None:
    db = small_disk / "full.duckdb"
    store = open_store(db)
    check = [sys.executable, "ingest_worker.py", "--db", str(db), "--check"]

    def said() -> str:
        return subprocess.run(check, capture_output=True, text=True).stdout

    with worker_process(db, "--practice", "--symbols", "btcusdt") as worker:
        wait_for(lambda: store.exists() and said().startswith("live"), what=worker.text())
        ballast = fill(small_disk, store_file.MIN_FREE_BYTES // 2)
        wait_for(lambda: "The disk is full" in said(), within_s=20)
        assert "free beside" in worker.text()
        ballast.unlink()
        wait_for(lambda: said().startswith("live"), within_s=20)
        assert worker.stop()[0] == 0


def test_the_store_itself_refuses_a_write_without_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path / "x.duckdb")
    store.prepare("binance")
    monkeypatch.setattr("core.store.MIN_FREE_BYTES", 1 << 60)
    with pytest.raises(StoreFull, match="MB are free"), store.write():
        pass


def test_a_full_disk_and_a_full_buffer_together_end_no_worker(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can be spilled either: the rows stay in memory until there is room."""
    monkeypatch.setattr("core.store.MIN_FREE_BYTES", 0)
    ends: list[tuple[Rig, int]] = []

    async def scenario(rig: Rig) -> None:
        assert rig.worker is not None
        ballast = fill(small_disk, 0)
        await until(lambda: len(rig.worker.buffer) > 1000, within_s=40)
        await asyncio.sleep(2.0)
        ballast.unlink()
        since_ms = rig.exchange.now_ms()
        await until(lambda: rig.caught_up(since_ms), within_s=40)
        ends.append((rig, since_ms))

    run_rig(small_disk, scenario, rate=3000.0, buffer_rows=300)
    rig, since_ms = ends[0]
    assert_same_as_exchange(rig.store, rig.exchange.market, rig.symbols, until_ms=since_ms)


def test_a_stop_takes_less_than_five_seconds_while_the_file_is_held(tmp_path: Path) -> None:
    """What the file cannot take is kept beside it and stored at the next start."""
    db = tmp_path / "held.duckdb"
    store = open_store(db)
    hold = [sys.executable, "-c", HOLD, str(db), "60"]
    with worker_process(db, "--practice", "--symbols", "btcusdt") as worker:
        wait_for(lambda: store.exists() and ids(store) > 0)
        with subprocess.Popen(hold, stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            holder.stdout.readline()
            wait_for(lambda: "writing waits" in worker.text())
            status, seconds = worker.stop()
            holder.kill()
        assert (status, seconds < 5) == (0, True), worker.text()
    assert "wait in" in worker.text()
    with worker_process(db, "--practice", "--symbols", "btcusdt") as again:
        wait_for(lambda: not list(tmp_path.glob("held.duckdb.spill-practice-7/*.parquet")))
        assert again.stop()[0] == 0


def ids(store: Store) -> int:
    with store.read(wait_s=20) as con:
        return len(queries.load_last_ids(con))


def test_a_stop_while_starting_on_a_held_file_is_obeyed(tmp_path: Path) -> None:
    db = tmp_path / "held.duckdb"
    open_store(db).prepare("practice:7")
    hold = [sys.executable, "-c", HOLD, str(db), "60"]
    with subprocess.Popen(hold, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with worker_process(db, "--practice", "--symbols", "btcusdt") as worker:
            wait_for(lambda: "waiting for the file" in worker.text())
            status, seconds = worker.stop()
        check = [sys.executable, "ingest_worker.py", "--db", str(db), "--check"]
        checked = subprocess.run(check, capture_output=True, text=True)
        holder.kill()
    assert (status, seconds < 5) == (0, True), worker.text()
    assert checked.returncode == 1
    assert "in use by another process" in checked.stdout
