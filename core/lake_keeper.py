"""The worker's retention: once a day, in a process of its own, so that no trade waits for it."""

from __future__ import annotations

import asyncio
import logging
import sys
from datetime import UTC, datetime, timedelta

from core.background import said_by
from core.config import Settings

logger = logging.getLogger(__name__)

# After midnight UTC the day's last trades still come in, and gaps are filled.
AFTER_MIDNIGHT = timedelta(minutes=20)
AGAIN_S = 3600.0


class LakeKeeper:
    """An endless job; `trouble` says why the last run failed, empty when none did."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.trouble = ""

    async def run(self) -> None:
        """Move finished days at once and then every day; nothing where all trades are kept."""
        if self._settings.retention_days is None:
            await asyncio.Event().wait()
        while True:
            self.trouble = await self._run_once()
            if self.trouble:
                logger.warning("retention: %s", self.trouble)
            await asyncio.sleep(AGAIN_S if self.trouble else _until_next_day_s(datetime.now(UTC)))

    async def _run_once(self) -> str:
        """Run the command; returns what it says of a failure."""
        settings = self._settings
        # Whenever it ends, each trade is in the file or in a registered part.
        said = await said_by((
            *(sys.executable, "-m", "core.lake", "--db", str(settings.db)),
            *("--keep-days", str(settings.retention_days), "--lake", settings.lake),
        ))  # fmt: skip
        if said.status == 0:
            logger.info("retention: %s", said.out)
            return ""
        lines = said.err.splitlines()
        return lines[-1] if lines else f"the command ended with status {said.status}"


def _until_next_day_s(now: datetime) -> float:
    start = now.replace(hour=0, minute=0, second=0, microsecond=0) + AFTER_MIDNIGHT
    while start <= now:
        start += timedelta(days=1)
    return (start - now).total_seconds()
