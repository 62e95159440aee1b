"""What every job that fetches history does alike: go on whatever happens, write patiently."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from core.errors import FeedError, RateLimited, Restricted, StoreBusy, StoreError
from core.feed.backoff import backoff_delays
from core.store import Connection, Store

logger = logging.getLogger(__name__)

IDLE_S = 1.0
RESTRICTED_S = 15.0
BUSY_WAIT_S = 0.5
# Between two writes the trades get their turn.
PAUSE_S = 0.1


class HistoryLoop:
    """Runs one job's step for ever; ``trouble`` says why it waits, empty while it does not."""

    def __init__(self, name: str, store: Store) -> None:
        self._name = name
        self._store = store
        self._wake = asyncio.Event()
        self.trouble = ""

    def wake(self) -> None:
        """Let an idle job look again at once; one in trouble goes on waiting."""
        self._wake.set()

    async def run(self, step: Callable[[], Awaitable[bool]]) -> None:
        """Call ``step`` until cancelled, at once again while it returns True."""
        delays = backoff_delays()
        while True:
            try:
                worked = await step()
            except (FeedError, StoreError) as error:
                if str(error) != self.trouble:
                    logger.warning("%s wait: %s", self._name, error)
                self.trouble = str(error)
                await asyncio.sleep(_pause_s(error, next(delays)))
                continue
            if worked:
                self.trouble, delays = "", backoff_delays()
                continue
            with contextlib.suppress(TimeoutError):
                # Python 3.11's wait_for forgets a cancellation that comes together with the wake.
                async with asyncio.timeout(IDLE_S):
                    await self._wake.wait()
            self._wake.clear()

    async def write(self, write: Callable[[Connection], None]) -> None:
        """Write in one short transaction, however long somebody else holds the file."""

        def attempt() -> None:
            with self._store.write(wait_s=BUSY_WAIT_S) as con:
                write(con)

        while True:
            try:
                await asyncio.to_thread(attempt)
                break
            except StoreBusy:
                await asyncio.sleep(PAUSE_S)
            except StoreError as error:
                self.trouble = str(error)
                await asyncio.sleep(BUSY_WAIT_S)
        await asyncio.sleep(PAUSE_S)


def _pause_s(error: Exception, delay_s: float) -> float:
    if isinstance(error, RateLimited):
        return max(1.0, error.retry_at_ms / 1000 - time.time())
    return RESTRICTED_S if isinstance(error, Restricted) else delay_s
