"""Keeps the exchange's 1-minute bars of the watched symbols.

A newcomer's days of bars come first and newest first, so that its charts are there within
seconds; then the newest minutes again and again, which keeps our own bars checked.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from core.errors import BadMessage, Refused
from core.feed.backoff import backoff_delays
from core.feed.rest_bars import KLINES_LIMIT, MINUTE_MS
from core.history_loop import HistoryLoop
from core.history_writer import (
    KLINES,
    Fetched,
    Span,
    joined,
    missing,
    write_klines,
)

logger = logging.getLogger(__name__)

DAY, YEAR = 1440, 366 * 1440
# The newest minutes of every symbol are fetched this often: a request of weight 1 each.
TAIL_S = 120.0
# A minute's bar is taken for final this long after its end, by the exchange's own clock.
SETTLE_MS = 2_000
# The end of an answer may trail: what is absent from it is believed when it is this old.
TRAIL_MINUTES = 10
# More than this at a time is history, not the newest minutes.
HISTORY_MINUTES = 60
# Requests under way at once, whose answers are stored together.
PAGES = 2
REFUSED_S = 60.0


@dataclass(slots=True)
class _Symbol:
    """One watched symbol: minutes asked for, when to ask again (monotonic), share done."""

    asked: tuple[Span, ...]
    is_new: bool
    due_s: float = 0.0
    done: float = 1.0
    wanted: int = 0
    delays: Iterator[float] = field(default_factory=backoff_delays)


class MinutesKeeper(HistoryLoop[_Symbol]):
    """An endless job for ``wanted_s`` seconds of bars a symbol."""

    what = "1-minute bars"
    # The first minute that is not over yet, and when to look at the exchange's clock again.
    _now = 0
    _clock_due_s = 0.0

    def notes(self) -> dict[str, str]:
        """Return how far the history of each symbol is that is being fetched, in words."""
        trouble = f"; it waits: {self.trouble}" if self.trouble else ""
        return {
            symbol: f"fetching {_words(known.wanted)} of 1-minute bars: {known.done:.0%}{trouble}"
            for symbol, known in self._symbols.items()
            if known.done < 1.0
        }

    async def _step(self) -> bool:
        await self._know_newcomers()
        if not self._symbols:
            return False
        if time.monotonic() >= self._clock_due_s:
            exchange_ms = await self._bars.fetch_exchange_ms()
            self._now = (exchange_ms - SETTLE_MS) // MINUTE_MS
            self._clock_due_s = time.monotonic() + TAIL_S
        requests = self._next_requests()
        answers = await asyncio.gather(
            *(self._fetch(symbol, span) for symbol, span in requests), return_exceptions=True
        )
        await self._take([answer for answer in answers if isinstance(answer, Fetched)])
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        await asyncio.sleep(self._bars.manners_s() if requests else 0.0)
        return bool(requests)

    async def _know_newcomers(self) -> None:
        for symbol, spans in (await self._asked_of_newcomers(KLINES)).items():
            self._symbols.setdefault(symbol, _Symbol(spans, is_new=not spans))
            self._clock_due_s = 0.0

    def _next_requests(self) -> list[tuple[str, Span]]:
        """Return what to ask for next: newcomers first, the newest minutes first."""
        found: list[tuple[bool, int, str, Span]] = []
        now, tradable = time.monotonic(), self._tradable()
        for symbol, known in self._symbols.items():
            if tradable is not None and symbol not in tradable:
                known.done = 1.0
                continue
            wanted = self._wanted(known)
            parts = missing(known.asked, wanted)
            _note_progress(known, wanted, parts)
            if known.due_s <= now:
                found += [(not known.is_new, -page.end, symbol, page) for page in _pages(parts)]
        return [(symbol, page) for _, _, symbol, page in sorted(found)[:PAGES]]

    def _wanted(self, known: _Symbol) -> Span:
        """Return the minutes a symbol should have: some days, and no hole in what is held."""
        first = self._now - self._minutes
        if known.asked:
            first = min(first, max(known.asked[0].end, self._now - YEAR))
        return Span(first, self._now)

    async def _fetch(self, symbol: str, span: Span) -> Fetched | None:
        """Ask for one page; a symbol that is refused waits, the others do not."""
        known = self._symbols[symbol]
        try:
            page = await self._bars.fetch_minutes(
                symbol,
                first_ms=span.first * MINUTE_MS,
                minutes=span.minutes,
                is_urgent=known.is_new,
            )
        except (Refused, BadMessage) as error:
            logger.warning("%s: no bars: %s", symbol, error)
            known.due_s, known.done = time.monotonic() + REFUSED_S + next(known.delays), 1.0
            return None
        answered = span.first if page.last_ms is None else page.last_ms // MINUTE_MS + 1
        certain = max(span.first, min(span.end, max(answered, self._now - TRAIL_MINUTES)))
        if certain < span.end:
            known.due_s = time.monotonic() + TAIL_S / 4
        return Fetched(symbol, Span(span.first, certain), page.klines)

    async def _take(self, pages: Sequence[Fetched]) -> None:
        if not pages:
            return
        await self.write(lambda con: write_klines(con, pages))
        for page in pages:
            if (known := self._symbols.get(page.symbol)) is not None:
                known.asked = joined([*known.asked, page.span])


def _note_progress(known: _Symbol, wanted: Span, parts: Sequence[Span]) -> None:
    left = sum(part.minutes for part in parts)
    known.is_new = known.is_new and left > 0
    known.wanted = wanted.minutes
    if known.due_s > time.monotonic():
        return
    is_history = left > HISTORY_MINUTES or (left > 0 and known.done < 1.0)
    known.done = 1 - left / wanted.minutes if is_history else 1.0


def _pages(parts: Sequence[Span]) -> list[Span]:
    """Return the newest pages of what is missing, the newest first."""
    pages: list[Span] = []
    for part in reversed(parts):
        end = part.end
        while end > part.first and len(pages) < PAGES:
            first = max(part.first, end - KLINES_LIMIT)
            pages.append(Span(first, end))
            end = first
    return pages


def _words(minutes: int) -> str:
    if minutes >= DAY:
        days = round(minutes / DAY)
        return f"{days} days" if days > 1 else "a day"
    return f"{max(1, round(minutes / 60))} hours"
