"""One file, read whole and laid down clean in chunks beside the database, which is not touched."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import polars as pl

from core.errors import BadFile, DataError
from core.importing import finish
from core.importing.records import AGG_TRADES, KLINES, TICKS, TRADES, Staged, known_as, load, save
from core.importing.runs import Finish, Runs
from core.reading import Batch, Refused, open_reading, verify_checksum
from core.reading.frames import reject_frame
from core.spreadsheet import harmless

FIRST_REJECTS = 10
_MARK = "staged.json"
_FINISH: dict[str, type[Finish]] = {
    AGG_TRADES: finish.AggTrades,
    TRADES: finish.Ticks,
    TICKS: finish.Ticks,
    KLINES: finish.Klines,
}

# Called after each batch with rows read, rejected so far, and the share of the file, 0 to 1.
Progress = Callable[[int, int, float], None]


@dataclass(slots=True)
class _Counts:
    read: int = 0
    rejected: int = 0
    idle: int = 0
    rejects: tuple[tuple[int, str, str], ...] = ()


def stage(
    path: Path, folder: Path, rejects: Path, *, symbol: str | None, progress: Progress
) -> Staged:
    """Read the file into chunks in the folder; what was staged whole before is taken as it is.

    All rejects go to ``rejects`` as CSV: line, reason, text. Raises BadFile for what cannot be
    read, whose checksum is another, or of which more than half is rejected; StoreFull, OSError.
    """
    if (known := load(folder / _MARK, Staged)) is not None:
        return known
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    verify_checksum(path)
    counts = _Counts()
    with open_reading(path, symbol=symbol) as reading:
        runs = Runs(folder, _FINISH[reading.kind])
        with rejects.open("wb") as file:
            for batch in reading.batches():
                _count(counts, batch, file)
                runs.add(_busy(counts, batch.rows) if reading.kind == KLINES else batch.rows)
                progress(counts.read, counts.rejected, batch.done)
        if not counts.rejected:
            rejects.unlink()
        demand_half(path.name, counts.read, counts.rejected, counts.rejects)
        chunks, duplicate = runs.chunks()
        staged = Staged(
            name=reading.name, kind=reading.kind, symbol=reading.symbol,
            timeframe=reading.timeframe,
            content_hash=known_as(reading.content_hash, path.name, symbol),
            read=counts.read, rejected=counts.rejected, idle=counts.idle, duplicate=duplicate,
            rejects=counts.rejects, chunks=tuple(chunks),
        )  # fmt: skip
    save(folder / _MARK, staged)
    return staged


def demand_half(
    name: str, read: int, rejected: int, rejects: tuple[tuple[int, str, str], ...]
) -> None:
    """Raise BadFile where more than half of the rows are rejected, or there is none at all."""
    if not read:
        raise BadFile(f"{name} holds no rows; is it the right file?")
    if 2 * rejected > read:
        line, reason, _ = rejects[0]
        raise Refused(
            f"{name}: {rejected:,} of {read:,} rows cannot be used, more than half, so nothing of "
            f"it was taken; the first is line {line:,}: {reason}",
            read=read, rejected=rejected, rejects=reject_frame(rejects),
        )  # fmt: skip


def demand_dataset(dataset: str) -> str:
    """Return the dataset's name as it is kept; raises DataError for one that cannot be used."""
    name = dataset.strip().lower()
    if not 0 < len(name) <= 40 or not all(c.isalnum() or c in "-_." for c in name):
        raise DataError(
            f"{dataset!r} cannot name a dataset: use 1 to 40 letters or digits, and - _ ."
        )
    return name


def _count(counts: _Counts, batch: Batch, file: IO[bytes]) -> None:
    if batch.rejects.height:
        missing = FIRST_REJECTS - len(counts.rejects)
        if missing > 0:
            counts.rejects += tuple(batch.rejects.head(missing).rows())
        harmless(batch.rejects).write_csv(file, include_header=not counts.rejected)
    counts.read += batch.read
    counts.rejected += batch.rejects.height


def _busy(counts: _Counts, bars: pl.DataFrame) -> pl.DataFrame:
    """Return the bars in which trades happened; the exchange makes one of the others as well."""
    busy = bars.filter(pl.col("trades") > 0)
    counts.idle += bars.height - busy.height
    return busy
