"""What a backtest is shown as: the chart over time, its checks' figures, the report."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import datetime

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest
from backtest.results import result

from core.backtest import BacktestSettings, Rules
from core.backtest.audit import Audit
from core.backtest.honesty import examined
from core.backtest.noise import Noise
from core.backtest.sweep import Sweep
from core.backtest.toll import costs_view
from core.backtests import BacktestResult
from core.backtests.charts import backtest_chart, chart_rows, series
from core.backtests.check_charts import noise_chart, reversion_chart, sensitivity_chart
from core.backtests.report import report_html
from core.backtests.running import subject_of
from core.charts import Spec
from core.palette import themed

FOUND = result(settings=BacktestSettings(Rules(stop=3.5)))


def checked(found: BacktestResult) -> BacktestResult:
    *_, honesty = examined(subject_of(found), lambda words, share: True, runs=12)
    return replace(found, honesty=honesty)


def chart(begin: int = 0, end: int | None = None, points: int = 2400) -> Spec:
    return backtest_chart(
        FOUND.done, y="yusdt", x="xusdt", decimals=(2, 2), begin=begin, end=end, points=points
    )


def marks(spec: Spec, axis: str) -> dict[str, Spec]:
    """Traces of marks on one axis by their sign, both legs' together."""
    found: dict[str, Spec] = {}
    for trace in spec["data"]:
        if trace["type"] == "marks" and trace["yaxis"] == axis:
            before = found.get(trace["name"], {"x": np.empty(0), "y": np.empty(0)})
            found[trace["name"]] = {
                one: np.concatenate((before[one], np.asarray(trace[one]))) for one in "xy"
            }
    return found


def test_rows_over_time_add_up() -> None:
    rows = series(FOUND.done)
    books = FOUND.done.books
    assert rows["equity"].to_list() == books.equity.tolist()
    assert rows["drawdown"].max() <= 0
    assert rows["drawdown"].min() == pytest.approx(FOUND.measures.max_drawdown)
    assert rows["at"][1] - rows["at"][0] == 60_000
    held = (rows["position_y"] != 0).sum() / rows.height
    assert held == pytest.approx(FOUND.measures.exposure)


def test_every_fill_and_decision_has_its_mark() -> None:
    spec, trades, fills = chart(), FOUND.done.books.trades, FOUND.done.books.fills_y
    prices, levels = marks(spec, "y"), marks(spec, "y2")
    sides = trades["side"].to_list()
    assert len(prices["up"]["x"]) == len(sides)  # one leg is bought at every entry
    assert len(prices["down"]["x"]) == len(sides)
    closed = trades.filter(pl.col("reason") != "open")
    assert len(prices["exit"]["x"]) == 2 * closed.height
    assert len(levels["up"]["x"]) == sides.count("long")
    assert len(levels["down"]["x"]) == sides.count("short")
    stopped = (closed["reason"] == "stop").sum()
    assert stopped > 0
    assert len(levels["stop"]["x"]) == stopped
    assert len(levels["exit"]["x"]) == closed.height - stopped
    assert set(fills.at_s * 1000.0) == set(
        np.concatenate([prices[one]["x"] for one in ("up", "down", "exit")])
    )
    assert (levels["up"]["y"] < -2).all()
    assert (levels["down"]["y"] > 2).all()


def test_a_part_of_the_range_shows_its_own_rows_alone() -> None:
    spec = chart(400, 700)
    at = FOUND.done.market.start_s * 1000.0
    for trace in spec["data"]:
        x = np.asarray(trace["x"], dtype=float)
        if len(x):
            assert at[400] <= x.min()
            assert x.max() <= at[699]
    assert chart_rows(FOUND.done, at[400], at[700]) == (400, 700)
    assert chart_rows(FOUND.done, at[-1] + 1e9, at[-1] + 2e9) == (len(at) - 2, len(at))


def test_long_ranges_are_thinned_with_their_extremes_kept() -> None:
    line = next(
        one for one in chart(points=200)["data"] if one["yaxis"] == "y3" and one["type"] != "marks"
    )
    assert len(line["x"]) < FOUND.done.market.rows
    equity = FOUND.done.books.equity
    assert max(line["y"]) == pytest.approx(equity.max())
    assert min(line["y"]) == pytest.approx(equity.min())


def test_in_sample_panels_are_hatched() -> None:
    marked = backtest_chart(result(method="ols").done, y="yusdt", x="xusdt", decimals=(2, 2))
    assert marked["layout"]["meta"]["hatched"] == ["y2", "y3"]
    assert chart()["layout"]["meta"]["hatched"] == []


def drawn(spec: Spec) -> go.Figure:
    """The figure, checked by Plotly itself in both themes."""
    go.Figure(themed(spec, "dark"))
    return go.Figure(themed(spec, "light"))


def test_noise_is_a_histogram_with_the_result_marked() -> None:
    returns = np.random.default_rng(1).normal(0, 0.02, 200)
    figure = drawn(noise_chart(Noise(returns, 0.11, 1.0, 200, 30)))
    assert sum(figure.data[0].y) == 200
    assert figure.layout.shapes[0].x0 == pytest.approx(11.0)
    assert "+11.00%" in figure.layout.annotations[0].text
    same = drawn(noise_chart(Noise(np.zeros(200), 0.0, 0.5, 0, 30)))
    assert sum(same.data[0].y) == 200


def test_reversion_is_a_point_a_trade() -> None:
    costs = costs_view(FOUND.done)
    figure = drawn(reversion_chart(costs))
    assert len(figure.data[0].x) == len(costs.predicted_bps) == FOUND.measures.trades
    assert max(figure.data[0].y) == pytest.approx(costs.realised_bps.max(), abs=0.01)


@pytest.mark.parametrize("has_ratio", [True, False])
def test_the_heatmap_marks_what_was_chosen_and_what_was_best(has_ratio: bool) -> None:
    net = np.array([[0.01, -0.02], [math.nan, 0.05]])
    sharpe = net * 10 if has_ratio else np.full((2, 2), math.nan)
    sweep = Sweep((1.5, 2.0), (30, 60), net, sharpe, np.ones((2, 2)), (2.0, 60), 0.4, 3)
    figure = drawn(sensitivity_chart(sweep, enter=1.5, window_bars=30))
    values = figure.data[0].z
    assert values[1][0] is None
    assert values[1][1] == (0.5 if has_ratio else 5.0)
    chosen, best = figure.data[1:]
    assert (chosen.x[0], chosen.y[0]) == (0, 0)
    assert (best.x[0], best.y[0]) == (1, 1)
    assert "not run" in figure.data[0].text[1][0]
    assert ("Sharpe" if has_ratio else "net") in figure.data[0].text[0][0]


def test_the_report_is_one_file_that_holds_everything() -> None:
    found = checked(FOUND)
    page = report_html(found, now=datetime(2026, 5, 4, 3, 2))
    assert page.startswith("<!doctype html>")
    outside = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    # Nothing is fetched from anywhere.
    assert not re.search(r"(src|href)\s*=", outside)
    assert "@import" not in outside
    assert "url(" not in outside
    assert "Backtest YUSDT / XUSDT" in outside
    assert "made 2026-05-04 03:02 UTC" in outside
    for words in ("Against noise", "Look-ahead audit", "Out of sample", "Costs", "Sensitivity"):
        assert words in outside
    assert outside.count("<tr>") == 2 + FOUND.measures.trades + 5
    assert page.count("plotly-graph-div") >= 4
    assert "rules · enter</dt><dd>2</dd>" in outside
    assert "Not run" not in outside


def test_an_in_sample_report_is_red_and_an_unchecked_one_says_so() -> None:
    page = report_html(result(method="tls"))
    assert 'class="verdict grave"' in page
    assert page.count("Not run.") == 5
    assert 'class="verdict"' in report_html(FOUND)


def test_what_names_and_reasons_say_is_no_markup() -> None:
    odd = replace(FOUND.traded.spec, y="<b>y</b>usdt")
    traded = replace(FOUND.traded, inputs=replace(FOUND.traded.inputs, spec=odd))
    assert "<B>Y</B>USDT" not in report_html(replace(FOUND, traded=traded)).split("</script>")[-1]
    assert Audit(0, (), pl.DataFrame()).is_clean
