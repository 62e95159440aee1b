"""What the worker fetches by itself: minutes and funding of the watchlist, from the exchange."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from exchange import PLENTY, SYMBOLS, Rig, run_rig, until

from core.errors import RateLimited, Refused, StoreBusy
from core.feed.practice.market import EPOCH_MS, MINUTE_MS
from core.feed.practice.server import PracticeExchange
from core.feed.rest import RestClient
from core.feed.rest_bars import BarsClient, FundingRate, KlinePage
from core.funding import FundingKeeper
from core.history import MinutesKeeper
from core.history_loop import HistoryLoop
from core.history_writer import (
    FUNDING,
    KLINES,
    Fetched,
    Span,
    joined,
    load_asked,
    missing,
    write_funding,
    write_klines,
)
from core.models import KLINE_SCHEMA, MarkPrice
from core.store import Store

EPOCH = datetime(1970, 1, 1)
NOW_MS = 1_790_000_040_000  # a whole minute
NOW = NOW_MS // MINUTE_MS


def minutes(symbol: str, first: int, end: int, *, price: float = 2.0) -> pl.DataFrame:
    """A bar for every minute of [first, end)."""
    count = end - first
    ones = {name: [price] * count for name in ("open", "high", "low", "close")}
    return pl.DataFrame(
        {
            "symbol": [symbol] * count,
            "ts": [EPOCH + timedelta(minutes=minute) for minute in range(first, end)],
            **ones,
            "volume": [3.0] * count,
            "quote_volume": [3.0 * price] * count,
            "trades": [7] * count,
            "taker_buy_volume": [1.0] * count,
        },
        schema=KLINE_SCHEMA,
    )


class Bars(BarsClient):
    """An exchange in memory: every minute has trades, some symbols have troubles."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS + 30_000
        self.pages: list[tuple[str, int, int, bool]] = []
        self.refused: set[str] = set()
        self.trouble: Exception | None = None
        self.trails = 0
        self.rates: dict[str, list[int]] = {}
        self.asked_rates: list[tuple[str, int, int]] = []

    def manners_s(self) -> float:
        return 0.0

    async def fetch_exchange_ms(self) -> int:
        return self.now_ms

    async def fetch_minutes(
        self, symbol: str, *, first_ms: int, minutes: int, is_urgent: bool = False
    ) -> KlinePage:
        first, end = first_ms // MINUTE_MS, first_ms // MINUTE_MS + minutes
        self.pages.append((symbol, first, end, is_urgent))
        await asyncio.sleep(0)
        if symbol in self.refused:
            raise Refused("Invalid symbol.", status=400, code=-1121)
        if self.trouble is not None:
            trouble, self.trouble = self.trouble, None
            raise trouble
        last = min(end, NOW - self.trails)
        frame = minutes_of(symbol, first, max(first, last))
        return KlinePage(frame, (last - 1) * MINUTE_MS if last > first else None, 0)

    async def fetch_funding(self, symbol: str, *, start_ms: int, end_ms: int) -> list[FundingRate]:
        self.asked_rates.append((symbol, start_ms, end_ms))
        await asyncio.sleep(0)
        if symbol in self.refused:
            raise Refused("Invalid symbol.", status=400, code=-1121)
        times = [ts for ts in self.rates.get(symbol, []) if start_ms <= ts < end_ms][:1000]
        return [FundingRate(symbol, ts, 1e-4, None) for ts in times]


minutes_of = minutes


def run(job: Callable[[], Awaitable[None]], condition: Callable[[], bool]) -> None:
    """Run an endless job until the condition holds."""

    async def main() -> None:
        task = asyncio.create_task(job())
        try:
            await until(condition)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    asyncio.run(main())


def keeper(store: Store, bars: Bars, days: float = 2.0, **options: object) -> MinutesKeeper:
    given = {"tradable": lambda: None, "wanted_s": days * 86_400, **options}
    return MinutesKeeper(store, bars, **given)


def held(store: Store, symbol: str) -> list[int]:
    """The minutes held of a symbol, as epoch minutes."""
    with store.read(wait_s=20, limit_s=None) as con:
        rows = con.execute(
            "select epoch_ms(ts) // 60000 from klines where symbol = ? order by ts", [symbol]
        ).fetchall()
    return [row[0] for row in rows]


def asked(store: Store, symbol: str, what: str = KLINES) -> tuple[Span, ...]:
    with store.read(wait_s=20, limit_s=None) as con:
        return load_asked(con, what, [symbol])[symbol]


# -- spans -------------------------------------------------------------------------------


def test_missing_minutes_are_what_no_span_holds() -> None:
    spans = joined([Span(10, 20), Span(20, 25), Span(40, 50), Span(7, 7)])
    assert spans == (Span(10, 25), Span(40, 50))
    assert missing(spans, Span(0, 60)) == [Span(0, 10), Span(25, 40), Span(50, 60)]
    assert missing(spans, Span(12, 24)) == []
    assert missing((), Span(3, 5)) == [Span(3, 5)]


# -- minutes -----------------------------------------------------------------------------


def test_a_newcomer_gets_its_days_newest_first_and_only_finished_minutes(store: Store) -> None:
    bars = Bars()
    history = keeper(store, bars)
    history.follow(["btcusdt"])
    run(history.run, lambda: len(held(store, "btcusdt")) == 2880)
    assert held(store, "btcusdt") == list(range(NOW - 2880, NOW))
    assert asked(store, "btcusdt") == (Span(NOW - 2880, NOW),)
    assert [page[1:3] for page in bars.pages] == [(NOW - 1500, NOW), (NOW - 2880, NOW - 1500)]
    assert all(page[3] for page in bars.pages)
    with store.read() as con:
        version = con.execute("select version from versions where scope = 'btcusdt'").fetchall()
    assert version[0][0] >= 1


def test_a_minute_that_ended_a_second_ago_is_not_asked_for_yet(store: Store) -> None:
    bars = Bars()
    bars.now_ms = NOW_MS + 1_000
    history = keeper(store, bars, 1 / 24)
    history.follow(["btcusdt"])
    run(history.run, lambda: bool(held(store, "btcusdt")))
    assert held(store, "btcusdt")[-1] == NOW - 2


def test_after_a_pause_all_that_is_missing_comes_even_beyond_the_days_wanted(store: Store) -> None:
    old = Span(NOW - 9000, NOW - 8000)
    with store.write() as con:
        write_klines(con, [Fetched("btcusdt", old, minutes("btcusdt", *old))])
    bars = Bars()
    history = keeper(store, bars, 1.0)
    history.follow(["btcusdt"])
    run(history.run, lambda: len(held(store, "btcusdt")) == 9000)
    assert asked(store, "btcusdt") == (Span(NOW - 9000, NOW),)
    assert not any(page[3] for page in bars.pages)


def test_a_killed_worker_goes_on_where_it_was_without_a_hole(store: Store) -> None:
    newest = Span(NOW - 1500, NOW)
    with store.write() as con:
        write_klines(con, [Fetched("btcusdt", newest, minutes("btcusdt", *newest))])
    bars = Bars()
    history = keeper(store, bars)
    history.follow(["btcusdt"])
    run(history.run, lambda: len(held(store, "btcusdt")) == 2880)
    assert [page[:3] for page in bars.pages] == [("btcusdt", NOW - 2880, NOW - 1500)]


def test_a_refused_symbol_keeps_nobody_waiting_and_progress_is_told(store: Store) -> None:
    bars = Bars()
    bars.refused = {"nosuchusdt"}
    history = keeper(store, bars)
    history.follow(["nosuchusdt", "btcusdt", "币安人生usdt"])
    seen: set[str] = set()

    def done() -> bool:
        seen.update(history.notes().values())
        return len(held(store, "币安人生usdt")) == len(held(store, "btcusdt")) == 2880

    run(history.run, done)
    assert held(store, "nosuchusdt") == []
    assert any(note.startswith("fetching 2 days of 1-minute bars: ") for note in seen)
    assert [page[0] for page in bars.pages].count("nosuchusdt") <= 2


def test_a_symbol_that_does_not_trade_is_not_asked_for(store: Store) -> None:
    bars = Bars()
    history = keeper(store, bars, tradable=lambda: frozenset({"btcusdt"}))
    history.follow(["oldusdt", "btcusdt"])
    run(history.run, lambda: len(held(store, "btcusdt")) == 2880 and not history.notes())
    assert {page[0] for page in bars.pages} == {"btcusdt"}


def test_minutes_absent_at_the_end_of_an_answer_are_asked_for_again(store: Store) -> None:
    bars = Bars()
    bars.trails = 3
    history = keeper(store, bars)
    history.follow(["btcusdt"])
    run(history.run, lambda: bool(held(store, "btcusdt")))
    assert asked(store, "btcusdt")[-1].end == NOW - 3


def test_a_long_silence_of_the_exchange_is_believed_but_for_the_newest_minutes(
    store: Store,
) -> None:
    bars = Bars()
    bars.trails = 5000
    history = keeper(store, bars)
    history.follow(["btcusdt"])
    run(history.run, lambda: bool(asked(store, "btcusdt")))
    assert asked(store, "btcusdt")[-1].end == NOW - 10
    assert held(store, "btcusdt") == []


def test_a_rate_limit_is_waited_for_and_nothing_is_lost(store: Store) -> None:
    bars = Bars()
    bars.trouble = RateLimited("pause", retry_at_ms=0)
    history = keeper(store, bars)
    history.follow(["btcusdt"])
    run(history.run, lambda: len(held(store, "btcusdt")) == 2880)


def test_a_busy_file_is_waited_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[float] = []
    write = store.write

    def busy_at_first(*, wait_s: float) -> object:
        tries.append(wait_s)
        if len(tries) < 3:
            raise StoreBusy("held")
        return write(wait_s=wait_s)

    monkeypatch.setattr(store, "write", busy_at_first)
    bars = Bars()
    history = keeper(store, bars, 0.5)
    history.follow(["btcusdt"])
    run(history.run, lambda: len(held(store, "btcusdt")) == 720)
    assert len(tries) == 3
    assert len(bars.pages) == 1


def test_klines_are_idempotent_and_the_newest_word_wins(store: Store) -> None:
    span = Span(NOW - 10, NOW)
    first = [Fetched("btcusdt", span, minutes("btcusdt", *span))]
    other = Fetched("ethusdt", span, minutes("ethusdt", *span))
    for _ in range(2):
        with store.write() as con:
            write_klines(con, [*first, other])
    again = Fetched("btcusdt", span, minutes("btcusdt", NOW - 2, NOW, price=5.0))
    with store.write() as con:
        write_klines(con, [again])
    with store.read() as con:
        rows = con.execute("select symbol, close from klines order by symbol, ts").fetchall()
    assert rows == [("btcusdt", 2.0)] * 8 + [("btcusdt", 5.0)] * 2 + [("ethusdt", 2.0)] * 10


@pytest.mark.parametrize("turns", range(8))
def test_a_job_that_is_woken_and_cancelled_at_once_ends(store: Store, turns: int) -> None:
    """With asyncio.wait_for, some of these cancellations were lost and the job went on."""

    class Idle(HistoryLoop[None]):
        async def _step(self) -> bool:
            return False

    bars = BarsClient(RestClient("http://127.0.0.1:9"))

    async def main() -> None:
        loop = Idle(store, bars, wanted_s=3600, tradable=lambda: None)
        loop.wake()
        task = asyncio.create_task(loop.run())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=5.0)
        assert done == {task}

    asyncio.run(main())


# -- funding -----------------------------------------------------------------------------


def funding(store: Store, symbol: str) -> list[int]:
    with store.read(wait_s=20, limit_s=None) as con:
        rows = con.execute(
            "select epoch_ms(ts) from funding_rates where symbol = ? order by ts", [symbol]
        ).fetchall()
    return [row[0] for row in rows]


YEAR_MS = 366 * 86_400_000


def funding_keeper(store: Store, bars: Bars, years: float = 3.0) -> FundingKeeper:
    return FundingKeeper(store, bars, wanted_s=years * YEAR_MS / 1000, tradable=lambda: None)


@pytest.fixture
def now_ms(monkeypatch: pytest.MonkeyPatch) -> int:
    """The local clock stands at the exchange's."""
    monkeypatch.setattr("core.funding._local_ms", lambda: NOW_MS + 30_000)
    return NOW_MS


def test_funding_comes_newest_first_page_by_page_and_only_once(store: Store, now_ms: int) -> None:
    times = [now_ms - i * 28_800_000 for i in range(2500, 0, -1)]
    bars = Bars()
    bars.rates = {"btcusdt": times}
    job = funding_keeper(store, bars)
    job.follow(["btcusdt"])
    run(job.run, lambda: len(funding(store, "btcusdt")) == 2500)
    assert funding(store, "btcusdt") == times
    starts = [start for _, start, _ in bars.asked_rates]
    assert starts == sorted(starts, reverse=True)
    assert len(starts) <= 4
    bars.asked_rates.clear()
    [span] = asked(store, "btcusdt", FUNDING)
    later = funding_keeper(store, bars)
    later.follow(["btcusdt"])
    run(later.run, lambda: len(bars.asked_rates) >= 1)
    assert bars.asked_rates[0][1] == span.end * MINUTE_MS
    with store.write() as con:
        write_funding(con, "btcusdt", Span(0, 1), [FundingRate("btcusdt", times[-1], 0.5, 1.0)])
    assert len(funding(store, "btcusdt")) == 2500


def test_settlements_every_hour_need_further_pages(store: Store, now_ms: int) -> None:
    times = [now_ms - i * 3_600_000 for i in range(3500, 0, -1)]
    bars = Bars()
    bars.rates = {"btcusdt": times}
    job = funding_keeper(store, bars)
    job.follow(["btcusdt"])
    run(job.run, lambda: len(funding(store, "btcusdt")) == 3500)
    assert funding(store, "btcusdt") == times


def test_a_young_contract_is_not_asked_for_years_before_it(store: Store, now_ms: int) -> None:
    bars = Bars()
    bars.rates = {"newusdt": [now_ms - 28_800_000]}
    job = funding_keeper(store, bars, 7.0)
    job.follow(["newusdt"])
    wanted = now_ms // MINUTE_MS - int(7.0 * YEAR_MS / MINUTE_MS)
    run(
        job.run, lambda: bool(span := asked(store, "newusdt", FUNDING)) and span[0][0] <= wanted + 1
    )
    assert len(bars.asked_rates) == 2


def test_a_settlement_is_asked_for_when_its_time_has_passed(
    store: Store, monkeypatch: pytest.MonkeyPatch, now_ms: int
) -> None:
    monkeypatch.setattr("core.funding.SETTLED_S", 0.0)
    monkeypatch.setattr("core.funding.AGAIN_S", 0.05)
    bars = Bars()
    bars.refused = {"nosuchusdt"}
    bars.rates = {"btcusdt": [now_ms - 28_800_000]}
    job = funding_keeper(store, bars)
    job.follow(["nosuchusdt", "btcusdt"])

    def mark(next_ms: int) -> MarkPrice:
        return MarkPrice("btcusdt", now_ms, 1.0, 1.0, 1e-4, next_ms)

    def settle() -> bool:
        job.heard([mark(now_ms)])
        if len(funding(store, "btcusdt")) == 1:
            bars.rates["btcusdt"] = [now_ms - 28_800_000, now_ms + 3]
            job.heard([mark(now_ms + 28_800_000)])
        return len(funding(store, "btcusdt")) == 2

    run(job.run, settle)
    assert funding(store, "btcusdt") == [now_ms - 28_800_000, now_ms + 3]
    assert [symbol for symbol, _, _ in bars.asked_rates].count("nosuchusdt") == 1


# -- the whole way -----------------------------------------------------------------------


def exchange_minutes(rig: Rig, symbol: str, first: int, end: int) -> int:
    """How many minutes of [first, end) had trades."""
    market = rig.exchange.market
    found = market.klines(
        symbol, MINUTE_MS, first * MINUTE_MS, end * MINUTE_MS, rig.exchange.now_ms()
    )
    return sum(1 for trades in found.trades.tolist() if trades)


def test_a_worker_brings_bars_and_funding_while_trades_come_in(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        def complete() -> bool:
            return all(
                sum(span.minutes for span in asked(rig.store, s)) >= 360 for s in rig.symbols
            ) and all(funding(rig.store, s) for s in rig.symbols)

        await until(complete, within_s=60)
        for symbol in rig.symbols:
            [span] = asked(rig.store, symbol)
            got = held(rig.store, symbol)
            assert len(got) == exchange_minutes(rig, symbol, *span)
            assert got[-1] * MINUTE_MS + MINUTE_MS <= rig.exchange.now_ms()
            assert funding(rig.store, symbol)[0] >= EPOCH_MS

    run_rig(
        tmp_path,
        scenario,
        rate=60.0,
        history_klines_s=6 * 3600.0,
        history_funding_s=90 * 86_400.0,
    )


def test_the_practice_exchange_serves_what_the_client_asks() -> None:
    async def main() -> None:
        async with PracticeExchange(rate=100.0, limits=PLENTY) as running:
            rest = RestClient(running.rest_url)
            bars = BarsClient(rest)
            now = await bars.fetch_exchange_ms() // MINUTE_MS
            page = await bars.fetch_minutes(SYMBOLS[2], first_ms=(now - 60) * MINUTE_MS, minutes=60)
            assert page.last_ms == (now - 1) * MINUTE_MS
            assert page.klines["symbol"].unique().to_list() == [SYMBOLS[2]]
            with pytest.raises(Refused):
                await bars.fetch_minutes("nosuchusdt", first_ms=0, minutes=1)
            start_ms = (now - 90 * 1440) * MINUTE_MS
            rates = await bars.fetch_funding("btcusdt", start_ms=start_ms, end_ms=now * MINUTE_MS)
            assert len(rates) == 270
            assert rates[0].mark_price is not None
            await rest.aclose()

    asyncio.run(main())
