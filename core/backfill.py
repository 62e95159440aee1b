"""Filling holes from REST: which ids to ask for next, and what an answer settles.

Newest first, since that is what the charts show. Ids that the exchange answers with nothing
usable are void; ids older than what it keeps are lost until an archive brings them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence

import polars as pl

from core.errors import FeedError, FeedLost, RateLimited, Restricted
from core.feed.backoff import backoff_delays
from core.feed.gaps import LOST, VOID, Gap, without
from core.feed.rest import RestClient
from core.feed.rest_messages import RestPage
from core.trade_writer import Missing

logger = logging.getLogger(__name__)

PAGE = 1000
# A hole this young may still be filled by a frame that is on its way.
SETTLE_MS = 1_000
# A location does not change from one second to the next.
RESTRICTED_S = 15.0
# REST may trail the socket: an answer that ends early is not believed for this long.
TRAIL_MS = 60_000
# Ids that were simply not in the answer are asked for this often before they are void.
ASKED_OFTEN = 3


def next_request(open_gaps: Sequence[Gap], pending: Sequence[Gap], limit: int = PAGE) -> Gap | None:
    """Return the newest ids, at most ``limit``, that are missing and not yet on their way."""
    for gap in sorted(open_gaps, key=lambda g: -g.before_ms):
        parts = without(gap, [p for p in pending if p.first_id <= gap.last_id])
        if parts:
            newest = parts[-1]
            first_id = max(newest.first_id, newest.last_id - limit + 1)
            return newest._replace(first_id=first_id)
    return None


def settled(symbol: str, asked: Gap, page: RestPage, horizon_ms: int) -> list[Missing]:
    """Return what the answer to ``asked`` says will not come.

    ``horizon_ms`` is the exchange time before which it may have forgotten trades.
    """
    usable = page.trades.filter(pl.col("agg_id").is_between(asked.first_id, asked.last_id))
    present = sorted(usable["agg_id"].to_list())
    absent = without(asked, [Gap(i, i, 0, 0) for i in present])
    unusable = set(page.unusable)
    verdicts = []
    for part in absent:
        forgotten = part.first_id == asked.first_id and asked.after_ms < horizon_ms
        known_void = all(i in unusable for i in range(part.first_id, part.last_id + 1))
        state = LOST if forgotten and not known_void else VOID
        verdicts.append(Missing(symbol, part.first_id, part.last_id, state))
    return verdicts


class GapFiller:
    """Asks REST for missing ids, one page at a time, within the weight budget.

    ``accept`` takes each page's usable trades, what will not come, and the ids now on their
    way; the caller reports with `committed` when these are stored.
    """

    def __init__(
        self,
        rest: RestClient,
        *,
        horizon_ms: Callable[[], int],
        exchange_ms: Callable[[], int],
        accept: Callable[[pl.DataFrame, list[Missing]], None],
    ) -> None:
        self._rest = rest
        self._horizon_ms = horizon_ms
        self._exchange_ms = exchange_ms
        self._accept = accept
        self._gaps: dict[str, list[Gap]] = {}
        self._pending: dict[str, list[Gap]] = {}
        self._asked: Counter[tuple[str, int, int]] = Counter()
        self._wake = asyncio.Event()
        self.trouble = ""
        self.restricted = False

    def update(self, open_gaps: dict[str, list[Gap]]) -> None:
        """Take the open gaps as the file now has them."""
        self._gaps = open_gaps
        if open_gaps:
            self._wake.set()

    def pending(self) -> dict[str, list[Gap]]:
        """Return the ids that were fetched and are on their way to the file."""
        return {symbol: list(gaps) for symbol, gaps in self._pending.items()}

    def committed(self, done: dict[str, list[Gap]]) -> None:
        """Forget ids that were pending before a write that has committed."""
        for symbol, gaps in done.items():
            left = [gap for gap in self._pending.get(symbol, []) if gap not in gaps]
            self._pending[symbol] = left

    async def run(self) -> None:
        """Fill gaps until cancelled."""
        delays = backoff_delays()
        while True:
            try:
                worked = await self._fill_one()
                self.trouble, self.restricted = "", False
                delays = backoff_delays()
            except RateLimited as error:
                self.trouble = str(error)
                # The client itself refuses until then; asking it each second costs nothing.
                await asyncio.sleep(min(1.0, max(0.1, error.retry_at_ms / 1000 - time.time())))
                continue
            except Restricted as error:
                self.trouble, self.restricted = str(error), True
                await asyncio.sleep(RESTRICTED_S)
                continue
            except FeedError as error:
                if str(error) != self.trouble:
                    logger.warning("filling a gap failed: %s", error)
                self.trouble = str(error)
                await asyncio.sleep(next(delays))
                continue
            if not worked:
                self._wake.clear()
                try:
                    await asyncio.wait_for(self._wake.wait(), 0.5)
                except TimeoutError:
                    continue

    async def _fill_one(self) -> bool:
        chosen = self._choose()
        if chosen is None:
            return False
        symbol, asked = chosen
        try:
            page = await self._rest.fetch_trades(
                symbol, from_id=asked.first_id, limit=asked.missing
            )
        except (FeedLost, RateLimited, Restricted):
            raise
        except FeedError as error:
            if asked.after_ms >= self._horizon_ms():
                raise
            logger.warning("%s: ids %d-%d are lost: %s", symbol, *asked[:2], error)
            self._settle(symbol, asked, [Missing(symbol, asked.first_id, asked.last_id, LOST)])
            return True
        missing = settled(symbol, asked, page, self._horizon_ms())
        self._demand_certainty(symbol, asked, page, missing)
        wanted = page.trades.filter(pl.col("agg_id").is_between(asked.first_id, asked.last_id))
        self._settle(symbol, asked, missing, wanted)
        return True

    def _demand_certainty(
        self, symbol: str, asked: Gap, page: RestPage, missing: list[Missing]
    ) -> None:
        """Raise FeedLost where an incomplete answer may only be early, so that it is repeated."""
        unusable = set(page.unusable)
        unexplained = sum(
            i not in unusable
            for item in missing
            if item.state == VOID
            for i in range(item.first_id, item.last_id + 1)
        )
        if not unexplained:
            return
        self._asked[symbol, asked.first_id, asked.last_id] += 1
        early = (page.last_id or -1) < asked.last_id
        if (early and asked.before_ms > self._exchange_ms() - TRAIL_MS) or (
            self._asked[symbol, asked.first_id, asked.last_id] < ASKED_OFTEN
        ):
            raise FeedLost(
                f"{symbol}: the exchange left out {unexplained} of the ids {asked.first_id} to "
                f"{asked.last_id}; they are asked for again"
            )

    def _settle(
        self,
        symbol: str,
        asked: Gap,
        missing: list[Missing],
        trades: pl.DataFrame | None = None,
    ) -> None:
        self._pending.setdefault(symbol, []).append(asked)
        self._accept(pl.DataFrame() if trades is None else trades, missing)

    def _choose(self) -> tuple[str, Gap] | None:
        young = self._exchange_ms() - SETTLE_MS
        candidates = [
            (symbol, asked)
            for symbol, gaps in self._gaps.items()
            if (ready := [gap for gap in gaps if gap.before_ms <= young])
            and (asked := next_request(ready, self._pending.get(symbol, []))) is not None
        ]
        return max(candidates, key=lambda found: found[1].before_ms, default=None)
