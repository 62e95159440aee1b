"""Trades a second from the socket to durable in DuckDB, beside a bare receive loop.

    python benchmarks/ingest.py [--seconds 60] [--trades 14000000]

One practice exchange sends the same pre-encoded frames to both, as fast as each reads: first to
a bare `websockets` loop that only counts, then to the real worker, one file, all checks on.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import time
from pathlib import Path

import harness

RATE = "20000"


def bare(ws_url: str, streams: list[str], seconds: float, result: multiprocessing.Queue) -> None:
    """Receive for some seconds in a process of its own and report frames a second."""

    async def run() -> float:
        from websockets.asyncio.client import connect
        from websockets.exceptions import ConnectionClosed

        url = f"{ws_url}/market/stream?streams=" + "/".join(streams)
        async with connect(url, compression=None, max_size=None, proxy=None) as socket:
            count = 0
            await socket.recv(decode=False)
            began = time.perf_counter()
            try:
                while True:
                    await socket.recv(decode=False)
                    count += 1
                    if count % 1000 == 0 and time.perf_counter() - began > seconds:
                        break
            except ConnectionClosed:
                pass
            rate = count / (time.perf_counter() - began)
            socket.transport.abort()
            return rate

    result.put(asyncio.run(run()))


def bare_rate(ws_url: str, streams: list[str], seconds: float) -> float:
    """Return the frames a second of the bare loop."""
    result: multiprocessing.Queue = multiprocessing.Queue()
    process = multiprocessing.Process(target=bare, args=(ws_url, streams, seconds, result))
    process.start()
    rate = result.get(timeout=seconds + 60)
    process.join()
    return float(rate)


def stored(store) -> tuple[int, float]:
    """Return the trades that the file holds and when that was read."""
    with store.read(wait_s=30) as con:
        now = time.perf_counter()
        rows = con.execute(
            "select coalesce(sum(last_id - first_id + 1), 0) from coverage"
        ).fetchall()
    return int(rows[0][0]), now


def worker_rate(folder: str, exchange: harness.Practice, symbols: list[str], seconds: float):
    """Return the worker's durable trades a second, its CPU share, and the sender's."""
    from core.store import open_store

    db = Path(folder) / "bench.duckdb"
    store = open_store(db)
    with harness.worker(db, exchange.address, "--symbols", ",".join(symbols)) as process:
        while not store.exists() or stored(store)[0] == 0:
            time.sleep(0.2)
        first, began = stored(store)
        cpu, sender = harness.cpu_s(process.pid), harness.cpu_s(exchange.process.pid)
        last, ended, still = first, began, 0
        while ended - began < seconds and still < 3:
            time.sleep(1.0)
            before = last
            last, ended = stored(store)
            still = still + 1 if last == before else 0
        passed = ended - began
        cpu = (harness.cpu_s(process.pid) - cpu) / passed
        sender = (harness.cpu_s(exchange.process.pid) - sender) / passed
    return (last - first) / passed, passed, cpu, sender


def main() -> None:
    """Measure both sides and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--trades", type=int, default=14_000_000)
    options = parser.parse_args()
    sender = ("--rate", RATE, "--speed", "max", "--preload", str(options.trades))
    with harness.scratch() as folder, harness.practice(*sender, "--loop") as exchange:
        symbols = harness.all_symbols(exchange.address["rest_url"])
        streams = [f"{symbol}@aggTrade" for symbol in symbols]
        plain = bare_rate(exchange.address["ws_url"], streams, options.seconds)
        rate, passed, cpu, sent = worker_rate(folder, exchange, symbols, options.seconds)
    harness.figure("bare receive loop", f"{plain:,.0f} frames/s over {options.seconds:g} s")
    harness.figure("worker, durable", f"{rate:,.0f} trades/s over {passed:.0f} s")
    harness.figure("worker CPU", f"{cpu:.2f} cores")
    harness.figure("sender CPU", f"{sent:.2f} cores", demand="at most 0.5, or it does not count")
    harness.figure("ratio", f"{rate / plain:.2f}", demand="at least 0.5")


if __name__ == "__main__":
    main()
