"""Staged chunks into the file, one transaction each, with pauses in which the worker writes.

A chunk's row in ``import_chunks`` is written with it, so that what was interrupted goes on with
the next chunk and still counts exactly; the last transaction turns them into one row of
``imported_files``.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from core.errors import StoreBusy
from core.importing.records import ImportedFile, Staged
from core.sql import sql
from core.store import Connection, Store
from core.supervisor import WorkerLock
from core.trade_writer import utc_now

# A transaction that has lasted so long takes no further chunk: the whole of it stays below 0.6 s.
ENOUGH_S = 0.3
# What the worker needs to get its turn, and what the app's readers need where there is none.
PAUSE_S = 0.1
PAUSE_ALONE_S = 0.02
WAIT_S = 10.0
# Others that write without a pause get in first; an import has time.
READ_WAIT_S = 120.0
# Reads of a chunk's surroundings copy at most as many rows as the chunk has.
READ_S = 5.0
NICE = 15

# Called often, with rows committed so far; raises Cancelled.
Beat = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of a chunk's rows."""

    kept: int
    duplicate: int


class Writer(Protocol):
    """How one kind of rows gets into the file."""

    # What ``imported_files`` calls the file.
    kind: str
    # Whether a chunk can be made ready before the one ahead of it is stored.
    ahead: bool

    def check(self) -> None:
        """Raise BadFile where the file must not be taken; before anything of it is stored."""
        ...

    def ready(self, rows: pl.DataFrame) -> Any:
        """Return the chunk with all that can be computed before the file is taken."""
        ...

    def write(self, con: Connection, chunk: Any) -> Counts:
        """Store the chunk inside the caller's transaction."""
        ...

    def end(self, con: Connection, content_hash: str) -> None:
        """Do what comes once, in the last transaction of the file."""
        ...


@dataclass(frozen=True, slots=True)
class Before:
    """What the file holds of a staged one: all of it, or chunks by number."""

    is_known: bool
    chunks: dict[int, Counts]


def stored_before(store: Store, staged: Staged, dataset: str) -> Before:
    """Look what of this content was imported before, into this dataset."""
    known = {"dataset": dataset, "hash": staged.content_hash, "layout": staged.layout}
    with store.read(wait_s=READ_WAIT_S, limit_s=READ_S) as con:
        rows = con.execute(sql("import_before"), known).fetchall()
    chunks = {number: Counts(*counts) for number, *counts in rows if number is not None}
    return Before(any(number is None for number, *_ in rows), chunks)


def commit(
    store: Store,
    staged: Staged,
    folder: Path,
    writer: Writer,
    *,
    dataset: str,
    before: Before,
    beat: Beat,
    first: Any = None,
) -> ImportedFile:
    """Store the chunks that are not stored yet; returns the counts of the whole file.

    ``first`` is what `made_ready` gave for the first chunk, where that is done already.
    Raises BadFile, Cancelled, StoreFull, StoreError; whole chunks stay stored.
    """
    if not before.chunks:
        writer.check()
    counts = dict(before.chunks)
    missing = [number for number in range(len(staged.chunks)) if number not in counts]
    turn = _Turn(store, lambda: beat(_rows(staged, counts)))
    outcome = None
    with contextlib.closing(_Ready(staged, folder, writer, missing, first)) as ready:
        while outcome is None:
            beat(_rows(staged, counts))
            waiting = ready.take() if missing else None
            with turn.write() as con:
                until = time.monotonic() + ENOUGH_S
                while waiting is not None:
                    number, chunk = waiting
                    counts[number] = writer.write(con, chunk)
                    if number != missing[-1]:
                        _note_chunk(con, dataset, staged.layout, number, counts[number])
                    waiting = ready.take_at_once() if time.monotonic() < until else None
                if len(counts) == len(staged.chunks):
                    outcome = _end(con, staged, writer, dataset, counts)
    return outcome


def _rows(staged: Staged, counts: dict[int, Counts]) -> int:
    return sum(chunk.rows for n, chunk in enumerate(staged.chunks) if n in counts)


def _end(
    con: Connection, staged: Staged, writer: Writer, dataset: str, counts: dict[int, Counts]
) -> ImportedFile:
    """Note the whole file, in the place of its chunks."""
    kept = sum(one.kept for one in counts.values())
    duplicate = staged.duplicate + sum(one.duplicate for one in counts.values())
    outcome = ImportedFile(
        staged.name, staged.content_hash, staged.read, kept, duplicate, staged.rejected
    )
    writer.end(con, staged.content_hash)
    note_file(con, writer.kind, outcome, dataset)
    con.execute(
        "delete from import_chunks where dataset = ? and content_hash = ?",
        [dataset, staged.layout],
    )
    return outcome


def note_file(con: Connection, kind: str, file: ImportedFile, dataset: str) -> None:
    """Write down that the file was imported, inside the caller's transaction."""
    con.execute(
        sql("import_note_file"),
        {
            "dataset": dataset, "kind": kind, "name": file.name, "hash": file.content_hash,
            "read": file.read, "kept": file.kept, "duplicate": file.duplicate,
            "rejected": file.rejected, "now": utc_now(),
        },
    )  # fmt: skip


class _Turn:
    """Write transactions with pauses between; ``waiting`` is called while the file is held."""

    def __init__(self, store: Store, waiting: Callable[[], None]) -> None:
        self._store = store
        self._waiting = waiting
        self._lock = WorkerLock(store.path)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a connection in one transaction."""
        passed = time.monotonic() - _ended.get(self._store, 0.0)
        pause = PAUSE_S if self._lock.is_held() else PAUSE_ALONE_S
        time.sleep(max(0.0, pause - passed))
        try:
            with ExitStack() as stack:
                yield self._opened(stack)
        finally:
            _ended[self._store] = time.monotonic()

    def _opened(self, stack: ExitStack) -> Connection:
        while True:
            try:
                return stack.enter_context(self._store.write(wait_s=WAIT_S))
            except StoreBusy:
                self._waiting()


# When the last transaction ended, by store: the pause is between files as well.
_ended: dict[Store, float] = {}


def step_back() -> None:
    """Let this thread, and those that it starts, give way to the one that holds the file."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def made_ready(staged: Staged, folder: Path, writer: Writer, number: int) -> Any:
    """Return the chunk with this number, with all that can be computed beside the file."""
    rows = pl.read_parquet(folder / staged.chunks[number].name, memory_map=False)
    return writer.ready(rows)


class _Ready:
    """The chunks to be stored, in order, each made ready while the one before is stored."""

    def __init__(
        self, staged: Staged, folder: Path, writer: Writer, numbers: list[int], first: Any
    ) -> None:
        self._staged, self._folder, self._writer, self._first = staged, folder, writer, first
        self._numbers = deque(numbers)
        self._is_ahead = writer.ahead
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="chunk", initializer=step_back)
        self._coming: Future[Any] | None = None
        if self._is_ahead:
            self._begin_next()

    def take(self) -> tuple[int, Any]:
        """Return the next (number, chunk); waits for it."""
        number = self._numbers.popleft()
        if self._coming is None:
            return number, self._ready(number)
        chunk = self._coming.result()
        self._begin_next()
        return number, chunk

    def take_at_once(self) -> tuple[int, Any] | None:
        """Return the next one where there is one that is ready by now."""
        if self._coming is None or not self._coming.done():
            return None
        return self.take()

    def _ready(self, number: int) -> Any:
        if number == 0 and self._first is not None:
            return self._first
        return made_ready(self._staged, self._folder, self._writer, number)

    def _begin_next(self) -> None:
        self._coming = None
        if self._numbers:
            self._coming = self._pool.submit(self._ready, self._numbers[0])

    def close(self) -> None:
        """Let go of the thread."""
        self._pool.shutdown()


def _note_chunk(con: Connection, dataset: str, layout: str, number: int, counts: Counts) -> None:
    con.execute(
        "insert into import_chunks values (?, ?, ?, ?, ?)",
        [dataset, layout, number, counts.kept, counts.duplicate],
    )
