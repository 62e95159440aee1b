"""Hedge ratios of a whole range, against statsmodels, an SVD, and sizes a price can have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import statsmodels.api as sm
from series import Floats, cointegrated, independent

from core.errors import DataError, NotEnoughData
from core.stats.hedge import HedgeFit, dynamic_ols, ols, residuals, tls

Fit = Callable[[Floats, Floats], HedgeFit]


def through(y: Floats, x: Floats) -> sm.regression.linear_model.RegressionResultsWrapper:
    return sm.OLS(y, sm.add_constant(x)).fit()


# -- least squares --


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [3, 10, 1_440])
def test_ols_is_that_of_statsmodels(seed: int, n: int) -> None:
    y, x = cointegrated(seed, n, half_life=20.0)
    fit, golden = ols(y, x), through(y, x)
    assert fit.alpha == pytest.approx(golden.params[0], rel=1e-8)
    assert fit.beta == pytest.approx(golden.params[1], rel=1e-8)
    assert fit.r_squared == pytest.approx(golden.rsquared, rel=1e-8)
    assert fit.sigma == pytest.approx(np.std(golden.resid, ddof=1), rel=1e-8)
    assert (fit.n, fit.method, fit.is_in_sample) == (n, "ols", True)


def test_a_line_by_hand() -> None:
    """Σdx² = 2, Σdxdy = 3, so β = 1.5; residuals −1/2, 1, −1/2 with ȳ = 2, x̄ = 1."""
    fit = ols([0.0, 3.0, 3.0], [0.0, 1.0, 2.0])
    assert fit.beta == pytest.approx(1.5)
    assert fit.alpha == pytest.approx(0.5)
    assert fit.sigma == pytest.approx(np.sqrt(1.5 / 2))
    assert fit.r_squared == pytest.approx(1 - 1.5 / 6)
    np.testing.assert_allclose(
        residuals([0.0, 3.0, 3.0], [0.0, 1.0, 2.0], fit.alpha, fit.beta), [-0.5, 1.0, -0.5]
    )


def test_swapping_the_legs_refits() -> None:
    y, x = cointegrated(1, 2_000, half_life=20.0)
    there, back = ols(y, x), ols(x, y)
    assert there.beta * back.beta == pytest.approx(there.r_squared, rel=1e-9)


# -- total least squares --


@pytest.mark.parametrize("beta", [-1.3, 0.02, 0.9, 40.0])
def test_tls_is_the_first_direction_of_an_svd(beta: float) -> None:
    rng = np.random.default_rng(3)
    truth = np.cumsum(rng.normal(0, 1e-3, 3_000))
    y = 4.0 + beta * truth + rng.normal(0, 1e-3, 3_000)
    x = 3.0 + truth + rng.normal(0, 1e-3, 3_000)
    fit = tls(y, x)
    direction = np.linalg.svd(np.column_stack([x - x.mean(), y - y.mean()]), full_matrices=False)[2]
    assert fit.beta == pytest.approx(direction[0, 1] / direction[0, 0], rel=1e-9)
    assert fit.alpha == pytest.approx(y.mean() - fit.beta * x.mean(), rel=1e-9)
    rest = residuals(y, x, fit.alpha, fit.beta)
    assert fit.sigma == pytest.approx(np.std(rest, ddof=1), rel=1e-9)
    assert fit.r_squared == pytest.approx(1 - rest.var() / y.var(), abs=1e-9)


def test_tls_does_not_care_which_leg_is_called_y() -> None:
    y, x = cointegrated(2, 2_000, half_life=20.0, vol=1e-3)
    assert tls(y, x).beta * tls(x, y).beta == pytest.approx(1.0, rel=1e-10)


def test_a_nearly_flat_line_keeps_its_digits() -> None:
    """The root (−d + √(d² + 4s²)) / 2s has no digit left here; its other form has all."""
    x = np.linspace(-1.0, 1.0, 1_001)
    y = 1e-9 * x
    assert tls(y, x).beta == pytest.approx(1e-9, rel=1e-12)
    assert tls(x, y).beta == pytest.approx(1e9, rel=1e-12)


def test_legs_that_do_not_move_together_have_no_orthogonal_line() -> None:
    with pytest.raises(DataError, match="do not move together"):
        tls([0.0, 1.0, 0.0, -1.0], [1.0, 0.0, -1.0, 0.0])


# -- sizes, and what cannot be fitted --


@pytest.mark.parametrize("fit", [ols, tls, dynamic_ols])
@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_raw_prices_of_any_size_give_one_answer(fit: Fit, scale: float) -> None:
    y, x = (np.exp(leg) for leg in cointegrated(4, 3_000, half_life=20.0, vol=5e-4))
    plain, scaled = fit(y, x), fit(y * scale, x * scale)
    assert scaled.beta == pytest.approx(plain.beta, rel=1e-10)
    if fit is dynamic_ols:
        assert scaled.se == pytest.approx(plain.se, rel=1e-9)  # type: ignore[attr-defined]
    else:
        assert scaled.sigma == pytest.approx(plain.sigma * scale, rel=1e-10)
        assert scaled.alpha == pytest.approx(plain.alpha * scale, rel=1e-9)
        assert scaled.r_squared == pytest.approx(plain.r_squared, abs=1e-12)


@pytest.mark.parametrize("fit", [ols, dynamic_ols])
def test_legs_of_opposite_sizes_give_the_slope_between_them(fit: Fit) -> None:
    y, x = (np.exp(leg) for leg in cointegrated(4, 3_000, half_life=20.0, vol=5e-4))
    assert fit(y * 1e-8, x * 1e8).beta == pytest.approx(fit(y, x).beta * 1e-16, rel=1e-10)
    assert fit(y * 1e8, x * 1e-8).beta == pytest.approx(fit(y, x).beta * 1e16, rel=1e-10)


@pytest.mark.parametrize("fit", [ols, tls])
@pytest.mark.parametrize("slope", [1.0, 2.0, -0.5])
def test_one_asset_twice_is_said_to_be_one(fit: Fit, slope: float) -> None:
    _, x = independent(5, 1_000)
    found = fit(slope * x + 1.0, x)
    assert found.beta == pytest.approx(slope, rel=1e-10)
    assert found.r_squared == pytest.approx(1.0, abs=1e-12)
    assert found.sigma < 1e-12
    assert found.is_same_asset


def test_the_same_asset_begins_at_its_stated_share() -> None:
    _, x = independent(5, 1_000)
    noise = np.random.default_rng(1).normal(0, 1, 1_000)
    noise = residuals(noise, x, *_line(noise, x))
    for share, is_same in ((1.4e-6, True), (1.6e-6, False)):
        size = np.sqrt(share / (1 - share) * x.var() / noise.var())
        fit = ols(x + size * noise, x)
        assert 1 - fit.r_squared == pytest.approx(share, rel=1e-6)
        assert fit.is_same_asset == is_same


def _line(y: Floats, x: Floats) -> tuple[float, float]:
    fit = ols(y, x)
    return fit.alpha, fit.beta


@pytest.mark.parametrize("fit", [ols, tls, dynamic_ols])
def test_what_cannot_be_fitted_says_why(fit: Fit) -> None:
    y, x = independent(6, 100)
    flat = np.full(100, 7.0)
    with pytest.raises(DataError, match="x is constant at 7"):
        fit(y, flat)
    with pytest.raises(DataError, match="y is constant at 7"):
        fit(flat, x)
    with pytest.raises(DataError, match="y is nan in row 8"):
        fit(np.where(np.arange(100) == 8, np.nan, y), x)
    with pytest.raises(DataError, match="x is -inf in row 9"):
        fit(y, np.where(np.arange(100) == 9, -np.inf, x))
    with pytest.raises(DataError, match="100 bars and x 99"):
        fit(y, x[1:])
    with pytest.raises(DataError, match="2 dimensions"):
        fit(y.reshape(2, 50), x)


@pytest.mark.parametrize("fit", [ols, tls, dynamic_ols])
@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_bars_are_counted(fit: Fit, n: int) -> None:
    y, x = independent(6, 2)
    with pytest.raises(NotEnoughData, match=f"{n} bars"):
        fit(y[:n], x[:n])
