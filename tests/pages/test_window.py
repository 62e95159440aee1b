"""Which bars a view loads: never too many, always enough, the same for neighbours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.bar_sql import TIMEFRAMES
from core.live.window import MAX_CANDLES, epoch_ms, timeframe_for, utc, window

NOW = 1_760_000_000_000.0


@pytest.mark.parametrize(
    ("chosen", "span_s", "shown"),
    [("1s", 900, "1s"), ("1s", 3600, "5s"), ("1s", 21_600, "15s"), ("1s", 86_400, "1min"),
     ("1s", 604_800, "15min"), ("5min", 900, "5min"), ("1s", 1e9, "1d")],
)  # fmt: skip
def test_the_finest_timeframe_that_fits(chosen: str, span_s: float, shown: str) -> None:
    assert timeframe_for(chosen, span_s) == shown


@given(
    st.sampled_from(list(TIMEFRAMES)),
    st.floats(NOW - 1e10, NOW),
    st.floats(12_000, 100 * 86_400_000),
    st.booleans(),
)
def test_what_is_seen_is_loaded_and_not_much_more(
    chosen: str, start: float, span: float, follow: bool
) -> None:
    found = window(chosen, start, start + span, follow=follow)
    bar_ms = TIMEFRAMES[found.timeframe] * 1000
    assert TIMEFRAMES[found.timeframe] >= TIMEFRAMES[chosen]
    assert epoch_ms(found.start) <= start
    assert (found.end is None) == follow
    end = epoch_ms(found.end) if found.end else start + span
    assert end >= start + span - 1
    assert (end - epoch_ms(found.start)) / bar_ms <= 3 * MAX_CANDLES


def test_small_moves_load_nothing_new() -> None:
    places = {window("1s", NOW + s * 1000, NOW + (s + 900) * 1000, follow=True).start
              for s in range(60)}  # fmt: skip
    assert len(places) <= 2


def test_times_go_there_and_back() -> None:
    assert epoch_ms(utc(NOW)) == NOW
