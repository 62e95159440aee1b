"""What the benchmark scripts share: processes with an end, and one line a figure."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


@dataclass
class Practice:
    """A running practice exchange and the JSON lines that it has printed."""

    address: dict[str, Any]
    process: subprocess.Popen[str]
    output: Path

    def reports(self) -> list[dict[str, Any]]:
        """Return the sending reports (frames, seconds, CPU share) so far."""
        lines = [json.loads(line) for line in self.output.read_text().splitlines() if line]
        return [line for line in lines if "cpu_share" in line]


@contextlib.contextmanager
def practice(*arguments: str) -> Iterator[Practice]:
    """Run `python -m core.feed.practice` until the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "practice.out"
        with output.open("w") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "core.feed.practice", "--port", "0", *arguments],
                stdout=sink,
                cwd=ROOT,
                text=True,
            )
        try:
            while not (lines := output.read_text().splitlines()):
                if process.poll() is not None:
                    raise SystemExit("the practice exchange did not start")
                time.sleep(0.1)
            yield Practice(json.loads(lines[0]), process, output)
        finally:
            end(process)


@contextlib.contextmanager
def worker(db: Path, address: dict[str, Any], *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `ingest_worker.py` on a file against an exchange until the block ends."""
    command = [sys.executable, str(ROOT / "ingest_worker.py"), "--db", str(db)]
    command += ["--ws-url", address["ws_url"], "--rest-url", address["rest_url"], *arguments]
    with Path(f"{db}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stderr=log)
    try:
        yield process
    finally:
        end(process)
        sys.stderr.write(Path(f"{db}.log").read_text())


def end(process: subprocess.Popen[Any]) -> None:
    """Ask a process of ours to end, and see that it does."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def figure(name: str, value: str, *, demand: str = "") -> None:
    """Print one figure on a line of its own."""
    print(f"{name}: {value}" + (f"   (demanded: {demand})" if demand else ""), flush=True)


def percentile(values: list[float], share: float) -> float:
    """Return the value below which ``share`` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a living process has used."""
    import psutil

    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def all_symbols(rest_url: str) -> list[str]:
    """Return the lower-case symbols that the exchange offers for trading."""
    import asyncio

    from core.feed.rest import RestClient

    async def ask() -> list[str]:
        client = RestClient(rest_url)
        try:
            return [s.symbol for s in await client.fetch_exchange_info() if s.is_tradable]
        finally:
            await client.aclose()

    return asyncio.run(ask())


def scratch() -> tempfile.TemporaryDirectory[str]:
    """Return a folder for database files, on disk: `PERPDUCK_BENCH_DIR`, or the system's."""
    return tempfile.TemporaryDirectory(dir=os.environ.get("PERPDUCK_BENCH_DIR"))
