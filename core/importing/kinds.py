"""What each kind of file needs to be known for, and how its rows are stored."""

from __future__ import annotations

from pathlib import Path

from core.errors import BadFile
from core.importing.agg_trades import AggTradesWriter
from core.importing.bars import replace_bars
from core.importing.committing import Writer
from core.importing.jobs import DONE, Job, JobFile
from core.importing.klines import KlinesWriter, LongKlinesWriter
from core.importing.records import AGG_TRADES, KLINES, TICKS, TRADES, Staged
from core.importing.staging import FIRST_REJECTS
from core.importing.ticks import TicksWriter
from core.reading import Refused, read_bars
from core.spreadsheet import harmless
from core.store import Store


def dataset_of(kind: str, job: Job, name: str) -> str:
    """Return the dataset that a file goes to, empty for the exchange's own history.

    Raises BadFile where ticks or raw trades have none.
    """
    if kind not in (TICKS, TRADES):
        return ""
    if not job.dataset:
        what = "ticks" if kind == TICKS else "raw trades"
        raise BadFile(f"{name} holds {what}: name the dataset that they belong to (--dataset NAME)")
    return job.dataset


def writer_of(store: Store, staged: Staged, folder: Path, dataset: str) -> Writer:
    """Return what stores the staged chunks of a file."""
    if staged.kind == AGG_TRADES:
        return AggTradesWriter(store, staged, folder)
    if staged.kind == KLINES:
        return KlinesWriter(staged) if staged.timeframe == "1min" else LongKlinesWriter(staged)
    return TicksWriter(store, dataset, staged.kind)


def store_bars(store: Store, job: Job, number: int) -> JobFile:
    """Read and store a whole file of bars. Raises BadFile, StoreError."""
    path = job.paths[number]
    if not (job.symbol and job.timeframe):
        raise BadFile(
            f"{path.name} holds bars: tell of which symbol and timeframe (--bars SYMBOL:TIMEFRAME)"
        )
    try:
        bars = read_bars(path, timeframe=job.timeframe)
    except Refused as refused:
        harmless(refused.rejects).write_csv(job.rejects_path(number))
        raise
    if bars.rejects.height:
        harmless(bars.rejects).write_csv(job.rejects_path(number))
    done = replace_bars(store, job.symbol, job.timeframe, bars, path.name)
    return JobFile(
        path.name, DONE, done.read, done.kept, done.duplicate, done.rejected,
        tuple(bars.rejects.head(FIRST_REJECTS).rows()),
        "" if done.kept else "no bar of it is new",
    )  # fmt: skip
