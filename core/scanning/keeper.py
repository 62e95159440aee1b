"""The worker's own scans: as often as the file says, in a process that no trade waits for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from datetime import timedelta

from core.background import said_by
from core.config import Settings
from core.errors import PerpduckError, StoreError
from core.scanning.kept import Schedule, load_schedule
from core.store import Store
from core.trade_writer import utc_now

logger = logging.getLogger(__name__)

LOOK_S = 15.0
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
        nice = ("nice", "-n", str(NICENESS)) if sys.platform != "win32" else ()
        # A scan that is cut off leaves nothing behind: it is written whole or not at all.
        said = await said_by((
            *nice, sys.executable, "-m", "core.scan", "--db", str(self._settings.db),
            "--scheduled", "--quiet",
        ))  # fmt: skip
        lines = (said.out if said.status == 0 else said.err).splitlines()
        level = logging.INFO if said.status == 0 else logging.WARNING
        logger.log(level, "scan: %s", lines[-1] if lines else f"status {said.status}")


def is_due(schedule: Schedule | None) -> bool:
    """Return whether a scan should begin now."""
    if schedule is None:
        return False
    if schedule.last_at is None:
        return True
    return utc_now() - schedule.last_at >= timedelta(seconds=schedule.every_s)
