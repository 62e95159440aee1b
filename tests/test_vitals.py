"""What the worker says of its symbols: live only while something comes of them."""

from __future__ import annotations

from datetime import datetime

import pytest
from made import trades_frame

from core.feed.gaps import Gap
from core.feed.stream import ConnectionStatus
from core.models import MarkPrice, SymbolStatus
from core.vitals import Vitals

NOW_MS = 1_760_000_000_000
UP = ConnectionStatus("market-1", "live", 2, 1.0, 5, 0.1, 3, "", False)
DOWN = ConnectionStatus("market-2", "backing_off", 2, None, 5, 9.0, 8, "lost", False)


class Clock:
    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms

    def pass_s(self, seconds: float) -> None:
        self.now_ms += int(seconds * 1000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def vitals(clock: Clock) -> Vitals:
    return Vitals("binance", datetime(2025, 10, 9), clock, silence_s=20.0)


def mark(symbol: str, event_ms: int) -> MarkPrice:
    return MarkPrice(symbol, event_ms, 1.0, 1.0, 0.0, 0)


def row(vitals: Vitals, symbol: str = "a", **options: object) -> SymbolStatus:
    (found,) = vitals.symbol_rows([symbol], {}, {}, **options)  # type: ignore[arg-type]
    return found


def test_a_symbol_waits_lives_and_falls_silent(vitals: Vitals, clock: Clock) -> None:
    assert (row(vitals).state, row(vitals).lag_s) == ("waiting", None)
    vitals.received(trades_frame("a", [1, 2]), {"a": NOW_MS - 250})
    assert (row(vitals).state, row(vitals).lag_s) == ("live", 0.25)
    clock.pass_s(20.0)
    assert (row(vitals).state, vitals.lag_s("a")) == ("live", 0.25)
    clock.pass_s(0.1)
    assert (row(vitals).state, row(vitals).lag_s) == ("silent", None)
    assert vitals.lag_s("a") is None
    assert row(vitals).last_price is not None
    vitals.received(trades_frame("a", [3]), {"a": clock.now_ms})
    assert (row(vitals).state, row(vitals).lag_s) == ("live", 0.0)


def test_mark_prices_keep_a_symbol_alive_that_does_not_trade(vitals: Vitals, clock: Clock) -> None:
    vitals.heard([mark("a", NOW_MS - 100), mark("a", NOW_MS - 300), mark("b", NOW_MS - 700)])
    assert (row(vitals).state, row(vitals).lag_s) == ("live", 0.1)
    assert row(vitals, "b").lag_s == 0.7
    for _ in range(30):
        clock.pass_s(1.0)
        vitals.heard([mark("a", clock.now_ms - 400)])
    assert (row(vitals).state, row(vitals).lag_s) == ("live", 0.4)
    assert (row(vitals).last_price, vitals.last_id("a")) == (None, -1)
    assert row(vitals, "b").state == "silent"


def test_the_exchange_s_clock_counts_for_the_lag_and_not_for_the_silence(vitals: Vitals) -> None:
    vitals.offset_ms = 3_600_000
    vitals.heard([mark("a", NOW_MS + 3_600_000 - 200)])
    assert (row(vitals).state, row(vitals).lag_s) == ("live", 0.2)


def test_a_local_clock_set_back_ends_what_was_heard_before(vitals: Vitals, clock: Clock) -> None:
    vitals.heard([mark("a", NOW_MS)])
    clock.pass_s(-3600)
    assert row(vitals).state == "silent"
    vitals.heard([mark("a", NOW_MS)])
    assert row(vitals).state == "live"


def test_a_symbol_is_as_live_as_its_own_connection(vitals: Vitals) -> None:
    vitals.reconnects = 11
    vitals.heard([mark("a", NOW_MS), mark("b", NOW_MS), mark("c", NOW_MS)])
    rows = vitals.symbol_rows("abcd", {}, {}, lines={"a": UP, "b": DOWN, "d": UP})
    assert [(found.state, found.reconnects) for found in rows] == [
        ("live", 3),
        ("silent", 8),
        ("silent", 0),
        ("waiting", 3),
    ]
    assert [found.lag_s for found in rows] == [0.0, None, None, None]
    assert (row(vitals).state, row(vitals).reconnects) == ("live", 11)


def test_a_refused_symbol_says_why_and_gaps_are_counted(vitals: Vitals) -> None:
    vitals.heard([mark("a", NOW_MS)])
    gaps = {"a": [Gap(5, 6, 0, 1), Gap(10, 10, 2, 3)]}
    (found,) = vitals.symbol_rows(["a"], gaps, {"a": "not trading"}, lines={"a": UP})
    assert (found.state, found.note, found.lag_s) == ("refused", "not trading", None)
    assert (found.open_gaps, found.missing_trades) == (2, 3)


def test_silence_is_twenty_seconds_unless_said_otherwise(clock: Clock) -> None:
    usual = Vitals("binance", datetime(2025, 10, 9), clock)
    quick = Vitals("binance", datetime(2025, 10, 9), clock, silence_s=1.0)
    for vitals in (usual, quick):
        vitals.heard([mark("a", NOW_MS)])
    clock.pass_s(15)
    assert (row(usual).state, row(quick).state) == ("live", "silent")
