"""What passes between staging, committing and the jobs; kept as JSON in a job's folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from core.errors import PerpduckError
from core.reading.members import archive_name

# Four row groups of DuckDB: whole ones need no second writing. Two chunks, about a million rows,
# hold the file for 0.3 to 0.5 s; on a busy machine a transaction takes one.
ROW_GROUP = 122_880
CHUNK_ROWS = 4 * ROW_GROUP

AGG_TRADES, TRADES, TICKS, KLINES, BARS = "aggTrades", "trades", "ticks", "klines", "bars"

T = TypeVar("T")


class Cancelled(PerpduckError):
    """The user asked the import to stop; whole chunks are stored, the rest is not."""


@dataclass(frozen=True, slots=True)
class ImportedFile:
    """What became of one file's rows; ``content_hash`` is that of its decompressed content."""

    name: str
    content_hash: str
    read: int
    kept: int
    duplicate: int
    rejected: int


@dataclass(frozen=True, slots=True)
class ChunkFile:
    """One staged Parquet file: its name in the folder, rows, first and last of its order.

    The order is the id for aggTrades, the time for the rest (klines ms, ticks µs).
    """

    name: str
    rows: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Staged:
    """A file that was read whole, cleaned, sorted and laid down in chunks; nothing is stored yet.

    ``duplicate`` rows came twice in the file, ``idle`` ones are bars without trades.
    """

    name: str
    kind: str
    symbol: str | None
    timeframe: str | None
    content_hash: str
    read: int
    rejected: int
    idle: int
    duplicate: int
    rejects: tuple[tuple[int, str, str], ...]
    chunks: tuple[ChunkFile, ...]

    @property
    def rows(self) -> int:
        """Rows in the chunks."""
        return sum(chunk.rows for chunk in self.chunks)

    @property
    def layout(self) -> str:
        """Names content and cut: chunk 7 of another cut holds other rows."""
        return f"{self.content_hash}/{CHUNK_ROWS}"


def known_as(content_hash: str, name: str, symbol: str | None) -> str:
    """Return what a file is recognised by: its content, and the symbol given for rows without."""
    if symbol is None or archive_name(name) is not None:
        return content_hash
    return f"{content_hash} {symbol.strip().lower()}"


def save(path: Path, record: object) -> None:
    """Put the record at the path as JSON, whole or not at all."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    draft.write_bytes(msgspec.json.encode(record, enc_hook=_as_text))
    draft.replace(path)


def load(path: Path, kind: type[T]) -> T | None:
    """Return the record at the path; None where there is none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind, dec_hook=_from_text)
    except (OSError, msgspec.MsgspecError):
        return None


def _as_text(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"{type(value)} is not kept as JSON")


def _from_text(kind: type, value: object) -> object:
    if issubclass(kind, Path) and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(f"{kind} is not kept as JSON")
