"""The worker's own scans: as often as the file says, in a process that no trade waits for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from datetime import timedelta
from pathlib import Path

from core.config import Settings
from core.errors import PerpduckError, StoreError
from core.scanning.kept import Schedule, load_schedule
from core.store import Store
from core.trade_writer import utc_now

logger = logging.getLogger(__name__)

_HOME = Path(__file__).resolve().parent.parent.parent
LOOK_S = 15.0
END_S = 1.0
# Statistics give way to trades: a nice value, where the system knows such a thing.
NICENESS = 10


class ScanKeeper:
    """An endless job: begins a scan when one is due, one at a time."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store

    async def run(self) -> None:
        """Look at the schedule, and scan when it is time."""
        while True:
            await asyncio.sleep(LOOK_S)
            with contextlib.suppress(StoreError):
                if is_due(await asyncio.to_thread(self._schedule)):
                    await self._scan()

    def _schedule(self) -> Schedule | None:
        try:
            with self._store.read() as con:
                return load_schedule(con)
        except StoreError:
            raise
        except PerpduckError as error:
            logger.warning("scheduled scans: %s", error)
            return None

    async def _scan(self) -> None:
        command = (sys.executable, "-m", "core.scan", "--db", str(self._settings.db),
                   "--scheduled", "--quiet")  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            *(("nice", "-n", str(NICENESS)) if sys.platform != "win32" else ()), *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=_HOME,
        )  # fmt: skip
        try:
            said, _ = await process.communicate()
        except BaseException:
            # A scan that is cut off leaves nothing behind: it is written whole or not at all.
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_S):
                    await process.wait()
            raise
        words = said.decode(errors="replace").strip().splitlines()
        level = logging.INFO if process.returncode == 0 else logging.WARNING
        logger.log(level, "scan: %s", words[-1] if words else f"status {process.returncode}")


def is_due(schedule: Schedule | None) -> bool:
    """Return whether a scan should begin now."""
    if schedule is None:
        return False
    if schedule.last_at is None:
        return True
    return utc_now() - schedule.last_at >= timedelta(seconds=schedule.every_s)
