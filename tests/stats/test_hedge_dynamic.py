"""Dynamic OLS: its parts by statsmodels, and whether its interval holds the true slope."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from series import Floats, cointegrated, independent, reverting

from core.errors import DataError, NotEnoughData
from core.stats.hedge import DynamicFit, dynamic_ols, ols


def direct(y: Floats, x: Floats, lags: int) -> DynamicFit:
    """Dynamic OLS by statsmodels' QR, then each formula of the definition, one by one."""
    steps = np.concatenate([[np.nan], np.diff(x)])
    rows = np.arange(lags + 1, len(x) - lags)
    others = np.column_stack(
        [np.ones(len(rows)), *(steps[rows + k] for k in range(-lags, lags + 1))]
    )
    fit = sm.OLS(y[rows], np.column_stack([others, x[rows]])).fit()
    rest, n = fit.resid, len(rows)
    x_net = sm.OLS(x[rows], others).fit().resid
    innovations = sm.OLS(rest[1:], rest[:-1]).fit()
    rho_hat = innovations.params[0]
    sigma2 = np.sum(innovations.resid**2) / (n - 1)
    rho = min(rho_hat + (1 + 3 * rho_hat) / n, 1 - 1 / n)
    beta, se = fit.params[-1], np.sqrt(sigma2 / (1 - rho) ** 2 / np.sum(x_net**2))
    return DynamicFit(beta, se, beta - 1.96 * se, beta + 1.96 * se, rho, n, lags)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("lags", [0, 1, 2, 5])
@pytest.mark.parametrize("n", [80, 1_440])
def test_every_part_is_that_of_a_direct_regression(seed: int, lags: int, n: int) -> None:
    y, x = cointegrated(seed, n, half_life=10.0, vol=5e-4)
    fit, golden = dynamic_ols(y, x, lags), direct(y, x, lags)
    assert (fit.n, fit.lags) == (golden.n, lags)
    assert fit.beta == pytest.approx(golden.beta, rel=1e-8)
    assert fit.se == pytest.approx(golden.se, rel=1e-8)
    assert fit.rho == pytest.approx(golden.rho, rel=1e-8)
    assert fit.low == pytest.approx(golden.low, abs=1e-4 * golden.se)
    assert fit.high == pytest.approx(golden.high, abs=1e-4 * golden.se)
    assert fit.is_in_sample


def test_a_smooth_leg_whose_changes_are_nearly_one_another_keeps_its_digits() -> None:
    """Their products have a condition of 1e17 here; statsmodels' own SVD is good to 2e-8."""
    rows = np.arange(1_440.0)
    x = np.exp(-(((rows - 700) / 200) ** 2))
    y = 0.9 * x + reverting(np.random.default_rng(0), 1_440, 20.0, 0.0075)
    fit, golden = dynamic_ols(y, x), direct(y, x, 2)
    assert fit.beta == pytest.approx(golden.beta, rel=1e-6)
    assert fit.se == pytest.approx(golden.se, rel=1e-6)


def test_rho_is_capped_below_one() -> None:
    x = np.random.default_rng(0).normal(size=500)
    fit = dynamic_ols(np.linspace(0.0, 1.0, 500), x)
    assert fit.rho == 1 - 1 / fit.n


@pytest.mark.parametrize(
    ("n", "half_life"), [(1_440, 30.0), (1_440, 5.0), (7_200, 15.0), (14_400, 300.0)]
)
def test_the_interval_covers_with_48_half_lives_in_the_sample(n: int, half_life: float) -> None:
    covered = []
    for seed in range(200):
        y, x = cointegrated(seed, n, half_life=half_life, vol=5e-4)
        fit = dynamic_ols(y, x)
        covered.append(fit.low <= 0.9 <= fit.high)
    assert 0.88 <= np.mean(covered) <= 0.98


def test_the_plain_interval_of_least_squares_does_not_cover() -> None:
    """Why item 8 never shows it: the residuals revert slowly and it does not know."""
    covered = []
    for seed in range(200):
        y, x = cointegrated(seed, 1_440, half_life=30.0, vol=5e-4)
        low, high = sm.OLS(y, sm.add_constant(x)).fit().conf_int()[1]
        covered.append(low <= 0.9 <= high)
    assert np.mean(covered) < 0.5


@pytest.mark.parametrize("seed", range(8))
def test_29_days_of_minutes_give_the_slope_to_2_percent(seed: int) -> None:
    y, x = cointegrated(seed, 41_760, half_life=5.0, sigma=0.0075, vol=5e-4)
    assert ols(y, x).beta == pytest.approx(0.9, rel=0.02)
    assert dynamic_ols(y, x).beta == pytest.approx(0.9, rel=0.02)


@pytest.mark.parametrize("seed", range(8))
def test_a_day_of_minutes_gives_the_slope_within_three_errors(seed: int) -> None:
    y, x = cointegrated(seed, 1_440, half_life=5.0, sigma=0.0075, vol=5e-4)
    fit = dynamic_ols(y, x)
    assert abs(ols(y, x).beta - 0.9) < 3 * fit.se
    assert abs(fit.beta - 0.9) < 3 * fit.se


@pytest.mark.parametrize("noise", [0.0, 1e-8])
def test_one_asset_twice_has_no_interval(noise: float) -> None:
    _, x = independent(7, 500)
    y = 2 * x + 1 + np.random.default_rng(0).normal(0, noise, 500)
    with pytest.raises(DataError, match="same asset"):
        dynamic_ols(y, x)


def test_a_leg_explained_by_its_own_changes_has_no_slope() -> None:
    """A sine is a sum of its own changes, a straight line has constant ones: only the first."""
    rows = np.arange(2_000.0)
    y, _ = independent(8, 2_000)
    with pytest.raises(DataError, match="its own changes"):
        dynamic_ols(y, np.sin(rows / 30))
    trend = dynamic_ols(y + rows * 1e-3, rows)
    assert trend.low <= 1e-3 <= trend.high


def test_more_leads_and_lags_need_more_bars() -> None:
    y, x = independent(9, 20)
    with pytest.raises(NotEnoughData, match="20 bars"):
        dynamic_ols(y, x)
    with pytest.raises(DataError, match="-1 leads and lags"):
        dynamic_ols(y, x, -1)
