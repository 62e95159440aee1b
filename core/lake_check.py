"""Whether the lake's files are there and as they were written; what is wrong in plain words."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from core.errors import LakeMissing, PerpduckError
from core.lake_files import read_part
from core.lake_places import LakeFile, is_remote, lake_files
from core.store import Store

_MAGIC = b"PAR1"
_BEGIN, _END = datetime(1970, 1, 1), datetime(2200, 1, 1)  # noqa: DTZ001 - as the store keeps it


@dataclass(frozen=True, slots=True)
class Check:
    """What became of the check of a lake: every file is one of the three."""

    whole: int
    # Written before sums were kept, or in a bucket: it can be read, and has as many trades.
    readable: int
    broken: tuple[tuple[LakeFile, str], ...]


def verify_lake(
    store: Store, lake: str | None = None, told: Callable[[int, int], None] | None = None
) -> Check:
    """Read every file of the lake, and compare it with the sha256 that it was written with.

    ``lake`` is where to look for what is not where it was written; ``told`` hears how many of how
    many files are done.
    """
    with store.read(wait_s=10.0, limit_s=5.0) as con:
        files = lake_files(con, _BEGIN, _END, now=lake)
    whole, readable, found = 0, 0, []
    for number, one in enumerate(files, 1):
        if words := broken(one):
            found.append((one, words))
        elif one.sha256:
            whole += 1
        else:
            readable += 1
        if told is not None:
            told(number, len(files))
    return Check(whole, readable, tuple(found))


def broken(file: LakeFile) -> str:
    """Return what is wrong with a file, to be said behind its path; empty where nothing is."""
    if not file.is_there:
        return "is not there"
    try:
        if not is_remote(file.path):
            if not _is_parquet(Path(file.path)):
                return "is no whole Parquet file"
            if file.sha256:
                same = file_sha256(file.path) == file.sha256
                return "" if same else "is not as it was written: its sha256 differs"
        held, _ = read_part(file.path)
        if (count := held.trades if held else 0) != file.trades:
            return f"holds {count:,} trades; {file.trades:,} were written"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    except PerpduckError as error:
        return f"cannot be read ({str(error).removeprefix(f'{file.path}: ')})"
    return ""


def file_sha256(path: str) -> str | None:
    """Return the sha256 of a file's bytes; None of a remote one, which only DuckDB can read."""
    if is_remote(path):
        return None
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as stream:
        first = stream.read(4)
        stream.seek(-min(4, path.stat().st_size), 2)
        return first == stream.read(4) == _MAGIC and stream.tell() > 12


def demand_there(files: Sequence[LakeFile]) -> None:
    """Raise LakeMissing where a file is not where it should be."""
    if missing := [one for one in files if not one.is_there]:
        raise _missing([(one, "is not there") for one in missing])


def demand_readable(files: Sequence[LakeFile]) -> None:
    """Raise LakeMissing where a file cannot be read, or is not as it was written."""
    if told := [(one, words) for one in files if (words := broken(one))]:
        raise _missing(told)


def _missing(told: Sequence[tuple[LakeFile, str]]) -> LakeMissing:
    (first, words), more = told[0], len(told) - 1
    symbols = ", ".join(sorted({one.symbol for one, _ in told}))
    others = f" (and {more:,} more file{'s' if more > 1 else ''})" if more else ""
    return LakeMissing(
        f"Trades of {symbols} of {_days(one.day for one, _ in told)} cannot be read from the lake: "
        f"{first.path} {words}{others}. Bring the files back to where they were, or set "
        "PERPDUCK_LAKE to the folder where the lake is now; all bars and the other days are there"
    )


def _days(days: Iterable[date]) -> str:
    """Return days in words, neighbours as a range."""
    found: list[list[date]] = []
    for day in sorted(set(days)):
        if found and (day - found[-1][-1]).days == 1:
            found[-1][1:] = [day]
        else:
            found.append([day])
    words = [" to ".join(str(day) for day in run) for run in found]
    return ", ".join(words[:6]) + (f" and {len(words) - 6} more" if len(words) > 6 else "")
