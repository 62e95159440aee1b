"""What every job that fetches history does alike: go on whatever happens, write patiently."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from core.errors import FeedError, RateLimited, Restricted, StoreBusy, StoreError
from core.feed.backoff import backoff_delays
from core.feed.rest_bars import BarsClient
from core.history_writer import Span, load_asked_of
from core.store import Connection, Store

logger = logging.getLogger(__name__)

IDLE_S = 1.0
RESTRICTED_S = 15.0
BUSY_WAIT_S = 0.5
# Between two writes the trades get their turn.
PAUSE_S = 0.1


Known = TypeVar("Known")


class HistoryLoop(Generic[Known]):
    """An endless job for ``wanted_s`` seconds of history of each watched symbol.

    ``tradable`` gives the symbols that the exchange trades now, None while that is not known.
    ``trouble`` says why the job waits, empty while it does not.
    """

    # What is fetched, in words.
    what = ""

    def __init__(
        self,
        store: Store,
        bars: BarsClient,
        *,
        wanted_s: float,
        tradable: Callable[[], frozenset[str] | None],
    ) -> None:
        self._minutes = int(wanted_s // 60)
        self._store = store
        self._bars = bars
        self._tradable = tradable
        self._watchlist: list[str] = []
        self._symbols: dict[str, Known] = {}
        self._wake = asyncio.Event()
        self.trouble = ""

    def follow(self, watchlist: Sequence[str]) -> None:
        """Take the watchlist."""
        self._watchlist = list(watchlist)
        self._symbols = {s: known for s, known in self._symbols.items() if s in watchlist}
        self.wake()

    def wake(self) -> None:
        """Let an idle job look again at once; one in trouble goes on waiting."""
        self._wake.set()

    async def _step(self) -> bool:
        """Do a part of the work; False where there is none."""
        raise NotImplementedError

    async def run(self) -> None:
        """Fetch what is missing, for ever; nothing where none is wanted."""
        if not self._minutes:
            await asyncio.Event().wait()
        delays = backoff_delays()
        while True:
            try:
                worked = await self._step()
            except (FeedError, StoreError) as error:
                if str(error) != self.trouble:
                    logger.warning("%s wait: %s", self.what, error)
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

    async def _asked_of_newcomers(self, kind: str) -> dict[str, tuple[Span, ...]]:
        """Return what was asked for before of each watched symbol that is not known yet."""
        new = [symbol for symbol in self._watchlist if symbol not in self._symbols]
        if not new:
            return {}
        return await asyncio.to_thread(load_asked_of, self._store, kind, new, wait_s=BUSY_WAIT_S)

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
