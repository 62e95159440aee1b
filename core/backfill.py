"""Filling holes from REST: which ids to ask for next, and what an answer settles.

Newest first, since that is what the charts show. Ids that the exchange answers with nothing
usable are void; ids older than what it surely keeps are lost until an archive brings them.
One symbol's trouble never keeps the others waiting.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import polars as pl

from core.errors import BadMessage, FeedError, RateLimited, Refused, Restricted
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
# Ids that were simply not in the answer are asked for this often before that is believed.
ASKED_OFTEN = 3

_Asked = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask for: ``part`` (with times estimated from its place) of ``gap``."""

    symbol: str
    gap: Gap
    part: Gap


def next_request(
    symbol: str, open_gaps: Sequence[Gap], pending: Sequence[Gap], limit: int = PAGE
) -> Request | None:
    """Return the newest ids, at most ``limit``, that are missing and not yet on their way."""
    for gap in sorted(open_gaps, key=lambda g: -g.before_ms):
        parts = without(gap, [p for p in pending if p.first_id <= gap.last_id])
        if parts:
            newest = parts[-1]
            first_id = max(newest.first_id, newest.last_id - limit + 1)
            return Request(symbol, gap, _timed(gap, first_id, newest.last_id))
    return None


def _timed(gap: Gap, first_id: int, last_id: int) -> Gap:
    """Return part of a gap, its times estimated as if the ids had come evenly."""
    pace = (gap.before_ms - gap.after_ms) / (gap.missing + 1)
    return gap._replace(
        first_id=first_id,
        last_id=last_id,
        after_ms=gap.after_ms + int(pace * (first_id - gap.first_id)),
        before_ms=gap.before_ms - int(pace * (gap.last_id - last_id)),
    )


def settled(request: Request, page: RestPage, horizon_ms: int) -> list[Missing]:
    """Return what the answer says will not come.

    ``horizon_ms`` is the exchange time before which it may have forgotten trades: what is
    older and absent is lost, and with it all that is older still in the same gap.
    """
    asked, unusable = request.part, set(page.unusable)
    usable = page.trades.filter(pl.col("agg_id").is_between(asked.first_id, asked.last_id))
    present = sorted(usable["agg_id"].to_list())
    verdicts = []
    for absent in without(asked, [Gap(i, i, 0, 0) for i in present]):
        explained = all(i in unusable for i in range(absent.first_id, absent.last_id + 1))
        at_the_start = absent.first_id == asked.first_id
        if not explained and at_the_start and asked.before_ms < horizon_ms:
            verdicts.append(Missing(request.symbol, request.gap.first_id, absent.last_id, LOST))
        else:
            verdicts.append(Missing(request.symbol, absent.first_id, absent.last_id, VOID))
    return verdicts


@dataclass(slots=True)
class _Patience:
    """When a symbol may be asked for again after trouble of its own."""

    delays: Iterator[float] = field(default_factory=lambda: backoff_delays())
    due_s: float = 0.0


class GapFiller:
    """Asks REST for missing ids, one page at a time, within the weight budget.

    ``accept`` takes each page's usable trades and what will not come; `pending` are the ids
    then on their way to the file, until the caller reports with `committed` that they are there.
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
        self._asked: Counter[_Asked] = Counter()
        self._patience: dict[str, _Patience] = {}
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
                    await asyncio.wait_for(self._wake.wait(), 0.1)
                except TimeoutError:
                    continue

    async def _fill_one(self) -> bool:
        request = self._choose()
        if request is None:
            return False
        symbol, asked = request.symbol, request.part
        try:
            page = await self._rest.fetch_trades(
                symbol, from_id=asked.first_id, limit=asked.missing
            )
        except (Refused, BadMessage) as error:
            self._on_refusal(request, error)
            return True
        missing = settled(request, page, self._horizon_ms())
        if not self._is_certain(request, page, missing):
            self._wait(symbol)
            return True
        wanted = page.trades.filter(pl.col("agg_id").is_between(asked.first_id, asked.last_id))
        self._settle(request, missing, wanted)
        return True

    def _is_certain(self, request: Request, page: RestPage, missing: list[Missing]) -> bool:
        """Whether ids that the answer simply left out may be given up, or are asked for again."""
        asked, unusable = request.part, set(page.unusable)
        absent = sum(
            i not in unusable
            for item in missing
            for i in range(max(item.first_id, asked.first_id), item.last_id + 1)
        )
        if not absent:
            return True
        times = self._count(request)
        early = (page.last_id or -1) < asked.last_id
        young = asked.before_ms > self._exchange_ms() - TRAIL_MS
        if certain := times >= ASKED_OFTEN and not (early and young):
            logger.warning(
                "%s: the exchange has not %d of the ids %d to %d",
                *(request.symbol, absent, asked.first_id, asked.last_id),
            )
        return certain

    def _on_refusal(self, request: Request, error: FeedError) -> None:
        """One symbol's no: only a refusal by code, repeated, of old ids makes these lost."""
        symbol, gap, asked = request.symbol, request.gap, request.part
        times = self._count(request)
        if times == 1:
            logger.warning("%s: ids %d to %d: %s", symbol, asked.first_id, asked.last_id, error)
        old = asked.before_ms < self._horizon_ms()
        if isinstance(error, Refused) and old and times >= ASKED_OFTEN:
            self._settle(request, [Missing(symbol, gap.first_id, asked.last_id, LOST)])
        else:
            self._wait(symbol)

    def _count(self, request: Request) -> int:
        key = (request.symbol, request.part.first_id, request.part.last_id)
        self._asked[key] += 1
        return self._asked[key]

    def _wait(self, symbol: str) -> None:
        patience = self._patience.setdefault(symbol, _Patience())
        patience.due_s = time.monotonic() + next(patience.delays)

    def _settle(
        self, request: Request, missing: list[Missing], trades: pl.DataFrame | None = None
    ) -> None:
        symbol, asked = request.symbol, request.part
        self._patience.pop(symbol, None)
        self._asked.pop((symbol, asked.first_id, asked.last_id), None)
        first_id = min([asked.first_id, *(item.first_id for item in missing)])
        self._pending.setdefault(symbol, []).append(asked._replace(first_id=first_id))
        self._accept(pl.DataFrame() if trades is None else trades, missing)

    def _choose(self) -> Request | None:
        young, now = self._exchange_ms() - SETTLE_MS, time.monotonic()
        candidates = [
            request
            for symbol, gaps in self._gaps.items()
            if symbol not in self._patience or self._patience[symbol].due_s <= now
            if (ready := [gap for gap in gaps if gap.before_ms <= young])
            and (request := next_request(symbol, ready, self._pending.get(symbol, [])))
        ]
        return max(candidates, key=lambda request: request.gap.before_ms, default=None)
