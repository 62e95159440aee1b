"""Rolling and refit OLS never use the future, and know neither the level nor the unit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from series import cointegrated, independent

from core.stats.rolling import RefitFit, RollingFit, refit_ols, rolling_ols

ROLLING = ("alpha", "beta", "se_beta", "correlation", "spread", "zscore")
REFIT = ("alpha", "beta", "sigma", "spread", "zscore", "fitted")

seeds = st.integers(0, 2**31)
many = settings(max_examples=60, deadline=None)


def assert_unchanged(whole: RollingFit | RefitFit, cut: RollingFit | RefitFit, rows: int) -> None:
    names = ROLLING if isinstance(whole, RollingFit) else REFIT
    for name in names:
        before, after = getattr(whole, name)[:rows], getattr(cut, name)
        assert np.array_equal(before, after, equal_nan=before.dtype == np.float64), name


@many
@given(seed=seeds, n=st.integers(2, 2_500), window=st.integers(3, 150), data=st.data())
def test_cutting_off_the_future_changes_no_rolling_value(
    seed: int, n: int, window: int, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, n - 1))
    y, x = cointegrated(seed, n, half_life=15.0, vol=5e-4)
    assert_unchanged(rolling_ols(y, x, window), rolling_ols(y[:cut], x[:cut], window), cut)


@many
@given(
    seed=seeds,
    n=st.integers(2, 2_500),
    lookback=st.integers(3, 150),
    period=st.integers(1, 90),
    data=st.data(),
)
def test_cutting_off_the_future_changes_no_refitted_value(
    seed: int, n: int, lookback: int, period: int, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, n - 1))
    y, x = cointegrated(seed, n, half_life=15.0, vol=5e-4)
    buckets = (np.arange(n) + seed % period) // period
    assert_unchanged(
        refit_ols(y, x, buckets, lookback),
        refit_ols(y[:cut], x[:cut], buckets[:cut], lookback),
        cut,
    )


@many
@given(seed=seeds, n=st.integers(50, 400), data=st.data())
def test_another_future_changes_no_earlier_value(seed: int, n: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(30, n - 1))
    y, x = cointegrated(seed, n, half_life=15.0, vol=5e-4)
    wild_y, wild_x = y.copy(), x.copy()
    wild_y[cut:] = 1e6 * np.arange(n - cut)
    wild_x[cut:] = -1e9
    buckets = np.arange(n) // 10
    for made, other in (
        (rolling_ols(y, x, 20), rolling_ols(wild_y, wild_x, 20)),
        (refit_ols(y, x, buckets, 20), refit_ols(wild_y, wild_x, buckets, 20)),
    ):
        for name in ("alpha", "beta", "spread", "zscore"):
            first, second = getattr(made, name)[:cut], getattr(other, name)[:cut]
            assert np.array_equal(first, second, equal_nan=True), name


@pytest.mark.parametrize("window", [1_440, 9_000])
def test_long_windows_do_not_look_ahead_in_their_last_bits(window: int) -> None:
    """Beyond 8,192 bars a buffered sum lets a window's neighbours decide how it is rounded."""
    n = window + 130
    y, x = cointegrated(1, n, half_life=100.0)
    buckets = np.arange(n) // 4
    rolled, refitted = rolling_ols(y, x, window), refit_ols(y, x, buckets, window)
    for cut in (window, window + 1, window + 2, window + 41, window + 64, n - 1):
        assert_unchanged(rolled, rolling_ols(y[:cut], x[:cut], window), cut)
        assert_unchanged(refitted, refit_ols(y[:cut], x[:cut], buckets[:cut], window), cut)


@many
@given(
    seed=seeds,
    shift_y=st.floats(-100, 100),
    shift_x=st.floats(-100, 100),
    scale_y=st.floats(1e-3, 1e3),
    scale_x=st.floats(1e-3, 1e3),
)
def test_a_z_score_is_unchanged_by_shift_and_positive_scale(
    seed: int, shift_y: float, shift_x: float, scale_y: float, scale_x: float
) -> None:
    y, x = independent(seed, 200)
    other_y, other_x = scale_y * y + shift_y, scale_x * x + shift_x
    buckets = np.arange(200) // 10
    for made, other in (
        (rolling_ols(y, x, 30), rolling_ols(other_y, other_x, 30)),
        (refit_ols(y, x, buckets, 30), refit_ols(other_y, other_x, buckets, 30)),
    ):
        # A shift of 100 leaves moves of 5e-7 (5e-4 · 1e-3) seven digits fewer than a double has.
        np.testing.assert_allclose(other.zscore, made.zscore, rtol=1e-5, atol=1e-5)


def test_the_properties_have_something_to_hold_for() -> None:
    y, x = cointegrated(0, 500, half_life=15.0, vol=5e-4)
    assert np.isfinite(rolling_ols(y, x, 150).zscore).sum() == 351
    assert np.isfinite(refit_ols(y, x, np.arange(500) // 10, 150).zscore).sum() == 350
