"""The API under load: bars out of memory, heartbeats to many, what has not changed, the past.

    python benchmarks/api.py [--only bars|clients|unchanged|pages] [--seconds 60] [--arriving 2200]

A practice exchange, the worker and the app run as processes of their own, and so do the programs
that ask (`benchmarks/api_load.py`). They ask at their rate however long the answers take, and an
answer's time counts from when it was due. Beside them this process asks the file for the same
bars by a query each, as every request would without the versioned cache.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import harness
from dashboard import app
from pair import fill

SYMBOLS = 10
CLIENTS = 200


@dataclass(frozen=True)
class Rig:
    """Everything that runs."""

    db: Path
    port: int
    server: int
    worker: int
    symbols: list[str]


def busiest() -> list[str]:
    """Return the symbols that are traded most."""
    from core.feed.practice.market import Market

    market = Market(7)
    return sorted(market.symbols, key=market.trades_per_day, reverse=True)[:SYMBOLS]


def rate_for(arriving: float, symbols: list[str], seconds: float = 600) -> float:
    """Return the exchange's rate at which so many trades a second arrive from now on.

    Its trades come in clusters: some quarters of an hour have twice as many as others.
    """
    from core.feed.practice.market import Market

    market, now = Market(7, 1000), int(time.time() * 1000)
    ids = [market.first_id(symbol, now) for symbol in symbols]
    later = [market.first_id(symbol, now + int(1000 * seconds)) for symbol in symbols]
    return 1000 * arriving * seconds / (sum(later) - sum(ids))


@contextlib.contextmanager
def rig(arriving: float) -> Iterator[Rig]:
    """Run exchange, worker and app on a file with half an hour of the busiest symbols."""
    from core.store import open_store

    symbols = busiest()
    rate = round(rate_for(arriving, symbols))
    with harness.scratch() as folder, harness.practice("--rate", f"{rate:g}") as exchange:
        db = Path(folder) / "api.duckdb"
        fill(open_store(db), rate, int(arriving * 1800), symbols)
        watched = "--symbols", ",".join(symbols), "--history", "0"
        with (
            harness.worker(db, exchange.address, *watched) as worker,
            app(db) as (port, server),
        ):
            time.sleep(5)
            while gaps(db):
                time.sleep(1)
            yield Rig(db, port, server.pid, worker.pid, symbols)


def gaps(db: Path) -> int:
    """Return how many gaps are open."""
    from core import queries
    from core.store import open_store

    with open_store(db).read(wait_s=10, limit_s=None) as con:
        return sum(len(found) for found in queries.load_open_gaps(con).values())


def query(db: Path, symbol: str) -> tuple[float, Any]:
    """Return how long the bars take out of the file, and the bars."""
    from core import queries
    from core.store import open_store

    began = time.perf_counter()
    now = datetime.now(UTC).replace(tzinfo=None)
    with open_store(db).read(wait_s=10, limit_s=None) as con:
        found = queries.load_bars(con, [symbol], "1s", now - timedelta(seconds=1200), now)
    return time.perf_counter() - began, found.tail(1000)


def stored(db: Path) -> int:
    """Return the number of trades in the file."""
    from core.store import open_store

    with open_store(db).read(wait_s=10, limit_s=None) as con:
        return int(con.execute("select count(*) from trades").fetchall()[0][0])


@contextlib.contextmanager
def load(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run the programs that ask."""
    command = [sys.executable, str(Path(__file__).with_name("api_load.py")), *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        harness.end(process)


def seen(process: subprocess.Popen[str], meanwhile: Callable[[], None] | None = None) -> Any:
    """Wait for what the programs saw; every half a second something is done meanwhile."""
    while True:
        try:
            out, _ = process.communicate(timeout=0.5 if meanwhile else None)
            break
        except subprocess.TimeoutExpired:
            if meanwhile:
                meanwhile()
    if process.returncode:
        raise SystemExit("the programs that ask failed")
    return json.loads(out)


class Cpu:
    """The CPU that two processes use, in cores."""

    def __init__(self, running: Rig) -> None:
        self._pids = {"app": running.server, "worker": running.worker}
        self._began = time.monotonic(), self._used()

    def _used(self) -> dict[str, float]:
        return {name: harness.cpu_s(pid) for name, pid in self._pids.items()}

    def shares(self) -> dict[str, float]:
        """Return the cores used since the beginning."""
        passed, now = time.monotonic() - self._began[0], self._used()
        return {name: (used - self._began[1][name]) / passed for name, used in now.items()}


def told(times: list[float]) -> str:
    """Return the percentiles of times."""
    p50, p99 = (1000 * harness.percentile(times, share) for share in (0.5, 0.99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, worst {1000 * max(times):.0f} ms"


def within(times: list[float], limit_s: float) -> float:
    """Return the share of the times that are no longer than so many seconds."""
    return sum(one <= limit_s for one in times) / len(times)


def bars(running: Rig, seconds: float, *, gzip: bool = False) -> None:
    """Measure GET /resampled of 1,000 bars beside a query each."""
    asked = "bars", running.port, "--symbols", ",".join(running.symbols), "--seconds"
    with load(*asked, 5) as warm:
        seen(warm)
    queried: list[float] = []

    def ask_the_file() -> None:
        queried.append(query(running.db, running.symbols[len(queried) % SYMBOLS])[0])

    cpu, before = Cpu(running), stored(running.db)
    with load(*asked, seconds, *(["--gzip"] if gzip else [])) as asking:
        found = seen(asking, None if gzip else ask_the_file)
    shares = cpu.shares()
    arrived = (stored(running.db) - before) / seconds
    times, words = found["times"], "gzip, " if gzip else ""
    harness.figure(
        f"1,000 bars, {words}50 requests/s over {SYMBOLS} symbols, {arrived:,.0f} trades/s",
        f"{told(times)}; {len(times):,} answers {json.dumps(found['states'])} of "
        f"{found['bytes'] / 1000:.0f} kB; app {shares['app']:.2f}, "
        f"worker {shares['worker']:.2f} cores",
        demand="p99 at most 150 ms",
    )
    if queried:
        ratio = harness.percentile(queried, 0.5) / harness.percentile(times, 0.5)
        harness.figure(
            "the same bars by a query each, beside it", f"{told(queried)}; {ratio:.1f} x at p50"
        )


def clients(running: Rig, seconds: float) -> None:
    """Measure what heartbeats to many cost the app's process."""
    shares = {}
    for count in (0, 1, CLIENTS):
        time.sleep(8)  # the feeder falls asleep, and connections are made
        with load("listeners", running.port, "--clients", count, "--seconds", seconds + 4) as all_:
            time.sleep(count * 0.02 + 2)
            cpu = Cpu(running)
            time.sleep(seconds)
            shares[count] = cpu.shares()["app"]
            found = seen(all_)
    cost = shares[CLIENTS] - shares[0]
    harness.figure(
        f"{CLIENTS} clients of /ws/live, a heartbeat a second",
        f"{100 * cost:.1f}% of a core (app {100 * shares[0]:.1f}% idle, "
        f"{100 * shares[1]:.1f}% with one, {100 * shares[CLIENTS]:.1f}% with all)",
        demand="at most 15%",
    )
    harness.figure(
        "a heartbeat's age on arrival",
        f"{told(found['ages'])}; {found['beats']:,} heartbeats, longest silence "
        f"{found['longest']:.2f} s",
    )


def unchanged(running: Rig, seconds: float) -> None:
    """Measure a 304 without other load, and beside the programs that ask for bars."""
    asked = "unchanged", running.port, "--symbols", running.symbols[0], "--seconds", seconds
    listed = ",".join(running.symbols)
    for words in ("alone", "beside 50 requests/s"):
        with contextlib.ExitStack() as others:
            if words != "alone":
                bars_asked = "bars", running.port, "--symbols", listed, "--seconds", seconds + 3
                others.enter_context(load(*bars_asked))
                time.sleep(2)
            with load(*asked) as asking:
                found = seen(asking)
        harness.figure(
            f"304, {words}",
            f"{told(found['times'])}; {within(found['times'], 0.005):.1%} of "
            f"{len(found['times']):,} within 5 ms, {found['changed']} changed",
            demand="at most 5 ms",
        )


def pages(running: Rig, seconds: float) -> None:
    """Measure a program that pages through the past, and the newest bars beside it."""
    listed = ",".join(running.symbols)
    newest = "bars", running.port, "--symbols", listed, "--rate", 10, "--seconds", seconds
    with (
        load("pages", running.port, "--symbols", listed, "--seconds", seconds) as paging,
        load(*newest) as asking,
    ):
        found, beside = seen(paging), seen(asking)
    harness.figure(
        f"paging through half an hour of {SYMBOLS} symbols, 100 bars a page",
        f"{told(found['times'])}; {len(found['times']) / seconds:.0f} pages/s of "
        f"{found['pages']} {json.dumps(found['states'])}",
    )
    harness.figure(
        "1,000 bars beside it, 10 requests/s",
        f"{told(beside['times'])}; {json.dumps(beside['states'])}",
    )


def main() -> None:
    """Run everything and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("bars", "clients", "unchanged", "pages"))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--arriving", type=float, default=2200)
    options = parser.parse_args()
    with rig(options.arriving) as running:
        if options.only in (None, "unchanged"):
            unchanged(running, options.seconds / 3)
        if options.only in (None, "pages"):
            pages(running, options.seconds / 3)
        if options.only in (None, "clients"):
            clients(running, options.seconds / 2)
        if options.only in (None, "bars"):
            bars(running, options.seconds)
            bars(running, options.seconds / 3, gzip=True)


if __name__ == "__main__":
    main()
