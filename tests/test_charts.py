"""The figures: decimals, colours that can be read, what stands where, and what it costs."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from core.charts import epoch_ms, price_decimals, prices_chart
from core.origin_marks import origin_notes, origin_runs, origin_shapes, origin_words
from core.palette import PALETTE, themed

START = datetime(2026, 1, 1)


def bars_frame(count: int, *, skip: tuple[int, ...] = ()) -> pl.DataFrame:
    """One-second bars with a slow wave; the numbers in ``skip`` are missing."""
    at = [i for i in range(count) if i not in skip]
    close = [100.0 + 5 * np.sin(i / 9) for i in at]
    return pl.DataFrame(
        {
            "symbol": ["btcusdt"] * len(at),
            "ts": pl.Series([START + timedelta(seconds=i) for i in at], dtype=pl.Datetime("ms")),
            "open": [c - 0.1 for c in close],
            "high": [c + 0.5 for c in close],
            "low": [c - 0.5 for c in close],
            "close": close,
            "volume": [2.0] * len(at),
            "quote_volume": [2.0 * c for c in close],
            "trades": [3] * len(at),
            "taker_buy_volume": [0.5] * len(at),
            "origin": ["trades"] * len(at),
        }
    )


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def mixed(top: str, ground: str, opacity: float) -> str:
    """The colour that a translucent one makes on its ground."""
    pairs = [(int(top[i : i + 2], 16), int(ground[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(opacity * a + (1 - opacity) * b):02x}" for a, b in pairs)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    "ink",
    ["ink", "muted", "leg_x", "leg_y", "spread", "corr", "in_sample", "up", "down", "threshold"],
)
def test_every_ink_reads_on_its_background(theme: str, ink: str) -> None:
    assert contrast(PALETTE[theme][ink], PALETTE[theme]["background"]) >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_lines_read_on_the_band_behind_them(theme: str) -> None:
    colours = PALETTE[theme]
    ground = mixed(colours["band"], colours["background"], 0.2)
    assert contrast(colours["spread"], ground) >= 3.0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_two_tokens_for_lines_are_one_colour(theme: str) -> None:
    lines = [PALETTE[theme][name] for name in ("leg_x", "leg_y", "spread", "corr", "ink", "stale")]
    assert len(set(lines)) == len(lines)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("one", "other"), [("up", "down"), ("buy", "sell")])
def test_up_and_down_differ_in_lightness_not_in_hue_alone(theme: str, one: str, other: str) -> None:
    assert contrast(PALETTE[theme][one], PALETTE[theme][other]) >= 1.3


@pytest.mark.parametrize(
    ("tick", "price", "decimals"),
    [(0.1, None, 1), (0.01, None, 2), (1.0, None, 0), (1e-7, None, 7), (0.00001, 1.0, 5),
     (None, 64_000.0, 0), (None, 1.5, 4), (None, 0.00012, 8), (None, None, 2)],
)  # fmt: skip
def test_decimals_follow_the_tick_size(
    tick: float | None, price: float | None, decimals: int
) -> None:
    assert price_decimals(tick, price) == decimals


def test_panels_share_one_time_axis_and_do_not_overlap() -> None:
    bars = bars_frame(50)
    spec = prices_chart({"btcusdt": bars, "ethusdt": bars}, timeframe_s=1)
    assert {trace["xaxis"] for trace in spec["data"]} == {"x"}
    domains = sorted(
        axis["domain"] for name, axis in spec["layout"].items() if name.startswith("yaxis")
    )
    assert len(domains) == 4
    assert all(below[1] <= above[0] for below, above in pairwise(domains))
    assert spec["layout"]["xaxis"]["anchor"] == "y4"


def test_forming_bars_are_traces_of_their_own() -> None:
    bars = bars_frame(10)
    spec = prices_chart(
        {"btcusdt": bars}, timeframe_s=1, forming_from_ms=float(epoch_ms(bars["ts"])[-1])
    )
    closed, forming = (trace for trace in spec["data"] if trace["type"] == "candlestick")
    assert len(closed["x"]) == 9
    assert len(forming["x"]) == 1
    assert forming["opacity"] < closed["opacity"]


def test_missing_bars_stay_missing() -> None:
    spec = prices_chart({"btcusdt": bars_frame(30, skip=(10, 11, 12))}, timeframe_s=1)
    assert np.diff(spec["data"][0]["x"]).max() == 4000.0


def test_taker_sides_add_up_to_the_volume() -> None:
    spec = prices_chart({"btcusdt": bars_frame(5)}, timeframe_s=1)
    buys, sells = (trace["y"] for trace in spec["data"] if trace["type"] == "bar")
    assert (buys + sells).tolist() == [2.0] * 5


def test_the_last_price_is_labelled_with_the_ticks_decimals() -> None:
    spec = prices_chart({"btcusdt": bars_frame(5)}, timeframe_s=1, tick_sizes={"btcusdt": 0.001})
    label = next(note for note in spec["layout"]["annotations"] if note["name"] == "last")
    assert label["text"] == f"<b>{bars_frame(5)['close'][-1]:.3f}</b>"


def test_a_symbol_without_bars_keeps_its_panel() -> None:
    spec = prices_chart({"btcusdt": bars_frame(0), "ethusdt": bars_frame(3)}, timeframe_s=1)
    assert spec["layout"]["meta"]["panels"] == 2


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_themed_leaves_no_token_and_plotly_takes_the_figure(theme: str) -> None:
    figure = pytest.importorskip("plotly.graph_objects").Figure(
        themed(prices_chart({"btcusdt": bars_frame(20)}, timeframe_s=1), theme)
    )
    assert '"$' not in figure.to_json()


def test_a_figure_of_1500_candles_takes_less_than_five_milliseconds() -> None:
    bars = bars_frame(1500)
    costs = []
    for _ in range(20):
        began = time.perf_counter()
        prices_chart({"btcusdt": bars}, timeframe_s=1)
        costs.append(time.perf_counter() - began)
    assert sorted(costs)[10] < 0.005


def test_what_is_not_from_trades_lies_on_a_ground_of_its_own() -> None:
    bars = bars_frame(20).with_columns(
        origin=pl.Series(["klines"] * 4 + ["trades"] * 10 + ["upload"] * 6)
    )
    shapes = prices_chart({"btcusdt": bars}, timeframe_s=1)["layout"]["shapes"]
    at = epoch_ms(bars["ts"])
    found = [(one["x0"], one["x1"], one["yref"]) for one in shapes if one["name"] == "origin"]
    assert found == [
        (at[0], at[3] + 1000, "y domain"),
        (at[14], at[19] + 1000, "y domain"),
    ]
    notes = prices_chart({"btcusdt": bars}, timeframe_s=1)["layout"]["annotations"]
    assert {(one["text"], one["x"]) for one in notes if one["name"] == "origin"} == {
        ("exchange klines", at[3] + 1000),
        ("uploaded bars", at[19] + 1000),
    }
    plain = prices_chart({"btcusdt": bars_frame(20)}, timeframe_s=1)["layout"]["shapes"]
    assert not [one for one in plain if one["name"] == "origin"]


def test_a_run_too_short_for_its_name_has_none() -> None:
    origin = ["klines"] * 60 + ["upload"] * 39 + ["mixed"]
    runs = origin_runs(bars_frame(100).with_columns(origin=pl.Series(origin)), 1)
    assert [run.origin for run in runs] == ["klines", "upload", "mixed"]
    named = {one["text"] for one in origin_notes(runs, "y")}
    assert named == {"exchange klines", "uploaded bars"}
    assert len(origin_notes(runs[-1:], "y")) == 1


def test_many_runs_leave_only_the_longest_marked() -> None:
    origin = ["klines" if i % 2 else "trades" for i in range(200)] + ["klines"] * 50
    runs = origin_runs(bars_frame(250).with_columns(origin=pl.Series(origin)), 1)
    assert len(runs) == 100
    marked = origin_shapes(runs, "y")
    assert len(marked) == 24
    assert marked[-1]["x0"] == runs[-1].start_ms
    assert runs[-1].bars == 51


def test_words_say_how_many_bars_are_not_from_trades() -> None:
    bars = bars_frame(4)
    assert origin_words([bars]) == ""
    other = bars.with_columns(origin=pl.Series(["klines", "upload", "trades", "mixed"]))
    assert origin_words([bars, other]) == (
        "1 of 8 bars are exchange klines · 1 of 8 bars are trades and exchange klines · "
        "1 of 8 bars are uploaded bars"
    )


def test_volume_without_a_taker_side_has_no_side() -> None:
    bars = bars_frame(4).with_columns(
        taker_buy_volume=pl.Series([0.5, None, None, 0.5], dtype=pl.Float64)
    )
    stacks = {
        trace["name"]: trace["y"].tolist()
        for trace in prices_chart({"a": bars}, timeframe_s=1)["data"]
        if trace["type"] == "bar"
    }
    assert np.array_equal(stacks["volume"], [np.nan, 2.0, 2.0, np.nan], equal_nan=True)
    assert np.array_equal(stacks["taker sells"], [1.5, np.nan, np.nan, 1.5], equal_nan=True)
