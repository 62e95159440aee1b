"""What a file is, by its name and first bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import BadFile
from core.reading.archive_rows import FORMATS
from core.reading.bars import COLUMNS
from core.reading.frames import shown
from core.reading.limits import Limits
from core.reading.members import ArchiveName, archive_name
from core.reading.source import Source
from core.reading.table import DELIMITERS, first_line, header_names
from core.reading.text import blocks
from core.reading.ticks import REQUIRED

PARQUET = b"PAR1"
_HEAD = 65_536
_NDJSON = {".ndjson", ".jsonl", ".json"}
_UNFOLDED = {".gz", ".zst", ".zip"}


@dataclass(frozen=True, slots=True)
class Kind:
    """A file's kind, the form it is written in (ndjson, csv, parquet), its name's say, if any."""

    kind: str
    form: str
    archive: ArchiveName | None = None


class _Head:
    """A file's first bytes as a source that ends with them."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int, /) -> bytes:
        data, self._data = self._data[:size], self._data[size:]
        return data


def kind_of(path: Path) -> str:
    """Return ticks, aggTrades, trades, klines or bars; raises BadFile where nothing fits."""
    return recognised(path, Limits()).kind


def recognised(path: Path, limits: Limits) -> Kind:
    """Return what a file is and how it is written. Raises BadFile, naming what was found."""
    with Source(path, limits) as source:
        head, member = source.read(_HEAD), source.member
    if head.startswith(PARQUET):
        return Kind("ticks", "parquet")
    line = _first_line(head)
    named = _named(path, member)
    if named is not None and not _names_own_columns(line):
        return Kind(named.kind, "csv", named)
    if _suffix(path) in _NDJSON or line.startswith(b"{"):
        return Kind("ticks", "ndjson")
    return Kind(_kind_of_table(path.name, line), "csv")


def _names_own_columns(line: bytes) -> bool:
    """Whether a header is that of ticks or bars here: then a name like the exchange's is chance."""
    headers = [set(header_names(line, delimiter)) for delimiter in DELIMITERS]
    return any(set(COLUMNS) <= names or set(REQUIRED) <= names for names in headers)


def _named(path: Path, member: str | None) -> ArchiveName | None:
    """Return what the names say; raises BadFile where the member's and the file's disagree."""
    outer, inner = archive_name(path.name), archive_name(member or "")
    if outer is not None and inner is not None and outer != inner:
        raise BadFile(
            f"{path.name} holds {member}: the names disagree about what it is; "
            "fetch it anew, or rename it if you know"
        )
    return inner or outer


def _suffix(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return next((suffix for suffix in reversed(suffixes) if suffix not in _UNFOLDED), "")


def _first_line(head: bytes) -> bytes:
    for block in blocks(_Head(head), _HEAD):
        line, _ = first_line(block)
        if line:
            return line
    return b""


def _kind_of_table(name: str, line: bytes) -> str:
    headers = [header_names(line, delimiter) for delimiter in DELIMITERS]
    if any(set(COLUMNS) <= set(names) for names in headers):
        return "bars"
    if any(set(REQUIRED) <= set(names) for names in headers):
        return "ticks"
    names = headers[0]
    for kind, format in FORMATS.items():
        if set(format.types) <= set(names):
            return kind
    found = max(headers, key=len)
    if len(_prices(found)) > len(_ticks(found)) and "ts" in found:
        return "bars"
    if len(_ticks(found)) > 1:
        return "ticks"
    raise BadFile(
        f"{name} is none of the files that can be read: ticks (NDJSON, CSV or Parquet with "
        f"{', '.join(REQUIRED)}), bars (CSV with {', '.join(COLUMNS)}), or an archive under the "
        f"exchange's name; its first line is: {shown(line.strip())[:120] or 'blank'}"
    )


def _prices(names: Sequence[str]) -> set[str]:
    return set(names) & set(COLUMNS[1:])


def _ticks(names: Sequence[str]) -> set[str]:
    return set(names) & set(REQUIRED)


def archive_files(paths: Iterable[Path]) -> list[Path]:
    """Return the files among ``paths`` and in its folders at any depth, sorted, each once.

    Checksum and hidden files are left out. Raises BadFile for a path that does not exist.
    """
    found: set[Path] = set()
    for path in paths:
        if path.is_dir():
            inside = (p for p in path.rglob("*") if p.is_file())
            found |= {p for p in inside if not _is_hidden(p.relative_to(path))}
        elif path.exists():
            found.add(path)
        else:
            raise BadFile(f"{path} does not exist; check the path")
    return sorted(path for path in found if path.suffix.upper() != ".CHECKSUM")


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def verify_checksum(path: Path) -> bool | None:
    """Hold a file to the sha256 in ``<its name>.CHECKSUM`` beside it; None where there is none.

    Raises BadFile where they differ, or where the checksum file holds none.
    """
    beside = path.with_name(f"{path.name}.CHECKSUM")
    if not beside.is_file():
        return None
    words = beside.read_bytes()[:4096].decode("utf-8", errors="replace").split()
    due = words[0].lower() if words else ""
    if len(due) != 64 or set(due) - set("0123456789abcdef"):
        raise BadFile(f"{beside.name} holds no sha256: it starts with {due[:40]!r}; fetch it anew")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != due:
        raise BadFile(
            f"{path.name} is not what its checksum says (sha256 {found[:12]}…, due {due[:12]}…); "
            "fetch it anew"
        )
    return True
