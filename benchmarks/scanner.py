"""A scan from the click to the table, and on a cluster of two workers against one process.

    python benchmarks/scanner.py
    python benchmarks/scanner.py --only click|browser|cluster

Click: 500 symbols with a day of 1-minute bars and the noise's window before it in the file; the
whole way of the Scanner page's button: open, read, carry, compare, noise floor, table; and on to
the end with its finalists. Browser: the same button pressed in Chromium, until the table is on the
screen. Cluster: the same comparison in this process' threads and on a real Dask scheduler with one
and with two worker processes of one thread each.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import harness
import numpy as np
import polars as pl

END = datetime(2026, 11, 20)  # noqa: DTZ001 - the store's times are naive UTC
SYMBOLS, HELD = 500, 2 * 1440 + 60
WEEK_SYMBOLS, WEEK = 512, 10_080
# The table carries the scan in its key: each scan is another element.
KEYS = """drawn => [...document.querySelectorAll("[class*=st-key-scan-table-]")]
    .filter(one => !drawn || one.querySelector("canvas"))
    .map(one => one.className.match(/st-key-scan-table-[^ ]+/)[0])"""
INSERT = """
insert into bars_1min
select symbol, ts, close, close, close, close, 1, close, 1, 0.5, ts, 1, ts, 1
from made order by ts, symbol
"""


def market(symbols: int, bars: int) -> np.ndarray:
    """Return log closes (bars, symbols): a factor, walks, and 20 planted pairs."""
    rng = np.random.default_rng(11)
    steps = 4e-4 * (
        0.6 * rng.standard_normal((bars, 1)) + 0.8 * rng.standard_normal((bars, symbols))
    )
    logs = np.cumsum(steps, axis=0)
    for pair in range(20):
        phi, spread = 0.5 ** (1 / 5), np.zeros(bars)
        for at, shock in enumerate(rng.standard_normal(bars)):
            spread[at] = phi * spread[at - 1] + 4e-4 * shock
        logs[:, 2 * pair + 1] = 0.9 * logs[:, 2 * pair] + spread
    return logs


def fill(store: object) -> None:
    """Fill the file with a market; one bar in 100 is missing."""
    logs = market(SYMBOLS, HELD)
    rng = np.random.default_rng(7)
    first = END - timedelta(minutes=HELD)
    times = np.datetime64(first, "us") + np.arange(HELD) * np.timedelta64(1, "m")
    store.prepare("binance")
    for start in range(0, SYMBOLS, 100):
        frames = [
            pl.DataFrame(
                {"symbol": [f"s{i:03d}usdt"] * HELD, "ts": times, "close": 100 * np.exp(logs[:, i])}
            ).filter(pl.Series(rng.random(HELD) > 0.01))
            for i in range(start, start + 100)
        ]
        with store.write(wait_s=30) as con:
            con.register("made", pl.concat(frames).to_arrow())
            con.execute(INSERT)
            con.unregister("made")
    with store.write() as con:
        con.execute(
            "insert into coverage select distinct symbol, 1, 9, ?::timestamp, ?::timestamp "
            "from bars_1min",
            [first, END],
        )
    store.checkpoint()


def click() -> None:
    """Print the time from the click to the table, and to the end."""
    from core.scanning.running import scanned
    from core.scanning.settings import ScanSettings
    from core.store import open_store

    with harness.scratch() as folder:
        store = open_store(Path(folder) / "market.duckdb")
        fill(store)
        first, whole, report = [], [], None
        for _ in range(5):
            began = time.perf_counter()
            found = scanned(store, ScanSettings(span="1d"))
            report = next(found)
            first.append(time.perf_counter() - began)
            *_, report = found
            whole.append(time.perf_counter() - began)
        harness.figure(
            f"click to table, {report.compared} symbols, {report.tested:,} ordered pairs",
            f"{sorted(first)[2]:.2f} s median, {max(first):.2f} s worst", demand="at most 3 s",
        )  # fmt: skip
        harness.figure(
            f"the same with its {report.passed} finalists tested and kept",
            f"{sorted(whole)[2]:.2f} s median; {report.confirmed} confirmed",
        )  # fmt: skip


def browser(rounds: int = 5) -> None:
    """Print the time from the button pressed in Chromium to the table on the screen."""
    from dashboard import app
    from playwright.sync_api import sync_playwright

    from core.store import open_store

    flags = "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"
    with harness.scratch() as folder:
        store = open_store(Path(folder) / "market.duckdb")
        fill(store)
        times = []
        with app(store.path) as (port, _), sync_playwright() as playwright:
            chromium = playwright.chromium.launch(
                executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=[*flags]
            )
            for _ in range(rounds):
                page = chromium.new_page(viewport={"width": 1440, "height": 2400})
                page.goto(f"http://127.0.0.1:{port}/scanner?source=binance&scan_span=1d")
                still = "[data-testid=stApp][data-test-script-state=notRunning]"
                page.wait_for_selector(still, timeout=60_000)
                page.get_by_role("button", name="Scan now").wait_for(timeout=60_000)
                # What an earlier round left on the screen is not what this one is measured by.
                page.wait_for_timeout(2_000)
                before = page.evaluate(KEYS, False)
                began = time.perf_counter()
                page.get_by_role("button", name="Scan now").click()
                page.wait_for_function(
                    f"before => ({KEYS})(true).some(key => !before.includes(key))",
                    arg=before, timeout=60_000, polling=20,
                )  # fmt: skip
                times.append(time.perf_counter() - began)
                page.get_by_text("confirmed out of sample").wait_for(timeout=60_000)
                page.close()
            chromium.close()
        harness.figure(
            "button pressed in Chromium to the table drawn, 500 symbols",
            f"{sorted(times)[len(times) // 2]:.2f} s median, {max(times):.2f} s worst",
            demand="at most 3 s",
        )


@contextlib.contextmanager
def dask(home: Path, workers: int) -> Iterator[str]:
    """Run a scheduler and so many workers of one thread; yields the address."""
    about = home / f"scheduler-{workers}.json"
    common = ["--no-dashboard", "--scheduler-file", str(about)]
    programs = [("dask_scheduler", ["--host", "127.0.0.1", "--port", "0"])]
    programs += [("dask_worker", ["--nthreads", "1", "--no-nanny", "--host", "127.0.0.1",
                                  "--local-directory", str(home)])] * workers  # fmt: skip
    environment = os.environ | {
        "PYTHONPATH": str(harness.ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
    }  # fmt: skip
    running = []
    try:
        for program, arguments in programs:
            with (home / f"{program}.log").open("ab") as log:
                running.append(
                    subprocess.Popen(
                        [sys.executable, "-m", f"distributed.cli.{program}", *common, *arguments],
                        stdout=log, stderr=log, cwd=harness.ROOT, env=environment,
                    )
                )  # fmt: skip
            while not about.exists():
                time.sleep(0.05)
        yield str(json.loads(about.read_text())["address"])
    finally:
        for process in reversed(running):
            harness.end(process)


def clusters() -> None:
    """Print how a week of 512 symbols scales over one and two workers, and what it costs."""
    from distributed import Client

    from core.cluster import run_tasks
    from core.scanning.pairing import _block, _sides
    from core.scanning.settings import ScanSettings
    from core.stats.scan import block_slices, joined, pair_scan

    logs = market(WEEK_SYMBOLS, WEEK)
    settings = ScanSettings()
    sides = _sides(logs, logs, settings)
    rows = block_slices(WEEK_SYMBOLS)
    blocks = [(a, b) for a in rows for b in rows]
    began = time.perf_counter()
    here = pair_scan(logs, logs, lag=settings.lag, count_crossings=False, workers=1)
    alone = time.perf_counter() - began
    began = time.perf_counter()
    pair_scan(logs, logs, lag=settings.lag, count_crossings=False)
    threads = time.perf_counter() - began
    harness.figure("one process, one thread", f"{alone:.2f} s")
    harness.figure("one process, two threads", f"{threads:.2f} s ({alone / threads:.2f} ×)")
    took = {}
    for workers in (1, 2):
        with harness.scratch() as folder, dask(Path(folder), workers) as address:
            with Client(address, set_as_default=False) as client:
                client.wait_for_workers(workers)
            run_tasks(_block, sides, blocks[:workers], place="cluster", address=address)
            times = []
            for _ in range(3):
                began = time.perf_counter()
                parts = run_tasks(_block, sides, blocks, place="cluster", address=address)
                times.append(time.perf_counter() - began)
            grid = [parts[at : at + len(rows)] for at in range(0, len(parts), len(rows))]
            found = joined(grid)
            same = found.statistic.tobytes() == here.statistic.tobytes()
            took[workers] = min(times)
            harness.figure(
                f"Dask, {workers} worker process{'es' * (workers > 1)} of one thread",
                f"{took[workers]:.2f} s ({alone / took[workers]:.2f} ×), results "
                f"{'the same to the last bit' if same else 'DIFFER'}",
            )  # fmt: skip
    overhead = took[2] - threads
    harness.figure("overhead of two workers over two threads", f"{overhead:+.2f} s",
                   demand="at most 1 s")  # fmt: skip
    # Sending the panel once to each worker and a block's planes back is what does not divide.
    fixed = max(2 * took[2] - took[1], 0.0)
    for many in (10, 100):
        symbols = 5_000
        work = alone * (symbols / WEEK_SYMBOLS) ** 2
        size = logs.nbytes * symbols / WEEK_SYMBOLS / 1e9
        spread = size * np.log2(many + 1) / 1.0
        back = 12 * 8 * symbols**2 / 1e9 / 1.0
        model = work / many + spread + back + fixed
        harness.figure(
            f"model: {symbols:,} symbols over {WEEK:,} bars on {many} workers, 1 GB/s",
            f"{model:.1f} s: {work / many:.1f} computing, {spread:.1f} the panel from worker to "
            f"worker, {back:.1f} the results, {fixed:.1f} fixed (one thread: {work:.0f} s)",
        )  # fmt: skip


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", choices=("click", "browser", "cluster"))
    only = parser.parse_args().only
    for name, measure in (("click", click), ("browser", browser), ("cluster", clusters)):
        if only in (None, name):
            measure()


if __name__ == "__main__":
    main()
