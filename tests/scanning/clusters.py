"""A real Dask scheduler and its workers on this machine, each a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import DataError

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass
class Cluster:
    """Where the scheduler listens, and its workers."""

    address: str
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)


@contextlib.contextmanager
def cluster(home: Path, workers: int = 2) -> Iterator[Cluster]:
    """Run a scheduler and so many workers with one thread each; all end with the block."""
    about = home / "scheduler.json"
    common = ["--no-dashboard", "--scheduler-file", str(about)]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        processes.append(_dask("dask_scheduler", home, "--host", "127.0.0.1", "--port", "0",
                               *common))  # fmt: skip
        address = _address(about)
        made = Cluster(address)
        for number in range(workers):
            made.workers.append(
                _dask("dask_worker", home, "--nthreads", "1", "--no-nanny", "--host", "127.0.0.1",
                      "--name", f"w{number}", "--local-directory", str(home), *common)
            )  # fmt: skip
        processes += made.workers
        yield made
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()
            process.wait()


def _dask(program: str, home: Path, *arguments: str) -> subprocess.Popen[bytes]:
    with (home / f"{program}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{program}", *arguments],
            stdout=log, stderr=subprocess.STDOUT, cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip


def _address(about: Path, limit_s: float = 60) -> str:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError, KeyError):
            return str(json.loads(about.read_text(encoding="utf-8"))["address"])
        time.sleep(0.1)
    raise AssertionError("the scheduler did not come up")


def squared(shared: int, task: int) -> int:
    if task == 13:
        raise DataError(f"{task} brings bad luck")
    return shared * task * task


def deadly(shared: int, task: int) -> int:
    """Take the worker along, as a task does that needs more memory than there is."""
    os._exit(1)


def slow(shared: str, task: int) -> int:
    """Take a while; the first to come says who it is, so that it can be killed."""
    place = Path(shared)
    (place / f"{task}-{os.getpid()}").touch()
    time.sleep(0.4)
    return task
