"""Files to import, made to measure, and what a store holds after them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import polars as pl
from made import BAR_COLUMNS, START_MS

from core.feed.practice import Market
from core.feed.practice.archive import write_archives
from core.importing.jobs import Job, load_job, new_job
from core.importing.running import run_job
from core.store import Store

ROOT = Path(__file__).resolve().parent.parent.parent
DAY = date(2026, 9, 12)
MARKET = Market(seed=7, rate=1)


def practice_archives(
    out: Path, symbols: Sequence[str] = ("btcusdt",), days: int = 1
) -> list[Path]:
    """The practice exchange's archives of aggTrades; some 21,000 trades a day of btcusdt."""
    last = date.fromordinal(DAY.toordinal() + days - 1)
    return write_archives(MARKET, symbols, DAY, last, out, kinds=("aggTrades",))


def agg_trades(
    out: Path, ids: Sequence[int], *, symbol: str = "BTCUSDT", day: str = "2025-10-09",
    price=lambda i: 100.0 + (i * 37 % 101) / 10, lines: Sequence[str] = (),
) -> Path:  # fmt: skip
    """An archive of the trades that `made.trades_frame` makes of the ids."""
    rows = [
        f"{i},{price(i)},{(i * 13 % 29 + 1) / 1000},{i},{i},{START_MS + i * 100},"
        f"{str(i % 3 == 0).lower()}"
        for i in ids
    ]
    return zipped(out, f"{symbol}-aggTrades-{day}", [*rows, *lines])


def zipped(out: Path, name: str, lines: Sequence[str]) -> Path:
    """A zip as the exchange's, of lines."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.csv", "\n".join(lines) + "\n")
    return path


def ticks(out: Path, rows: Sequence[dict[str, object]], name: str = "ticks.ndjson") -> Path:
    """Ticks as NDJSON."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def bring(store: Store, *paths: Path, **asked: str) -> Job:
    """Import the files in this process."""
    return run_job(new_job(store.path, paths, **asked))


def rows_of(store: Store, query: str) -> list[tuple[object, ...]]:
    """The rows of a query over the store."""
    with store.read(limit_s=None, wait_s=30) as con:
        return con.execute(query).fetchall()


def everything(store: Store) -> dict[str, list[tuple[object, ...]]]:
    """Trades, coverage, gaps and bars, without what tells how they came there."""
    return {
        "trades": rows_of(
            store,
            "select symbol, agg_id, ts, price, size, buyer_is_maker from trades order by 1, 2",
        ),
        "coverage": rows_of(store, "from coverage order by 1, 2"),
        "gaps": rows_of(
            store, "select symbol, first_id, last_id from gaps where state = 'open' order by all"
        ),
        "seconds": rows_of(store, f"select {BAR_COLUMNS} from bars_1s order by 1, 2"),
        "minutes": rows_of(store, f"select {BAR_COLUMNS} from bars_1min order by 1, 2"),
    }


def dataset_rows(store: Store, dataset: str) -> list[tuple[object, ...]]:
    """A dataset's trades."""
    return rows_of(
        store,
        "select symbol, id, ts, price, size, side, occurrence from uploaded_trades "
        f"where dataset = '{dataset}' order by all",
    )


SLOW = """
import sys, time
from pathlib import Path
from core.importing import committing, records
records.CHUNK_ROWS = {chunk}
committing.PAUSE_ALONE_S = {pause}
committing.ENOUGH_S = 0.0
from core.imports import main
sys.exit(main(["--job", sys.argv[1]]))
"""


class SlowImport:
    """A job in a process of its own, with small chunks and long pauses."""

    def __init__(self, job: Job, *, chunk: int = 1000, pause: float = 0.15) -> None:
        self.job = job
        self.process = subprocess.Popen(
            [sys.executable, "-c", SLOW.format(chunk=chunk, pause=pause), str(job.folder)],
            cwd=ROOT,
        )

    def kill(self) -> None:
        """kill -9."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def wait(self) -> Job:
        """Wait for its end."""
        self.process.wait(60)
        ended = load_job(self.job.folder)
        assert ended is not None
        return ended

    def until(self, store: Store, query: str, least: int) -> None:
        """Wait until a count in the store is reached."""
        deadline = time.monotonic() + 60
        while rows_of(store, query)[0][0] < least:
            assert self.process.poll() is None, "it ended before"
            assert time.monotonic() < deadline
            time.sleep(0.02)


def frame_of(store: Store, table: str) -> pl.DataFrame:
    """A table as a frame."""
    with store.read(limit_s=None, wait_s=30) as con:
        return con.sql(f"from {table}").pl()
