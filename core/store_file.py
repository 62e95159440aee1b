"""How the DuckDB file is opened and read in time, what its errors mean, and whose it is.

For `core.store` alone: everybody else goes through `core.store.Store`.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import random
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias, cast

import duckdb

from core.errors import StoreBusy, StoreError, StoreFull, WrongFile, WrongVenue
from core.sql import migrations

Connection: TypeAlias = duckdb.DuckDBPyConnection

# Every opening replays the WAL, at 20 ms a MB for small flushes; a checkpoint takes 25 ms whatever
# the file holds. At 1 MB an opening takes 8 ms on average, at 4 MB it was up to 170 ms.
WAL_LIMIT = "1MB"
MIN_FREE_BYTES = 8 << 20
# DuckDB forgets an interrupt that arrives between two queries: it is repeated at this pace.
REPEAT_S = 0.02


def instance() -> Connection:
    """Return a DuckDB instance of its own, to which files are attached and detached.

    Starting an instance was measured to take 14 ms, attaching a file to a running one 1 ms.
    """
    con = duckdb.connect(":memory:")
    con.execute(f"set checkpoint_threshold = '{WAL_LIMIT}'")
    con.execute("pragma disable_checkpoint_on_shutdown")
    con.execute("set global python_enable_replacements = false")
    # What is used (icu, json, parquet) is compiled in; a file must not make DuckDB download code.
    con.execute("set autoinstall_known_extensions = false")
    con.execute("set autoload_known_extensions = false")
    return con


def attach_patiently(con: Connection, path: Path, deadline: float, *, read_only: bool) -> None:
    """Attach the file as ``store``, polling at a constant pace while another process holds it.

    Growing back-off was measured to give flushes over 700 ms; constant polling none over 300.
    """
    quoted = str(path).replace("'", "''")
    # Without the type, a SQLite file is taken for one and its extension asked for.
    options = "(type duckdb, read_only)" if read_only else "(type duckdb)"
    while True:
        try:
            con.execute(f"attach '{quoted}' as store {options}")
            return
        except duckdb.Error as error:
            if not is_lock(error, path):
                raise translated(error, path) from error
            if time.monotonic() >= deadline:
                raise busy(path) from error
            time.sleep(random.uniform(0.002, 0.012))


def cursor_on_store(con: Connection) -> Connection:
    """Return a cursor of its own whose unqualified names are the attached file's tables."""
    cursor = con.cursor()
    cursor.execute("use store")
    return cursor


class _Limited:
    """A cursor that begins nothing after its time; as long as it lasts, the cursor itself."""

    def __init__(self, cursor: Connection, ends_at: float) -> None:
        self._cursor = cursor
        self._ends_at = ends_at

    def __getattr__(self, name: str) -> Any:
        if time.monotonic() >= self._ends_at:
            raise duckdb.InterruptException("the time of this read is over")
        return getattr(self._cursor, name)


class _Watchdog:
    """Interrupts queries of reads that go past their time; one thread for the whole process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: dict[Connection, float] = {}
        self._wakes_at = math.inf
        self._thread: threading.Thread | None = None
        self._is_over = False
        # A thread that outlives the interpreter makes DuckDB's binding report leaks at the end.
        atexit.register(self._end)

    def watch(self, cursor: Connection, ends_at: float) -> None:
        """Interrupt what the cursor does from ``ends_at`` (monotonic seconds) on."""
        with self._changed:
            self._due[cursor] = ends_at
            if not self._is_over and not (self._thread and self._thread.is_alive()):
                self._thread = threading.Thread(target=self._run, name="read limit", daemon=True)
                self._thread.start()
            elif ends_at < self._wakes_at:
                self._changed.notify_all()

    def leave(self, cursor: Connection) -> None:
        """Forget the cursor; it is not touched any more once this returns."""
        with self._changed:
            self._due.pop(cursor, None)

    def _end(self) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        if self._thread:
            self._thread.join(1.0)

    def _run(self) -> None:
        with self._changed:
            while not self._is_over:
                now = time.monotonic()
                late = [cursor for cursor, ends_at in self._due.items() if ends_at <= now]
                for cursor in late:
                    with contextlib.suppress(duckdb.Error):
                        cursor.interrupt()
                first = now + REPEAT_S if late else min(self._due.values(), default=math.inf)
                self._wakes_at = first
                self._changed.wait(None if math.isinf(first) else first - now)


_watchdog = _Watchdog()


@contextlib.contextmanager
def limited(cursor: Connection, limit_s: float | None) -> Iterator[Connection]:
    """Yield the cursor for ``limit_s`` seconds; later queries raise InterruptException."""
    ends_at = time.monotonic() + (math.inf if limit_s is None else limit_s)
    _watchdog.watch(cursor, ends_at)
    try:
        yield cast(Connection, _Limited(cursor, ends_at))
    finally:
        _watchdog.leave(cursor)


def migrate(con: Connection) -> None:
    """Bring the schema up to date, each migration in a transaction of its own."""
    con.execute(
        "create table if not exists schema_migrations (version int not null, applied_at timestamp)"
    )
    done = {row[0] for row in con.execute("select version from schema_migrations").fetchall()}
    for version, text in migrations():
        if version in done:
            continue
        con.execute("begin")
        try:
            con.execute(text)
            con.execute(
                "insert into schema_migrations values (?, now() at time zone 'UTC')", [version]
            )
            con.execute("commit")
        except BaseException:
            con.execute("rollback")
            raise


def create(path: Path, venue: str) -> None:
    """Build a complete file under another name, then give it its own: never half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    try:
        con = duckdb.connect(draft)
        migrate(con)
        con.execute("insert into meta values ('app', 'perpduck'), ('venue', ?)", [venue])
        con.execute("checkpoint")
        con.close()
        if not path.exists():
            draft.rename(path)
    except duckdb.Error as error:
        raise translated(error, path) from error
    finally:
        draft.unlink(missing_ok=True)
        draft.with_name(draft.name + ".wal").unlink(missing_ok=True)


def inspect(con: Connection, path: Path) -> int:
    """Return the file's schema version; raises WrongFile where it is not one of ours."""
    try:
        ours = meta(con, "app") == "perpduck"
        rows = con.execute("select max(version) from schema_migrations").fetchall()
        version = int(rows[0][0])
    except (duckdb.CatalogException, duckdb.BinderException, TypeError):
        ours, version = False, 0
    if not ours:
        raise WrongFile(
            f"{path} is a DuckDB file, but not one of Perpduck's; give another with --db"
        )
    if version > (newest := migrations()[-1][0]):
        raise WrongFile(
            f"{path} has schema version {version}, this program knows up to {newest}; "
            "update Perpduck, or give another file with --db"
        )
    return version


def meta(con: Connection, key: str) -> str | None:
    rows = con.execute("select value from meta where key = ?", [key]).fetchall()
    return str(rows[0][0]) if rows else None


def demand_venue(con: Connection, path: Path, venue: str) -> None:
    """Raise WrongVenue unless the file is stamped with ``venue``."""
    if (stamped := meta(con, "venue")) != venue:
        raise WrongVenue(
            f"{path} holds trades of {stamped!r}, not of {venue!r}, and their ids would "
            f"mix; give another file with --db, or start the worker for {stamped!r}"
        )


def stat(path: Path) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def identity(path: Path) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def is_lock(error: duckdb.Error, path: Path) -> bool:
    """Whether the file is only held by somebody else; other causes must not be waited for."""
    text = str(error)
    if sys.platform == "win32" and text.startswith("IO Error: Cannot open file"):
        # Why it cannot, Windows says in the language of its user.
        return path.exists()
    return (
        "Could not set lock on file" in text
        or "being used by another process" in text
        or "different configuration than existing connections" in text
    )


def busy(path: Path) -> StoreBusy:
    return StoreBusy(f"{path} is in use by another process; it is tried again by itself")


def _full(path: Path) -> StoreFull:
    return StoreFull(
        f"The disk of {path} is full; nothing stored was lost, make room and writing goes on"
    )


_CAUSES: tuple[tuple[str, Callable[[Path, str], StoreError]], ...] = (
    ("No space left", lambda path, _: _full(path)),
    (
        "not a valid DuckDB database",
        lambda path, _: WrongFile(f"{path} is not a DuckDB file; give another with --db"),
    ),
    (
        "newer version of DuckDB",
        lambda path, _: WrongFile(f"{path} was written by a newer DuckDB; update Perpduck"),
    ),
    (
        "Corrupt database file",
        lambda path, text: WrongFile(
            f"{path} is damaged ({text.splitlines()[0][:120]}); restore a copy, or give another "
            "file with --db"
        ),
    ),
)


# What the disk refuses arrives as one of these, with the system's words for it.
_OF_THE_DISK = (duckdb.IOException, duckdb.TransactionException, duckdb.FatalException)


def translated(error: duckdb.Error, path: Path) -> StoreError:
    text = str(error)
    if is_lock(error, path):
        return busy(path)
    for needle, build in _CAUSES:
        if needle in text:
            return build(path, text)
    if isinstance(error, _OF_THE_DISK):
        # A full disk as well is named in the language of the user.
        with contextlib.suppress(OSError):
            if shutil.disk_usage(path.parent).free < MIN_FREE_BYTES:
                return _full(path)
    return StoreError(f"{path}: {text.splitlines()[0]}")
