"""Half-life, KPSS, Hurst and the variance ratio: known answers, and what has none."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import statsmodels.api as sm
from series import Floats, reverting
from statsmodels.tools.sm_exceptions import InterpolationWarning
from statsmodels.tsa.stattools import kpss as kpss_of_statsmodels

from core.errors import DataError, NotEnoughData
from core.stats.reversion import half_life, hurst, kpss, rolling_half_life, variance_ratio

ASKED: list[Callable[[Floats], object]] = [half_life, kpss, hurst, partial(variance_ratio, q=5)]


def walk(seed: int, n: int) -> Floats:
    return np.asarray(np.cumsum(np.random.default_rng(seed).normal(size=n)))


def spread(seed: int, n: int, life: float) -> Floats:
    return reverting(np.random.default_rng(seed), n, life, 0.0075)


def test_half_life_is_the_regression_of_steps_on_levels() -> None:
    values = spread(1, 500, 12.0)
    fit = sm.OLS(np.diff(values), sm.add_constant(values[:-1])).fit()
    phi, error = 1.0 + fit.params[1], fit.bse[1]
    found = half_life(values)
    assert found.phi == pytest.approx(phi, rel=1e-12)
    assert found.bars == pytest.approx(-math.log(2.0) / math.log(phi), rel=1e-10)
    assert found.low == pytest.approx(-math.log(2.0) / math.log(phi - 1.96 * error), rel=1e-10)
    assert found.high == pytest.approx(-math.log(2.0) / math.log(phi + 1.96 * error), rel=1e-10)
    assert (found.n, found.reason) == (500, None)


@pytest.mark.parametrize("life", [5.0, 60.0, 300.0])
def test_half_life_is_recovered(life: float) -> None:
    # The standard error is 1.7/√(half-lives in the sample): 12% at 200 of them, 6% at 800.
    few = np.array([half_life(spread(seed, int(200 * life), life)).bars for seed in range(60)])
    many = np.array([half_life(spread(seed, int(800 * life), life)).bars for seed in range(20)])
    assert (np.abs(few / life - 1.0) <= 0.25).mean() >= 0.9
    assert np.median(few) == pytest.approx(life, rel=0.06)
    assert np.abs(many / life - 1.0).max() <= 0.25


def test_half_life_interval_covers() -> None:
    found = [half_life(spread(seed, 4000, 20.0)) for seed in range(300)]
    covered = [one.low <= 20.0 <= one.high for one in found if one.low is not None]
    assert len(covered) == 300
    assert 0.9 <= np.mean(covered) <= 0.985


def test_half_life_is_none_with_a_reason_where_nothing_comes_back() -> None:
    growing = half_life(1.01 ** np.arange(100) + 1e-3 * np.random.default_rng(0).normal(size=100))
    assert growing.bars is growing.low is growing.high is None
    assert growing.phi > 1.0
    assert "does not come back" in str(growing.reason)
    turning = half_life((-0.5) ** np.arange(30.0))
    assert turning.bars is None
    assert turning.phi == pytest.approx(-0.5)
    assert "within a bar" in str(turning.reason)


def test_half_life_interval_is_open_where_phi_may_be_0_or_1() -> None:
    slow = half_life(walk(3, 300))
    assert slow.bars is not None
    assert slow.high == math.inf
    fast = half_life(spread(2, 40, 0.3))
    assert fast.bars is not None
    assert fast.low == 0.0


def test_half_life_of_an_exact_decay() -> None:
    found = half_life(5.0 + 0.9 ** np.arange(60))
    assert found.bars == pytest.approx(math.log(2.0) / -math.log(0.9), rel=1e-9)


@pytest.mark.parametrize("n", [3, 5, 10, 25, 100, 999, 5000])
def test_kpss_equals_statsmodels(n: int) -> None:
    for seed in range(8):
        noise = np.random.default_rng(seed).normal(size=n)
        for values in (noise, np.cumsum(noise), noise + 0.1 * np.arange(n), 1e-8 * noise):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", InterpolationWarning)
                known = kpss_of_statsmodels(values, result_object=True)
            found = kpss(values)
            assert found.lags == known.lags
            assert found.statistic == pytest.approx(known.statistic, rel=1e-9)
            assert (found.critical_5pct, found.critical_5pct_residual) == (0.463, 0.314)


def test_kpss_tells_a_walk_from_noise() -> None:
    assert kpss(walk(1, 3000)).statistic > 0.463
    assert kpss(np.random.default_rng(1).normal(size=3000)).statistic < 0.463


def test_hurst_of_a_walk_and_of_what_comes_back() -> None:
    values = np.array([hurst(walk(seed, 5000)).value for seed in range(20)])
    assert values.mean() == pytest.approx(0.5, abs=0.02)
    back = hurst(spread(1, 5000, 10.0))
    assert 0.0 < back.value < 0.4
    assert (back.lags_low, back.lags_high) == (2, 64)
    assert back.estimator == "sd of lagged differences"


def test_hurst_is_the_slope_of_logs() -> None:
    values = walk(4, 400)
    deviations = [np.std(values[k:] - values[:-k], ddof=1) for k in (1, 3, 7, 90)]
    slope = np.polyfit(np.log([1, 3, 7, 90]), np.log(deviations), 1)[0]
    found = hurst(values, lags=(90, 7, 3, 1, 101))
    assert found.value == pytest.approx(slope, rel=1e-10)
    assert (found.lags_low, found.lags_high) == (1, 90)


def test_hurst_outside_0_to_1_is_refused() -> None:
    overdone = np.random.default_rng(0).normal(size=4000)
    overdone[1:] -= 0.9 * overdone[:-1]
    overdone[2:] -= 0.5 * overdone[:-2]
    with pytest.raises(DataError, match="outside 0 to 1"):
        hurst(overdone, lags=(1, 2, 3, 4))
    with pytest.raises(DataError, match="repeats itself after 4 bars"):
        hurst(np.tile([0.0, 1.0, 3.0, 2.0], 100))
    with pytest.raises(NotEnoughData, match="three are needed"):
        hurst(walk(0, 12))


def lo_mackinlay(values: Floats, q: int) -> tuple[float, float]:
    """Return the ratio and z* by the sums of the paper, one term at a time (their eq. 12-20)."""
    n = len(values) - 1
    mean = (values[-1] - values[0]) / n
    one = sum((values[k] - values[k - 1] - mean) ** 2 for k in range(1, n + 1))
    wide = sum((values[k] - values[k - q] - q * mean) ** 2 for k in range(q, n + 1))
    ratio = wide / (q * (n - q + 1) * (1 - q / n)) / (one / (n - 1))
    theta = 0.0
    for j in range(1, q):
        both = sum(
            (values[k] - values[k - 1] - mean) ** 2
            * (values[k - j] - values[k - j - 1] - mean) ** 2
            for k in range(j + 1, n + 1)
        )
        theta += (2 * (q - j) / q) ** 2 * n * both / one**2
    return float(ratio), float(math.sqrt(n) * (ratio - 1) / math.sqrt(theta))


@pytest.mark.parametrize("q", [2, 5, 16])
def test_variance_ratio_equals_the_papers_sums(q: int) -> None:
    values = 3.0 + 0.01 * walk(7, 150)
    ratio, z_star = lo_mackinlay(values, q)
    found = variance_ratio(values, q)
    assert found.ratio == pytest.approx(ratio, rel=1e-10)
    assert found.z_star == pytest.approx(z_star, rel=1e-9)
    assert found.p_value == pytest.approx(math.erfc(abs(z_star) / math.sqrt(2.0)), rel=1e-8)
    assert (found.q, found.n) == (q, 149)


def test_variance_ratio_has_its_size_on_walks_and_its_power_on_spreads() -> None:
    found = [variance_ratio(walk(seed, 1000), 5) for seed in range(400)]
    assert np.mean([one.ratio for one in found]) == pytest.approx(1.0, abs=0.01)
    assert 0.025 <= np.mean([one.p_value < 0.05 for one in found]) <= 0.08
    back = variance_ratio(spread(1, 2000, 3.0), 10)
    assert back.ratio < 0.7
    assert back.p_value < 1e-6


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_the_unit_of_the_price_changes_nothing(scale: float) -> None:
    values = spread(5, 800, 15.0) + 1.0
    known, found = half_life(values), half_life(scale * values)
    assert found.bars == pytest.approx(known.bars, rel=1e-9)
    assert kpss(scale * values).statistic == pytest.approx(kpss(values).statistic, rel=1e-9)
    assert hurst(scale * values).value == pytest.approx(hurst(values).value, rel=1e-9)
    ratio = variance_ratio(scale * values, 6)
    assert ratio.z_star == pytest.approx(variance_ratio(values, 6).z_star, rel=1e-8)


@pytest.mark.parametrize("ask", ASKED)
def test_what_has_no_answer_says_so(ask: Callable[[Floats], object]) -> None:
    for n in (0, 1, 2):
        with pytest.raises(NotEnoughData):
            ask(walk(0, n))
    with pytest.raises(DataError, match=r"constant at 0\.1"):
        ask(np.full(100, 0.1))
    hole = walk(0, 100)
    hole[42] = np.nan
    with pytest.raises(DataError, match="row 42"):
        ask(hole)


def test_what_has_no_variation_says_so() -> None:
    with pytest.raises(DataError, match="straight line"):
        variance_ratio(0.1 * np.arange(100), 5)
    with pytest.raises(DataError, match="too few of 99 bars"):
        variance_ratio(np.repeat([0.0, 1.0, 0.0], [40, 20, 40]), 5)
    with pytest.raises(DataError, match="last bar only"):
        half_life(np.append(np.full(99, 0.3), 1.0))
    with pytest.raises(DataError, match="at least 2"):
        variance_ratio(walk(0, 100), 1)


# -- rolling half-life ------------------------------------------------------------------------


@pytest.mark.parametrize("window", [4, 25, 120])
def test_the_rolling_half_life_is_each_window_s_own(window: int) -> None:
    rng = np.random.default_rng(window)
    values = 40.0 + reverting(rng, 600, 8.0, 0.01)
    found = rolling_half_life(values, window)
    assert np.isnan(found[: window - 1]).all()
    for at in range(window - 1, 600, 7):
        part = values[at - window + 1 : at + 1]
        before, steps = part[:-1], np.diff(part)
        centred = before - before.mean()
        phi = 1.0 + (centred * (steps - steps.mean())).sum() / (centred * centred).sum()
        expected = np.inf if phi >= 1 else 0.0 if phi <= 0 else -np.log(2) / np.log(phi)
        assert found[at] == pytest.approx(expected, rel=1e-6)
    if window == 120:
        assert found[-1] == pytest.approx(half_life(values[-window:]).bars, rel=1e-6)


def test_the_rolling_half_life_sees_nothing_later() -> None:
    values = reverting(np.random.default_rng(3), 500, 10.0, 0.01)
    whole = rolling_half_life(values, 60)
    for end in (61, 200, 333):
        np.testing.assert_array_equal(rolling_half_life(values[:end], 60), whole[:end])


def test_windows_that_are_not_whole_have_no_half_life() -> None:
    values = reverting(np.random.default_rng(4), 200, 10.0, 0.01)
    values[100] = np.nan
    found = rolling_half_life(values, 20)
    assert np.isnan(found[100:119]).all()
    assert np.isfinite(found[[99, 120]]).all()
    np.testing.assert_allclose(found[120:], rolling_half_life(values[101:], 20)[19:], rtol=1e-8)
    assert np.isnan(rolling_half_life(np.full(50, 7.0), 20)).all()
    assert np.isnan(rolling_half_life(values[:10], 20)).all()
    assert np.isnan(rolling_half_life(np.full(50, np.nan), 20)).all()
    with pytest.raises(DataError, match="window of 3"):
        rolling_half_life(values, 3)


def test_what_runs_away_never_comes_back() -> None:
    assert np.isinf(rolling_half_life(1.05 ** np.arange(60.0), 20)[19:]).all()
    zigzag = np.where(np.arange(60) % 2 == 0, 1.0, -1.0)
    assert (rolling_half_life(zigzag, 20)[19:] == 0).all()
