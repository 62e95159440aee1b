"""Reading bars from a file with 100 million trades, and a flush into it.

    python benchmarks/reading.py [--trades 100000000] [--symbols 50] [--keep PATH]

The file is made by SQL, seven days of 50 symbols, in the order in which a worker would have
written it. Every time is the whole way: take the lease, query, Polars frame, let go.
"""

from __future__ import annotations

import argparse
import time
from datetime import datetime, timedelta
from pathlib import Path

import harness
import polars as pl

DAYS = 7
START = datetime(2026, 11, 1)  # noqa: DTZ001 - the store's times are naive UTC

TRADES = """
insert into trades
select
    's' || (i % $symbols) || 'usdt',
    $first + i // $symbols,
    $day::timestamp + to_microseconds((i * (86400000000 // $rows))::bigint),
    100 + (hash(i) % 1000) / 1000,
    1 + (hash(i, 1) % 1000) / 1000,
    hash(i, 2) % 2 = 0,
    'ws'
from range($rows) as t(i)
"""
SECONDS = """
insert into bars_1s
select symbol, date_trunc('second', ts) as ts, arg_min(price, agg_id), max(price), min(price),
    arg_max(price, agg_id), sum(size::decimal(18, 8)),
    sum(price::decimal(19, 8) * size::decimal(19, 8)), count(*),
    sum(case when buyer_is_maker then 0 else size::decimal(18, 8) end),
    min(ts), min(agg_id), max(ts), max(agg_id)
from trades where ts >= $low and ts < $high
group by symbol, date_trunc('second', trades.ts) order by 2, 1
"""
MINUTES = """
insert into bars_1min
select symbol, date_trunc('minute', ts) as ts, arg_min(open, ts), max(high), min(low),
    arg_max(close, ts), sum(volume), sum(quote_volume), sum(trades), sum(taker_buy_volume),
    min(first_ts), min(first_id), max(last_ts), max(last_id)
from bars_1s where ts >= $low and ts < $high
group by symbol, date_trunc('minute', bars_1s.ts) order by 2, 1
"""
COVERAGE = """
insert into coverage
select symbol, min(first_id), max(last_id), min(first_ts), max(last_ts) from bars_1min group by 1
"""


def build(store, trades: int, symbols: int) -> None:
    """Fill the file, six hours a transaction."""
    store.prepare("binance")
    rows = trades // DAYS // symbols * symbols
    for day in range(DAYS):
        begin = START + timedelta(days=day)
        with store.write() as con:
            con.execute(
                TRADES,
                {"symbols": symbols, "first": day * rows // symbols, "day": begin, "rows": rows},
            )
        for part in range(4):
            low = begin + timedelta(hours=6 * part)
            span = {"low": low, "high": low + timedelta(hours=6)}
            with store.write() as con:
                con.execute(SECONDS, span)
                con.execute(MINUTES, span)
    with store.write() as con:
        con.execute(COVERAGE)
    store.checkpoint()


def median_ms(work, repeats: int = 15) -> tuple[float, float, int]:
    """Return the median and the worst milliseconds of the repeats, and the rows returned."""
    times, rows = [], 0
    for _ in range(repeats):
        began = time.perf_counter()
        rows = len(work())
        times.append((time.perf_counter() - began) * 1000)
        time.sleep(0.05)
    return harness.percentile(times, 0.5), max(times), rows


def flush_ms(store, symbols: int) -> tuple[float, float]:
    """Return the median and worst milliseconds of storing 2,500 live trades in the full file."""
    from core.trade_writer import write_trades

    times = []
    with store.read() as con:
        ids = con.execute("select max(last_id) from coverage").fetchall()[0][0] + 1
    ts = START + timedelta(days=DAYS)
    per = 2500 // symbols
    for _ in range(30):
        frame = pl.DataFrame(
            {
                "symbol": [f"s{s}usdt" for s in range(symbols) for _ in range(per)],
                "agg_id": [ids + i for _ in range(symbols) for i in range(per)],
                "ts": [ts + timedelta(milliseconds=i) for _ in range(symbols) for i in range(per)],
                "price": [100.0] * symbols * per,
                "size": [1.0] * symbols * per,
                "buyer_is_maker": [True] * symbols * per,
                "source": ["ws"] * symbols * per,
            }
        ).with_columns(pl.col("ts").cast(pl.Datetime("ms")))
        ids, ts = ids + per, ts + timedelta(seconds=0.5)
        began = time.perf_counter()
        with store.write() as con:
            write_trades(con, frame, now_ms=0)
        times.append((time.perf_counter() - began) * 1000)
    return harness.percentile(times, 0.5), max(times)


def main() -> None:
    """Build the file and print one line a question."""
    from core import queries
    from core.store import open_store

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trades", type=int, default=100_000_000)
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--keep", type=Path, help="build here, or use the file that is there")
    options = parser.parse_args()
    with harness.scratch() as folder:
        store = open_store(options.keep or Path(folder) / "big.duckdb")
        if not store.exists():
            began = time.perf_counter()
            build(store, options.trades, options.symbols)
            harness.figure("building", f"{time.perf_counter() - began:.0f} s")
        everyone = [f"s{i}usdt" for i in range(options.symbols)]
        end = START + timedelta(days=DAYS)

        def bars(symbols: list[str], timeframe: str, span: timedelta):
            def ask() -> pl.DataFrame:
                with store.read() as con:
                    return queries.load_bars(con, symbols, timeframe, end - span, end)

            return ask

        with store.read(limit_s=None) as con:
            counts = queries.load_table_counts(con).rows()
        harness.figure("file", f"{store.size_bytes() / 1e9:.2f} GB, {dict(counts)}")
        for name, ask, demand in (
            ("24 h of 1min, one symbol", bars(["s3usdt"], "1min", timedelta(days=1)), "60 ms"),
            ("1 h of 1s, one symbol", bars(["s3usdt"], "1s", timedelta(hours=1)), "60 ms"),
            ("7 days of 1min, all symbols", bars(everyone, "1min", timedelta(days=7)), "200 ms"),
            ("7 days of 1h, all symbols", bars(everyone, "1h", timedelta(days=7)), ""),
            ("24 h of 15s, one symbol", bars(["s3usdt"], "15s", timedelta(days=1)), ""),
        ):
            median, worst, rows = median_ms(ask)
            harness.figure(
                name,
                f"median {median:.0f} ms, worst {worst:.0f} ms, {rows:,} rows",
                demand=demand and f"median at most {demand}",
            )
        median, worst = flush_ms(store, options.symbols)
        harness.figure("storing 2,500 trades", f"median {median:.0f} ms, worst {worst:.0f} ms")


if __name__ == "__main__":
    main()
