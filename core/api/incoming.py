"""A file on its way from a program to its import: the room for it, its folder, its turn."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import re
import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.datastructures import UploadFile

from core.api.problems import Problem
from core.imports import Job, list_jobs, start_import, upload_folder
from core.live import sources

T = TypeVar("T")

# What must stay free on the disk, as for the Data page's uploads.
RESERVE_BYTES = 512 << 20
# Each import is a process of its own, and one runs at a time: more of them would only wait.
MOST_ACTIVE, RETRY_S = 8, 5
ACTIVE = ("queued", "running")
# Threads of the uploads' own, as the answers have theirs; copies have the disk to wait for.
THREADS, COPIES = 4, 2
NOTE, _TAKEN = "api.json", "taken"
_ENDINGS = re.compile(
    r"(\.(?:ndjson|jsonl|json|csv|txt|parquet))?(\.(?:gz|zst|zip))?$", re.IGNORECASE
)
_starting = threading.Lock()


@functools.lru_cache(maxsize=1)
def _limiters() -> tuple[CapacityLimiter, CapacityLimiter]:
    return CapacityLimiter(THREADS), CapacityLimiter(COPIES)


async def in_thread(call: Callable[..., T], *given: Any, is_copy: bool = False) -> T:
    """Call it in one of the uploads' threads."""
    return await to_thread.run_sync(call, *given, limiter=_limiters()[is_copy])


def taken(source: sources.Source, file: UploadFile, name: str) -> Path:
    """Move what arrived into a folder of its own, under a name of ours; returns its path."""
    sources.prepare(source)
    folder = upload_folder(source.store.path) / _TAKEN / secrets.token_hex(8)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _demand_room(folder.parent, file.size or 0)
    folder.mkdir()
    # The ending says what it is; only those that are known are taken over. The rest is no word
    # that a message may have: there it is replaced by the name that was given.
    found = _ENDINGS.search(name)
    path = folder / f"{secrets.token_hex(8)}{found[0].lower() if found else ''}"
    file.file.seek(0)
    try:
        with path.open("xb") as out:
            shutil.copyfileobj(file.file, out, 4 << 20)
    except BaseException:
        dropped(path)
        raise
    return path


def started(source: sources.Source, path: Path, name: str, asked: Mapping[str, str | None]) -> Job:
    """Start the import of what was taken. Raises Problem where too many wait."""
    try:
        with _starting:
            demand_turn(source.store.path)
            job = start_import(source.store.path, [path], delete_after=True, **asked)
    except BaseException:
        dropped(path)
        raise
    (job.folder / NOTE).write_text(json.dumps({"name": name}), encoding="utf-8")
    return job


def dropped(path: Path) -> None:
    """Remove what was taken and is not to be imported."""
    path.unlink(missing_ok=True)
    left(path)


def left(path: Path) -> None:
    """Remove the folder of a file that was imported or forgotten, and is gone."""
    if path.parent.parent.name == _TAKEN:
        with contextlib.suppress(OSError):
            path.parent.rmdir()


def demand_turn(db: Path) -> None:
    """Raise Problem where as many imports as may wait do so already."""
    if sum(job.state in ACTIVE for job in list_jobs(db)) >= MOST_ACTIVE:
        raise Problem(
            503, f"{MOST_ACTIVE} imports run or wait already; try again when one has ended.",
            headers={"Retry-After": str(RETRY_S)},
        )  # fmt: skip


def demand_spool_room(size: int) -> None:
    """Raise Problem where a body so large has no room in the system's folder for such things."""
    _demand_room(Path(tempfile.gettempdir()), size)


def _demand_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free - RESERVE_BYTES:
        raise Problem(
            507,
            f"It has {size / 1e9:,.2f} GB, {free / 1e9:,.2f} GB are free and "
            f"{RESERVE_BYTES / 1e9:.1f} GB of them must stay so; make room.",
        )


@contextlib.contextmanager
def full_disk_told() -> Iterator[None]:
    """Raise Problem for a disk that is full by now: several files may have come at once."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Problem(507, "The disk is full; make room and send it again.") from error
