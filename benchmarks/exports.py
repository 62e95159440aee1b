"""Ten million trades to Parquet, in short leases, against DuckDB's own copy of the same table.

Then again while another process stores 2,500 trades twice a second, as the worker does.

python benchmarks/exports.py [--trades 10000000]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path

import harness

START = datetime(2026, 11, 1)  # noqa: DTZ001 - the store's times are naive UTC
FILL = """
insert into trades
select
    'btcusdt', i, $start + to_microseconds(i * 40000), 64000 + (i * 7919 % 10007) / 10,
    (i * 31 % 997 + 1) / 1000, i % 3 = 0, 'ws'
from range($trades) as r(i)
"""
COPY = """
copy (select * from trades order by ts, agg_id)
to '{folder}/bare.parquet' (format parquet, compression zstd)
"""
BARS = """
insert into bars_1min
select
    symbol, time_bucket(interval 1 minute, ts), 1, 1, 1, 1, 1, 1, count(*), 1,
    min(ts), min(agg_id), max(ts), max(agg_id)
from trades group by 1, 2 order by 2
"""


FLUSH_TRADES, FLUSH_S = 2500, 0.5


def flush(db: Path) -> None:
    """Store trades as the worker does until standard input ends; print how long each took, s."""
    import numpy as np
    import polars as pl

    from core.models import TRADE_SCHEMA
    from core.store import open_store
    from core.trade_writer import write_trades

    store, first, ended = open_store(db), 0, threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    print("ready", flush=True)
    while not ended.wait(FLUSH_S):
        now_ms = time.time_ns() // 1_000_000
        ids = np.arange(first, first + FLUSH_TRADES)
        trades = pl.DataFrame(
            {
                "symbol": "ethusdt", "agg_id": ids, "ts": now_ms - 500 + (ids - first) // 5,
                "price": 3400.0 + ids % 37, "size": 0.5, "buyer_is_maker": ids % 3 == 0,
                "source": "ws",
            }
        ).with_columns(pl.col("ts").cast(pl.Datetime("ms"))).cast(TRADE_SCHEMA)  # fmt: skip
        first += FLUSH_TRADES
        began = time.perf_counter()
        with store.write(wait_s=30) as con:
            write_trades(con, trades, now_ms=now_ms)
        print(time.perf_counter() - began, flush=True)


def exported(store, folder: str, end: datetime, leases: list[float]) -> tuple[int, float]:
    """Return the rows written and the seconds that it took; each lease's seconds go to a list."""
    from core.exporting import trades_parts, write_parts

    def parts():
        generator = trades_parts(store, "btcusdt", START, end)
        while True:
            began = time.perf_counter()
            part = next(generator, None)
            leases.append(time.perf_counter() - began)
            if part is None:
                return
            yield part

    began = time.perf_counter()
    rows = write_parts(parts(), str(Path(folder) / "ours.parquet"), "parquet")
    return rows, time.perf_counter() - began


def beside_flushes(store, folder: str, end: datetime) -> tuple[float, list[float]]:
    """Return the seconds of an export, and those of each flush of another process meanwhile."""
    with subprocess.Popen(
        [sys.executable, __file__, "--flush", str(store.path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as other:  # fmt: skip
        assert other.stdout is not None
        other.stdout.readline()
        time.sleep(3 * FLUSH_S)
        _, took = exported(store, folder, end, [])
        lines, _ = other.communicate("")
    return took, [float(line) for line in lines.split()]


def main() -> None:
    """Print the rates, how long a lease held the file at most, and the worst flush beside."""
    from core.store import open_store

    parser = argparse.ArgumentParser()
    parser.add_argument("--trades", type=int, default=10_000_000)
    parser.add_argument("--flush", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.flush:
        return flush(options.flush)
    trades = options.trades
    end = START + timedelta(microseconds=trades * 40_000)
    with harness.scratch() as folder:
        store = open_store(Path(folder) / "trades.duckdb")
        store.prepare("binance")
        with store.write(wait_s=60) as con:
            con.execute(FILL, {"start": START, "trades": trades})
            con.execute(BARS)
        store.checkpoint()
        for _ in range(2):
            leases: list[float] = []
            rows, took = exported(store, folder, end, leases)
        assert rows == trades
        with store.write(wait_s=60) as con:
            began = time.perf_counter()
            con.execute(COPY.format(folder=folder))
            bare = time.perf_counter() - began
        harness.figure(
            f"{rows:,} trades to Parquet", f"{rows / took:,.0f} rows/s in {took:.2f} s",
            demand="at least 2,000,000 rows/s",
        )  # fmt: skip
        harness.figure(
            "DuckDB's own copy of the table, the file held throughout",
            f"{rows / bare:,.0f} rows/s; ours takes {took / bare:.2f} of its time",
        )
        harness.figure("longest lease with what it read", f"{max(leases) * 1000:.0f} ms")
        took, flushes = beside_flushes(store, folder, end)
        harness.figure(
            f"beside {len(flushes)} flushes of {FLUSH_TRADES:,} trades",
            f"{rows / took:,.0f} rows/s; median flush {harness.percentile(flushes, 0.5):.2f} s, "
            f"worst {max(flushes):.2f} s",
        )


if __name__ == "__main__":
    main()
