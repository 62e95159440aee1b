"""Work beside everything else: a run in a thread of its own, a command in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

from core.errors import PerpduckError

logger = logging.getLogger(__name__)

RUNNING, DONE, CANCELLED, FAILED = "running", "done", "cancelled", "failed"
# A command that is cut off is waited for so long.
END_S = 1.0
_HOME = Path(__file__).resolve().parent.parent


class Standing(Protocol):
    """How far a run is: a frozen dataclass with at least this, and what is known by then."""

    @property
    def state(self) -> str:
        """RUNNING, DONE, CANCELLED or FAILED."""
        ...

    @property
    def error(self) -> PerpduckError | None:
        """What went wrong."""
        ...


S = TypeVar("S", bound=Standing)


class Run(ABC, Generic[S]):
    """Work in a thread of its own; `standing` may be looked at any time.

    A subclass has ``_work``, which tells how far it is by ``_tell`` and heeds ``_cancelled``;
    whatever it raises is told in the standing.
    """

    def __init__(self, name: str, standing: S) -> None:
        self._name = name
        self._standing = standing
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> Self:
        """Begin; returns itself."""
        self._thread.start()
        return self

    @property
    def standing(self) -> S:
        """How far it is."""
        return self._standing

    def cancel(self) -> None:
        """Ask it to stop soon."""
        self._cancelled.set()

    def wait(self, limit_s: float | None = None) -> S:
        """Wait until it is over, or so many seconds; returns how far it is."""
        self._thread.join(limit_s)
        return self._standing

    def _run(self) -> None:
        try:
            self._work()
        except PerpduckError as error:
            self._tell(state=FAILED, error=error)
        except Exception as error:
            logger.exception("a %s failed", self._name)
            words = f"{type(error).__name__}: {error}; please report this with the log"
            self._tell(state=FAILED, error=PerpduckError(words))

    @abstractmethod
    def _work(self) -> None:
        """Do it."""

    def _tell(self, **changed: object) -> None:
        self._standing = replace(self._standing, **changed)  # type: ignore[type-var]


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended: its status, and what it wrote."""

    status: int
    out: str
    err: str


async def said_by(command: Sequence[str]) -> Said:
    """Run a command in a process of its own; cancelled, it is asked to end first."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=_HOME,
    )
    try:
        out, err = await process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await process.wait()
        raise
    texts = (text.decode(errors="replace").strip() for text in (out, err))
    return Said(process.returncode or 0, *texts)
