"""Keeps the funding rates of the watched symbols: all that the exchange has, then each new one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from core.errors import BadMessage, Refused
from core.feed.backoff import backoff_delays
from core.feed.rest_bars import FUNDING_LIMIT, MINUTE_MS, BarsClient, FundingRate
from core.history_loop import BUSY_WAIT_S, HistoryLoop
from core.history_writer import load_last_funding, write_funding
from core.models import MarkPrice
from core.store import Store

logger = logging.getLogger(__name__)

# Before the exchange's first perpetual (September 2019).
SINCE_MS = 1_567_296_000_000
REFUSED_S = 60.0
HOUR_S = 3600.0
# A settlement is told of some seconds after its time; if not, it is asked for again.
SETTLED_S, AGAIN_S, ASKED_OFTEN = 10.0, 60.0, 5


@dataclass(slots=True)
class _Symbol:
    """One watched symbol: newest settlement held, the next one told of (epoch ms)."""

    last_ms: int | None
    due_s: float = 0.0
    next_ms: int = 0
    awaited_ms: int = 0
    asked: int = 0
    delays: Iterator[float] = field(default_factory=backoff_delays)


class FundingKeeper:
    """An endless job; ``tradable`` gives the symbols that trade, None while not known."""

    def __init__(
        self, store: Store, bars: BarsClient, *, tradable: Callable[[], frozenset[str] | None]
    ) -> None:
        self._store = store
        self._bars = bars
        self._tradable = tradable
        self._loop = HistoryLoop("funding rates", store)
        self._watchlist: list[str] = []
        self._symbols: dict[str, _Symbol] = {}

    def follow(self, watchlist: Sequence[str]) -> None:
        """Take the watchlist."""
        self._watchlist = list(watchlist)
        self._symbols = {s: known for s, known in self._symbols.items() if s in watchlist}
        self._loop.wake()

    def heard(self, marks: Iterable[MarkPrice]) -> None:
        """Take note of the next settlements: when one has passed, its rate can be asked for."""
        for mark in marks:
            known = self._symbols.get(mark.symbol)
            if known is None or mark.next_funding_ms <= known.next_ms:
                continue
            if known.next_ms:
                known.awaited_ms, known.asked = known.next_ms, 0
                known.due_s = min(known.due_s, time.monotonic() + SETTLED_S)
            known.next_ms = mark.next_funding_ms

    async def run(self) -> None:
        """Fetch what is missing, for ever."""
        await self._loop.run(self._step)

    async def _step(self) -> bool:
        await self._know_newcomers()
        tradable = self._tradable()
        due = [
            (known.due_s, symbol)
            for symbol, known in self._symbols.items()
            if tradable is None or symbol in tradable
        ]
        if not due or min(due)[0] > time.monotonic():
            return False
        symbol = min(due)[1]
        await self._fetch(symbol, self._symbols[symbol])
        return True

    async def _know_newcomers(self) -> None:
        if new := [s for s in self._watchlist if s not in self._symbols]:
            last = await asyncio.to_thread(load_last_funding, self._store, new, wait_s=BUSY_WAIT_S)
            for symbol in new:
                self._symbols.setdefault(symbol, _Symbol(last.get(symbol)))

    async def _fetch(self, symbol: str, known: _Symbol) -> None:
        start_ms = SINCE_MS if known.last_ms is None else known.last_ms + 1
        try:
            rates = await self._bars.fetch_funding(symbol, start_ms=start_ms)
        except (Refused, BadMessage) as error:
            logger.warning("%s: no funding rates: %s", symbol, error)
            known.due_s = time.monotonic() + REFUSED_S + next(known.delays)
            return
        if rates:
            await self._loop.write(lambda con: write_funding(con, rates))
            known.last_ms = rates[-1].ts_ms
        known.due_s = time.monotonic() + _pause_s(known, rates)


def _pause_s(known: _Symbol, rates: Sequence[FundingRate]) -> float:
    if len(rates) >= FUNDING_LIMIT:
        return 0.0
    # The exchange's times of settlements are off by some milliseconds.
    is_late = (known.last_ms or 0) < known.awaited_ms - MINUTE_MS
    if is_late and known.asked < ASKED_OFTEN:
        known.asked += 1
        return AGAIN_S
    return HOUR_S
