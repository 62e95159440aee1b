"""The numbers over the visible range, against values worked out apart from the code."""

from __future__ import annotations

import math
import statistics
from datetime import datetime, timedelta
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.summary import adjacent_log_returns, sparklines, summary

START = datetime(2026, 1, 1)


def bars_of(closes: list[float], *, at: list[int] | None = None, step: int = 1) -> pl.DataFrame:
    seconds = at if at is not None else [i * step for i in range(len(closes))]
    return pl.DataFrame(
        {
            "ts": pl.Series([START + timedelta(seconds=s) for s in seconds]).cast(
                pl.Datetime("ms")
            ),
            "open": closes,
            "high": [c * 1.01 for c in closes],
            "low": [c * 0.99 for c in closes],
            "close": closes,
            "volume": [2.0] * len(closes),
            "quote_volume": [2.0 * c for c in closes],
            "trades": [3] * len(closes),
            "taker_buy_volume": [0.5] * len(closes),
        },
        schema_overrides={"trades": pl.Int64},
    )


def test_golden_values() -> None:
    """Worked out by hand: closes 100, 110, 121; σ by the statistics module below."""
    found = summary(bars_of([100.0, 110.0, 121.0]), 1)
    assert found.last == 121.0
    assert found.change_abs == 21.0
    assert found.change_pct == pytest.approx(21.0)
    assert found.high == pytest.approx(122.21)
    assert found.low == pytest.approx(99.0)
    assert found.mean == pytest.approx(331 / 3)
    assert found.mean_kind == "VWAP"
    assert (found.volume, found.quote_volume, found.trades) == (6.0, 662.0, 9)
    assert found.taker_buy_share == 0.25


def test_volatility_is_the_sample_deviation_annualised_over_365_days() -> None:
    closes = [100.0 + (i * 37 % 11) / 10 for i in range(60)]
    returns = [math.log(b / a) for a, b in pairwise(closes)]
    expected = statistics.stdev(returns) * math.sqrt(365 * 86_400 / 60)
    assert summary(bars_of(closes, step=60), 60).volatility == pytest.approx(expected, rel=1e-12)


def test_returns_across_missing_bars_are_left_out() -> None:
    frame = bars_of([100.0, 101.0, 50.0, 50.5], at=[0, 1, 60, 61])
    assert adjacent_log_returns(frame, 1).tolist() == pytest.approx([math.log(1.01)] * 2)


def test_too_few_bars_give_a_reason_instead_of_a_number() -> None:
    found = summary(bars_of([100.0, 101.0]), 1)
    assert found.volatility is None
    assert found.reason("volatility") == "1 returns between neighbouring bars; 20 are needed"
    assert found.reason("last") is None


def test_no_bars_at_all() -> None:
    found = summary(bars_of([]), 1)
    assert found.last is None
    assert found.trades is None
    assert found.reason("last") == "no bars in the visible range"


def test_without_volume_the_mean_is_of_the_closes_and_says_so() -> None:
    frame = bars_of([10.0, 20.0]).with_columns(volume=pl.lit(0.0), quote_volume=pl.lit(0.0))
    found = summary(frame, 1)
    assert (found.mean, found.mean_kind) == (15.0, "mean of closes")
    assert found.taker_buy_share is None
    assert found.reason("taker_buy_share") == "no volume in the visible range"


@given(st.lists(st.floats(1, 1e5), min_size=21, max_size=60), st.floats(0.01, 100))
def test_volatility_does_not_depend_on_the_price_level(closes: list[float], scale: float) -> None:
    one = summary(bars_of(closes), 1).volatility
    other = summary(bars_of([c * scale for c in closes]), 1).volatility
    assert one == pytest.approx(other, rel=1e-6, abs=1e-6)


@given(st.lists(st.floats(1, 1e5), min_size=1, max_size=80))
def test_low_mean_and_high_are_in_order(closes: list[float]) -> None:
    found = summary(bars_of(closes), 1)
    assert found.low is not None
    assert found.mean is not None
    assert found.high is not None
    assert found.low <= found.mean <= found.high


@given(st.lists(st.floats(1, 1e5), min_size=1, max_size=200), st.integers(1, 40))
def test_sparklines_keep_the_totals_and_the_last_value(closes: list[float], parts: int) -> None:
    frame = bars_of(closes)
    curves = sparklines(frame, 1, parts)
    assert len(curves.last) <= parts
    assert sum(curves.volume) == pytest.approx(frame["volume"].sum())
    assert sum(curves.trades) == frame["trades"].sum()
    assert curves.last[-1] == closes[-1]
    assert max(curves.high) == frame["high"].max()
    assert min(curves.low) == frame["low"].min()


def test_sparklines_of_nothing() -> None:
    assert sparklines(bars_of([]), 1).last == []


def test_uploaded_bars_know_neither_trades_nor_sides() -> None:
    frame = bars_of([10.0, 20.0, 30.0]).with_columns(
        quote_volume=pl.lit(None, pl.Float64),
        trades=pl.lit(None, pl.Int64),
        taker_buy_volume=pl.lit(None, pl.Float64),
    )
    found = summary(frame, 1)
    assert (found.trades, found.taker_buy_share, found.quote_volume) == (None, None, None)
    assert (found.mean, found.mean_kind) == (20.0, "mean of closes")
    assert "uploaded" in (found.reason("trades") or "")
    assert "uploaded" in (found.reason("taker_buy_share") or "")
    curves = sparklines(frame, 1)
    assert curves.taker_buy_share == []
    assert all(math.isfinite(value) for value in curves.mean)


def test_ticks_without_a_side_leave_everything_else_known() -> None:
    whole = bars_of([10.0, 20.0, 30.0])
    frame = whole.with_columns(taker_buy_volume=pl.lit(None, pl.Float64))
    found, known = summary(frame, 1), summary(whole, 1)
    assert found.taker_buy_share is None
    assert "ticks without a side" in (found.reason("taker_buy_share") or "")
    assert (found.trades, found.mean, found.mean_kind) == (known.trades, known.mean, "VWAP")
    assert sparklines(frame, 1).mean == sparklines(whole, 1).mean
    assert sparklines(frame, 1).taker_buy_share == []


def test_a_range_partly_uploaded_tells_the_side_of_the_rest_only() -> None:
    frame = bars_of([10.0, 20.0, 30.0])
    known = summary(frame.tail(2), 1)
    part = frame.with_columns(
        pl.when(pl.int_range(pl.len()) > 0).then(pl.col(name)).alias(name)
        for name in ("quote_volume", "trades", "taker_buy_volume")
    )
    found = summary(part, 1)
    assert found.taker_buy_share == known.taker_buy_share
    assert found.trades == known.trades
    assert found.mean_kind == "mean of closes"
