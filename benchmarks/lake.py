"""A query over file and lake together, with 200 million trades in the lake.

    python benchmarks/lake.py [--trades 200000000] [--symbols 50] [--days 28]

The lake is made by SQL: a Parquet file a symbol and day, sorted and registered as retention does
it; one more day stays in the file, and the minutes of all days. Every time is the whole way: take
the lease, find the files, query, Polars frame, let go. What it made is removed at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import harness
import polars as pl
from reading import COVERAGE, START, TRADES, median_ms

MINUTES = """
select symbol, date_trunc('minute', ts) as ts, arg_min(price, agg_id) as open, max(price) as high,
    min(price) as low, arg_max(price, agg_id) as close, sum(size::decimal(18, 8)) as volume,
    sum(price::decimal(19, 8) * size::decimal(19, 8)) as quote_volume, count(*) as trades,
    sum(case when buyer_is_maker then 0 else size::decimal(18, 8) end) as taker_buy_volume,
    min(ts) as first_ts, min(agg_id) as first_id, max(ts) as last_ts, max(agg_id) as last_id
from trades group by symbol, date_trunc('minute', trades.ts) order by 2, 1
"""
REGISTER = """
insert into lake_files
select symbol, $day::date,
    $lake || '/symbol=' || symbol || '/date=' || $day::date || '/part.parquet',
    sum(trades), min(first_id), max(last_id), min(first_ts), max(last_ts), 'not computed',
    now() at time zone 'UTC', null, null
from minutes group by symbol
"""
TABLE = """
create or replace table trades (symbol varchar, agg_id bigint, ts timestamp, price double,
    size double, buyer_is_maker boolean, source varchar)
"""


def build(store: Any, lake: str, trades: int, symbols: int, days: int) -> None:
    """Fill lake and file day by day; the trades of one day more stay in the file."""
    from core.store_file import instance

    store.prepare("binance")
    rows = trades // days // symbols * symbols
    with contextlib.closing(instance()) as memory:
        for number in range(days + 1):
            day = START + timedelta(days=number)
            what = {"symbols": symbols, "first": number * rows // symbols, "day": day, "rows": rows}
            memory.execute(TABLE)
            memory.execute(TRADES, what)
            minutes = memory.sql(MINUTES).pl()
            if number < days:
                to_lake(memory, lake, day, symbols)
            with store.write() as con:
                con.register("minutes", minutes)
                con.execute("insert into bars_1min from minutes")
                if number < days:
                    con.execute(REGISTER, {"lake": lake, "day": day})
                else:
                    con.execute(TRADES, what)
                    con.execute(COVERAGE)
                con.unregister("minutes")
    store.checkpoint()


def to_lake(memory: Any, lake: str, day: datetime, symbols: int) -> None:
    """Write the day's trades, a Parquet file a symbol."""
    for number in range(symbols):
        folder = Path(lake) / f"symbol=s{number}usdt" / f"date={day:%Y-%m-%d}"
        folder.mkdir(parents=True)
        memory.execute(
            f"copy (from trades where symbol = 's{number}usdt' order by ts, agg_id) "
            f"to '{folder}/part.parquet' (format parquet, compression zstd)"
        )


def ask(store: Any, load: Callable[..., pl.DataFrame], *given: Any) -> Callable[[], pl.DataFrame]:
    """Return a whole question, lease included."""

    def asked() -> pl.DataFrame:
        with store.read(limit_s=None) as con:
            return load(con, *given)

    return asked


def measure(store: Any, name: str, start: datetime, end: datetime) -> None:
    """Print what a day of one symbol takes."""
    from core import lake, queries

    bars = ask(store, queries.load_bars, ["s3usdt"], "1min", start, end)
    made = ask(store, lake.load_bars_from_trades, "s3usdt", 60, start, end)
    trades = ask(store, lake.load_trades, "s3usdt", start, end)
    columns = ["ts", "open", "high", "low", "close", "volume", "quote_volume", "trades"]
    assert bars().select(columns).equals(made().select(columns)), name
    for what, question, demand in (
        ("24 h of 1min by load_bars", bars, "at most 300 ms"),
        ("24 h of 1min made from the trades", made, "at most 300 ms"),
        ("24 h of trades", trades, ""),
    ):
        median, worst, rows = median_ms(question)
        shown = f"median {median:.0f} ms, worst {worst:.0f} ms, {rows:,} rows"
        harness.figure(f"{what}, {name}", shown, demand=demand)


def main() -> None:
    """Build lake and file, and print one line a question."""
    from core.store import open_store

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trades", type=int, default=200_000_000)
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--days", type=int, default=28)
    options = parser.parse_args()
    with harness.scratch() as folder:
        store, place = open_store(Path(folder) / "big.duckdb"), f"{folder}/lake"
        began = time.perf_counter()
        build(store, place, options.trades, options.symbols, options.days)
        harness.figure("building", f"{time.perf_counter() - began:.0f} s")
        with store.read(limit_s=None) as con:
            held, files = con.execute("select sum(trades), count(*) from lake_files").fetchall()[0]
            left = con.execute("select count(*) from trades").fetchall()[0][0]
        size = sum(path.stat().st_size for path in Path(place).rglob("*.parquet"))
        harness.figure("lake", f"{held:,} trades, {files:,} files, {size / 1e9:.2f} GB")
        harness.figure("file", f"{left:,} trades, {store.size_bytes() / 1e9:.2f} GB")
        last = START + timedelta(days=options.days)
        day, noon = timedelta(days=1), timedelta(hours=12)
        measure(store, "all in the lake", last - day, last)
        measure(store, "half lake, half file", last - noon, last + noon)
        measure(store, "all in the file", last, last + day)


if __name__ == "__main__":
    main()
