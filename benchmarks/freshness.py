"""From a trade's moment on the exchange to its being readable in the file, under load.

    python benchmarks/freshness.py [--seconds 60] [--rate 5000] [--readers 4]

Beside the worker run reader processes that query bars and status each second. A watcher looks
at the file's size and time every few ms and reads coverage after each commit: a trade is
readable when that read returns. A trade's age counts from its trade time T, which is up to 30 ms
before the practice exchange sends it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import harness
import polars as pl


def read_each_second(db: Path, symbol: str, stop, times) -> None:
    """Query as a page does, once a second."""
    from core import queries
    from core.store import open_store

    store = open_store(db)
    while not stop.is_set():
        began = time.perf_counter()
        now = datetime.now(UTC).replace(tzinfo=None)
        with store.read(wait_s=20) as con:
            queries.load_bars(con, [symbol], "1s", now - timedelta(hours=1), now)
            queries.load_bars(con, [symbol], "1min", now - timedelta(days=1), now)
            queries.load_symbol_status(con)
        spent = time.perf_counter() - began
        times.append(spent)
        time.sleep(max(0.0, 1.0 - spent))


def watch(store, seconds: float) -> list[tuple[float, dict[str, int]]]:
    """Return (epoch seconds, highest id of each symbol) at every commit that became readable."""
    from core import queries

    seen, last = [], None
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (now := store.fingerprint()) != last:
            last = now
            with store.read(wait_s=20) as con:
                ids = queries.load_last_ids(con)
            seen.append((time.time(), ids))
        time.sleep(0.005)
    return seen


def ages_s(store, seen: list[tuple[float, dict[str, int]]]) -> list[float]:
    """Return for every trade that came in the watched time how old it was when readable."""
    ages: list[float] = []
    for symbol in seen[0][1]:
        steps = pl.DataFrame(
            {
                "agg_id": [ids[symbol] for _, ids in seen],
                "at_ms": [int(at * 1000) for at, _ in seen],
            }
        ).unique("agg_id", keep="first", maintain_order=True)
        with store.read(wait_s=20, limit_s=None) as con:
            rows = con.execute(
                "select agg_id, epoch_ms(ts) from trades "
                "where symbol = ? and agg_id between ? and ? order by agg_id",
                [symbol, seen[0][1][symbol] + 1, seen[-1][1][symbol]],
            ).fetchall()
        trades = pl.DataFrame(rows, schema=["agg_id", "ts_ms"], orient="row")
        joined = trades.join_asof(steps.sort("agg_id"), on="agg_id", strategy="forward")
        ages += ((joined["at_ms"] - joined["ts_ms"]) / 1000).to_list()
    return ages


def main() -> None:
    """Run worker, readers and watcher, and print the percentiles."""
    from core import queries
    from core.store import open_store

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=6000)
    parser.add_argument("--readers", type=int, default=4)
    options = parser.parse_args()
    rate = f"{options.rate:g}"
    with harness.scratch() as folder, harness.practice("--rate", rate) as exchange:
        db = Path(folder) / "fresh.duckdb"
        store = open_store(db)
        symbols = harness.all_symbols(exchange.address["rest_url"])
        manager = multiprocessing.Manager()
        stop, times = manager.Event(), manager.list()
        with harness.worker(db, exchange.address, "--symbols", ",".join(symbols)):
            time.sleep(8)
            readers = [
                multiprocessing.Process(
                    target=read_each_second, args=(db, symbols[i % len(symbols)], stop, times)
                )
                for i in range(options.readers)
            ]
            for reader in readers:
                reader.start()
            time.sleep(3)
            seen = watch(store, options.seconds)
            stop.set()
            for reader in readers:
                reader.join()
            with store.read(wait_s=20) as con:
                status = queries.load_worker_status(con)
        ages = ages_s(store, seen)
    harness.figure("trades", f"{len(ages):,} ({len(ages) / options.seconds:,.0f} a second)")
    p50, p99 = harness.percentile(ages, 0.5), harness.percentile(ages, 0.99)
    harness.figure("freshness p50", f"{p50:.2f} s", demand="at most 0.5 s")
    harness.figure("freshness p99", f"{p99:.2f} s", demand="at most 1.0 s")
    harness.figure("freshness worst", f"{max(ages):.2f} s")
    harness.figure("worst flush", f"{status.worst_flush_s * 1000:.0f} ms")
    spent = [s * 1000 for s in times]
    harness.figure(
        "readers' queries",
        f"p50 {harness.percentile(spent, 0.5):.0f} ms, "
        f"p95 {harness.percentile(spent, 0.95):.0f} ms",
    )


if __name__ == "__main__":
    main()
