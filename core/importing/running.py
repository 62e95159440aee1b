"""A job, run: one thread reads and stages its files, the caller's stores what is staged."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
from dataclasses import replace
from queue import Empty, Full, Queue

import polars as pl
from filelock import FileLock, Timeout

from core.errors import DataError, PerpduckError
from core.importing import jobs
from core.importing.committing import commit, stored_before
from core.importing.jobs import CANCELLED, DONE, FAILED, QUEUED, Job, JobFile
from core.importing.kinds import dataset_of, store_bars, writer_of
from core.importing.known import KnownFiles
from core.importing.progress import Progress, Told
from core.importing.records import BARS, Cancelled, ImportedFile, Staged
from core.importing.staging import Refused, stage
from core.reading import kind_of
from core.store import Store, open_store

logger = logging.getLogger(__name__)

UNCHANGED = "nothing changed: this content was imported before"
_TURN_S = 0.2

# A file's number and what reading it gave: None for bars, which are read whole when stored.
_Outcome = tuple[int, Staged | ImportedFile | Exception | None]


def run_job(job: Job, told: Told | None = None) -> Job:
    """Run the job to its end in this process; returns it as it ended.

    ``told`` is called with it now and then. One job a database runs at a time, others wait.
    Whatever goes wrong is told in the job's state and message.
    """
    progress = Progress(replace(job, pid=os.getpid(), state=QUEUED), told)
    lock = FileLock(jobs.jobs_folder(job.db) / "import.lock")
    try:
        while not _taken(lock):
            progress.beat()
        try:
            progress.begin()
            _Run(progress, open_store(job.db)).run()
            progress.end(*_verdict(progress.job))
        finally:
            lock.release()
    except (Cancelled, KeyboardInterrupt):
        progress.end(CANCELLED, "Cancelled; what is in the file are whole chunks.")
    except (PerpduckError, OSError, pl.exceptions.PolarsError) as error:
        progress.end(FAILED, _words(error))
    except Exception as error:
        logger.exception("the import %s failed", job.id)
        progress.end(FAILED, f"{type(error).__name__}: {_words(error)}")
    return progress.job


class _Run:
    """The files of one job, one after the other; reading is a file ahead of storing."""

    def __init__(self, progress: Progress, store: Store) -> None:
        self._progress = progress
        self._store = store
        self._job = progress.job
        self._known = KnownFiles(store)
        self._read: Queue[_Outcome | None] = Queue(maxsize=1)
        self._over = threading.Event()

    def run(self) -> None:
        reader = threading.Thread(target=self._read_all, name="import reader", daemon=True)
        reader.start()
        try:
            while (outcome := self._read.get()) is not None:
                self._take(*outcome)
        finally:
            self._over.set()
            with contextlib.suppress(Empty):
                self._read.get_nowait()
            reader.join()

    # -- reading -------------------------------------------------------------------------

    def _read_all(self) -> None:
        for number, file in enumerate(self._job.files):
            if file.state == DONE:
                continue
            outcome: Staged | ImportedFile | Exception | None
            try:
                outcome = self._read_one(number)
            except Exception as error:
                outcome = error
            if not self._hand_over((number, outcome)):
                return
        self._hand_over(None)

    def _hand_over(self, outcome: _Outcome | None) -> bool:
        while not self._over.is_set():
            with contextlib.suppress(Full):
                self._read.put(outcome, timeout=_TURN_S)
                return True
        return False

    def _read_one(self, number: int) -> Staged | ImportedFile | None:
        job, path = self._job, self._job.paths[number]
        staged_before = job.staged_path(number).exists()
        if not staged_before:
            kind = kind_of(path)
            dataset = dataset_of(kind, job, path.name)
            if kind == BARS:
                return None
            if (known := self._known.find(path, dataset)) is not None:
                return known

        def on(read: int, rejected: int, done: float) -> None:
            if self._over.is_set():
                raise Cancelled
            self._progress.reading(number, read, rejected, done)

        return stage(
            path, job.staged_path(number), job.rejects_path(number), symbol=job.symbol, progress=on
        )

    # -- storing -------------------------------------------------------------------------

    def _take(self, number: int, outcome: Staged | ImportedFile | Exception | None) -> None:
        try:
            if isinstance(outcome, Exception):
                raise outcome
            if isinstance(outcome, ImportedFile):
                done = _unchanged(outcome, ())
            elif outcome is None:
                done = store_bars(self._store, self._job, number)
            else:
                done = self._store_staged(number, outcome)
        except DataError as error:
            self._progress.file(number, _failed(self._job.files[number].name, error))
            shutil.rmtree(self._job.staged_path(number), ignore_errors=True)
            return
        self._progress.file(number, done)
        shutil.rmtree(self._job.staged_path(number), ignore_errors=True)
        if self._job.delete_after:
            jobs.remove_source(self._job.paths[number])

    def _store_staged(self, number: int, staged: Staged) -> JobFile:
        dataset = dataset_of(staged.kind, self._job, staged.name)
        before = stored_before(self._store, staged, dataset)
        if before.is_known:
            duplicate = staged.read - staged.rejected
            found = ImportedFile(
                staged.name, staged.content_hash, staged.read, 0, duplicate, staged.rejected
            )
            return _unchanged(found, staged.rejects)
        folder = self._job.staged_path(number)
        writer = writer_of(self._store, staged, folder, dataset)
        outcome = commit(
            self._store, staged, folder, writer, dataset=dataset, before=before,
            beat=lambda rows: self._progress.storing(number, rows, staged.rows),
        )  # fmt: skip
        idle = f"{staged.idle:,} bars without trades were left out" if staged.idle else ""
        return JobFile(
            outcome.name, DONE, outcome.read, outcome.kept, outcome.duplicate, outcome.rejected,
            staged.rejects, idle,
        )  # fmt: skip


def _taken(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=_TURN_S)
    except Timeout:
        return False
    return True


def _unchanged(file: ImportedFile, rejects: tuple[tuple[int, str, str], ...]) -> JobFile:
    return JobFile(
        file.name, DONE, file.read, 0, file.read - file.rejected, file.rejected, rejects, UNCHANGED
    )


def _failed(name: str, error: Exception) -> JobFile:
    if isinstance(error, Refused):
        return JobFile(name, FAILED, error.read, 0, 0, error.rejected, error.rejects, _words(error))
    return JobFile(name, FAILED, message=_words(error))


def _verdict(job: Job) -> tuple[str, str]:
    failed = [one for one in job.files if one.state == FAILED]
    if not failed:
        return DONE, ""
    count = f"{len(failed)} of {len(job.files)} files" if len(job.files) > 1 else "The file"
    verb = "were" if len(failed) > 1 else "was"
    return FAILED, f"{count} {verb} not imported. {failed[0].message}"


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror}{where}; what is in the file are whole chunks, resume when it can"
    return str(error) or type(error).__name__
