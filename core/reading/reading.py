"""One file from outside, recognised and read batch by batch."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol

import polars as pl

from core.errors import BadFile
from core.models import KLINE_SCHEMA, TICK_SCHEMA, TRADE_SCHEMA
from core.reading.ahead import Ahead
from core.reading.archive_rows import ArchiveRows, archive_layout
from core.reading.frames import Batch, Parsed, Reject, reject_frame
from core.reading.kinds import PARQUET, Kind, recognised
from core.reading.limits import Limits
from core.reading.ndjson import NdjsonTicks
from core.reading.parquet import ParquetTicks, hash_of
from core.reading.source import Source
from core.reading.table import first_line, layout_of
from core.reading.text import Block, blocks
from core.reading.ticks import OPTIONAL, REQUIRED, CsvTicks
from core.reading.times import latest_us
from core.reading.values import is_symbol

BATCH_ROWS = 500_000
BATCH_BYTES = 32 * 2**20
# Archives have no Python objects to a row, so a larger block costs little memory and is faster.
_ARCHIVE_CHUNK = 8 * 2**20
_TEXT_CHUNK = 4 * 2**20
_SCHEMAS = {
    "ticks": TICK_SCHEMA,
    "trades": TICK_SCHEMA,
    "aggTrades": TRADE_SCHEMA,
    "klines": KLINE_SCHEMA,
}
# A block's rows, their size as text, and the share of the file consumed.
_Piece = tuple[Parsed, int, float]


class _Parser(Protocol):
    def parse(self, block: Block) -> Parsed: ...


class Reading:
    """A file being read; a context manager, from `open_reading`.

    ``kind`` is ticks, aggTrades, trades or klines; ``symbol`` the lower-case key of an archive's,
    None for ticks; ``timeframe`` that of klines; ``name`` the file's.
    """

    def __init__(
        self, path: Path, kind: Kind, *, symbol: str | None, latest_us: int, limits: Limits
    ) -> None:
        self.kind, self.name = kind.kind, path.name
        self.symbol = None if kind.kind == "ticks" else symbol
        self.timeframe = kind.archive.timeframe if kind.archive else None
        self._path, self._form, self._limits = path, kind.form, limits
        self._given, self._latest_us = symbol, latest_us
        self._hash: str | None = None
        self._source: Source | None = Source(path, limits)
        self._ahead: Ahead | None = None
        self._begun = False

    def __enter__(self) -> Reading:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; more than once does no harm."""
        if self._ahead is not None:
            self._ahead.close()
        if self._source is not None:
            self._source.close()
            self._source = None

    @property
    def content_hash(self) -> str:
        """The sha256 of the decompressed content, once `batches` has ended; ValueError before."""
        if self._hash is None:
            raise ValueError("the content's hash is known only when all batches were read")
        return self._hash

    def batches(self) -> Iterator[Batch]:
        """Yield the file's rows in its order, some half a million a batch; once only.

        Raises BadFile for a file that is broken, unfolds too far, or has the wrong columns; what
        was yielded before stands.
        """
        if self._source is None or self._begun:
            raise ValueError(f"{self.name} has been read or closed; open it again")
        self._begun = True
        pieces = self._parquet() if self._form == "parquet" else self._text(self._source)
        waiting: list[Parsed] = []
        size, done = 0, 0.0
        for parsed, text_bytes, done in pieces:
            waiting.append(parsed)
            size += text_bytes
            if size >= BATCH_BYTES or sum(piece.read for piece in waiting) >= BATCH_ROWS:
                yield self._batch(waiting, done)
                waiting, size = [], 0
        if waiting:
            yield self._batch(waiting, 1.0)

    def _batch(self, pieces: list[Parsed], done: float) -> Batch:
        frames = [piece.rows for piece in pieces if piece.rows.height]
        rows = pl.concat(frames) if frames else pl.DataFrame(schema=_SCHEMAS[self.kind])
        rejects: list[Reject] = [reject for piece in pieces for reject in piece.rejects]
        return Batch(rows, reject_frame(rejects), sum(piece.read for piece in pieces), done)

    def _text(self, source: Source) -> Iterator[_Piece]:
        parser: _Parser | None = None
        chunk = _TEXT_CHUNK if self.kind == "ticks" else _ARCHIVE_CHUNK
        self._ahead = Ahead(source)
        for block in blocks(self._ahead, chunk):
            if parser is None:
                if block.data and not block.data.isspace():
                    parser, block = self._parser(block)
            if block.rejects:
                nothing = pl.DataFrame(schema=_SCHEMAS[self.kind])
                yield Parsed(nothing, list(block.rejects), len(block.rejects)), 0, source.done
            if parser is not None and block.data:
                yield parser.parse(block), len(block.data), source.done
        self._hash = source.content_hash
        if parser is None and self._form == "csv":
            raise BadFile(f"{self.name} holds no lines but blank ones")

    def _parser(self, block: Block) -> tuple[_Parser, Block]:
        """Return the parser that the first line asks for, and the block without the header."""
        if self._form == "ndjson":
            return NdjsonTicks(self._given, self._latest_us), block
        line, rest = first_line(block)
        if self.kind == "ticks":
            required = REQUIRED if self._given is None else REQUIRED[1:]
            optional = OPTIONAL if self._given is None else (*OPTIONAL, REQUIRED[0])
            layout = layout_of(line, required, optional, self.name)
            return CsvTicks(layout, self._given, self._latest_us), rest
        assert self.symbol is not None
        layout, is_header = archive_layout(self.kind, line, self.name)
        parser = ArchiveRows(self.kind, self.symbol, self.timeframe, layout, self._latest_us)
        return parser, rest if is_header else block

    def _parquet(self) -> Iterator[_Piece]:
        with tempfile.TemporaryDirectory(prefix="perpduck-") as folder:
            path = self._plain_parquet(Path(folder))
            ticks = ParquetTicks(path, self.name, self._given, self._latest_us, self._limits)
            try:
                for parsed, done in ticks.parsed():
                    yield parsed, 0, done
            finally:
                ticks.close()
            self._hash = hash_of(path)

    def _plain_parquet(self, folder: Path) -> Path:
        """Return the path of the file, decompressed where it is: Parquet is read from its end."""
        with self._path.open("rb") as file:
            if file.read(len(PARQUET)) == PARQUET:
                return self._path
        assert self._source is not None
        path = folder / "ticks.parquet"
        with path.open("wb") as out:
            while data := self._source.read(_TEXT_CHUNK):
                out.write(data)
        return path


def open_reading(
    path: Path,
    *,
    symbol: str | None = None,
    now: datetime | None = None,
    limits: Limits | None = None,
) -> Reading:
    """Open a file of ticks or an archive, compressed or not, for reading once.

    ``symbol`` is for ticks that name none and for archives whose name does not tell; ``now``
    (UTC) is what times are held against. Raises BadFile for what is no such file.
    """
    limits = limits or Limits()
    kind = recognised(path, limits)
    if kind.kind == "bars":
        raise BadFile(f"{path.name} holds bars; give it with its symbol and timeframe")
    key = _key(path, kind, symbol)
    return Reading(path, kind, symbol=key, latest_us=latest_us(now), limits=limits)


def _key(path: Path, kind: Kind, symbol: str | None) -> str | None:
    given = symbol.strip().lower() if symbol is not None else None
    named = kind.archive.symbol if kind.archive else None
    if given is not None and named is not None and given != named:
        raise BadFile(
            f"{path.name} is of {named}, not of {given}; leave the symbol out, or rename it"
        )
    key = named or given
    if key is not None and not is_symbol(key):
        raise BadFile(f"{key!r} cannot name a symbol: up to 64 letters without @ and /")
    if kind.kind != "ticks" and key is None:
        raise BadFile(
            f"{path.name} does not tell its symbol; name it SYMBOL-{kind.kind}-DATE, or give it"
        )
    if kind.kind == "klines" and kind.archive is None:
        raise BadFile(f"{path.name} does not tell its interval; name it SYMBOL-1m-DATE")
    if kind.archive is not None:
        _ = kind.archive.timeframe
    return key
