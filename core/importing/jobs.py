"""Jobs: what an import is asked to do and how far it is, in a folder beside the database.

Each job has ``<db>.jobs/<id>/job.json``, replaced whole, written by its own process alone once
that runs; everybody else reads it, or puts a file ``cancel`` beside it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from core.errors import DataError
from core.importing.records import load, save
from core.importing.staging import demand_dataset

QUEUED, RUNNING, DONE = "queued", "running", "done"
CANCELLED, FAILED, INTERRUPTED = "cancelled", "failed", "interrupted"
ACTIVE = (QUEUED, RUNNING)
# A process that has not said its pid by then has not come up.
START_S = 60.0
# Clocks of process start and of files differ by ticks.
_CLOCK_S = 2.0
_HOME = Path(__file__).resolve().parent.parent.parent
_JOB, _CANCEL, _LOG = "job.json", "cancel", "log.txt"


@dataclass(frozen=True, slots=True)
class JobFile:
    """One file of a job: its state, what became of its rows, its first ten rejects, a note."""

    name: str
    state: str = QUEUED
    read: int = 0
    kept: int = 0
    duplicate: int = 0
    rejected: int = 0
    rejects: tuple[tuple[int, str, str], ...] = ()
    message: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """One import: ``progress`` from 0 to 1, ``rows_per_s`` of rows read, ``created_at`` epoch s."""

    id: str
    folder: Path
    db: Path
    paths: tuple[Path, ...]
    files: tuple[JobFile, ...]
    created_at: float
    dataset: str | None = None
    symbol: str | None = None
    timeframe: str | None = None
    delete_after: bool = False
    state: str = QUEUED
    pid: int | None = None
    progress: float = 0.0
    rows_per_s: float = 0.0
    message: str = ""

    def rejects_path(self, number: int) -> Path:
        """Return where all rejects of the file with this number lie, as CSV; may not exist."""
        return self.folder / f"rejects-{number}.csv"

    def staged_path(self, number: int) -> Path:
        """Return the folder of the file's chunks; may not exist."""
        return self.folder / f"file-{number:05}"

    @property
    def log_path(self) -> Path:
        """What the process wrote, besides the job itself."""
        return self.folder / _LOG

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody asked it to stop."""
        return (self.folder / _CANCEL).exists()

    @property
    def asked(self) -> tuple[object, ...]:
        """What it was asked to do; equal for two jobs that would do the same."""
        return self.paths, self.dataset, self.symbol, self.timeframe


def jobs_folder(db: Path) -> Path:
    """Return the folder of the database's jobs."""
    return Path(f"{db.resolve()}.jobs")


def upload_folder(db: Path) -> Path:
    """Return the folder for what the browser uploads, made where it is not there."""
    folder = jobs_folder(db) / "uploads"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def new_job(
    db: Path,
    paths: Sequence[Path],
    *,
    dataset: str | None = None,
    symbol: str | None = None,
    timeframe: str | None = None,
    delete_after: bool = False,
) -> Job:
    """Write down a job that nobody runs yet. Raises DataError for a name that cannot be used."""
    if not paths:
        raise DataError("There are no files to import; give one or more")
    found = tuple(Path(path).resolve() for path in paths)
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{secrets.token_hex(2)}"
    folder = jobs_folder(db) / name
    folder.mkdir(parents=True)
    job = Job(
        name, folder, db.resolve(), found, tuple(JobFile(path.name) for path in found), time.time(),
        dataset=demand_dataset(dataset) if dataset else None,
        symbol=symbol.strip().lower() if symbol else None,
        timeframe=timeframe, delete_after=delete_after,
    )  # fmt: skip
    save_job(job)
    return job


def save_job(job: Job) -> None:
    """Put the job's state where everybody reads it."""
    save(job.folder / _JOB, job)


def load_job(folder: Path) -> Job | None:
    """Return the job of a folder, None where there is none; one whose process died says so."""
    job = load(folder / _JOB, Job)
    if job is None:
        return None
    job = replace(job, folder=folder)
    if job.state in ACTIVE and not _is_alive(job):
        files = tuple(
            replace(one, state=INTERRUPTED) if one.state == RUNNING else one for one in job.files
        )
        words = "Its process ended before it was done; what is in the file are whole chunks."
        return replace(job, state=INTERRUPTED, files=files, message=words, rows_per_s=0.0)
    return job


def list_jobs(db: Path) -> list[Job]:
    """Return the database's jobs, the newest first."""
    with contextlib.suppress(FileNotFoundError):
        folders = sorted(jobs_folder(db).iterdir(), reverse=True)
        return [job for folder in folders if (job := load_job(folder)) is not None]
    return []


def start_import(
    store_path: Path,
    paths: Sequence[Path],
    *,
    dataset: str | None = None,
    symbol: str | None = None,
    timeframe: str | None = None,
    delete_after: bool = False,
) -> Job:
    """Start an import in a process of its own, which outlives this one; returns its job.

    ``delete_after`` removes each file once it is imported. Raises DataError, OSError.
    """
    job = new_job(
        store_path, paths, dataset=dataset, symbol=symbol, timeframe=timeframe,
        delete_after=delete_after,
    )  # fmt: skip
    _spawn(job)
    return job


def cancel(job: Job) -> None:
    """Ask the job to stop at its next step; whole chunks stay, and it can be resumed."""
    (job.folder / _CANCEL).touch()
    now = load_job(job.folder)
    if now is not None and now.state == INTERRUPTED:
        save_job(replace(now, state=CANCELLED))


def resume(job: Job) -> Job:
    """Go on with a job that was cancelled, failed or interrupted; returns it as it is now."""
    ready = reset(job)
    _spawn(ready)
    return ready


def reset(job: Job) -> Job:
    """Make a job that ended ready to run again. Raises DataError for one that runs."""
    now = load_job(job.folder)
    if now is None:
        raise DataError(f"The import {job.id} is no longer there")
    if now.state in ACTIVE:
        raise DataError("This import is running already; cancel it first")
    (job.folder / _CANCEL).unlink(missing_ok=True)
    files = tuple(one if one.state == DONE else JobFile(one.name) for one in now.files)
    ready = replace(
        now, state=QUEUED, pid=None, message="", files=files, created_at=time.time(), rows_per_s=0.0
    )
    save_job(ready)
    return ready


def forget(job: Job) -> None:
    """Remove the job's folder, and uploads that nothing else will need. Raises DataError."""
    now = load_job(job.folder)
    if now is not None and now.state in ACTIVE:
        raise DataError("This import is running; cancel it first")
    if now is not None and now.delete_after:
        for path in now.paths:
            remove_source(path)
    shutil.rmtree(job.folder, ignore_errors=True)


def remove_source(path: Path) -> None:
    """Remove an uploaded file and the checksum beside it."""
    path.unlink(missing_ok=True)
    path.with_name(f"{path.name}.CHECKSUM").unlink(missing_ok=True)


_children: list[subprocess.Popen[bytes]] = []


def _spawn(job: Job) -> None:
    with job.log_path.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "core.imports", "--job", str(job.folder)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=_HOME,
            **_detached(),
        )
    # Nobody waits for it; without this an ended one stays a zombie.
    _children[:] = [child for child in _children if child.poll() is None]
    _children.append(process)


def _detached() -> dict[str, Any]:
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        return {"creationflags": flags}
    return {"start_new_session": True}


def _is_alive(job: Job) -> bool:
    for child in _children:
        child.poll()
    if job.pid is None:
        return time.time() - job.created_at < START_S
    if job.pid == os.getpid():
        return True
    try:
        process = psutil.Process(job.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        # A later process may have been given the same pid.
        written = (job.folder / _JOB).stat().st_mtime
        return bool(process.create_time() <= written + _CLOCK_S)
    except (psutil.Error, OSError):
        return False
