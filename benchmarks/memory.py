"""The worker's memory over ten minutes at 20,000 trades a second.

python benchmarks/memory.py [--seconds 600] [--rate 20000]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import harness
import psutil


def main() -> None:
    """Sample the worker's resident memory each second and print the highest."""
    from core import queries
    from core.store import open_store

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--rate", type=float, default=20_000)
    options = parser.parse_args()
    with harness.scratch() as folder, harness.practice("--rate", f"{options.rate:g}") as exchange:
        db = Path(folder) / "memory.duckdb"
        symbols = harness.all_symbols(exchange.address["rest_url"])
        with harness.worker(db, exchange.address, "--symbols", ",".join(symbols)) as process:
            time.sleep(5)
            measured = psutil.Process(process.pid)
            cpu, began, sizes = harness.cpu_s(process.pid), time.monotonic(), []
            while time.monotonic() - began < options.seconds:
                sizes.append(measured.memory_info().rss / 1e6)
                time.sleep(1)
            cpu = (harness.cpu_s(process.pid) - cpu) / (time.monotonic() - began)
            with open_store(db).read(wait_s=30, limit_s=None) as con:
                counts = dict(queries.load_table_counts(con).rows())
                status = queries.load_worker_status(con)
    tenth = max(1, len(sizes) // 10)
    harness.figure("trades stored", f"{counts['trades']:,}")
    harness.figure("worker memory, highest", f"{max(sizes):.0f} MB", demand="under 500 MB")
    first, last = sum(sizes[:tenth]) / tenth, sum(sizes[-tenth:]) / tenth
    harness.figure("worker memory, first and last tenth", f"{first:.0f} MB, {last:.0f} MB")
    harness.figure("worker CPU", f"{cpu:.2f} cores")
    harness.figure("worst flush", f"{status.worst_flush_s * 1000:.0f} ms")


if __name__ == "__main__":
    main()
