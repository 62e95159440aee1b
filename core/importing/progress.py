"""How far a job is: told to its folder a few times a second, from the threads that work on it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from core.importing.jobs import INTERRUPTED, RUNNING, Job, JobFile, save_job
from core.importing.records import Cancelled

Told = Callable[[Job], None]

_TOLD_S = 0.25
# Reading a file takes about as long as storing it.
_READ_SHARE = 0.5


class Progress:
    """The job as it is now. Every call raises Cancelled once somebody asked for it."""

    def __init__(self, job: Job, told: Told | None) -> None:
        self._lock = threading.Lock()
        self._told = told
        self._told_at = 0.0
        self._began = time.monotonic()
        self._rows_before = 0
        self._sizes = [_size(job, number) for number in range(len(job.files))]
        self._read = [float(one.state == "done") for one in job.files]
        self._stored = list(self._read)
        self.job = job
        save_job(job)

    def begin(self) -> None:
        """Note that the job has its turn."""
        self._began = time.monotonic()
        self._rows_before = sum(one.read for one in self.job.files)
        self._change(state=RUNNING, now=True)

    def beat(self) -> None:
        """Look whether to stop."""
        if self.job.is_cancelled:
            raise Cancelled

    def reading(self, number: int, read: int, rejected: int, done: float) -> None:
        """Note how much of a file is read."""
        self._read[number] = done
        with self._lock:
            one = replace(self.job.files[number], state=RUNNING, read=read, rejected=rejected)
            self._set(number, one)
        self._change()
        self.beat()

    def storing(self, number: int, rows: int, of: int) -> None:
        """Note how many rows of a file are stored."""
        self._read[number] = 1.0
        self._stored[number] = rows / of if of else 1.0
        self._change()
        self.beat()

    def file(self, number: int, one: JobFile) -> None:
        """Note what became of a file."""
        self._read[number] = self._stored[number] = 1.0
        with self._lock:
            self._set(number, one)
        self._change(now=True)

    def end(self, state: str, message: str) -> None:
        """Note how the job ended."""
        files = tuple(
            replace(one, state=INTERRUPTED) if one.state == RUNNING else one
            for one in self.job.files
        )
        self._change(state=state, message=message, files=files, now=True)

    def _set(self, number: int, one: JobFile) -> None:
        files = list(self.job.files)
        files[number] = one
        self.job = replace(self.job, files=tuple(files))

    def _change(self, *, now: bool = False, **changes: object) -> None:
        with self._lock:
            passed = time.monotonic() - self._began
            rows = sum(one.read for one in self.job.files) - self._rows_before
            self.job = replace(
                self.job,
                progress=self._share(),
                rows_per_s=rows / passed if passed > 0.1 else 0.0,
                **changes,  # type: ignore[arg-type]
            )
            if now or time.monotonic() - self._told_at >= _TOLD_S:
                self._told_at = time.monotonic()
                save_job(self.job)
                if self._told:
                    self._told(self.job)

    def _share(self) -> float:
        done = (
            size * (_READ_SHARE * read + (1 - _READ_SHARE) * stored)
            for size, read, stored in zip(self._sizes, self._read, self._stored, strict=True)
        )
        return min(sum(done) / sum(self._sizes), 1.0)


def _size(job: Job, number: int) -> int:
    try:
        return max(job.paths[number].stat().st_size, 1)
    except OSError:
        return 1
