"""The DuckDB file: the only gate to it for every process.

DuckDB lets one process write or many read, never both at once, so nobody keeps the file
open. The worker opens it once a flush; the app's sessions share one short read-only lease.
Nothing else may open, copy or hash the file: on POSIX closing *any* descriptor on it drops
all locks that the process holds on it, and a commit can vanish without an error.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import duckdb

from core.errors import ReadStopped, StoreFull, StoreMissing
from core.sql import migrations
from core.store_file import (
    MIN_FREE_BYTES,
    Connection,
    attach_patiently,
    busy,
    create,
    cursor_on_store,
    demand_venue,
    identity,
    inspect,
    instance,
    limited,
    meta,
    migrate,
    stat,
    translated,
)

__all__ = ["Connection", "Fingerprint", "Store", "open_store"]

Fingerprint: TypeAlias = tuple[tuple[int, int], tuple[int, int]]

LEASE_S = 0.25
# Between two leases the file is left alone for longer than the writer's longest poll.
LEASE_PAUSE_S = 0.025
READ_LIMIT_S = 0.4
BUSY_WAIT_S = 5.0


class Store:
    """One DuckDB file, opened for as short as possible.

    One object per path and process: get it from `open_store`, since the lease and the write
    turn exclude each other inside the process as well.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._turn = threading.Condition()
        self._duck = instance()
        self._leased = False
        self._users = 0
        self._opened_at = 0.0
        self._not_before = 0.0
        self._busy = False  # a thread is opening the lease, or writes
        self._writers = 0
        self._checked: tuple[int, int] | None = None
        self._venue: str | None = None

    # -- looking from outside ------------------------------------------------------------

    def exists(self) -> bool:
        """Return whether there is a file at the path."""
        return self.path.exists()

    def fingerprint(self) -> Fingerprint:
        """Return (mtime in ns, bytes) of the file and of its WAL; zeros where there is none."""
        return stat(self.path), stat(self._wal())

    def size_bytes(self) -> int:
        """Return the bytes that the file and its WAL take on disk."""
        return sum(size for _, size in self.fingerprint())

    def _wal(self) -> Path:
        return self.path.with_name(self.path.name + ".wal")

    # -- reading -------------------------------------------------------------------------

    @contextlib.contextmanager
    def read(
        self, *, wait_s: float = BUSY_WAIT_S, limit_s: float | None = READ_LIMIT_S
    ) -> Iterator[Connection]:
        """Yield a cursor of the shared read-only lease; close results before leaving.

        What lasts longer than ``limit_s`` seconds is interrupted, since the worker waits meanwhile.
        Raises StoreMissing, StoreBusy, ReadStopped, WrongFile.
        """
        cursor = self._join_lease(time.monotonic() + wait_s)
        try:
            with limited(cursor, limit_s) as con:
                yield con
        except duckdb.InterruptException:
            raise ReadStopped(
                f"Reading {self.path.name} took longer than {limit_s:g} s and was stopped so that "
                "the worker can write; choose a shorter range or fewer symbols"
            ) from None
        except duckdb.Error as error:
            raise translated(error, self.path) from error
        finally:
            cursor.close()
            self._leave_lease()

    def _join_lease(self, deadline: float) -> Connection:
        with self._turn:
            while True:
                now = time.monotonic()
                fresh = self._leased and now - self._opened_at < LEASE_S
                if fresh and not self._writers:
                    self._users += 1
                    return cursor_on_store(self._duck)
                if not self._leased and not self._busy and not self._writers:
                    if now >= self._not_before:
                        break
                    self._turn.wait(self._not_before - now)
                elif now >= deadline:
                    raise busy(self.path)
                else:
                    self._turn.wait(min(deadline - now, 0.05))
            self._busy = True
        opened = False
        try:
            self._attach_for_reading(deadline)
            opened = True
            return cursor_on_store(self._duck)
        finally:
            with self._turn:
                self._busy = False
                if opened:
                    self._leased, self._opened_at, self._users = True, time.monotonic(), 1
                self._turn.notify_all()

    def _leave_lease(self) -> None:
        with self._turn:
            self._users -= 1
            if self._users == 0 and self._leased:
                self._detach()
                self._leased = False
                self._not_before = time.monotonic() + LEASE_PAUSE_S
                self._turn.notify_all()

    def _attach_for_reading(self, deadline: float) -> None:
        self._demand()
        attach_patiently(self._duck, self.path, deadline, read_only=True)
        if (found := identity(self.path)) == self._checked:
            return
        try:
            outdated = self._schema_version() < migrations()[-1][0]
        except BaseException:
            self._detach()
            raise
        if outdated:
            self._detach()
            attach_patiently(self._duck, self.path, deadline, read_only=False)
            try:
                self._migrate()
            finally:
                self._detach()
            attach_patiently(self._duck, self.path, deadline, read_only=True)
        self._checked = found

    def _demand(self) -> None:
        if not self.exists():
            raise StoreMissing(f"There is no {self.path}; start the worker to make it")

    def _detach(self) -> None:
        """Let go of the file; an instance that cannot is closed, which lets go as well."""
        try:
            self._duck.execute("detach store")
        except duckdb.Error:
            self._duck.close()
            self._duck = instance()

    def _schema_version(self) -> int:
        with contextlib.closing(cursor_on_store(self._duck)) as con:
            return inspect(con, self.path)

    def _migrate(self) -> None:
        with contextlib.closing(cursor_on_store(self._duck)) as con:
            try:
                migrate(con)
            except duckdb.Error as error:
                raise translated(error, self.path) from error

    # -- writing -------------------------------------------------------------------------

    @contextlib.contextmanager
    def write(self, *, wait_s: float = BUSY_WAIT_S) -> Iterator[Connection]:
        """Yield a connection inside one transaction: committed at the end, or nothing of it.

        Raises StoreMissing, StoreBusy, StoreFull, WrongFile, WrongVenue.
        """
        with self._writing(wait_s) as con:
            con.execute("begin")
            yield con
            con.execute("commit")

    def checkpoint(self, *, wait_s: float = BUSY_WAIT_S) -> None:
        """Fold the WAL into the file, as after a worker that ended without doing so."""
        with self._writing(wait_s) as con:
            con.execute("checkpoint")

    @contextlib.contextmanager
    def _writing(self, wait_s: float) -> Iterator[Connection]:
        deadline = time.monotonic() + wait_s
        self._take_write_turn(deadline)
        try:
            self._demand()
            self._demand_room()
            attach_patiently(self._duck, self.path, deadline, read_only=False)
            try:
                if self._checked != (found := identity(self.path)):
                    if self._schema_version() < migrations()[-1][0]:
                        self._migrate()
                    self._checked = found
                with contextlib.closing(cursor_on_store(self._duck)) as con:
                    # 0.4 ms; a file put in the place of another may get its inode as well.
                    if self._venue is not None:
                        demand_venue(con, self.path, self._venue)
                    yield con
            except duckdb.Error as error:
                raise translated(error, self.path) from error
            finally:
                self._detach()
        finally:
            with self._turn:
                self._busy = False
                self._turn.notify_all()

    def _demand_room(self) -> None:
        if (free := shutil.disk_usage(self.path.parent).free) < MIN_FREE_BYTES:
            raise StoreFull(
                f"{free / 1e6:.1f} MB are free beside {self.path}; nothing was lost, "
                "make room and writing goes on by itself"
            )

    def _take_write_turn(self, deadline: float) -> None:
        with self._turn:
            self._writers += 1
            try:
                while self._busy or self._leased:
                    if (left := deadline - time.monotonic()) <= 0:
                        raise busy(self.path)
                    self._turn.wait(min(left, 0.05))
                self._busy = True
            finally:
                self._writers -= 1

    # -- whose file it is ----------------------------------------------------------------

    def prepare(self, venue: str, *, wait_s: float = BUSY_WAIT_S) -> None:
        """Make the file if there is none, migrate it, and hold it to ``venue`` from now on.

        Raises WrongVenue when the file belongs to another exchange, WrongFile, StoreBusy.
        """
        self._venue = None
        if not self.exists():
            create(self.path, venue)
        with self.write(wait_s=wait_s) as con:
            demand_venue(con, self.path, venue)
        self._venue = venue

    def venue(self) -> str | None:
        """Return the venue that the file is stamped with, None where there is no file."""
        if not self.exists():
            return None
        with self.read() as con:
            return meta(con, "venue")


_stores: dict[Path, Store] = {}
_stores_lock = threading.Lock()


def open_store(path: Path) -> Store:
    """Return this process's one Store for the path."""
    key = Path(path).expanduser().resolve()
    with _stores_lock:
        if key not in _stores:
            _stores[key] = Store(key)
        return _stores[key]
