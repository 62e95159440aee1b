"""Rows of any number, in any order, to sorted chunks on disk, in bounded memory.

Rows are cut into runs, each sorted. As long as each begins where the one before ended, the runs
are the chunks. Where they overlap (months that interleave), DuckDB sorts them outside of memory.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Protocol

import polars as pl
import pyarrow.parquet as pq

from core.errors import StoreFull
from core.importing import records
from core.importing.records import ChunkFile
from core.sql import sql
from core.store_file import MIN_FREE_BYTES, instance

SORT_MEMORY = "400MB"
# A chunk of a million rows takes up to some 60 MB.
_ROOM_BYTES = MIN_FREE_BYTES + (64 << 20)


class Finish(Protocol):
    """Leaves out what comes twice, in rows that arrive sorted; knows what came before."""

    order: str
    columns: tuple[str, ...]
    # The unit of ts, which DuckDB writes in µs whatever it read.
    unit: Literal["ms", "us"]

    def finished(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows that stay; called with one sorted run after the other."""
        ...


class Runs:
    """Takes frames, and gives the chunks in the end."""

    def __init__(self, folder: Path, finish: type[Finish]) -> None:
        self._folder = folder
        self._new_finish = finish
        self._finish = finish()
        self._waiting: list[pl.DataFrame] = []
        self._rows = 0
        self._taken = 0
        self._runs: list[ChunkFile] = []
        self._in_order = True

    def add(self, rows: pl.DataFrame) -> None:
        """Take some rows, in the file's order."""
        self._waiting.append(rows.select(self._finish.columns))
        self._rows += rows.height
        self._taken += rows.height
        # What is left over by a quarter goes with the last one: a small chunk costs as much.
        while self._rows >= records.CHUNK_ROWS * 5 // 4:
            everything = pl.concat(self._waiting)
            rest = everything.slice(records.CHUNK_ROWS)
            self._waiting, self._rows = [rest], rest.height
            self._write_run(everything.slice(0, records.CHUNK_ROWS))

    def chunks(self) -> tuple[list[ChunkFile], int]:
        """Return the chunks in order, and how many rows came twice and were left out."""
        if self._rows:
            self._write_run(pl.concat(self._waiting))
            self._waiting, self._rows = [], 0
        if not self._in_order:
            self._runs = self._sorted()
        chunks = [run for run in self._runs if run.rows]
        return chunks, self._taken - sum(chunk.rows for chunk in chunks)

    def _write_run(self, rows: pl.DataFrame) -> None:
        key = self._finish.order
        if not rows[key].is_sorted():
            rows = rows.sort(key, maintain_order=True)
        last = max((run.high for run in self._runs), default=None)
        if last is not None and int(rows[key].to_physical()[0]) < last:
            self._in_order = False
        if self._in_order:
            rows = self._finish.finished(rows)
        self._runs.append(_written(self._folder, f"run-{len(self._runs):05}.parquet", rows, key))

    def _sorted(self) -> list[ChunkFile]:
        """Sort all runs; equal rows stay in the order in which they came."""
        whole = self._folder / "sorted.parquet"
        self._sort_into(whole)
        finish, chunks = self._new_finish(), []
        ts = pl.col("ts").cast(pl.Datetime(finish.unit))
        for number, rows in enumerate(_slices(whole, finish.columns)):
            name = f"chunk-{number:05}.parquet"
            chunks.append(
                _written(self._folder, name, finish.finished(rows.with_columns(ts)), finish.order)
            )
        whole.unlink()
        for run in self._runs:
            (self._folder / run.name).unlink()
        return chunks

    def _sort_into(self, whole: Path) -> None:
        scratch = self._folder / "sorting"
        text = (
            sql("import_sort")
            .replace("{columns}", ", ".join(self._finish.columns))
            .replace("{order}", self._finish.order)
            .replace("{path}", str(whole).replace("'", "''"))
        )
        runs = [str(self._folder / run.name) for run in self._runs if run.rows]
        with contextlib.closing(instance()) as con:
            con.execute(f"set memory_limit = '{SORT_MEMORY}'")
            con.execute("set temp_directory = '" + str(scratch).replace("'", "''") + "'")
            con.execute(text, {"runs": runs})
        shutil.rmtree(scratch, ignore_errors=True)


def _written(folder: Path, name: str, rows: pl.DataFrame, key: str) -> ChunkFile:
    if (free := shutil.disk_usage(folder).free) < _ROOM_BYTES:
        raise StoreFull(
            f"{free / 1e6:.1f} MB are free in {folder}, where the import is prepared; make room "
            "and resume it"
        )
    rows.write_parquet(
        folder / name, compression="uncompressed", statistics=False,
        row_group_size=records.ROW_GROUP,
    )  # fmt: skip
    if not rows.height:
        return ChunkFile(name, 0, 0, 0)
    order = rows[key].to_physical()
    return ChunkFile(name, rows.height, int(order[0]), int(order[-1]))


def _slices(path: Path, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
    """Yield a Parquet file's rows in order, a chunk at a time."""
    waiting: list[pl.DataFrame] = []
    rows = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=131_072, columns=list(columns)):
            waiting.append(pl.DataFrame(pl.from_arrow(batch)))
            rows += batch.num_rows
            while rows >= records.CHUNK_ROWS:
                everything = pl.concat(waiting)
                yield everything.slice(0, records.CHUNK_ROWS)
                waiting, rows = [everything.slice(records.CHUNK_ROWS)], rows - records.CHUNK_ROWS
    if rows:
        yield pl.concat(waiting)
