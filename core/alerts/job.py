"""Alerts in the worker: what the feed tells the rules, and the delivery of what fired."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Sequence

from core.alerts.delivery import Deliverer
from core.alerts.seen import Heard
from core.alerts.watch import Watch
from core.config import Settings
from core.errors import AlertsFailed
from core.store import Store
from core.trade_writer import utc_now
from core.verdict import SETTLE_S
from core.vitals import Vitals

logger = logging.getLogger(__name__)

# After a failure trades are stored without a look at the rules for this long.
PAUSE_S = 5.0
DISK_S = 5.0


class AlertJob:
    """The worker's alerts; ``sure`` picks the symbols of which a hole before now would be known."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        vitals: Vitals,
        sure: Callable[[Sequence[str]], list[str]],
    ) -> None:
        self._folder = settings.db.parent
        self._vitals = vitals
        self._sure = sure
        self._closed_ms: dict[str, int] = {}
        self._not_before_s = 0.0
        self._failure = ""
        self._free_gb, self._free_at_s = 0.0, -DISK_S
        self._deliverer = Deliverer(store, settings)
        self.watch = Watch(store, settings.alert_urls)

    @property
    def trouble(self) -> str:
        """Why the rules are not looked at, empty while they are."""
        return self._failure

    async def run(self) -> None:
        """Deliver what fires, for ever."""
        await self._deliverer.run()

    def heard(self, watchlist: Sequence[str], *, is_whole: bool) -> Heard | None:
        """Return what the rules are judged by in the next write; None while they are left alone.

        ``is_whole``: the write brings all that was received. Until then time stands still.
        """
        if time.monotonic() < self._not_before_s:
            return None
        if is_whole:
            settle_ms = int(SETTLE_S * 1000)
            heard = self._vitals.heard_ms(self._sure(watchlist))
            for symbol, event_ms in heard.items():
                before = self._closed_ms.get(symbol, 0)
                self._closed_ms[symbol] = max(before, event_ms - settle_ms)
        return Heard(
            now=utc_now(),
            closed_ms=dict(self._closed_ms),
            watchlist=frozenset(watchlist),
            silent_s=self._vitals.silent_s,
            free_gb=self._free(),
        )

    def failed(self, error: AlertsFailed) -> None:
        """Take note that the rules could not be looked at: the trades go first."""
        if str(error) != self._failure:
            logger.error("%s", error, exc_info=error.__cause__)
        self._failure = str(error)
        self._not_before_s = time.monotonic() + PAUSE_S

    def looked(self, fired: int) -> None:
        """Take note that the rules were looked at and this many fired: it is committed."""
        self._failure = ""
        if fired:
            self._deliverer.wake()

    def _free(self) -> float:
        now_s = time.monotonic()
        if now_s - self._free_at_s >= DISK_S:
            self._free_at_s = now_s
            self._free_gb = shutil.disk_usage(self._folder).free / 1e9
        return self._free_gb
