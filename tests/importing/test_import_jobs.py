"""Jobs: killed, cancelled, resumed, two at once, a full disk, a worker beside."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from archives import (
    ROOT,
    SlowImport,
    agg_trades,
    bring,
    dataset_rows,
    everything,
    rows_of,
    ticks,
)
from made import START_MS, assert_exact, trades_frame

from core import imports
from core.errors import DataError
from core.importing import jobs, records
from core.importing.jobs import list_jobs, load_job, new_job
from core.importing.running import run_job
from core.store import Store, open_store
from core.trade_writer import write_trades

COUNT = "select count(*) from trades"


def exact_twin(folder: Path, count: int) -> dict[str, list[tuple[object, ...]]]:
    twin = open_store(folder / "twin.duckdb")
    twin.prepare("binance")
    with twin.write() as con:
        write_trades(con, trades_frame("btcusdt", list(range(count))), now_ms=0)
    return everything(twin)


def test_killed_in_the_middle_leaves_whole_chunks_and_resuming_is_exact(
    store: Store, tmp_path: Path
) -> None:
    job = new_job(store.path, [agg_trades(tmp_path, range(12_000))])
    running = SlowImport(job)
    running.until(store, COUNT, 3000)
    running.kill()
    (held,) = rows_of(store, COUNT)[0]
    assert held % 1000 == 0
    assert 3000 <= held < 12_000
    assert_exact(store)
    dead = load_job(job.folder)
    assert dead is not None
    assert (dead.state, dead.files[0].state) == ("interrupted", "interrupted")
    assert rows_of(store, "select sum(rows_kept) from import_chunks") == [(held,)]
    # The file itself is not needed any more: it was read whole before anything was stored.
    job.paths[0].unlink()
    ended = SlowImport(jobs.reset(dead), pause=0.0).wait()
    assert (ended.state, ended.progress) == ("done", 1.0)
    one = ended.files[0]
    assert (one.read, one.kept, one.duplicate) == (12_000, 12_000, 0)
    assert everything(store) == exact_twin(tmp_path, 12_000)
    assert rows_of(store, "select count(*) from import_chunks") == [(0,)]
    assert rows_of(store, "select rows_kept from imported_files") == [(12_000,)]
    assert not job.staged_path(0).exists()


def test_a_dataset_killed_in_the_middle_is_exact_after_resuming(
    store: Store, tmp_path: Path
) -> None:
    made = [{"symbol": "X", "ts": START_MS + i // 6, "price": 1 + i // 3 % 5} for i in range(6000)]
    path = ticks(tmp_path, made)
    job = new_job(store.path, [path], dataset="d")
    running = SlowImport(job, chunk=500)
    running.until(store, "select count(*) from uploaded_trades", 1500)
    running.kill()
    ended = SlowImport(jobs.reset(job), chunk=500, pause=0.0).wait()
    assert (ended.state, ended.files[0].kept, ended.files[0].duplicate) == ("done", 6000, 0)
    bring(store, path, dataset="twin")
    assert dataset_rows(store, "d") == dataset_rows(store, "twin")


def test_a_cancelled_job_stops_between_chunks_and_can_be_taken_up_again(
    store: Store, tmp_path: Path
) -> None:
    job = new_job(store.path, [agg_trades(tmp_path, range(9000))])
    running = SlowImport(job)
    running.until(store, COUNT, 2000)
    with pytest.raises(DataError, match="running"):
        imports.forget(job)
    with pytest.raises(DataError, match="running"):
        imports.resume(job)
    imports.cancel(job)
    ended = running.wait()
    assert ended.state == "cancelled"
    (held,) = rows_of(store, COUNT)[0]
    assert held % 1000 == 0
    assert held < 9000
    again = SlowImport(jobs.reset(ended), pause=0.0).wait()
    assert (again.state, again.files[0].kept) == ("done", 9000)
    assert_exact(store)
    imports.forget(again)
    assert list_jobs(store.path) == []


def test_started_and_resumed_it_runs_in_a_process_of_its_own(store: Store, tmp_path: Path) -> None:
    path = agg_trades(imports.upload_folder(store.path), range(300))
    missing = tmp_path / "BTCUSDT-aggTrades-2025-10-10.zip"
    job = imports.start_import(store.path, [path, missing], delete_after=True)
    ended = wait_for_end(job.folder)
    assert ended.state == "failed"
    assert [one.state for one in ended.files] == ["done", "failed"]
    assert not path.exists()
    agg_trades(tmp_path, range(300, 400), day="2025-10-10")
    imports.resume(ended)
    again = wait_for_end(job.folder)
    assert again.state == "done", again.message
    assert [one.kept for one in again.files] == [300, 100]
    assert rows_of(store, COUNT) == [(400,)]
    assert [one.id for one in list_jobs(store.path)] == [job.id]


def wait_for_end(folder: Path) -> jobs.Job:
    deadline = time.monotonic() + 60
    while (job := load_job(folder)) is None or job.state in jobs.ACTIVE:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return job


def test_two_imports_at_once_take_turns_and_lose_nothing(store: Store, tmp_path: Path) -> None:
    asked = [
        new_job(store.path, [agg_trades(tmp_path / str(n), range(low, low + 4000))])
        for n, low in enumerate((0, 2000))
    ]
    running = [SlowImport(job, pause=0.02) for job in asked]
    ended = [one.wait() for one in running]
    assert [job.state for job in ended] == ["done", "done"]
    assert sum(job.files[0].kept for job in ended) == 6000
    assert sum(job.files[0].duplicate for job in ended) == 2000
    assert everything(store) == exact_twin(tmp_path, 6000)


def test_a_live_writer_beside_it_loses_nothing(store: Store, tmp_path: Path) -> None:
    running = SlowImport(new_job(store.path, [agg_trades(tmp_path, range(8000))]), pause=0.0)
    wrote = []

    def live() -> None:
        # Every second id of the archive's end, then on beyond it.
        for low in range(7000, 9000, 100):
            frame = trades_frame("btcusdt", list(range(low, low + 100, 1 + (low < 8000))))
            with store.write(wait_s=30) as con:
                wrote.append(write_trades(con, frame, now_ms=0).stored)

    thread = threading.Thread(target=live)
    thread.start()
    ended = running.wait()
    thread.join()
    assert ended.state == "done", ended.message
    assert ended.files[0].kept + sum(wrote) == 9000
    assert everything(store) == exact_twin(tmp_path, 9000)


@pytest.mark.parametrize("at", ["staging", "committing"])
def test_a_full_disk_fails_the_job_and_it_can_be_resumed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    monkeypatch.setattr(records, "CHUNK_ROWS", 500)
    usage = shutil.disk_usage
    calls = []

    def full(path):
        calls.append(path)
        if (at == "staging") == Path(path).name.startswith("file-") and len(calls) > 3:
            return usage(path)._replace(free=1000)
        return usage(path)

    job = new_job(store.path, [agg_trades(tmp_path, range(3000))])
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", full)
        ended = run_job(job)
    assert ended.state == "failed"
    assert "make room" in ended.message
    assert rows_of(store, COUNT)[0][0] % 500 == 0
    again = run_job(jobs.reset(ended))
    assert (again.state, again.files[0].kept) == ("done", 3000)
    assert_exact(store)


def test_an_error_of_the_disk_itself_is_told_and_not_a_crash(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(pl.DataFrame, "write_parquet", refuses)
        ended = bring(store, agg_trades(tmp_path, range(30)))
    assert (ended.state, ended.files[0].state) == ("failed", "interrupted")
    assert "No space left on device" in ended.message
    assert run_job(jobs.reset(ended)).files[0].kept == 30


def test_a_process_that_never_came_up_or_has_gone_is_interrupted(
    store: Store, tmp_path: Path
) -> None:
    job = new_job(store.path, [tmp_path / "x.zip"])
    assert list_jobs(store.path)[0].state == "queued"
    jobs.save_job(replace(job, created_at=time.time() - 2 * jobs.START_S))
    assert list_jobs(store.path)[0].state == "interrupted"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    jobs.save_job(replace(job, state="running", pid=gone.pid))
    assert list_jobs(store.path)[0].state == "interrupted"


def test_the_command_imports_folders_resumes_and_tells(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "archives"
    agg_trades(folder / "a", range(100))
    agg_trades(folder / "b", range(100, 200), day="2025-10-10")
    (folder / "b" / "notes.txt").write_text("nothing of ours\n")

    db = tmp_path / "new.duckdb"

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "core.imports", "--db", str(db), *arguments],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip

    first = command(str(folder))
    assert first.returncode == 1
    assert "notes.txt: failed" in first.stdout
    (folder / "b" / "notes.txt").unlink()
    again = command(str(folder))
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("nothing changed") == 2
    made = open_store(db)
    assert made.venue() == "binance"
    assert rows_of(made, COUNT) == [(200,)]
    nothing = command(str(tmp_path / "absent"))
    assert nothing.returncode == 2
    assert "does not exist" in nothing.stderr
    assert command("--bars", "btcusdt", str(folder)).returncode == 2
    practice = command("--practice", str(folder))
    assert practice.returncode == 2
    assert "leave out --practice" in practice.stderr


def test_the_command_goes_on_with_the_job_that_was_interrupted(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = agg_trades(tmp_path, range(5000))
    job = new_job(store.path, [path])
    running = SlowImport(job)
    running.until(store, COUNT, 1000)
    running.kill()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(records, "CHUNK_ROWS", 1000)
        assert imports.main(["--db", str(store.path), "--yes", str(path)]) == 0
    assert [one.id for one in list_jobs(store.path)] == [job.id]
    assert "5,000 kept, 0 duplicate" in capsys.readouterr().out
    assert_exact(store)
