"""The pair's figure: what stands in which panel, in which unit and colour, and what is marked."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest

from core.charts import Spec, epoch_ms
from core.errors import DataError
from core.line_panels import signed
from core.pair_charts import pair_chart
from core.palette import PALETTE, themed

START = datetime(2026, 1, 1)
PRICES, SPREAD, ZSCORE, CORR, BETA = "y", "y2", "y3", "y4", "y5"


def pair_rows(count: int, *, stale: tuple[int, ...] = (), window: int = 20) -> pl.DataFrame:
    """One-second rows of waves; the trailing values are null until the window is full."""
    at = np.arange(count, dtype=float)
    full = at >= window - 1
    spread = 1e-3 * np.sin(at / 7)
    floats = {
        "price_y": 3000.0 + at,
        "price_x": 60000.0 - 10 * at,
        "spread": spread,
        "spread_mean": np.where(full, 1e-4, np.nan),
        "spread_sd": np.where(full, 5e-4, np.nan),
        "zscore": np.where(full, (spread - 1e-4) / 5e-4, np.nan),
        "corr": np.where(full, 0.8, np.nan),
        "alpha": np.full(count, 1.0),
        "beta": 0.84 + 1e-4 * at,
        "se_beta": np.full(count, 0.01),
    }
    times = [START + timedelta(seconds=i) for i in range(count)]
    return pl.DataFrame(
        {"ts": pl.Series(times, dtype=pl.Datetime("ms"))}
        | {name: pl.Series(values, dtype=pl.Float64) for name, values in floats.items()}
        | {"is_stale": pl.Series([i in stale for i in range(count)], dtype=pl.Boolean)}
    ).with_columns(pl.col(pl.Float64).fill_nan(None))


def figure(rows: pl.DataFrame, *, forming_at: int | None = None, **changed: Any) -> Spec:
    forming = None
    if forming_at is not None:
        start = epoch_ms(pl.Series([START], dtype=pl.Datetime("ms")))[0]
        forming = float(start) + 1000.0 * forming_at
    options: dict[str, Any] = {
        "y": "ethusdt",
        "x": "btcusdt",
        "timeframe_s": 1,
        "is_log": True,
        "in_sample": False,
        "window_bars": 20,
        "decimals_y": 2,
        "decimals_x": 1,
        "rebase": (3000.0, 60000.0),
        "forming_from_ms": forming,
        "beta_fixed": False,
    }
    return pair_chart(rows, **(options | changed))


def traces(spec: Spec, axis: str, kind: str = "line") -> list[Spec]:
    return [one for one in spec["data"] if one["yaxis"] == axis and one["type"] == kind]


def newest(spec: Spec, axis: str) -> list[str]:
    notes = spec["layout"]["annotations"]
    return [one["text"][3:-4] for one in notes if one["yref"] == axis and one["name"] == "last"]


def test_five_panels_share_the_height_and_one_time_axis() -> None:
    layout = figure(pair_rows(50))["layout"]
    domains = [layout[name]["domain"] for name in ("yaxis", *(f"yaxis{n}" for n in range(2, 6)))]
    assert domains[0][1] == 1.0
    assert domains[-1][0] == pytest.approx(0.0, abs=1e-6)
    assert all(below[1] < above[0] for above, below in pairwise(domains))
    heights = np.array([top - bottom for bottom, top in domains])
    assert heights / heights.sum() == pytest.approx([0.26, 0.22, 0.22, 0.15, 0.15], abs=1e-5)
    assert layout["xaxis"]["anchor"] == "y5"
    assert layout["meta"]["panels"] == len(layout["meta"]["axes"]) == 5
    assert layout["meta"]["panel_px"] == [120, 130]
    assert all(layout[name]["side"] == "right" for name in layout if name.startswith("yaxis"))


def test_prices_are_changes_against_the_rebase_and_lead_back_to_the_price() -> None:
    rows = pair_rows(50)
    y, x = traces(figure(rows), PRICES)
    assert (y["line"]["color"], x["line"]["color"]) == ("$leg_y", "$leg_x")
    assert (y["meta"]["label"], x["meta"]["label"]) == ("ETHUSDT", "BTCUSDT")
    assert y["y"][0] == x["y"][0] == 0.0
    assert y["y"][30] == pytest.approx(1.0)
    for trace, column in ((y, "price_y"), (x, "price_x")):
        price = trace["meta"]["base"] * (1 + trace["y"] / 100)
        assert price == pytest.approx(rows[column].to_numpy(), rel=1e-14)
    assert newest(figure(rows), PRICES) == ["+1.63%", "−0.82%"]


@pytest.mark.parametrize(("is_log", "scale", "unit"), [(True, 1e4, " bps"), (False, 1.0, "")])
def test_the_spreads_unit_follows_the_price_scale(is_log: bool, scale: float, unit: str) -> None:
    rows = pair_rows(50)
    spec = figure(rows, is_log=is_log)
    mean, spread = traces(spec, SPREAD)
    assert spread["y"] == pytest.approx(scale * rows["spread"].to_numpy(), nan_ok=True)
    assert mean["y"][-1] == pytest.approx(scale * 1e-4)
    (band,) = traces(spec, SPREAD, "band")
    assert (band["low"][-1], band["high"][-1]) == pytest.approx((scale * -9e-4, scale * 11e-4))
    facts = spec["layout"]["meta"]["axes"][SPREAD]
    assert facts["unit"] == unit
    # Two digits of the usual deviation, 5 bps or 0.0005.
    assert facts["decimals"] == (1 if is_log else 5)


def test_what_is_not_defined_yet_is_a_gap_and_has_no_label() -> None:
    spec = figure(pair_rows(15))
    (zscore,) = traces(spec, ZSCORE)
    assert np.isnan(zscore["y"]).all()
    assert newest(spec, ZSCORE) == newest(spec, CORR) == []
    (band,) = traces(spec, SPREAD, "band")
    assert np.isnan(band["low"]).all()


def test_infinite_values_are_gaps_too() -> None:
    rows = pair_rows(30).with_columns(zscore=pl.lit(math.inf))
    assert np.isnan(traces(figure(rows), ZSCORE)[0]["y"]).all()


def test_thresholds_are_dashed_and_stay_in_sight() -> None:
    layout = figure(pair_rows(50))["layout"]
    levels = {one["y0"]: one["line"] for one in layout["shapes"] if one["yref"] == ZSCORE}
    assert set(levels) == {-2.0, 0.0, 2.0}
    assert levels[2.0] == levels[-2.0] == {"color": "$threshold", "width": 1, "dash": "dash"}
    assert layout["meta"]["axes"][ZSCORE]["include"] == [-2.0, 2.0]
    assert layout["meta"]["axes"][CORR]["range"] == [-1, 1]


@pytest.mark.parametrize(
    ("zscore", "label"), [(1.994, "+1.99"), (2.31, "▲ +2.31"), (-2.0, "▼ −2.00"), (-0.001, "0.00")]
)
def test_a_stretched_zscore_is_marked_not_by_colour_alone(zscore: float, label: str) -> None:
    spec = figure(pair_rows(50).with_columns(zscore=pl.lit(zscore)))
    assert newest(spec, ZSCORE) == [label]
    meta = traces(spec, ZSCORE)[0]["meta"]
    assert (meta["beyond"], meta["beyond_word"]) == (2.0, "stretched")


def test_a_trailing_hedge_ratio_has_its_band_of_errors() -> None:
    spec = figure(pair_rows(50))
    (band,) = traces(spec, BETA, "band")
    half = (band["high"] - band["low"]) / 2
    assert half == pytest.approx(np.full(50, 0.0196), rel=1e-5)
    assert newest(spec, BETA) == ["0.8449"]
    assert "mark" not in spec["layout"]["meta"]["axes"][BETA]


def test_a_held_hedge_ratio_says_so_and_stands_against_the_rolling_one() -> None:
    rows = pair_rows(50).with_columns(
        beta=pl.lit(0.84), se_beta=pl.lit(None, dtype=pl.Float64),
        rolling_beta=pl.lit(0.8), rolling_se_beta=pl.lit(0.02),
    )  # fmt: skip
    spec = figure(rows, beta_fixed=True, in_sample=True)
    facts = spec["layout"]["meta"]["axes"][BETA]
    assert facts["mark"] == "held for the range"
    assert facts["min_span"] > 0
    assert facts["note"] == "rolling, 20 bars"
    (band,) = traces(spec, BETA, "band")
    rolling, held = traces(spec, BETA)
    assert held["y"][-1] == pytest.approx(0.84, rel=1e-6)
    assert rolling["y"][-1] == pytest.approx(rows["rolling_beta"][-1], rel=1e-6)
    half = 1.96 * rows["rolling_se_beta"][-1]
    assert band["high"][-1] - band["low"][-1] == pytest.approx(2 * half, rel=1e-4)


def test_a_method_with_an_error_of_its_own_shows_that_alone() -> None:
    spec = figure(pair_rows(50))
    (band,) = traces(spec, BETA, "band")
    assert len(traces(spec, BETA)) == 1
    assert band["high"][-1] - band["low"][-1] == pytest.approx(2 * 1.96 * 0.01, rel=1e-4)


def test_errors_that_nobody_knows_have_no_band() -> None:
    unknown = pl.lit(None, dtype=pl.Float64)
    rows = pair_rows(50).with_columns(se_beta=unknown)
    assert traces(figure(rows), BETA, "band") == []


@pytest.mark.parametrize(
    ("in_sample", "beta_fixed", "hatched"),
    [
        (False, False, []),
        (True, True, [SPREAD, ZSCORE, BETA]),
        (True, False, [SPREAD, ZSCORE]),
        (False, True, []),
    ],
)
def test_in_sample_panels_are_hatched(
    in_sample: bool, beta_fixed: bool, hatched: list[str]
) -> None:
    spec = figure(pair_rows(50), in_sample=in_sample, beta_fixed=beta_fixed)
    assert spec["layout"]["meta"]["hatched"] == hatched


def test_carried_prices_are_grey_over_the_line() -> None:
    spec = figure(pair_rows(50, stale=(10, 11)))
    greys = [one for one in traces(spec, PRICES) if one["line"]["color"] == "$stale"]
    assert len(greys) == 2
    for grey in greys:
        assert np.flatnonzero(~np.isnan(grey["y"])).tolist() == [9, 10, 11]
        assert grey["meta"]["silent"]
    assert not any(one["line"]["color"] == "$stale" for one in traces(figure(pair_rows(9)), PRICES))


def test_rows_still_forming_are_told_apart() -> None:
    meta = figure(pair_rows(50), forming_at=49)["layout"]["meta"]
    assert meta["forming_from_ms"] == epoch_ms(pair_rows(50)["ts"])[49]
    assert figure(pair_rows(50))["layout"]["meta"]["forming_from_ms"] is None


def test_the_crosshair_reaches_thinned_rows() -> None:
    assert figure(pair_rows(50))["layout"]["meta"]["snap_ms"] == 3000.0
    thin = figure(pair_rows(2000)[::40])["layout"]["meta"]
    assert thin["snap_ms"] >= 40_000.0


@pytest.mark.parametrize("rebase", [(0.0, 1.0), (1.0, -2.0), (math.nan, 1.0), (1.0, math.inf)])
def test_a_price_to_rebase_on_must_be_one(rebase: tuple[float, float]) -> None:
    with pytest.raises(DataError, match="rebase on a price above 0"):
        figure(pair_rows(5), rebase=rebase)


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_tiny_and_huge_prices_have_labels_that_tell_something(scale: float) -> None:
    rows = pair_rows(50).with_columns(pl.col("price_y", "spread_sd", "spread", "beta") * scale)
    spec = figure(rows, rebase=(3000.0 * scale, 60000.0), is_log=False)
    assert newest(spec, PRICES)[0] == "+1.63%"
    for axis in (SPREAD, BETA):
        assert any(digit in newest(spec, axis)[0] for digit in "123456789")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_rows_make_a_figure(count: int) -> None:
    spec = figure(pair_rows(count))
    assert all(len(trace["x"]) == count for trace in spec["data"])
    json.dumps(spec["layout"], allow_nan=False)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_token_is_in_the_palette(theme: str) -> None:
    spec = figure(pair_rows(50, stale=(10,)), in_sample=True)
    plain = [{k: v for k, v in t.items() if not hasattr(v, "dtype")} for t in spec["data"]]
    assert '"$' not in json.dumps(themed([plain, spec["layout"]], theme))
    assert {"in_sample", "corr", "band"} <= PALETTE[theme].keys()


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [(1234.567, 1, "+1,234.6"), (-0.5, 2, "−0.50"), (0.0, 2, "0.00"), (-0.004, 2, "0.00"),
     (-1000.0, 0, "−1,000"), (0.4, 0, "0")],
)  # fmt: skip
def test_signs_are_shown_and_zero_has_none(value: float, decimals: int, text: str) -> None:
    assert signed(value, decimals) == text
