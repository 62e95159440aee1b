"""Ten million trades to Parquet, in short leases, against DuckDB's own copy of the same table.

python benchmarks/exports.py [--trades 10000000]
"""

from __future__ import annotations

import argparse
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


def main() -> None:
    """Print both rates and how long a lease held the file at most."""
    from core.exporting import trades_parts, write_parts
    from core.store import open_store

    parser = argparse.ArgumentParser()
    parser.add_argument("--trades", type=int, default=10_000_000)
    trades = parser.parse_args().trades
    end = START + timedelta(microseconds=trades * 40_000)
    with harness.scratch() as folder:
        store = open_store(Path(folder) / "trades.duckdb")
        store.prepare("binance")
        with store.write(wait_s=60) as con:
            con.execute(FILL, {"start": START, "trades": trades})
            con.execute(BARS)
        store.checkpoint()
        leases: list[float] = []

        def parts():
            generator = trades_parts(store, "btcusdt", START, end)
            while True:
                began = time.perf_counter()
                part = next(generator, None)
                leases.append(time.perf_counter() - began)
                if part is None:
                    return
                yield part

        for _ in range(2):
            leases.clear()
            began = time.perf_counter()
            rows = write_parts(parts(), str(Path(folder) / "ours.parquet"), "parquet")
            took = time.perf_counter() - began
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


if __name__ == "__main__":
    main()
