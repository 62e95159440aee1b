"""Where the lake's files lie now: kept relative, so that database and lake can move together.

A path in ``lake_files`` is relative to the lake's root (column ``lake``) where that is a folder
of this machine, and the root is relative to the database's folder where it lies in there. Bucket
addresses, and paths of files made before roots were kept, are whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from core.config import load_settings
from core.sql import sql
from core.store import Connection

# symbol=…/date=…/part….parquet: what every path of the lake ends with.
_LEVELS = 3


@dataclass(frozen=True, slots=True)
class LakeFile:
    """A Parquet file of the lake: ``path`` is where it was found, or else where it was written."""

    symbol: str
    day: date
    path: str
    is_there: bool
    trades: int
    sha256: str | None


def is_remote(place: str) -> bool:
    """Whether it is no folder of this machine."""
    return "://" in place


def kept_names(db: Path, lake: str, path: str) -> tuple[str, str | None]:
    """Return path and lake as ``lake_files`` keeps them for a file that lies at ``path``."""
    if is_remote(path):
        return path, None
    root, home = Path(lake).absolute(), db.parent
    inside = Path(path).absolute().relative_to(root).as_posix()
    is_within = root.is_relative_to(home)
    return inside, root.relative_to(home).as_posix() if is_within else str(root)


def lake_files(
    con: Connection,
    start: datetime,
    end: datetime,
    symbol: str | None = None,
    now: str | None = None,
) -> list[LakeFile]:
    """Return the files with trades that may lie in [start, end), of one symbol or of all.

    ``now`` is the root below which a file may lie that is not where it was written; without it
    that of the settings.
    """
    rows = con.execute(
        sql("lake_files_between"), {"symbol": symbol, "start": start, "end": end}
    ).fetchall()
    db = database_path(con) if rows else Path()
    return [
        LakeFile(of, day, *found_path(db, path, lake, now), trades, sha256)
        for of, day, path, lake, trades, sha256 in rows
    ]


def database_path(con: Connection) -> Path:
    """Return the path of the file that the connection reads."""
    rows = con.execute(
        "select path from duckdb_databases() where database_name = current_database()"
    ).fetchall()
    return Path(rows[0][0] or ".")


def found_path(db: Path, path: str, lake: str | None, now: str | None = None) -> tuple[str, bool]:
    """Return where a registered file lies now, and whether it is there; a remote one counts so."""
    if is_remote(path):
        return path, True
    for place in _places(db, path, lake, now):
        if place.is_file():
            return str(place), True
    return str(db.parent / (lake or "") / path), False


def _places(db: Path, path: str, lake: str | None, now: str | None) -> Iterator[Path]:
    """Yield where a file may be: where it was written, then below the lake that is set now."""
    yield db.parent / (lake or "") / path
    now = now or load_settings(db=db).lake
    if not is_remote(now):
        yield Path(now, *Path(path).parts[-_LEVELS:])
