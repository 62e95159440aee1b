"""Twenty sessions on Prices at a refresh a second, while the worker ingests 5,000 trades a second.

    python benchmarks/dashboard.py [--sessions 20] [--seconds 60] [--rate 5000]

Each session is a real WebSocket client of the app that speaks the browser's protocol: it opens
the page, is told which fragments to run how often, and asks for each of them as the browser
does. A refresh lasts from that request to the message that the script has finished.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import harness

TIMEFRAMES = ("1s", "5s", "1min", "15s")


class Session:
    """One browser tab, as far as the server can tell."""

    def __init__(
        self, port: int, query: str, page: str = "", mark: bytes = b"prices-chart"
    ) -> None:
        self.port, self.query, self.page, self.mark = port, query, page, mark
        self.refreshes: list[float] = []
        self.received = 0
        self.charts = 0
        self.fragments: dict[str, float] = {}
        self.page_hash = ""

    async def run(self, seconds: float) -> None:
        """Open the page, then refresh it until the time is over."""
        from websockets.asyncio.client import connect

        url = f"ws://127.0.0.1:{self.port}/_stcore/stream"
        async with connect(url, subprotocols=["streamlit"], max_size=None, proxy=None) as tab:
            self.tab = tab
            await self._ask("")
            await self._until_finished()
            end = time.monotonic() + seconds
            due = {fragment: time.monotonic() + every for fragment, every in self.fragments.items()}
            while due and time.monotonic() < end:
                fragment = min(due, key=due.__getitem__)
                await asyncio.sleep(max(0.0, due[fragment] - time.monotonic()))
                began = time.monotonic()
                await self._ask(fragment)
                await self._until_finished()
                self.refreshes.append(time.monotonic() - began)
                due[fragment] = max(due[fragment] + self.fragments[fragment], time.monotonic())

    async def _ask(self, fragment: str) -> None:
        from streamlit.proto.BackMsg_pb2 import BackMsg

        message = BackMsg()
        message.rerun_script.query_string = self.query
        message.rerun_script.page_script_hash = self.page_hash
        message.rerun_script.page_name = "" if self.page_hash else self.page
        if fragment:
            message.rerun_script.fragment_id = fragment
            message.rerun_script.is_auto_rerun = True
        await self.tab.send(message.SerializeToString())

    async def _until_finished(self) -> None:
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        while True:
            data = await asyncio.wait_for(self.tab.recv(), 30)
            self.received += len(data)
            message = ForwardMsg.FromString(data)
            kind = message.WhichOneof("type")
            if kind == "auto_rerun":
                self.fragments[message.auto_rerun.fragment_id] = message.auto_rerun.interval
            elif kind == "new_session":
                self.page_hash = message.new_session.page_script_hash
            elif kind == "session_event" and message.session_event.HasField(
                "script_compilation_exception"
            ):
                raise SystemExit("the page does not compile")
            elif kind == "delta" and self.mark in data:
                self.charts += 1
            elif kind == "script_finished":
                return


@contextlib.contextmanager
def app(db: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Run the app on a free port, with the file as its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py"]
    command += ["--server.port", str(port), "--server.headless", "true"]
    process = subprocess.Popen(
        command,
        cwd=harness.ROOT,
        env={**os.environ, "PERPDUCK_DB": str(db)},
        stdout=subprocess.DEVNULL,
    )
    try:
        for _ in range(200):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1)
                break
            time.sleep(0.1)
        yield port, process
    finally:
        harness.end(process)


async def crowd(sessions: list[Session], seconds: float) -> None:
    """Run all sessions at once, their beats spread over the second."""

    async def later(i: int, session: Session) -> None:
        await asyncio.sleep(i / len(sessions) + i * 0.1)
        await session.run(seconds)

    await asyncio.gather(*(later(i, session) for i, session in enumerate(sessions)))


def sessions_over(port: int, symbols: list[str], count: int) -> list[Session]:
    """Return sessions that look at different symbols and timeframes."""
    return [
        Session(
            port,
            f"symbols={symbols[i % 10]}&timeframe={TIMEFRAMES[i % len(TIMEFRAMES)]}&range=15m"
            "&source=binance",
        )
        for i in range(count)
    ]


def missing(db: Path) -> tuple[int, object]:
    """Return the trades that are missing between the first and the last, and the worker's row."""
    from core import queries
    from core.store import open_store

    with open_store(db).read(wait_s=30, limit_s=None) as con:
        holes = sum(g.missing for gaps in queries.load_open_gaps(con).values() for g in gaps)
        return holes, queries.load_worker_status(con)


def main() -> None:
    """Run exchange, worker, app and sessions, and print the percentiles."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=6000)
    options = parser.parse_args()
    with harness.scratch() as folder, harness.practice("--rate", f"{options.rate:g}") as exchange:
        db = Path(folder) / "dashboard.duckdb"
        symbols = harness.all_symbols(exchange.address["rest_url"])
        with harness.worker(db, exchange.address, "--symbols", ",".join(symbols)) as worker:
            time.sleep(15)
            with app(db) as (port, server):
                sessions = sessions_over(port, symbols, options.sessions)
                warm = sessions_over(port, symbols, 1)
                asyncio.run(crowd(warm, 3))
                used = harness.cpu_s(server.pid), harness.cpu_s(worker.pid), time.monotonic()
                asyncio.run(crowd(sessions, options.seconds))
                passed = time.monotonic() - used[2]
                cpu = (harness.cpu_s(server.pid) - used[0]) / passed
                worked = (harness.cpu_s(worker.pid) - used[1]) / passed
            holes, status = missing(db)
    times = [t * 1000 for session in sessions for t in session.refreshes]
    a_second = sum(1 / every for every in sessions[0].fragments.values())
    harness.figure(
        "refreshes",
        f"{len(times):,} of {options.sessions * options.seconds * a_second:,.0f} due, "
        f"{sum(session.charts for session in sessions):,} of them with new candles",
    )
    harness.figure(
        "a refresh",
        f"p50 {harness.percentile(times, 0.5):.0f} ms, "
        f"p95 {harness.percentile(times, 0.95):.0f} ms, worst {max(times):.0f} ms",
        demand="p95 at most 500 ms",
    )
    harness.figure(
        "a session's traffic",
        f"{sum(s.received for s in sessions) / len(sessions) / options.seconds / 1000:.0f} kB/s",
    )
    harness.figure("worst flush", f"{status.worst_flush_s * 1000:.0f} ms", demand="at most 500 ms")
    harness.figure("trades missing", str(holes), demand="none")
    harness.figure("CPU", json.dumps({"app": round(cpu, 2), "worker": round(worked, 2)}))


if __name__ == "__main__":
    main()
