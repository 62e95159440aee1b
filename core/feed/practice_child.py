"""The practice exchange as a child process of the worker, living exactly as long as it."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from core.errors import FeedLost

_ROOT = Path(__file__).resolve().parent.parent.parent
START_S = 30.0


class _Address(msgspec.Struct):
    ws_url: str
    rest_url: str
    venue: str


@dataclass(slots=True)
class PracticeChild:
    """A running practice exchange: where it listens, and whose ids it gives."""

    ws_url: str
    rest_url: str
    venue: str
    process: asyncio.subprocess.Process

    async def stop(self) -> None:
        """End it; closing its standard input is how it learns that its parent is gone."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        with contextlib.suppress(TimeoutError, ProcessLookupError):
            await asyncio.wait_for(self.process.wait(), 1.0)
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()


async def start_practice(*, seed: int, rate: float) -> PracticeChild:
    """Start a practice exchange on a free loopback port; raises FeedLost if it does not come up."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "core.feed.practice", "--port", "0", "--exit-with-parent"),
        *("--seed", str(seed), "--rate", f"{rate:g}"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=_ROOT,
        # A worker without a console must not open one for its child.
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    assert process.stdout is not None
    line = b""
    with contextlib.suppress(TimeoutError):
        line = await asyncio.wait_for(process.stdout.readline(), START_S)
    try:
        address = msgspec.json.decode(line, type=_Address)
    except msgspec.DecodeError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise FeedLost(
            f"the practice exchange did not start within {START_S:g} s (it said {line!r}); "
            "the log above says why"
        ) from None
    return PracticeChild(address.ws_url, address.rest_url, address.venue, process)
