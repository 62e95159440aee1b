"""Judging the worker from outside: does one live, how does it fare, how is it started."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from filelock import FileLock

from core import supervisor
from core.config import LONGEST_FLUSH_S, Settings
from core.models import WorkerStatus
from core.supervisor import SILENT_S, WorkerLock, start_worker, worker_health
from core.trade_writer import utc_now


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A file whose worker was killed: the lock is free, its pid is nobody's."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    db = tmp_path / "x.duckdb"
    Path(f"{db}.worker.lock").touch()
    Path(f"{db}.worker.pid").write_text(str(ended.pid), encoding="ascii")
    return db


@pytest.fixture
def worker(db: Path) -> Iterator[WorkerLock]:
    """This process, as the one that holds the file."""
    lock = WorkerLock(db)
    lock.take()
    yield lock
    lock.release()


def hold(db: Path, seconds: float) -> None:
    """Have the lock for a while, as somebody else who only asks."""
    lock = FileLock(f"{db}.worker.lock", thread_local=False)
    lock.acquire(timeout=5)
    threading.Timer(seconds, lock.release).start()


def status(**changes: object) -> WorkerStatus:
    now = utc_now()
    row = WorkerStatus(
        os.getpid(), socket.gethostname(), "0", "binance", "live", now, now,
        0, 0, 0.02, 0.05, 6.0, 1, 0, 0, 3, "",
    )  # fmt: skip
    return replace(row, **changes)  # type: ignore[arg-type]


def test_many_who_ask_at_once_do_not_see_each_other(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "ANSWER_S", 0.0)
    answers: list[bool] = []

    def ask() -> None:
        answers.extend(WorkerLock(db).is_held() for _ in range(100))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(answers), any(answers)) == (600, False)


def test_an_asker_in_another_process_is_no_worker(db: Path) -> None:
    hold(db, 0.03)
    assert not WorkerLock(db).is_held()


def test_a_pid_that_somebody_else_got_since_is_no_worker(db: Path) -> None:
    pid = Path(f"{db}.worker.pid")
    pid.write_text(str(os.getpid()), encoding="ascii")
    os.utime(pid, (1e9, 1e9))
    hold(db, 0.03)
    assert not WorkerLock(db).is_held()


def test_a_worker_that_has_not_written_its_pid_yet_is_seen(db: Path) -> None:
    Path(f"{db}.worker.pid").unlink()
    hold(db, 0.5)
    assert WorkerLock(db).is_held()


def test_a_worker_is_seen_from_its_claim_to_its_end(db: Path) -> None:
    lock = WorkerLock(db)
    assert not WorkerLock(db).is_held()
    lock.take()
    assert WorkerLock(db).is_held()
    lock.release()
    assert not WorkerLock(db).is_held()


def test_an_answer_holds_for_a_moment(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[WorkerLock] = []
    real = WorkerLock._is_taken
    monkeypatch.setattr(WorkerLock, "_is_taken", lambda lock: (asked.append(lock), real(lock))[1])
    monkeypatch.setattr(supervisor, "ANSWER_S", 60.0)
    assert [WorkerLock(db).is_held() for _ in range(20)] == [False] * 20
    assert len(asked) == 1
    assert not WorkerLock(db.with_name("another.duckdb")).is_held()
    assert len(asked) == 2


def test_a_worker_that_writes_as_rarely_as_it_may_is_live(db: Path, worker: WorkerLock) -> None:
    def state_after(seconds: float) -> str:
        now = utc_now()
        row = status(updated_at=now - timedelta(seconds=seconds))
        return worker_health(db, row, now=now).state

    assert SILENT_S >= 3 * LONGEST_FLUSH_S
    assert state_after(2 * LONGEST_FLUSH_S) == "live"
    assert state_after(SILENT_S + 1) == "stuck"


def test_a_location_that_is_not_served_is_a_state_of_its_own(db: Path, worker: WorkerLock) -> None:
    note = "The exchange does not serve this location (451)."
    health = worker_health(db, status(note=note))
    assert (health.state, health.reason, health.is_healthy) == ("restricted", note, False)
    assert "practice exchange" in health.remedy
    assert worker_health(db, status(note="Trades arrive 8 s late.")).state == "behind"
    assert worker_health(db, status()).state == "live"


def test_a_worker_that_gave_up_says_why_after_its_end(db: Path) -> None:
    health = worker_health(db, status(state="failed", note="The file is damaged."))
    assert (health.state, health.reason) == ("dead", "The file is damaged.")
    assert worker_health(db, status(note="x (451)")).state == "dead"


def test_on_windows_a_worker_opens_no_console(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}

    class Started:
        pid = 7

        def __init__(self, *_: object, **options: object) -> None:
            given.update(options)

    monkeypatch.setattr(supervisor, "_children", [])
    monkeypatch.setattr(subprocess, "Popen", Started)
    flags = {"CREATE_NEW_PROCESS_GROUP": 0x200, "CREATE_NO_WINDOW": 0x8000000}
    for name, value in flags.items():
        monkeypatch.setattr(subprocess, name, value, raising=False)
    with monkeypatch.context() as patch:
        patch.setattr("core.supervisor.sys.platform", "win32")
        assert start_worker(Settings(db=db), practice=False) == 7
    assert given["creationflags"] == sum(flags.values())
