"""Rolling and refit OLS against a refit of every window, and where they are not defined."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from series import Floats, cointegrated, independent

from core.errors import DataError
from core.stats.rolling import refit_ols, rolling_ols

ROLLING = ("alpha", "beta", "se_beta", "correlation", "spread", "zscore")
REFIT = ("alpha", "beta", "sigma", "spread", "zscore")


def through(y: Floats, x: Floats) -> sm.regression.linear_model.RegressionResultsWrapper:
    return sm.OLS(y, sm.add_constant(x)).fit()


def direct_error(y: Floats, x: Floats, last: int, window: int) -> float:
    """β's error at row ``last``, from the definition and that window's refit alone."""
    inside = slice(last - window + 1, last + 1)
    mean_y, mean_x = y[inside].mean(), x[inside].mean()
    fit = through(y[inside] - mean_y, x[inside] - mean_x)
    rest = fit.resid
    row = last - window
    if row >= 0:
        first = y[row] - mean_y - fit.params[1] * (x[row] - mean_x)
        now, before = rest, np.concatenate([[first], rest[:-1]])
    else:
        now, before = rest[1:], rest[:-1]
    shared = np.mean((now - now.mean()) * (before - before.mean()))
    bound = 1 - 1 / window
    rho_hat = min(max(shared / np.mean(rest**2), -bound), bound)
    rho = min(max(rho_hat + (1 + 3 * rho_hat) / window, -bound), bound)
    long_run = np.var(rest, ddof=1) * (1 - rho_hat**2) / (1 - rho) ** 2
    return float(np.sqrt(long_run / np.sum((x[inside] - x[inside].mean()) ** 2)))


# -- rolling --


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("window", [3, 20, 150])
def test_every_window_is_a_refit_by_statsmodels(seed: int, window: int) -> None:
    y, x = cointegrated(seed, 300, half_life=20.0, vol=5e-4)
    fit = rolling_ols(y, x, window)
    for name in ROLLING:
        assert np.isnan(getattr(fit, name)[: window - 1]).all(), name
    for last in range(window - 1, 300, 7):
        inside = slice(last - window + 1, last + 1)
        mean_y, mean_x = y[inside].mean(), x[inside].mean()
        # Centred: statsmodels itself loses half of its digits on three bars of log prices.
        golden = through(y[inside] - mean_y, x[inside] - mean_x)
        beta, deviation = golden.params[1], np.std(golden.resid, ddof=1)
        assert fit.beta[last] == pytest.approx(beta, rel=1e-7)
        assert fit.alpha[last] == pytest.approx(mean_y - beta * mean_x, rel=1e-7)
        assert fit.spread[last] == pytest.approx(golden.resid[-1], rel=1e-7, abs=1e-11)
        assert fit.zscore[last] == pytest.approx(golden.resid[-1] / deviation, rel=1e-7, abs=1e-7)
        assert fit.correlation[last] == pytest.approx(np.corrcoef(y[inside], x[inside])[0, 1])
        assert fit.se_beta[last] == pytest.approx(direct_error(y, x, last, window), rel=1e-6)


def test_the_z_score_is_the_stated_one_beta_formula() -> None:
    y, x = cointegrated(4, 500, half_life=20.0, vol=5e-4)
    fit = rolling_ols(y, x, 60)
    for last in (59, 60, 300, 499):
        wy, wx = y[last - 59 : last + 1], x[last - 59 : last + 1]
        r = np.corrcoef(wy, wx)[0, 1]
        beta = r * wy.std(ddof=1) / wx.std(ddof=1)
        spread = wy[-1] - wy.mean() - beta * (wx[-1] - wx.mean())
        assert fit.zscore[last] == pytest.approx(spread / (wy.std(ddof=1) * np.sqrt(1 - r**2)))
    np.testing.assert_allclose(fit.spread[59:], (y - fit.alpha - fit.beta * x)[59:], atol=1e-12)
    assert fit.window == 60
    assert not fit.is_in_sample


def test_its_spread_is_not_a_series_of_residuals_rolled_again() -> None:
    """One β for the window: the deviation behind z is that of residuals about one line."""
    y, x = cointegrated(5, 400, half_life=20.0, vol=5e-4)
    fit = rolling_ols(y, x, 60)
    last = 399
    one_line = y[340:] - fit.alpha[last] - fit.beta[last] * x[340:]
    deviation = fit.spread[last] / fit.zscore[last]
    assert deviation == pytest.approx(one_line.std(ddof=1), rel=1e-9)
    assert abs(fit.spread[340:].std(ddof=1) / deviation - 1) > 0.05


def test_only_the_rows_that_were_asked_for() -> None:
    y, x = cointegrated(6, 3_000, half_life=20.0)
    everything = rolling_ols(y, x, 60)
    rows = np.array([5, 59, 60, 1_500, 2_999])
    some = rolling_ols(y, x, 60, rows=rows)
    for name in ROLLING:
        found = getattr(some, name)
        assert np.array_equal(found[rows], getattr(everything, name)[rows], equal_nan=True), name
        assert np.isnan(np.delete(found, rows)).all(), name
    with pytest.raises(DataError, match="row 3,000"):
        rolling_ols(y, x, 60, rows=np.array([3_000]))
    with pytest.raises(DataError, match="row -1"):
        rolling_ols(y, x, 60, rows=np.array([10, -1]))
    assert np.isnan(rolling_ols(y, x, 60, rows=np.array([], dtype=np.int64)).beta).all()


def test_the_error_widens_for_residuals_that_come_back_slowly() -> None:
    slow = cointegrated(7, 2_000, half_life=100.0, vol=5e-4)
    fast = cointegrated(7, 2_000, half_life=2.0, vol=5e-4)
    wide, narrow = (np.nanmedian(rolling_ols(*legs, 500).se_beta) for legs in (slow, fast))
    assert wide > 2 * narrow


def test_a_window_error_covers_the_true_slope() -> None:
    """Windows that do not overlap, 100 half-lives in each."""
    y, x = cointegrated(8, 150_000, half_life=5.0, vol=5e-4)
    rows = np.arange(499, 150_000, 500)
    fit = rolling_ols(y, x, 500, rows=rows)
    covered = np.abs(fit.beta[rows] - 0.9) <= 1.96 * fit.se_beta[rows]
    assert 0.88 <= covered.mean() <= 0.98


# -- refit --


def refit_directly(y: Floats, x: Floats, buckets: Floats, lookback: int) -> dict[str, Floats]:
    """Walk through the bars once, refitting by statsmodels when the period changes."""
    rows = {name: np.full(len(y), np.nan) for name in REFIT}
    line = (np.nan, np.nan, np.nan)
    for t in range(len(y)):
        if t == 0 or buckets[t] != buckets[t - 1]:
            line = (np.nan, np.nan, np.nan)
            if t >= lookback:
                fit = through(y[t - lookback : t], x[t - lookback : t])
                line = (fit.params[0], fit.params[1], np.std(fit.resid, ddof=1))
        alpha, beta, sigma = line
        spread = y[t] - alpha - beta * x[t]
        for name, value in zip(REFIT, (*line, spread, spread / sigma), strict=True):
            rows[name][t] = value
    return rows


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("period", "lookback"), [(1, 20), (7, 20), (60, 100), (1_000, 50)])
def test_refit_is_a_walk_through_the_bars(seed: int, period: int, lookback: int) -> None:
    y, x = cointegrated(seed, 400, half_life=20.0, vol=5e-4)
    # Bars are missing, and the first one is not the first of its period.
    seconds = 60 * np.cumsum(np.random.default_rng(seed).integers(1, 3, 400)) + 60 * 17
    buckets = seconds // (period * 60)
    found, golden = refit_ols(y, x, buckets, lookback), refit_directly(y, x, buckets, lookback)
    for name in REFIT:
        np.testing.assert_allclose(
            getattr(found, name), golden[name], rtol=1e-6, atol=1e-7, err_msg=name
        )
    starts = np.flatnonzero(np.r_[True, np.diff(buckets) != 0])
    np.testing.assert_array_equal(np.flatnonzero(found.fitted), starts[starts >= lookback])
    assert not found.is_in_sample
    assert found.lookback == lookback


def test_refits_keep_to_the_clock_when_the_range_slides() -> None:
    y, x = cointegrated(9, 600, half_life=20.0, vol=5e-4)
    buckets = np.arange(600) // 60
    whole, later = refit_ols(y, x, buckets, 100), refit_ols(y[13:], x[13:], buckets[13:], 100)
    for name in REFIT:
        both = np.isfinite(getattr(later, name))
        assert both.sum() >= 420
        np.testing.assert_array_equal(
            getattr(later, name)[both], getattr(whole, name)[13:][both], err_msg=name
        )


def test_periods_must_be_one_a_bar_and_in_order() -> None:
    y, x = independent(1, 50)
    with pytest.raises(DataError, match="one a bar"):
        refit_ols(y, x, np.zeros(49, dtype=np.int64), 10)
    with pytest.raises(DataError, match="goes back in row 30"):
        refit_ols(y, x, np.where(np.arange(50) < 30, 1, 0), 10)


# -- sizes, and what is not defined --


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_raw_prices_of_any_size_give_one_z_score(scale: float) -> None:
    y, x = (np.exp(leg - leg[0]) for leg in cointegrated(10, 800, half_life=20.0, vol=5e-4))
    buckets = np.arange(800) // 30
    for plain, scaled in (
        (rolling_ols(y, x, 60), rolling_ols(y * scale, x * scale, 60)),
        (refit_ols(y, x, buckets, 60), refit_ols(y * scale, x * scale, buckets, 60)),
    ):
        np.testing.assert_allclose(scaled.zscore, plain.zscore, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(scaled.beta, plain.beta, rtol=1e-8)
        np.testing.assert_allclose(scaled.spread, plain.spread * scale, atol=1e-9 * scale)


@pytest.mark.parametrize("slope", [1.0, -2.0])
def test_one_asset_twice_has_a_line_and_no_z_score(slope: float) -> None:
    _, x = independent(2, 200)
    y = slope * x + 1
    rolled, refitted = rolling_ols(y, x, 30), refit_ols(y, x, np.arange(200) // 10, 30)
    for fit in (rolled, refitted):
        np.testing.assert_allclose(fit.beta[30:], slope, rtol=1e-9)
        assert np.abs(fit.spread[30:]).max() < 1e-12
        assert np.isnan(fit.zscore).all()
    np.testing.assert_allclose(rolled.correlation[29:], np.sign(slope))
    assert np.isnan(rolled.se_beta).all()
    assert np.isnan(refitted.sigma).all()


def test_the_same_asset_begins_where_it_is_said_to() -> None:
    _, x = independent(3, 40)
    noise = np.random.default_rng(1).normal(0, 1, 40)
    noise = through(noise, x).resid
    for share, is_known in ((1.4e-6, False), (1.6e-6, True)):
        size = np.sqrt(share / (1 - share) * x.var() / noise.var())
        fit = rolling_ols(x + size * noise, x, 40)
        assert np.isfinite(fit.zscore[-1]) == is_known


def test_a_leg_that_stands_still_has_no_line_or_no_z_score() -> None:
    y, x = independent(4, 300)
    still = np.where((np.arange(300) >= 100) & (np.arange(300) < 200), 3.0, x)
    rolled = rolling_ols(y, still, 30)
    for name in ROLLING:
        assert np.isnan(getattr(rolled, name)[129:200]).all(), name
        assert np.isfinite(getattr(rolled, name)[200:]).all(), name
    flat_y = rolling_ols(still, y, 30)
    assert np.isnan(flat_y.zscore[129:200]).all()
    assert np.isnan(flat_y.correlation[129:200]).all()
    np.testing.assert_array_equal(flat_y.beta[129:200], 0.0)
    refitted = refit_ols(y, still, np.arange(300) // 10, 30)
    assert np.isnan(refitted.zscore[140:200]).all()
    assert np.isfinite(refitted.zscore[210:]).all()


@pytest.mark.parametrize("n", [1, 2, 29])
def test_a_window_that_is_never_full_is_not_defined_yet(n: int) -> None:
    y, x = independent(5, n)
    rolled, refitted = rolling_ols(y, x, 30), refit_ols(y, x, np.arange(n), 30)
    assert all(np.isnan(getattr(rolled, name)).all() for name in ROLLING)
    assert all(np.isnan(getattr(refitted, name)).all() for name in REFIT)
    assert not refitted.fitted.any()


def test_what_cannot_be_rolled_says_why() -> None:
    y, x = independent(6, 50)
    gap = np.where(np.arange(50) == 7, np.nan, y)
    periods = np.arange(50)
    with pytest.raises(DataError, match="window of 2"):
        rolling_ols(y, x, 2)
    with pytest.raises(DataError, match="lookback of 2"):
        refit_ols(y, x, periods, 2)
    with pytest.raises(DataError, match="y is nan in row 7"):
        rolling_ols(gap, x, 10)
    with pytest.raises(DataError, match="y is nan in row 7"):
        refit_ols(gap, x, periods, 10)
    with pytest.raises(DataError, match="50 bars and x 49"):
        rolling_ols(y, x[1:], 10)
