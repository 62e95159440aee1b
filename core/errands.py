"""What the worker does beside ingesting: the exchange's clock, its contracts, what came before."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import polars as pl

from core.config import Settings
from core.errors import BadMessage, FeedError, RateLimited, Refused
from core.feed.backoff import backoff_delays
from core.feed.rest import RestClient
from core.feed.rest_bars import BarsClient
from core.funding import FundingKeeper
from core.history import MinutesKeeper
from core.lake_keeper import LakeKeeper
from core.models import MarkPrice, SymbolInfo, SymbolStatus
from core.scanning.keeper import ScanKeeper
from core.store import Store
from core.vitals import Vitals

logger = logging.getLogger(__name__)

HOUR_MS = 3_600_000
CLOCK_S = 30.0
# An answer slower than this says too little of the exchange's clock.
SLOW_S = 2.0
CONTRACTS_S = 3600.0
TAIL_CHECK_S = 10.0


class Errands:
    """Endless jobs over one REST client; `tradable` is None until the list was read.

    ``add`` takes trades for the buffer, ``on_contracts`` the exchange's list, ``reconnects``
    counts the connections that were lost so far.
    """

    def __init__(
        self,
        settings: Settings,
        rest: RestClient,
        vitals: Vitals,
        store: Store,
        *,
        add: Callable[[pl.DataFrame], None],
        on_contracts: Callable[[Sequence[SymbolInfo]], None],
        reconnects: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._rest = rest
        self._vitals = vitals
        self._add = add
        self._on_contracts = on_contracts
        self._reconnects = reconnects
        self._watchlist: list[str] = []
        self._to_anchor: list[str] = []
        # Symbols that a hole may lie behind (and when to ask for it, monotonic), those that are
        # being asked for, and those that have traded since the start.
        self._unsure: dict[str, float] = {}
        self._asked: set[str] = set()
        self._traded: set[str] = set()
        self._seen_reconnects = 0
        self._stored_last: Mapping[str, int] = {}
        self.tradable: frozenset[str] | None = None
        self._unlisted = ""
        self._lake = LakeKeeper(settings)
        self._scans = ScanKeeper(settings, store)
        bars = BarsClient(rest)
        self._funding = FundingKeeper(
            store, bars, wanted_s=settings.history_funding_s, tradable=lambda: self.tradable
        )
        self._minutes = MinutesKeeper(
            store, bars, wanted_s=settings.history_klines_s, tradable=lambda: self.tradable
        )

    def jobs(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """Return the endless jobs by name."""
        return {
            "clock": self.keep_clock,
            "contracts": self.keep_contracts,
            "history": self.keep_history,
            "bars": self._minutes.run,
            "funding": self._funding.run,
            "retention": self._lake.run,
            "scans": self._scans.run,
        }

    @property
    def trouble(self) -> str:
        """What is wrong now, empty when nothing is."""
        return self._unlisted or (f"Retention: {self._lake.trouble}" if self._lake.trouble else "")

    def follow(self, watchlist: list[str], last_ids: Mapping[str, int]) -> None:
        """Take the watchlist, and the highest id stored of each symbol."""
        newcomers = [s for s in watchlist if s not in self._watchlist]
        if self._settings.backfill_s > 0:
            self._to_anchor += newcomers
        # What was missed at the very end of the last run shows at the next trade, or is asked for.
        due = time.monotonic() + TAIL_CHECK_S
        self._unsure |= {s: due for s in newcomers if s in last_ids and s not in self._traded}
        self._watchlist, self._stored_last = watchlist, last_ids
        self._minutes.follow(watchlist)
        self._funding.follow(watchlist)

    def heard_marks(self, marks: Sequence[MarkPrice]) -> None:
        """Take note of mark prices: they tell when a funding rate is settled."""
        self._funding.heard(marks)

    def with_progress(self, rows: Sequence[SymbolStatus]) -> list[SymbolStatus]:
        """Return the rows, those of symbols whose history is being fetched saying how far it is."""
        notes = self._minutes.notes()
        return [row if row.note else replace(row, note=notes.get(row.symbol, "")) for row in rows]

    def heard(self, symbols: Iterable[str]) -> None:
        """Take note of symbols that just traded: a hole before that shows by itself."""
        self._notice_reconnects()
        for symbol in symbols:
            self._unsure.pop(symbol, None)
            self._traded.add(symbol)

    def sure(self, symbols: Iterable[str]) -> list[str]:
        """Return those of the symbols of which a hole before now would be known."""
        self._notice_reconnects()
        return [s for s in symbols if s not in self._unsure and s not in self._asked]

    def _notice_reconnects(self) -> None:
        if (count := self._reconnects()) != self._seen_reconnects:
            self._seen_reconnects = count
            self._unsure = dict.fromkeys(self._watchlist, time.monotonic() + TAIL_CHECK_S)

    async def keep_clock(self) -> None:
        """Know the exchange's clock, so that lag means lag and not a wrong local clock."""
        while True:
            with contextlib.suppress(FeedError):
                told = await self._rest.fetch_time()
                if told.round_trip_s <= SLOW_S:
                    self._vitals.offset_ms = told.exchange_ms - told.local_ms
            await asyncio.sleep(CLOCK_S)

    async def keep_contracts(self) -> None:
        """Know which symbols trade; the stream does not wait for it."""
        delays = backoff_delays()
        while True:
            try:
                found = await self._rest.fetch_exchange_info()
            except FeedError as error:
                if str(error) != self._unlisted:
                    logger.warning("the list of symbols could not be read: %s", error)
                self._unlisted = str(error)
                pause_s = next(delays)
                if isinstance(error, RateLimited):
                    pause_s = max(pause_s, error.retry_at_ms / 1000 - time.time())
                await asyncio.sleep(pause_s)
                continue
            self._unlisted = ""
            delays = backoff_delays()
            self.tradable = frozenset(info.symbol for info in found if info.is_tradable)
            self._on_contracts(found)
            await asyncio.sleep(CONTRACTS_S)

    async def keep_history(self) -> None:
        """Anchor wanted history, and look for trades missed at the very end of a quiet symbol."""
        while True:
            await asyncio.sleep(0.25)
            self._notice_reconnects()
            try:
                await self._check_tails()
                while self._to_anchor:
                    await self._try_to_anchor(self._to_anchor[0])
                    self._to_anchor.pop(0)
            except FeedError as error:
                logger.warning("history waits: %s", error)
                pause_s = (
                    error.retry_at_ms / 1000 - time.time()
                    if isinstance(error, RateLimited)
                    else 5.0
                )
                await asyncio.sleep(max(1.0, pause_s))

    async def _try_to_anchor(self, symbol: str) -> None:
        """Anchor one symbol; its own refusal must not keep the others waiting."""
        try:
            await self._anchor(symbol)
        except (Refused, BadMessage) as error:
            logger.warning("no history of %s: %s", symbol, error)

    async def _anchor(self, symbol: str) -> None:
        """Fetch the first trades of the wanted history; the hole behind them is then a gap."""
        if self.tradable is not None and symbol not in self.tradable:
            return
        end_ms = self._vitals.exchange_ms()
        # The exchange keeps two days at most: asking further back costs weight for nothing.
        span_s = min(self._settings.backfill_s, 2 * self._settings.history_s)
        start_ms = end_ms - int(span_s * 1000)
        while start_ms < end_ms:
            stop_ms = min(end_ms, start_ms + HOUR_MS - 1)
            page = await self._rest.fetch_trades_between(symbol, start_ms=start_ms, end_ms=stop_ms)
            if page.rows:
                self._add(page.trades)
                return
            start_ms = stop_ms + 1

    async def _check_tails(self) -> None:
        """After a reconnect a quiet symbol shows no hole until it trades again: ask REST."""
        now = time.monotonic()
        for symbol in [s for s, due in self._unsure.items() if due <= now]:
            self._unsure.pop(symbol, None)
            last_id = max(self._vitals.last_id(symbol), self._stored_last.get(symbol, -1))
            if last_id >= 0 and symbol in self._watchlist:
                self._asked.add(symbol)
                try:
                    page = await self._rest.fetch_trades(symbol, from_id=last_id + 1)
                finally:
                    self._asked.discard(symbol)
                self._add(page.trades)
