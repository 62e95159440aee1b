"""Keeps the funding rates of the watched symbols: all that the exchange has, and each new one.

The newest months of every symbol come first. A settlement is asked for shortly after its time,
which mark prices tell, and every hour in any case.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from core.errors import BadMessage, Refused
from core.feed.backoff import backoff_delays
from core.feed.rest_bars import FUNDING_LIMIT, MINUTE_MS, FundingRate
from core.history_loop import HistoryLoop
from core.history_writer import FUNDING, Span, joined, missing, write_funding
from core.models import MarkPrice

logger = logging.getLogger(__name__)

# A page of settlements every eight hours; more frequent ones need further pages.
PAGE_MINUTES = 333 * 1440
REFUSED_S = 60.0
HOUR_S = 3600.0
# A settlement is told of some seconds after its time; if not, it is asked for again.
SETTLED_S, AGAIN_S, ASKED_OFTEN = 10.0, 60.0, 5
TRAIL_MINUTES = 10


@dataclass(slots=True)
class _Symbol:
    """One watched symbol: minutes asked for, when to look for new settlements (monotonic)."""

    asked: tuple[Span, ...]
    due_s: float = 0.0
    refused_s: float = 0.0
    last_ms: int = 0
    next_ms: int = 0
    awaited_ms: int = 0
    again: int = 0
    delays: Iterator[float] = field(default_factory=backoff_delays)


class FundingKeeper(HistoryLoop[_Symbol]):
    """An endless job for ``wanted_s`` seconds of settlements a symbol."""

    what = "funding rates"
    _ahead_ms: int | None = None

    def heard(self, marks: Iterable[MarkPrice]) -> None:
        """Take note of the next settlements: when one has passed, its rate can be asked for."""
        for mark in marks:
            known = self._symbols.get(mark.symbol)
            if known is None or mark.next_funding_ms <= known.next_ms:
                continue
            if known.next_ms:
                known.awaited_ms, known.again = known.next_ms, 0
                known.due_s = min(known.due_s, time.monotonic() + SETTLED_S)
            known.next_ms = mark.next_funding_ms

    async def _step(self) -> bool:
        await self._know_newcomers()
        if not self._symbols:
            return False
        now = await self._next_minute()
        chosen = self._choose(now)
        if chosen is None:
            return False
        symbol, span = chosen
        await self._fetch(symbol, self._symbols[symbol], span, now)
        await asyncio.sleep(self._bars.manners_s())
        return True

    async def _know_newcomers(self) -> None:
        for symbol, spans in (await self._asked_of_newcomers(FUNDING)).items():
            self._symbols.setdefault(symbol, _Symbol(spans))

    async def _next_minute(self) -> int:
        """Return the minute that the exchange's clock has not reached, as far as is known."""
        if self._ahead_ms is None:
            self._ahead_ms = await self._bars.fetch_exchange_ms() - _local_ms()
        return (_local_ms() + self._ahead_ms) // MINUTE_MS + 1

    def _choose(self, now: int) -> tuple[str, Span] | None:
        """Return what to ask for next: new settlements, then the newest that are missing."""
        monotonic, tradable = time.monotonic(), self._tradable()
        found: list[tuple[int, str, Span]] = []
        for symbol, known in self._symbols.items():
            if (tradable is not None and symbol not in tradable) or known.refused_s > monotonic:
                continue
            # Whatever lies after the last answer is new, and waits until it is due.
            end = now if known.due_s <= monotonic or not known.asked else known.asked[-1].end
            parts = missing(known.asked, Span(now - self._minutes, end))
            if parts:
                part = parts[-1]
                page = Span(max(part.first, part.end - PAGE_MINUTES), part.end)
                found.append((-page.end, symbol, page))
        return min(found)[1:] if found else None

    async def _fetch(self, symbol: str, known: _Symbol, span: Span, now: int) -> None:
        start_ms, end_ms = span.first * MINUTE_MS, span.end * MINUTE_MS
        try:
            rates = await self._bars.fetch_funding(symbol, start_ms=start_ms, end_ms=end_ms)
        except (Refused, BadMessage) as error:
            logger.warning("%s: no funding rates: %s", symbol, error)
            known.refused_s = time.monotonic() + REFUSED_S + next(known.delays)
            return
        answered = self._answered(known, span, rates, now)
        await self.write(lambda con: write_funding(con, symbol, answered, rates))
        known.asked = joined([*known.asked, answered])
        known.last_ms = max([known.last_ms, *(rate.ts_ms for rate in rates)])
        if span.end == now and len(rates) < FUNDING_LIMIT:
            known.due_s = time.monotonic() + _pause_s(known)

    def _answered(self, known: _Symbol, span: Span, rates: Sequence[FundingRate], now: int) -> Span:
        """Return what an answer settles: a full page ends early, and the newest may trail."""
        if len(rates) >= FUNDING_LIMIT:
            return Span(span.first, rates[-1].ts_ms // MINUTE_MS + 1)
        end = min(span.end, max(span.first, now - TRAIL_MINUTES))
        if not rates and known.asked and span.minutes >= PAGE_MINUTES:
            # Nothing settled for most of a year: the contract is not older.
            return Span(min(span.first, now - self._minutes), end)
        return Span(span.first, end)


def _pause_s(known: _Symbol) -> float:
    # The exchange's times of settlements are off by some milliseconds.
    if known.last_ms < known.awaited_ms - MINUTE_MS and known.again < ASKED_OFTEN:
        known.again += 1
        return AGAIN_S
    return HOUR_S


def _local_ms() -> int:
    return time.time_ns() // 1_000_000
