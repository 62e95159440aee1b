"""Rows a second from archives and NDJSON to the committed file, beside a bare CREATE TABLE AS.

    python benchmarks/imports.py [--files 8] [--rows 1500000] [--ticks 3000000] [--huge]

Archives as the exchange's are made first, a day of one busy symbol each. They are imported three
times by `python -m core.imports`, from the start of the process to its end: into a file of its
own; into one on which a worker stores 5,000 trades a second; and, in the same run, DuckDB alone
reads the same CSVs, unzipped, into a table. `--huge` imports 2 GB of NDJSON.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import harness
import numpy as np
import polars as pl
import psutil

FIRST_MS = 1_757_635_200_000  # 2025-09-12
DAY_MS = 86_400_000
LIVE_RATE = 5000


@dataclass
class Import:
    """One run of the command: seconds, and the most memory it held at a time."""

    seconds: float
    peak_bytes: int


def archives(folder: Path, files: int, rows: int) -> tuple[list[Path], list[Path]]:
    """Make zips and the same CSVs beside them; prices walk, times and sizes are uneven."""
    folder.mkdir()
    zips, texts = [], []
    rng = np.random.default_rng(11)
    for day in range(files):
        ids = np.arange(day * rows, (day + 1) * rows)
        at_ms = rng.exponential(1.0, rows).cumsum()
        at_ms *= (DAY_MS - 1) / at_ms[-1]
        frame = pl.DataFrame(
            {
                "agg_trade_id": ids + 2_500_000_000,
                "price": np.round(67_000 + rng.normal(0, 1, rows).cumsum() * 0.1, 1),
                "quantity": np.round(rng.exponential(0.05, rows) + 0.001, 3),
                "first_trade_id": ids * 2 + 5_000_000_000,
                "last_trade_id": ids * 2 + 5_000_000_001,
                "transact_time": FIRST_MS + day * DAY_MS + at_ms.astype(int),
                "is_buyer_maker": rng.random(rows) < 0.5,
            }
        )  # fmt: skip
        name = f"BULKUSDT-aggTrades-{np.datetime64(FIRST_MS + day * DAY_MS, 'ms').astype('M8[D]')}"
        text = folder / f"{name}.csv"
        frame.write_csv(text)
        with zipfile.ZipFile(folder / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(text, text.name)
        zips.append(folder / f"{name}.zip")
        texts.append(text)
    return zips, texts


def ndjson(path: Path, rows: int) -> None:
    """Make ticks of twenty symbols as a collector writes them, a quarter of a million at a time."""
    rng = np.random.default_rng(12)
    with path.open("wb") as out:
        for low in range(0, rows, 250_000):
            count = min(250_000, rows - low)
            at = np.arange(low, low + count)
            frame = pl.DataFrame(
                {
                    "symbol": [f"SYM{i % 20}USDT" for i in at],
                    "ts": pl.Series(FIRST_MS * 1000 + at * 700).cast(pl.Datetime("us")),
                    "price": np.round(100 + rng.normal(0, 1, count), 4),
                    "size": np.round(rng.exponential(1.0, count) + 0.001, 3),
                }
            ).with_columns(pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
            frame.write_ndjson(out)


def brought(db: Path, *arguments: str) -> Import:
    """Run the import command and watch its memory."""
    command = [sys.executable, "-m", "core.imports", "--db", str(db), "--yes", *arguments]
    began = time.perf_counter()
    with Path(f"{db}.import.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=harness.ROOT, stdout=log, stderr=log)
    watched, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        try:
            tree = [watched, *watched.children(recursive=True)]
            peak = max(peak, sum(one.memory_info().rss for one in tree))
        except psutil.Error:
            pass
        time.sleep(0.02)
    seconds = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(Path(f"{db}.import.log").read_text()[-2000:])
    return Import(seconds, peak)


def bare_seconds(folder: Path, texts: list[Path]) -> float:
    """Let DuckDB alone read the CSVs into a table of a file."""
    import duckdb

    con = duckdb.connect(folder / "bare.duckdb")
    names = [str(path) for path in texts]
    began = time.perf_counter()
    con.execute("create table t as select * from read_csv($names)", {"names": names})
    seconds = time.perf_counter() - began
    con.close()
    return seconds


def assert_whole(db: Path, rows: int) -> None:
    """See that all is there, covered, and in the bars."""
    from core.store import open_store

    with open_store(db).read(limit_s=None, wait_s=30) as con:
        for query in (
            "select count(*) from trades where symbol = 'bulkusdt'",
            "select sum(last_id - first_id + 1) from coverage where symbol = 'bulkusdt'",
            "select sum(trades) from bars_1s where symbol = 'bulkusdt'",
            "select sum(trades) from bars_1min where symbol = 'bulkusdt'",
        ):
            found = con.execute(query).fetchall()[0][0]
            assert found == rows, f"{found} of {rows}: {query}"


def beside_a_worker(folder: Path, zips: list[Path]) -> tuple[Import, float, float]:
    """Import while a worker stores 5,000 trades a second: with its rate and its worst flush."""
    from core.store import open_store

    db = folder / "live.duckdb"
    store = open_store(db)
    with harness.practice("--rate", str(LIVE_RATE), "--speed", "1") as exchange:
        symbols = harness.all_symbols(exchange.address["rest_url"])
        with worker(db, exchange.address, symbols) as process:
            while not store.exists() or status(store)[0] < LIVE_RATE * 10:
                time.sleep(0.2)
            time.sleep(10)  # it has fetched what it fetches at its start
            before, worst, ended = status(store)[0], [], []
            cpu = [harness.cpu_s(pid) for pid in (exchange.process.pid, process.pid)]
            began = time.perf_counter()
            import threading

            def watch() -> None:
                while not ended:
                    worst.append(max(status(store)[1:]))
                    time.sleep(0.25)

            watcher = threading.Thread(target=watch)
            watcher.start()
            done = brought(db, *map(str, zips))
            time.sleep(1)
            ended.append(True)
            watcher.join()
            passed = time.perf_counter() - began
            rate = (status(store)[0] - before) / passed
            shares = [
                (harness.cpu_s(pid) - used) / passed
                for pid, used in zip((exchange.process.pid, process.pid), cpu, strict=True)
            ]
    harness.figure("CPU meanwhile", f"exchange {shares[0]:.2f}, worker {shares[1]:.2f} cores")
    return done, rate, max(worst)


# The practice exchange would have to make up a week of 5,000 trades a second for it.
WITHOUT_HISTORY = """
import sys
from dataclasses import replace
import ingest_worker
load = ingest_worker.load_settings
ingest_worker.load_settings = lambda **given: replace(load(**given), history_klines_s=0.0)
sys.exit(ingest_worker.main())
"""


@contextlib.contextmanager
def worker(db: Path, address: dict[str, str], symbols: list[str]):
    """Run the worker without fetching klines, until the block ends."""
    command = [sys.executable, "-c", WITHOUT_HISTORY, "--db", str(db)]
    command += ["--ws-url", address["ws_url"], "--rest-url", address["rest_url"]]
    with Path(f"{db}.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--symbols", ",".join(symbols)], cwd=harness.ROOT, stderr=log
        )
    try:
        yield process
    finally:
        harness.end(process)
        sys.stderr.write(Path(f"{db}.log").read_text())


def status(store) -> tuple[int, float, float]:
    """Return the live trades stored, the last flush and the worst one in seconds."""
    with store.read(wait_s=30) as con:
        rows = con.execute(
            "select (select coalesce(sum(last_id - first_id + 1), 0)::bigint from coverage "
            "where symbol <> 'bulkusdt'), flush_s, worst_flush_s from worker_status"
        ).fetchall()
    return rows[0] if rows else (0, 0.0, 0.0)


def tell(name: str, rows: int, done: Import, demand: str) -> None:
    """Print one import's figures."""
    harness.figure(name, f"{rows / done.seconds:,.0f} rows/s, {done.seconds:.1f} s", demand=demand)
    harness.figure(
        f"{name}: peak memory", f"{done.peak_bytes / 2**20:,.0f} MB", demand="at most 1,024 MB"
    )


def main() -> None:
    """Make the files, import them, and print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--rows", type=int, default=1_500_000)
    parser.add_argument("--ticks", type=int, default=3_000_000)
    parser.add_argument("--huge", action="store_true", help="2 GB of NDJSON, nothing else")
    options = parser.parse_args()
    with harness.scratch() as name:
        folder = Path(name)
        if options.huge:
            options.ticks = 23_500_000
        else:
            archive_figures(folder, options.files, options.rows)
        path = folder / "ticks.ndjson"
        ndjson(path, options.ticks)
        size = f" ({path.stat().st_size / 1e9:.2f} GB)"
        done = brought(folder / "ticks.duckdb", str(path), "--dataset", "bench")
        tell(f"NDJSON{size}", options.ticks, done, "at least 300,000")


def archive_figures(folder: Path, files: int, rows: int) -> None:
    """Import the archives alone and beside a worker."""
    zips, texts = archives(folder / "archives", files, rows)
    total = files * rows
    bare = bare_seconds(folder, texts)
    alone = brought(folder / "alone.duckdb", *map(str, zips))
    assert_whole(folder / "alone.duckdb", total)
    harness.figure("bare create table as", f"{total / bare:,.0f} rows/s, {bare:.1f} s")
    tell("archives, no worker", total, alone, "")
    harness.figure("times the bare one", f"{alone.seconds / bare:.2f}", demand="at most 3")
    live, rate, worst = beside_a_worker(folder, zips)
    assert_whole(folder / "live.duckdb", total)
    tell("archives beside a worker", total, live, "at least 1,000,000")
    harness.figure("the worker meanwhile", f"{rate:,.0f} trades/s", demand=f"{LIVE_RATE:,}")
    harness.figure("its worst flush", f"{worst:.2f} s", demand="at most 1")


if __name__ == "__main__":
    main()
