"""The Kalman hedge against the textbook's matrices, going on bar by bar, and its own health."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from series import Floats, clustered, cointegrated, independent

from core.errors import DataError, NotEnoughData
from core.stats.kalman import KalmanFit, continue_kalman, kalman

ROWS = ("alpha", "beta", "se_beta", "spread", "zscore")
REAL = Path(__file__).resolve().parents[3] / "shared/data/perp_klines_1m_2025-05.parquet"

seeds = st.integers(0, 2**31)
many = settings(max_examples=40, deadline=None)


@dataclass(frozen=True, slots=True)
class Textbook:
    """What the textbook's recursion gives for each bar after the burn-in, before its update."""

    state: Floats
    covariance: Floats
    innovation: Floats
    innovation_variance: Floats


def textbook(y: Floats, x: Floats, *, bar_s: float, burn_in: int, q: Floats) -> Textbook:
    """Predict, innovate, gain, update, with matrices (Hamilton 1994, 13.2; Chan 2013, 3)."""
    centre = x[:burn_in].mean()
    start = sm.OLS(y[:burn_in], sm.add_constant(x[:burn_in] - centre)).fit()
    state, covariance, noise = start.params, start.cov_params(), start.scale
    kept = []
    for t in range(burn_in, len(y)):
        covariance = covariance + np.diag(q) * bar_s / 60
        seen = np.array([1.0, x[t] - centre])
        innovation = y[t] - seen @ state
        variance = seen @ covariance @ seen + noise
        kept.append((state, covariance, innovation, variance))
        gain = covariance @ seen / variance
        state = state + gain * innovation
        covariance = (np.eye(2) - np.outer(gain, seen)) @ covariance
    columns = [np.array(column) for column in zip(*kept, strict=True)]
    return Textbook(*columns)


@pytest.mark.parametrize("bar_s", [1.0, 60.0, 3_600.0])
@pytest.mark.parametrize("q", [(1e-9, 1e-9), (1e-7, 1e-6), (0.0, 0.0)])
def test_every_row_is_the_textbooks(bar_s: float, q: tuple[float, float]) -> None:
    y, x = cointegrated(1, 2_400, half_life=200.0, vol=5e-4)
    fit = kalman(y, x, bar_s=bar_s, burn_in=1_440, q_alpha=q[0], q_beta=q[1])
    golden = textbook(y, x, bar_s=bar_s, burn_in=1_440, q=np.array(q))
    for name in ROWS:
        assert np.isnan(getattr(fit, name)[:1_440]).all(), name
    close = {"rtol": 1e-8, "atol": 1e-9}
    centre = x[:1_440].mean()
    np.testing.assert_allclose(fit.beta[1_440:], golden.state[:, 1], **close)
    np.testing.assert_allclose(
        fit.alpha[1_440:], golden.state[:, 0] - golden.state[:, 1] * centre, **close
    )
    np.testing.assert_allclose(fit.se_beta[1_440:] ** 2, golden.covariance[:, 1, 1], rtol=1e-8)
    np.testing.assert_allclose(fit.spread[1_440:], golden.innovation, **close)
    np.testing.assert_allclose(
        fit.zscore[1_440:], golden.innovation / np.sqrt(golden.innovation_variance), **close
    )
    assert fit.sd_z == pytest.approx(
        np.std(golden.innovation / np.sqrt(golden.innovation_variance), ddof=1), rel=1e-8
    )


def test_a_row_holds_the_line_its_own_bar_has_not_touched() -> None:
    y, x = cointegrated(2, 1_000, half_life=50.0, vol=5e-4)
    fit = kalman(y, x, bar_s=60, burn_in=200)
    np.testing.assert_allclose(fit.spread[200:], (y - fit.alpha - fit.beta * x)[200:], atol=1e-12)
    start = sm.OLS(y[:200], sm.add_constant(x[:200])).fit()
    assert fit.alpha[200] == pytest.approx(start.params[0])
    assert fit.beta[200] == pytest.approx(start.params[1])
    jump = y.copy()
    jump[600] += 1.0
    moved = kalman(jump, x, bar_s=60, burn_in=200)
    assert moved.beta[600] == fit.beta[600]
    assert moved.beta[601] != fit.beta[601]
    assert moved.zscore[600] > 10
    assert not fit.is_in_sample


def test_the_innovations_half_life_is_that_of_their_ar1() -> None:
    y, x = cointegrated(3, 20_000, half_life=300.0)
    fit = kalman(y, x, bar_s=1)
    e = fit.spread[1_440:]
    slope = sm.OLS(np.diff(e), sm.add_constant(e[:-1])).fit().params[1]
    assert fit.innovation_half_life == pytest.approx(-np.log(2) / np.log(1 + slope), rel=1e-6)


# -- no look-ahead, and going on --


def assert_same_rows(whole: KalmanFit, cut: KalmanFit, rows: slice) -> None:
    for name in ROWS:
        assert np.array_equal(getattr(whole, name)[rows], getattr(cut, name), equal_nan=True), name


@many
@given(seed=seeds, n=st.integers(202, 900), data=st.data())
def test_cutting_off_the_future_changes_no_earlier_value(
    seed: int, n: int, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(201, n - 1))
    y, x = cointegrated(seed, n, half_life=30.0, vol=5e-4)
    whole = kalman(y, x, bar_s=60, burn_in=200)
    assert np.isfinite(whole.zscore[200:]).all()
    assert_same_rows(whole, kalman(y[:cut], x[:cut], bar_s=60, burn_in=200), slice(cut))


@many
@given(seed=seeds, cuts=st.lists(st.integers(201, 699), min_size=1, max_size=5, unique=True))
def test_going_on_is_bit_for_bit_one_long_run(seed: int, cuts: list[int]) -> None:
    y, x = cointegrated(seed, 700, half_life=30.0, vol=5e-4)
    whole = kalman(y, x, bar_s=5, burn_in=200)
    edges = [*sorted(cuts), 700]
    part = kalman(y[: edges[0]], x[: edges[0]], bar_s=5, burn_in=200)
    for begin, end in itertools.pairwise(edges):
        part = continue_kalman(part.state, y[begin:end], x[begin:end], bar_s=5)
        assert_same_rows(whole, part, slice(begin, end))
    assert part.state == whole.state


def test_a_few_newer_bars_say_nothing_of_the_filters_health() -> None:
    y, x = cointegrated(4, 600, half_life=30.0)
    begun = kalman(y[:500], x[:500], bar_s=60, burn_in=200)
    few = continue_kalman(begun.state, y[500:520], x[500:520], bar_s=60)
    assert (few.sd_z, few.innovation_half_life, few.warning) == (None, None, None)
    none = continue_kalman(begun.state, y[:0], x[:0], bar_s=60)
    assert len(none.zscore) == 0
    assert none.state == begun.state
    with pytest.raises(DataError, match=r"bars of 1 s for a filter of 60 s"):
        continue_kalman(begun.state, y[500:], x[500:], bar_s=1)


@many
@given(seed=seeds, shift_y=st.floats(-50, 50), shift_x=st.floats(-50, 50))
def test_a_z_score_knows_no_level(seed: int, shift_y: float, shift_x: float) -> None:
    y, x = independent(seed, 400)
    made = kalman(y, x, bar_s=60, burn_in=200)
    other = kalman(y + shift_y, x + shift_x, bar_s=60, burn_in=200)
    np.testing.assert_allclose(other.zscore, made.zscore, rtol=1e-6, atol=1e-6)


@many
@given(seed=seeds, scale_y=st.floats(1e-3, 1e3), scale_x=st.floats(1e-3, 1e3))
def test_a_z_score_knows_no_unit_when_the_state_noise_is_in_it(
    seed: int, scale_y: float, scale_x: float
) -> None:
    y, x = independent(seed, 400)
    made = kalman(y, x, bar_s=60, burn_in=200)
    other = kalman(
        scale_y * y,
        scale_x * x,
        bar_s=60,
        burn_in=200,
        q_alpha=1e-9 * scale_y**2,
        q_beta=1e-9 * (scale_y / scale_x) ** 2,
    )
    np.testing.assert_allclose(other.zscore, made.zscore, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_prices_over_their_first_value_are_of_one_size(scale: float) -> None:
    y, x = (np.exp(leg) for leg in cointegrated(5, 900, half_life=30.0, vol=5e-4))
    made = kalman(y / y[0], x / x[0], bar_s=60, burn_in=300)
    y, x = y * scale, x * scale
    other = kalman(y / y[0], x / x[0], bar_s=60, burn_in=300)
    np.testing.assert_allclose(other.zscore, made.zscore, rtol=1e-9, atol=1e-9)


# -- health --


def test_a_pair_that_reverts_slowly_is_followed_without_a_warning() -> None:
    y, x = cointegrated(6, 30_000, half_life=300.0, vol=5e-4)
    fit = kalman(y, x, bar_s=60)
    assert fit.warning is None
    assert fit.sd_z is not None
    assert 0.7 <= fit.sd_z <= 1.5
    assert np.nanmedian(np.abs(fit.beta - 0.9)) < 0.1


def test_an_absorbing_filter_is_warned_about_although_its_deviation_is_fine() -> None:
    """A state that follows each bar leaves innovations of a proper size and no signal."""
    y, x = cointegrated(7, 6_000, half_life=300.0, sigma=0.0075)
    fit = kalman(y, x, bar_s=60, q_alpha=6e-7, q_beta=1e-9)
    assert fit.warning is not None
    assert fit.innovation_half_life is None or fit.innovation_half_life < 5
    assert "half-life" in fit.warning
    assert "absorbs" in fit.warning


def test_the_familiar_state_noise_never_signals() -> None:
    """δ = 1e-4 moves α by 100 bps a bar (item 7)."""
    y, x = cointegrated(8, 6_000, half_life=300.0, sigma=0.0075)
    fit = kalman(y, x, bar_s=60, q_alpha=1e-4, q_beta=1e-4)
    assert np.nanmax(np.abs(fit.zscore)) < 0.5
    assert fit.warning is not None
    assert "sd(z) is 0.0" in fit.warning
    assert "outside 0.7 to 1.5" in fit.warning


def test_a_burn_in_calmer_than_what_follows_is_warned_about() -> None:
    y, x = cointegrated(9, 5_000, half_life=300.0, vol=5e-4)
    rest = np.random.default_rng(0).normal(0, 0.05, 5_000)
    fit = kalman(np.where(np.arange(5_000) < 1_440, y, y + rest), x, bar_s=60)
    assert fit.sd_z is not None
    assert fit.sd_z > 1.5
    assert fit.warning is not None
    assert f"sd(z) is {fit.sd_z:.2f}" in fit.warning


def test_clustered_volatility_keeps_the_recursion_sound() -> None:
    for seed in range(10):
        y, x = clustered(seed, 5_000, vol=5e-3)
        fit = kalman(y, x, bar_s=60)
        assert np.isfinite(fit.zscore[1_440:]).all()
        assert (fit.se_beta[1_440:] > 0).all()
        assert fit.state.p_aa * fit.state.p_bb > fit.state.p_ab**2


@pytest.mark.skipif(not REAL.exists(), reason="the 29 days of real minutes are not here")
def test_sd_of_z_on_15_real_pairs_is_as_written_down() -> None:
    """[sd(z) median 0.95, 0.71-1.51 on 15 real pairs], the definitions' own measurement."""
    closes = pl.read_parquet(REAL).pivot(on="symbol", index="ts", values="close").sort("ts")
    logs = [np.log(column.to_numpy()) for column in closes.drop_nulls().drop("ts")]
    deviations = [kalman(y, x, bar_s=60).sd_z for y, x in itertools.combinations(logs, 2)]
    assert len(deviations) == 15
    assert np.median(deviations) == pytest.approx(0.95, abs=0.005)
    assert min(deviations) == pytest.approx(0.71, abs=0.005)
    assert max(deviations) == pytest.approx(1.51, abs=0.005)


# -- what cannot be filtered --


def test_what_cannot_be_filtered_says_why() -> None:
    y, x = independent(1, 500)
    flat = np.full(500, 2.0)
    with pytest.raises(DataError, match="burn-in of 199"):
        kalman(y, x, bar_s=60, burn_in=199)
    with pytest.raises(DataError, match="bars of 0 s"):
        kalman(y, x, bar_s=0, burn_in=200)
    with pytest.raises(DataError, match="x within the burn-in is constant at 2"):
        kalman(y, flat, bar_s=60, burn_in=200)
    with pytest.raises(DataError, match="y within the burn-in is constant at 2"):
        kalman(flat, x, bar_s=60, burn_in=200)
    for twin in (x, 2 * x + 1, x + 1e-9 * y):
        with pytest.raises(DataError, match="same asset"):
            kalman(twin, x, bar_s=60, burn_in=200)
    with pytest.raises(DataError, match="y is nan in row 300"):
        kalman(np.where(np.arange(500) == 300, np.nan, y), x, bar_s=60, burn_in=200)


@pytest.mark.parametrize("n", [1, 2, 200])
def test_no_bar_after_the_burn_in_is_not_enough(n: int) -> None:
    y, x = independent(1, n)
    with pytest.raises(NotEnoughData, match=f"200 bars and there are {n}"):
        kalman(y, x, bar_s=60, burn_in=200)


def test_one_bar_after_the_burn_in_is_enough_for_one_row() -> None:
    y, x = independent(1, 201)
    fit = kalman(y, x, bar_s=60, burn_in=200)
    assert np.isfinite(fit.zscore).tolist() == [False] * 200 + [True]
    assert (fit.sd_z, fit.warning) == (None, None)
