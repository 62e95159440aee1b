"""A job, run: one thread reads and stages its files, the caller's stores what is staged."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
from dataclasses import dataclass, replace
from queue import Empty, Full, Queue
from typing import Any

import polars as pl
from filelock import FileLock

from core.errors import BadFile, DataError, PerpduckError
from core.importing import jobs
from core.importing.committing import Writer, commit, made_ready, step_back, stored_before
from core.importing.jobs import CANCELLED, DONE, FAILED, QUEUED, Job, JobFile
from core.importing.kinds import dataset_of, store_bars, writer_of
from core.importing.known import KnownFiles
from core.importing.progress import Progress, Told
from core.importing.records import BARS, Cancelled, ImportedFile, Staged
from core.importing.spreading import stage_ahead
from core.importing.staging import FIRST_REJECTS, stage
from core.importing.targets import BARS as BARS_TARGET
from core.importing.targets import awaited, lock_of
from core.reading import Refused, kind_of
from core.store import Store, open_store

logger = logging.getLogger(__name__)

UNCHANGED = "nothing changed: this content was imported before"
_TURN_S = 0.2


@dataclass(frozen=True, slots=True)
class _Staged:
    """A staged file with its writer and, where it can be, its first chunk made ready."""

    file: Staged
    writer: Writer
    first: Any


# What reading a file gave: None for bars, which are read whole when they are stored.
_Found = Staged | _Staged | ImportedFile | Exception | None
_Outcomes = Queue[tuple[int, _Found] | None]


def run_job(job: Job, told: Told | None = None) -> Job:
    """Run the job to its end in this process; returns it as it ended.

    ``told`` is called with it now and then. One job a database runs at a time, others wait.
    Whatever goes wrong is told in the job's state and message.
    """
    progress = Progress(replace(job, pid=os.getpid(), state=QUEUED), told)
    lock = FileLock(jobs.jobs_folder(job.db) / "import.lock")
    try:
        with awaited(lock, progress.beat):
            progress.begin()
            _Run(progress, open_store(job.db)).run()
            progress.end(*_verdict(progress.job))
    except (Cancelled, KeyboardInterrupt):
        progress.end(CANCELLED, "Cancelled; what is in the file are whole chunks.")
    except (PerpduckError, OSError, pl.exceptions.PolarsError) as error:
        progress.end(FAILED, _words(error))
    except Exception as error:
        logger.exception("the import %s failed", job.id)
        progress.end(FAILED, f"{type(error).__name__}: {_words(error)}")
    return progress.job


class _Run:
    """The files of one job, one after the other, in three threads.

    While the caller's stores a file, one makes the next file's first chunk ready, and one reads
    and stages the file after that.
    """

    def __init__(self, progress: Progress, store: Store) -> None:
        self._progress = progress
        self._store = store
        self._job = progress.job
        self._known = KnownFiles(store)
        self._read: _Outcomes = Queue(maxsize=1)
        self._ready: _Outcomes = Queue(maxsize=1)
        # A chunk that is ready takes some 100 MB: no more than one waits.
        self._room = threading.Semaphore(1)
        self._over = threading.Event()

    def run(self) -> None:
        threads = [
            threading.Thread(target=work, name=f"import {name}", daemon=True)
            for name, work in (("reader", self._read_all), ("preparer", self._prepare_all))
        ]
        for thread in threads:
            thread.start()
        try:
            while (outcome := self._ready.get()) is not None:
                number, found = outcome
                if isinstance(found, _Staged):
                    self._room.release()
                self._take(number, found)
        finally:
            self._over.set()
            for queue in (self._read, self._ready):
                with contextlib.suppress(Empty):
                    queue.get_nowait()
            self._room.release()
            for thread in threads:
                thread.join()

    def _hand_over(self, queue: _Outcomes, outcome: tuple[int, _Found] | None) -> bool:
        while not self._over.is_set():
            with contextlib.suppress(Full):
                queue.put(outcome, timeout=_TURN_S)
                return True
        return False

    # -- reading -------------------------------------------------------------------------

    def _read_all(self) -> None:
        step_back()
        try:
            stage_ahead(self._job, self._over.is_set)
        except PerpduckError as error:
            # What is not staged by then is staged here.
            logger.warning("files are read on this machine alone: %s", error)
        for number, file in enumerate(self._job.files):
            if file.state == DONE:
                continue
            found: _Found
            try:
                found = self._read_one(number)
            except Exception as error:
                found = error
            if not self._hand_over(self._read, (number, found)):
                return
        self._hand_over(self._read, None)

    def _prepare_all(self) -> None:
        step_back()
        while not self._over.is_set():
            try:
                outcome = self._read.get(timeout=_TURN_S)
            except Empty:
                continue
            if outcome is not None:
                number, found = outcome
                if isinstance(found, Staged):
                    self._room.acquire()
                    outcome = number, self._prepared(number, found)
            if not self._hand_over(self._ready, outcome) or outcome is None:
                return

    def _prepared(self, number: int, staged: Staged) -> _Found:
        folder = self._job.staged_path(number)
        try:
            dataset = dataset_of(staged.kind, self._job, staged.name)
            writer = writer_of(self._store, staged, folder, dataset)
            first = (
                made_ready(staged, folder, writer, 0) if writer.ahead and staged.chunks else None
            )
        except Exception as error:
            self._room.release()
            return error
        return _Staged(staged, writer, first)

    def _read_one(self, number: int) -> Staged | ImportedFile | None:
        job, path = self._job, self._job.paths[number]
        staged_before = job.staged_path(number).exists()
        if not staged_before:
            try:
                kind = kind_of(path)
            except BadFile:
                if job.timeframe is None:
                    raise
                kind = BARS  # said to be; reading it as such tells what is wrong with it
            dataset = dataset_of(kind, job, path.name)
            if kind == BARS:
                return None
            if (known := self._known.find(path, dataset, job.symbol)) is not None:
                return known

        def on(read: int, rejected: int, done: float) -> None:
            if self._over.is_set():
                raise Cancelled
            self._progress.reading(number, read, rejected, done)

        return stage(
            path, job.staged_path(number), job.rejects_path(number), symbol=job.symbol, progress=on
        )

    # -- storing -------------------------------------------------------------------------

    def _take(self, number: int, found: _Found) -> None:
        folder = self._job.staged_path(number)
        try:
            done = self._stored(number, found)
        except DataError as error:
            self._progress.file(number, _failed(self._job.files[number].name, error))
            shutil.rmtree(folder, ignore_errors=True)
            return
        self._progress.file(number, done)
        shutil.rmtree(folder, ignore_errors=True)
        if self._job.delete_after:
            jobs.remove_source(self._job.paths[number])

    def _stored(self, number: int, found: _Found) -> JobFile:
        if isinstance(found, Exception):
            raise found
        if isinstance(found, ImportedFile):
            return _unchanged(found, ())
        assert not isinstance(found, Staged)  # made ready by then
        target = self._target(found)
        if target is None:
            return self._put(number, found)
        with awaited(lock_of(self._store.path, target), self._progress.beat):
            return self._put(number, found)

    def _target(self, found: _Staged | None) -> str | None:
        """Return what the file changes that can be deleted meanwhile."""
        if found is None or found.file.timeframe not in (None, "1min"):
            return BARS_TARGET
        return dataset_of(found.file.kind, self._job, found.file.name) or None

    def _put(self, number: int, found: _Staged | None) -> JobFile:
        if found is None:
            return store_bars(self._store, self._job, number)
        staged = found.file
        dataset = dataset_of(staged.kind, self._job, staged.name)
        before = stored_before(self._store, staged, dataset)
        if before.is_known:
            known = ImportedFile(
                staged.name, staged.content_hash, staged.read, 0, 0, staged.rejected
            )
            return _unchanged(known, staged.rejects)
        outcome = commit(
            self._store, staged, self._job.staged_path(number), found.writer, dataset=dataset,
            before=before, first=found.first,
            beat=lambda rows: self._progress.storing(number, rows, staged.rows),
        )  # fmt: skip
        idle = f"{staged.idle:,} bars without trades were left out" if staged.idle else ""
        return JobFile(
            outcome.name, DONE, outcome.read, outcome.kept, outcome.duplicate, outcome.rejected,
            staged.rejects, idle,
        )  # fmt: skip


def _unchanged(file: ImportedFile, rejects: tuple[tuple[int, str, str], ...]) -> JobFile:
    return JobFile(
        file.name, DONE, file.read, 0, file.read - file.rejected, file.rejected, rejects, UNCHANGED
    )


def _failed(name: str, error: Exception) -> JobFile:
    if isinstance(error, Refused):
        first = tuple(error.rejects.head(FIRST_REJECTS).rows())
        return JobFile(name, FAILED, error.read, 0, 0, error.rejected, first, _words(error))
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
