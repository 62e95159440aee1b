"""Starting, stopping and judging the worker from outside it.

A dead worker cannot tell that it is dead: whether it lives is read from its lock and its
process, how it fares from the row that it keeps in the file.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from core.commands import request_stop
from core.config import LONGEST_FLUSH_S, Settings
from core.errors import WorkerRunning
from core.models import WorkerStatus
from core.store import Store
from core.store_file import MIN_FREE_BYTES
from core.trade_writer import utc_now

_WORKER = Path(__file__).resolve().parent.parent / "ingest_worker.py"
LOG_BYTES = 5_000_000
# A first chart should show more than the last second; some 30 requests for five symbols.
BACKFILL = "15min"
# Without a sign of life for this long, a worker is not called live any more.
SILENT_S = 3 * LONGEST_FLUSH_S
# An answer to "does a worker live?" holds for this long: asking takes the real lock.
ANSWER_S = 0.2
# Another asker has the lock for a moment, a worker for good: how often, how long to look again.
LOOK_AGAIN, LOOK_AGAIN_S = 3, 0.02
# How far the clock may have been set between the start of a process and its pid file.
CLOCK_S = 2.0
# A feed this far behind, or this long without a trade, is called behind.
BEHIND_S = 5.0


@dataclass(frozen=True, slots=True)
class Health:
    """How the worker fares: a state, why, and what to do about it.

    States: ``never`` (none ever ran), ``starting``, ``live``, ``behind`` (writing, but late or
    with trouble), ``restricted`` (the exchange does not serve this location), ``stuck`` (alive,
    but not writing), ``stopped`` (on request), ``dead``.
    """

    state: str
    reason: str
    remedy: str
    age_s: float | None = None

    @property
    def is_healthy(self) -> bool:
        """Whether trades are being written as they should be."""
        return self.state == "live"


class WorkerLock:
    """The one worker's claim on a file: held while it lives, let go by the system if it dies."""

    def __init__(self, db: Path) -> None:
        self._lock = FileLock(f"{db}.worker.lock")
        self._pid = Path(f"{db}.worker.pid")

    def take(self, *, wait_s: float = 1.0) -> None:
        """Claim the file; raises WorkerRunning with the other one's pid."""
        self._pid.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=wait_s)
        except Timeout:
            raise WorkerRunning(
                f"A worker with pid {self.read_pid()} already writes to this file; stop it first, "
                "or give another file with --db"
            ) from None
        _forget_answer(self._lock.lock_file)
        self._pid.write_text(str(os.getpid()), encoding="ascii")

    def release(self) -> None:
        """Let go of the claim."""
        self._pid.unlink(missing_ok=True)
        self._lock.release()
        _forget_answer(self._lock.lock_file)

    def read_pid(self) -> int | None:
        """Return the pid that the last claimant wrote down."""
        try:
            return int(self._pid.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None

    def is_held(self) -> bool:
        """Return whether a worker lives on the file right now."""
        name = self._lock.lock_file
        # Two askers at once would see each other's hold and call it a worker.
        with _asking:
            asked_at, held = _answers.get(name, (-ANSWER_S, False))
            if time.monotonic() - asked_at >= ANSWER_S:
                held = self._is_taken() and (self._has_claimant() or self._stays_taken())
                _answers[name] = time.monotonic(), held
            return held

    def _is_taken(self) -> bool:
        if not Path(self._lock.lock_file).exists():
            return False
        try:
            with self._lock.acquire(timeout=0):
                return False
        except Timeout:
            return True

    def _stays_taken(self) -> bool:
        """Tell a worker that has not written its pid yet from an asker in another process."""
        for _ in range(LOOK_AGAIN):
            time.sleep(LOOK_AGAIN_S)
            if not self._is_taken():
                return False
        return True

    def _has_claimant(self) -> bool:
        """Return whether the process that wrote the pid lives, and no later one with its pid."""
        if (pid := self.read_pid()) is None:
            return False
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return bool(process.create_time() <= self._pid.stat().st_mtime + CLOCK_S)
        except (psutil.Error, OSError, ValueError, OverflowError):
            return False


_asking = threading.Lock()
_answers: dict[str, tuple[float, bool]] = {}


def _forget_answer(name: str) -> None:
    with _asking:
        _answers.pop(name, None)


def start_worker(settings: Settings, *, practice: bool, symbols: Sequence[str] = ()) -> int:
    """Start a worker that outlives this process; returns its pid.

    ``practice`` starts it with the practice exchange, on that exchange's own file.
    """
    db = settings.practice_db() if practice else settings.db
    command = [sys.executable, str(_WORKER), "--db", str(db), "--backfill", BACKFILL]
    if symbols:
        command += ["--symbols", ",".join(symbols)]
    if practice:
        command += ["--practice", "--practice-seed", str(settings.practice_seed)]
        command += ["--practice-rate", f"{settings.practice_rate:g}"]
    else:
        command += ["--ws-url", settings.ws_url, "--rest-url", settings.rest_url]
    db.parent.mkdir(parents=True, exist_ok=True)
    log = log_path(db)
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=_WORKER.parent,
            **_detached(),
        )
    # The worker is nobody's child to wait for; without this a stopped one stays a zombie.
    _children.append(process)
    return process.pid


_children: list[subprocess.Popen[bytes]] = []


def _detached() -> dict[str, Any]:
    if sys.platform == "win32":
        # A detached parent has no console, and each child would open one of its own.
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        return {"creationflags": flags}
    return {"start_new_session": True}


def stop_worker(store: Store) -> None:
    """Ask the worker, through the file, to write what it has and end."""
    pid = WorkerLock(store.path).read_pid()
    request_stop(store)
    if pid is not None:
        _stopped[store.path] = pid


def is_stopping(db: Path) -> bool:
    """Return whether the very worker that this process asked to stop still has the file."""
    lock = WorkerLock(db)
    # One that is just gone has taken its pid along.
    return db in _stopped and lock.is_held() and lock.read_pid() in (None, _stopped[db])


_stopped: dict[Path, int] = {}


def log_path(db: Path) -> Path:
    """Return where a worker started by the app writes its log."""
    return Path(f"{db}.worker.log")


def tail_log(db: Path, *, lines: int = 200) -> str:
    """Return the last lines of the worker's log, empty where there is none."""
    path = log_path(db)
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - 200 * lines))
            text = log.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def worker_health(db: Path, status: WorkerStatus | None, *, now: datetime | None = None) -> Health:
    """Judge the worker of the file ``db`` by its lock, its process and its own row."""
    for child in _children:
        child.poll()
    lock = WorkerLock(db)
    alive = lock.is_held()
    if status is None:
        if alive:
            return Health("starting", "The worker is starting.", "It takes a few seconds.")
        return Health("never", "No worker has run on this file yet.", "Start it on the Data page.")
    age_s = max(0.0, ((now or utc_now()) - status.updated_at).total_seconds())
    if not alive:
        return _not_running(db, status, age_s)
    if status.pid != lock.read_pid():
        return Health("starting", "The worker is starting.", "It takes a few seconds.", age_s)
    if age_s > SILENT_S:
        return _not_writing(db, age_s)
    if "(451)" in status.note:
        remedy = "Use the practice exchange, or run Perpduck where Binance is served."
        return Health("restricted", status.note, remedy, age_s)
    if status.note:
        return Health("behind", status.note, "It goes on by itself; the log says more.", age_s)
    return Health("live", "Trades are written as they come.", "", age_s)


def _not_running(db: Path, status: WorkerStatus, age_s: float) -> Health:
    if status.state == "stopped":
        return Health("stopped", "The worker was stopped.", "Start it on the Data page.", age_s)
    if status.state == "failed":
        return Health("dead", status.note, "Start it again on the Data page.", age_s)
    reason = f"The worker (pid {status.pid}) ended without saying so; what it had stored is safe."
    remedy = "Start it again on the Data page: it fetches what it missed."
    return Health("dead", reason, remedy, age_s)


def _not_writing(db: Path, age_s: float) -> Health:
    free = shutil.disk_usage(db.parent).free
    if free < 2 * MIN_FREE_BYTES:
        reason = f"The disk is full: {free / 1e6:.1f} MB free beside {db.name}."
        return Health("stuck", reason, "Make room; nothing is lost meanwhile.", age_s)
    return Health(
        "stuck",
        f"The worker lives, but has not written for {age_s:.0f} s: another program may hold "
        f"{db.name}.",
        "Close other programs that have the file open; nothing is lost meanwhile.",
        age_s,
    )


def describe_process(pid: int) -> str:
    """Return CPU and memory of a process for the Data page, empty where it is gone."""
    try:
        process = psutil.Process(pid)
        return f"{process.memory_info().rss / 1e6:.0f} MB"
    except psutil.Error:
        return ""
