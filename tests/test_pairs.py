"""The whole analysis of a pair: every number, what it stands on, and rows that follow it."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from made import trades_frame
from pair_bars import START, closes
from stats.series import cointegrated, independent

from core.errors import NotEnoughData
from core.models import CoverageSummary
from core.pair_spec import METHODS, Outcome, PairSpec
from core.pairs import Legs, PairAnalysis, analyse, analyse_pair, extended, rolling_slopes
from core.store import Store
from core.trade_writer import write_trades


def legs_of(
    logs: tuple[np.ndarray, np.ndarray], *, first: int = 0, last: int | None = None, **more: object
) -> Legs:
    bars = closes(np.exp(logs[0]), np.exp(logs[1]), **more)  # type: ignore[arg-type]
    last = len(logs[0]) if last is None else last
    start, end = START + timedelta(minutes=first), START + timedelta(minutes=last)
    coverage = (CoverageSummary("yusdt", 990, 10, None, None),
                CoverageSummary("xusdt", 1000, 0, None, None))  # fmt: skip
    return Legs(bars.filter(pl.col("ts") < end), start, end, coverage)


def spec_of(method: str = "ols", **more: object) -> PairSpec:
    options: dict[str, object] = {"window_bars": 60, "refit_bars": 30, "burn_in_bars": 300}
    return PairSpec("yusdt", "xusdt", method=method, **(options | more))  # type: ignore[arg-type]


PAIR = cointegrated(3, 2_000, half_life=15.0, sigma=0.004)


def outcomes(analysis: PairAnalysis) -> dict[str, Outcome[object]]:
    found = {f.name: getattr(analysis, f.name) for f in fields(analysis)}
    return {name: value for name, value in found.items() if isinstance(value, Outcome)}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("is_log", [True, False])
def test_every_number_is_there_and_says_what_it_stands_on(method: str, is_log: bool) -> None:
    analysis = analyse(spec_of(method, is_log=is_log), legs_of(PAIR, first=500))
    for name, outcome in outcomes(analysis).items():
        assert outcome.value is not None, f"{name}: {outcome.reason}"
        found = outcome.provenance
        assert (found.bars, found.coverage, found.stale_share) == (1_500, 0.99, 0.0), name
        assert (found.basis, found.window_bars) == ("in-sample", None), name
        assert found.price_scale == ("log" if is_log else "raw")
    now = analysis.last("zscore")
    assert now.value == analysis.series["zscore"][-1]
    assert (now.provenance.basis, now.provenance.window_bars) == ("trailing", 60)
    held = analysis.last("beta").provenance.basis
    assert held == ("in-sample" if method in ("ols", "tls") else "trailing")


def test_the_fits_are_those_of_the_range_in_the_pair_s_own_units() -> None:
    analysis = analyse(spec_of(is_log=False), legs_of(PAIR, first=500))
    y, x = (np.exp(leg[500:]) for leg in PAIR)
    beta, alpha = np.polyfit(x, y, 1)
    assert analysis.ols.value is not None
    assert analysis.ols.value.beta == pytest.approx(beta, rel=1e-9)
    assert analysis.ols.value.alpha == pytest.approx(alpha, rel=1e-7)
    assert analysis.last("beta").value == pytest.approx(beta, rel=1e-9)
    assert analysis.ols.value.sigma == pytest.approx(np.std(y - alpha - beta * x, ddof=1), rel=1e-9)
    centre = np.linalg.svd(np.column_stack([x - x.mean(), y - y.mean()]))[2][0]
    assert analysis.tls.value is not None
    assert analysis.tls.value.beta == pytest.approx(centre[1] / centre[0], rel=1e-9)


def test_the_range_s_first_bars_stand_on_the_bars_before_it() -> None:
    analysis = analyse(spec_of("rolling"), legs_of(PAIR, first=500))
    assert analysis.series.height == 1_500
    assert analysis.series["ts"][0] == START + timedelta(minutes=500)
    assert analysis.series["zscore"].null_count() == 0
    short = analyse(spec_of("rolling"), legs_of(PAIR, first=0))
    assert short.series["zscore"].null_count() == 59


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("carry", [0, 3])
def test_rows_that_follow_are_those_of_one_long_run(method: str, carry: int) -> None:
    """Held fits stay held; trailing methods give the same rows in two steps as in one."""
    missing = (tuple(range(1_503, 1_506)), (1_700,))
    bars = closes(np.exp(PAIR[0]), np.exp(PAIR[1]), without=missing)
    spec = spec_of(method, carry_bars=carry)
    cut = START + timedelta(minutes=1_500)
    first = Legs(bars.filter(pl.col("ts") < cut), START + timedelta(minutes=500), cut)
    analysis = analyse(spec, first)
    since = analysis.series["ts"][-1] - timedelta(minutes=carry)
    newer = extended(analysis, bars.filter(pl.col("ts") >= since))
    assert newer["ts"][0] == cut
    if spec.is_in_sample:
        assert newer["beta"].unique().to_list() == [analysis.last("beta").value]
        return
    whole = analyse(spec, Legs(bars, first.start, START + timedelta(minutes=2_000)))
    expected = whole.series.filter(pl.col("ts") >= cut)
    assert newer["ts"].equals(expected["ts"])
    for name in ("zscore", "beta", "spread", "corr"):
        got, want = (f[name].fill_null(np.nan).to_numpy() for f in (newer, expected))
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-9, err_msg=name)
        if method == "kalman" and name in ("zscore", "beta"):
            assert np.array_equal(got, want, equal_nan=True)


def test_slopes_beside_a_held_one_are_those_of_rolling_ols() -> None:
    bars = legs_of(PAIR).closes
    cut, start = START + timedelta(minutes=1_500), START + timedelta(minutes=500)
    for is_log in (True, False):
        spec = spec_of("tls", is_log=is_log)
        analysis = analyse(spec, Legs(bars.filter(pl.col("ts") < cut), start, cut))
        series = pl.concat([analysis.series, extended(analysis, bars)])
        rows = np.array([0, 1, 30, 700, 999, 1_200, 1_499])
        found = rolling_slopes(analysis, series, rows)
        legs = Legs(bars, start, START + timedelta(minutes=2_000))
        whole = analyse(spec_of("rolling", is_log=is_log), legs).series[rows]
        np.testing.assert_allclose(found["rolling_beta"], whole["beta"], rtol=1e-9)
        np.testing.assert_allclose(found["rolling_se_beta"], whole["se_beta"], rtol=1e-7)


def test_no_newer_bar_gives_no_row() -> None:
    analysis = analyse(spec_of(), legs_of(PAIR))
    assert extended(analysis, legs_of(PAIR).closes).is_empty()


def test_carried_prices_are_counted_as_stale() -> None:
    missing = tuple(range(600, 620))
    analysis = analyse(spec_of(carry_bars=30), legs_of(PAIR, first=500, without=(missing, ())))
    assert analysis.provenance.stale_share == pytest.approx(20 / 1_500)
    assert analysis.series["is_stale"].sum() == 20


@pytest.mark.parametrize("bars", [0, 1, 2])
def test_too_few_shared_bars_are_refused_in_words(bars: int) -> None:
    with pytest.raises(NotEnoughData, match=f"share {bars} 1min bars"):
        analyse(spec_of(), legs_of(PAIR, last=bars))


@pytest.mark.parametrize("bars", [3, 10, 40])
def test_what_few_bars_cannot_say_has_a_reason(bars: int) -> None:
    analysis = analyse(spec_of(), legs_of(PAIR, last=bars))
    unknown = {n: o for n, o in outcomes(analysis).items() if o.value is None}
    assert bool(unknown) is (bars < 40)
    assert all(outcome.reason for outcome in unknown.values())
    now = analysis.last("zscore")
    assert now.value is None
    assert "60 bars" in now.reason


@pytest.mark.parametrize("is_log", [True, False])
def test_both_tests_lines_are_in_the_pairs_own_units(is_log: bool) -> None:
    analysis = analyse(spec_of(is_log=is_log), legs_of(PAIR))
    y, x = PAIR if is_log else map(np.exp, PAIR)
    for found, one, other in ((analysis.y_on_x, y, x), (analysis.x_on_y, x, y)):
        assert found.value is not None
        slope, level = np.polyfit(other, one, 1)
        assert found.value.beta == pytest.approx(slope, rel=1e-9)
        assert found.value.alpha == pytest.approx(level, rel=1e-8)


def test_a_kalman_filter_without_its_burn_in_says_so() -> None:
    with pytest.raises(NotEnoughData, match="300"):
        analyse(spec_of("kalman"), legs_of(PAIR, last=200))


@pytest.mark.parametrize("method", ["ols", "rolling", "refit", "tls"])
def test_the_same_asset_twice_has_no_test_and_no_signal(method: str) -> None:
    y, _ = independent(1, 800)
    analysis = analyse(spec_of(method), legs_of((y, y)))
    assert analysis.adf.value is None
    assert "same asset" in analysis.adf.reason
    assert analysis.y_on_x.value is None
    assert analysis.series["zscore"].null_count() == 800
    assert analysis.corr_returns.value == pytest.approx(1.0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("is_log", [True, False])
def test_no_nan_leaves_the_analysis(method: str, is_log: bool) -> None:
    y, x = (leg.copy() for leg in PAIR)
    y[700:900] = y[700]
    analysis = analyse(spec_of(method, is_log=is_log), legs_of((y, x), first=500))
    for name, dtype in analysis.series.schema.items():
        if dtype == pl.Float64:
            assert analysis.series[name].is_nan().sum() == 0, name


@pytest.mark.parametrize("shift", [1e-8, 1e8])
@pytest.mark.parametrize("method", METHODS)
def test_prices_of_any_size_give_the_same_answers(method: str, shift: float) -> None:
    legs = legs_of(PAIR, first=500)
    moved = Legs(
        legs.closes.with_columns(pl.col("close") * shift), legs.start, legs.end, legs.coverage
    )
    first, second = analyse(spec_of(method), legs), analyse(spec_of(method), moved)
    for name in ("adf", "y_on_x", "x_on_y", "kpss"):
        one, two = getattr(first, name).value, getattr(second, name).value
        assert one.statistic == pytest.approx(two.statistic, rel=1e-7), name
    np.testing.assert_allclose(
        first.series["zscore"].to_numpy(), second.series["zscore"].to_numpy(), rtol=1e-6, atol=1e-9
    )


def test_one_call_reads_the_file_and_analyses(store: Store) -> None:
    with store.write() as con:
        for symbol, base in (("yusdt", 10.0), ("xusdt", 20.0)):
            trades = trades_frame(
                symbol, list(range(1, 6_001)), step_ms=500,
                price=lambda i, b=base: b + ((i * 31 + int(b)) % 97) / 100 + i / 5_000,
            )  # fmt: skip
            write_trades(con, trades, now_ms=0)
    first = trades_frame("yusdt", [1])["ts"][0].replace(microsecond=0)
    analysis = analyse_pair(
        store, PairSpec("yusdt", "xusdt", "1s"), first + timedelta(minutes=10),
        first + timedelta(minutes=40),
    )  # fmt: skip
    assert analysis.provenance.bars == 1_800
    assert analysis.provenance.coverage == 1.0
    assert analysis.series["zscore"].null_count() == 0
    assert analysis.adf.value is not None
