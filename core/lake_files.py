"""The lake's Parquet files: where they lie, how they are written, and what proves them whole."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from urllib.parse import quote

import polars as pl

from core.errors import ConfigError, StoreError, StoreFull
from core.lake_places import is_remote
from core.sql import sql
from core.store import Connection
from core.store_file import MIN_FREE_BYTES, instance

# What no path or file system can hold, what a pattern would be taken for, and what hive's
# folders give a meaning; every other letter of any script stays as it is.
_UNSAFE = frozenset("/\\:*?'\"<>|[]{}%=#&+ ~\x7f")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a set of trades is known by: equal facts, equal rows.

    ``checksum`` comes from DuckDB's ``hash``, which another version of it may compute otherwise: it
    is compared within a run only, between write and delete. Files of the lake are held to their
    sha256 later (`core.lake_check`).
    """

    trades: int
    first_id: int
    last_id: int
    first_ts: datetime
    last_ts: datetime
    checksum: str


def part_path(lake: str, symbol: str, day: date, first_id: int) -> str:
    """Return a name of its own for a new part of the symbol's day."""
    name = f"part-{first_id:013d}-{secrets.token_hex(4)}.parquet"
    return f"{lake}/symbol={encoded(symbol)}/date={day:%Y-%m-%d}/{name}"


def encoded(symbol: str) -> str:
    """Return the symbol as a folder's name, percent-encoded where a path cannot hold it."""
    text = "".join(quote(c, safe="") if c in _UNSAFE or c < " " else c for c in symbol)
    # A dot or space at an end is lost on some systems, and '..' is another folder.
    return text.replace(".", "%2E") if text.strip(".") != text else text


def demand_lake(lake: str) -> None:
    """Raise ConfigError for a place that the lake cannot be at."""
    if any(character in lake for character in "*?[]'\0"):
        raise ConfigError(f"The lake {lake!r} holds one of * ? [ ] '; give a path without them")
    if not is_remote(lake):
        try:
            Path(lake).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"The lake {lake} cannot be made: {error.strerror}") from error
        return
    with contextlib.closing(instance()) as con, told(lake):
        con.execute(f"copy (select 1 as works) to '{lake}/.perpduck-probe.parquet'")


def write_part(path: str, rows: pl.DataFrame) -> None:
    """Write trades to a new Parquet file, sorted by (ts, agg_id), and see it on the disk."""
    folder = Path(path).parent
    if not is_remote(path):
        folder.mkdir(parents=True, exist_ok=True)
        if (free := shutil.disk_usage(folder).free) < MIN_FREE_BYTES:
            raise StoreFull(f"{free / 1e6:.1f} MB are free in {folder}; make room, nothing is lost")
    with contextlib.closing(instance()) as con, told(path):
        con.register("moving", rows)
        con.execute(sql("lake_write").replace("{path}", path))
    if not is_remote(path):
        _sync(Path(path))


def read_part(path: str) -> tuple[Facts | None, pl.DataFrame]:
    """Read a file back; returns its facts, and the ids that it holds (agg_id)."""
    rows = "from read_parquet($path, hive_partitioning = false)"
    with contextlib.closing(instance()) as con, told(path):
        found = facts(con, rows, {"path": path})
        ids = con.sql(f"select agg_id {rows}", params={"path": path}).pl()
    return found, ids


def facts_of(rows: pl.DataFrame) -> Facts | None:
    """Return the facts of trades in memory."""
    with contextlib.closing(instance()) as con:
        con.register("moving", rows)
        return facts(con, "from moving", {})


def facts(con: Connection, rows: str, parameters: dict[str, object]) -> Facts | None:
    """Return the facts of the trades that the SQL ``rows`` gives, None where it gives none."""
    text = sql("lake_facts").replace("{rows}", rows)
    count, first, last, first_ts, last_ts, total, mixed = con.execute(text, parameters).fetchall()[
        0
    ]
    if not count:
        return None
    return Facts(count, first, last, first_ts, last_ts, f"{int(total):x}-{int(mixed):016x}")


def remove_part(path: str) -> None:
    """Remove a file that was never registered; a remote one stays, and is ignored."""
    if not is_remote(path):
        Path(path).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            Path(path).parent.rmdir()
            Path(path).parent.parent.rmdir()


class Pending:
    """The one file under way, written down before it is begun: a killed run leaves no litter.

    What else lies in the lake is never touched, since others may write there.
    """

    def __init__(self, db: Path) -> None:
        self._note = Path(f"{db}.lake.pending")

    def begin(self, path: str) -> None:
        """Note a file that is about to be written."""
        self._note.write_text(json.dumps(path), encoding="utf-8")

    def end(self) -> None:
        """Forget it: it is registered, or gone."""
        self._note.unlink(missing_ok=True)

    def left_over(self) -> str | None:
        """Return the file that a killed run was at, None where there was none."""
        try:
            found = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, str) else None


@contextlib.contextmanager
def told(place: str) -> Iterator[None]:
    """Raise what DuckDB says of the lake as StoreError or StoreFull."""
    try:
        yield
    except StoreError:
        raise
    except Exception as error:  # DuckDB's own classes are the store's to know
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        if is_remote(place):
            raise ConfigError(
                f"DuckDB cannot use {place}: {text}. Perpduck downloads no extensions; give a "
                "folder of this machine, or one that the bucket is mounted at"
            ) from error
        if "No space left" in text:
            raise StoreFull(f"The disk of {place} is full; nothing was lost, make room") from error
        raise StoreError(f"{place}: {text}; nothing was deleted") from error


def _sync(path: Path) -> None:
    """See the file and the folders that name it on the disk."""
    for place in (path, path.parent, path.parent.parent, path.parent.parent.parent):
        if place.is_dir() and os.name == "nt":
            continue
        handle = os.open(place, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
