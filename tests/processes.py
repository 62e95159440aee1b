"""The worker and the practice exchange as the processes that users start."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@contextlib.contextmanager
def practice_process(*arguments: str) -> Iterator[dict[str, str]]:
    """Run the practice exchange; yields the JSON line that it prints when it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "core.feed.practice", "--exit-with-parent", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


class WorkerProcess:
    """`python ingest_worker.py …` on a file, with its log kept beside."""

    def __init__(self, db: Path, *arguments: str) -> None:
        self.log = Path(f"{db}.test.log")
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "ingest_worker.py"), "--db", str(db), *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
            )

    def kill(self) -> None:
        """kill -9: no goodbye, no flush."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> tuple[int, float]:
        """Stop as a service manager does; returns the exit status and the seconds it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        return status, time.monotonic() - began

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8")


@contextlib.contextmanager
def worker_process(db: Path, *arguments: str) -> Iterator[WorkerProcess]:
    """Run a worker; whatever happens it is gone at the end."""
    worker = WorkerProcess(db, *arguments)
    try:
        yield worker
    finally:
        if worker.process.poll() is None:
            worker.kill()


def wait_for(condition: Callable[[], bool], *, within_s: float = 30.0, what: str = "") -> None:
    """Poll until the condition holds; fails loudly when it does not."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.05)
