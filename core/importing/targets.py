"""Who may change a dataset or the uploaded bars: an import or a deletion, one at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from core.errors import DataError
from core.importing.jobs import jobs_folder

TURN_S = 0.2
WAIT_S = 3.0
# Uploaded bars are one target; no dataset can have this name.
BARS = "(bars)"


def lock_of(db: Path, target: str) -> FileLock:
    """Return the lock of a dataset, or of BARS."""
    folder = jobs_folder(db)
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{target.strip().lower()}.target.lock")


@contextlib.contextmanager
def taken(db: Path, target: str) -> Iterator[None]:
    """Hold the target; raises DataError where an import holds it for long."""
    lock = lock_of(db, target)
    try:
        lock.acquire(timeout=WAIT_S)
    except Timeout:
        what = "uploaded bars" if target == BARS else f"the dataset {target!r}"
        raise DataError(
            f"An import into {what} is running; wait for its end, or cancel it first"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def awaited(lock: FileLock, beat: Callable[[], None]) -> Iterator[None]:
    """Hold the lock; ``beat`` is called while it is waited for, and may raise."""
    while True:
        try:
            lock.acquire(timeout=TURN_S)
            break
        except Timeout:
            beat()
    try:
        yield
    finally:
        lock.release()
