"""The matrix, the signature plot and the rolling correlation as figures."""

from __future__ import annotations

import json
from datetime import datetime

import numpy as np
import polars as pl
import pytest

from core.correlation_charts import (
    NARROW_NAMES,
    cell_ink,
    matrix_chart,
    narrow_matrix,
    rolling_chart,
    short_names,
    signature_chart,
)
from core.palette import PALETTE, themed
from core.stats.asynchronous import signature
from core.stats.correlation import CorrelationMatrix, correlation_matrix
from tests.test_charts import contrast, mixed


def matrix(count: int = 4) -> CorrelationMatrix:
    rng = np.random.default_rng(1)
    table = rng.normal(size=(50, count)) + rng.normal(size=(50, 1))
    table[3:, -1] = np.nan
    table[:2, -1] = np.nan
    return correlation_matrix(table, tuple(f"s{i}usdt" for i in range(count)))


def test_cells_stand_in_the_order_asked_with_their_symbols_and_counts() -> None:
    spec = matrix_chart(matrix(), (2, 0, 1, 3))
    trace = spec["data"][0]
    assert spec["layout"]["xaxis"]["ticktext"] == ["S2", "S0", "S1", "S3"]
    assert trace["customdata"][0][1] == ["s2usdt", "s0usdt"]
    assert trace["z"][0][0] == 1.0
    assert "S2USDT / S0USDT" in trace["text"][0][1]
    assert "n 50" in trace["text"][0][1]
    assert (spec["layout"]["coloraxis"]["cmin"], spec["layout"]["coloraxis"]["cmax"]) == (-1, 1)


def test_an_unknown_cell_is_empty_and_says_why() -> None:
    trace = matrix_chart(matrix(), (0, 1, 2, 3))["data"][0]
    assert trace["z"][0][3] is None
    assert "not known: 1 common rows" in trace["text"][0][3]


def test_few_symbols_carry_numbers_and_many_do_not() -> None:
    few, many = matrix_chart(matrix(), range(4)), matrix_chart(matrix(30), range(30))
    assert len(few["layout"]["annotations"]) == 16
    assert many["layout"]["annotations"] == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_number_reads_on_its_cell(theme: str) -> None:
    colours = PALETTE[theme]
    assert contrast(themed(cell_ink(float("nan")), theme), colours["line"]) >= 4.5
    for value in np.linspace(-1, 1, 401).round(3):
        end = colours["leg_x" if value > 0 else "leg_y"]
        ground = mixed(end, colours["background"], abs(value))
        assert contrast(themed(cell_ink(value), theme), ground) >= 4.5, value


def test_a_narrow_screen_shows_no_more_names_than_fit() -> None:
    few, many = (narrow_matrix(matrix_chart(matrix(n), range(n))) for n in (7, 50))
    assert len(few["xaxis"]["ticktext"]) == 7
    for side in ("xaxis", "yaxis"):
        assert len(many[side]["ticktext"]) == len(many[side]["tickvals"]) <= NARROW_NAMES
        assert many[side]["ticktext"][1] == f"S{many[side]['tickvals'][1]}"
    assert many["yaxis"]["autorange"] == "reversed"


def test_the_chosen_cell_is_outlined_by_more_than_colour() -> None:
    shape = matrix_chart(matrix(), (1, 0, 2, 3), ("s0usdt", "s1usdt"))["layout"]["shapes"][0]
    assert (shape["x0"], shape["y0"]) == (-0.5, 0.5)
    assert matrix_chart(matrix(), range(4), ("nousdt", "s1usdt"))["layout"]["shapes"] == []


def test_names_are_short_only_where_nothing_is_lost() -> None:
    assert short_names(("btcusdt", "ethusdt")) == ("BTC", "ETH")
    assert short_names(("btcusdt", "ethusdc")) == ("BTCUSDT", "ETHUSDC")


def test_the_signature_plot_marks_the_recommended_bar_by_its_shape() -> None:
    rng = np.random.default_rng(2)
    times = np.arange(0, 4_000_000, 500)
    common = rng.normal(0, 1e-4, len(times))
    prices = [np.exp(np.cumsum(common + rng.normal(0, 5e-5, len(times)))) for _ in range(2)]
    found = signature(times, prices[0], times, prices[1])
    spec = signature_chart(found)
    marker = spec["data"][0]["marker"]
    assert found.recommended_s == spec["data"][0]["x"][marker["symbol"].index("diamond")]
    assert len(spec["data"][0]["x"]) == int(np.isfinite(found.correlation).sum())
    assert f"{found.reference.reference:.3f}" in spec["layout"]["annotations"][0]["text"]


def test_every_figure_is_json_without_nan() -> None:
    at = pl.Series([datetime(2026, 1, 1), datetime(2026, 1, 2)], dtype=pl.Datetime("ms"))
    rolling = rolling_chart(at, np.array([np.nan, 0.5]), 60)
    for spec in (matrix_chart(matrix(), range(4)), rolling):
        for theme in ("light", "dark"):
            json.dumps(themed(spec, theme), allow_nan=False)
    assert rolling["data"][0]["y"] == [None, 0.5]
    assert rolling["data"][0]["connectgaps"] is False
