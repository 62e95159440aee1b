"""Ticks from Parquet, batch by batch; a row's number stands for its line."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import BadFile
from core.reading.frames import Parsed, shown
from core.reading.limits import Limits
from core.reading.table import check_names
from core.reading.ticks import OPTIONAL, REQUIRED, checked_ticks

ROWS = 131_072
_ROW_BYTES = 16  # a symbol's code, a time and a price take at least this much in memory


class ParquetTicks:
    """Reads a Parquet file's ticks; a context manager. Raises BadFile."""

    def __init__(
        self, path: Path, name: str, symbol: str | None, latest_us: int, limits: Limits
    ) -> None:
        self._path, self._name, self._symbol, self._latest_us = path, name, symbol, latest_us
        try:
            # Without it a whole row group lies in memory, and a file may be one row group.
            self._file: Any = pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20)
            names = self._file.schema_arrow.names
        except (pa.ArrowException, OSError, ValueError) as error:
            raise BadFile(f"{name} is no readable Parquet file: {error}") from error
        self._rows = self._file.metadata.num_rows
        if self._rows * _ROW_BYTES > limits.total_bytes:
            raise BadFile(f"{name} claims {self._rows:,} rows: more than is allowed")
        self._columns = self._found_columns(names)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _found_columns(self, names: Sequence[str]) -> dict[str, str]:
        """Return the file's column by each name wanted; raises BadFile for one that is missing."""
        found = {name.strip().lower(): name for name in reversed(names)}
        required = REQUIRED if self._symbol is None else REQUIRED[1:]
        check_names([name.strip().lower() for name in names], required, self._name)
        return {name: found[name] for name in (*REQUIRED, *OPTIONAL) if name in found}

    def parsed(self) -> Iterator[tuple[Parsed, float]]:
        """Yield the ticks, with the share of the rows that were read."""
        first = 1
        batches = self._file.iter_batches(batch_size=ROWS, columns=list(self._columns.values()))
        while True:
            try:
                batch = next(batches, None)
                if batch is not None:
                    # Text that is no UTF-8 would end the program further on.
                    batch.validate(full=True)
            except (pa.ArrowException, OSError, ValueError) as error:
                raise BadFile(
                    f"{self._name} is broken after {first - 1:,} rows ({error}); make it anew"
                ) from error
            if batch is None:
                return
            yield self._parse(batch, first), min((first - 1 + len(batch)) / self._rows, 1.0)
            first += len(batch)

    def _parse(self, batch: pa.RecordBatch, first: int) -> Parsed:
        # Without the file's own metadata, which need not be text.
        arrays = [batch.column(theirs) for theirs in self._columns.values()]
        bare = pa.RecordBatch.from_arrays(arrays, names=list(self._columns))
        frame = pl.DataFrame(pl.from_arrow(bare))
        columns = {name: _plain(frame[name]) for name in self._columns}
        if "symbol" not in columns:
            column = pl.Series([self._symbol], dtype=pl.String)
            columns["symbol"] = column.new_from_index(0, frame.height)
        found = checked_ticks(columns, self._latest_us)
        rejects = [
            (first + at, reason, shown(",".join(map(str, frame.row(at)))))
            for at, reason in zip(found.bad.tolist(), found.reasons, strict=True)
        ]
        return Parsed(found.rows, rejects, frame.height)


def _plain(column: pl.Series) -> pl.Series:
    return column.cast(pl.String) if column.dtype in (pl.Categorical, pl.Enum) else column


def hash_of(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
