"""Augmented Dickey-Fuller: does a series come back, or is it a random walk?

All candidate lags share the sample of the longest one, so one factorisation of the largest
regression holds every candidate's sum of squares. The cross-products of lagged steps need only
one row of dot products: the others follow by adding the step that enters a sample and taking off
the one that leaves (the covariance method). Dickey & Fuller (1979); MacKinnon (1994, 2010).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from core.errors import DataError, NotEnoughData
from core.stats.arrays import FLAT, Floats, Ints, demand_movement, demand_series
from core.stats.lagged import Moments, direct_factor, gram_factor, moments_of

# Series are tested this many values at a time, which stay in the processor's cache.
CHUNK_VALUES = 1 << 18


@dataclass(frozen=True, slots=True)
class AdfResult:
    """The test of one series; the null hypothesis is a unit root.

    ``statistic`` is the level's t-value, ``lag`` the lags that AIC chose, ``n_obs`` the rows of
    the final regression, ``critical_values`` those at 1, 5 and 10% for so many rows.
    """

    statistic: float
    p_value: float
    lag: int
    n_obs: int
    critical_values: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class AdfBatch:
    """The tests of m series: arrays (m,).

    NaN and lag −1 where a series is constant or follows its own past exactly.
    """

    statistic: Floats
    lag: Ints
    n_obs: Ints


def adf(series: ArrayLike, *, constant: bool = True, max_lag: int | None = None) -> AdfResult:
    """Test one series for a unit root, the lags chosen by AIC.

    Equals ``statsmodels.tsa.stattools.adfuller(autolag="AIC")`` with regression "c", or "n"
    without ``constant``. Raises NotEnoughData where the largest regression has no degree of
    freedom, DataError where the series is constant, not finite, or exactly its own past.
    """
    values = demand_series(series, 1)
    longest = longest_lag(len(values), constant=constant, max_lag=max_lag)
    demand_movement(values, "series")
    found = _tested(values[None], longest, constant)
    lag, n_obs = int(found.lag[0]), int(found.n_obs[0])
    if lag < 0:
        raise DataError(
            f"series of {len(values):,} bars follows its own past exactly: it moves in too few "
            "bars, or along a line or a wave; choose bars in which it moves"
        )
    statistic = float(found.statistic[0])
    p_value = mackinnon_p(statistic, constant=constant)
    return AdfResult(statistic, p_value, lag, n_obs, critical_values(n_obs, constant=constant))


def adf_batch(series: ArrayLike, *, constant: bool = True, max_lag: int | None = None) -> AdfBatch:
    """Test the m rows of an array (m, n), each as `adf` does.

    Raises NotEnoughData where n is too short, DataError where a value is not finite.
    """
    values = np.asarray(series, dtype=np.float64)
    if values.ndim != 2:
        raise DataError(f"the batch has {values.ndim} dimensions; give one row a series")
    if not np.isfinite(values).all():
        row, bar = np.argwhere(~np.isfinite(values))[0]
        raise DataError(f"series {row} is {values[row, bar]} in row {bar}; leave such rows out")
    longest = longest_lag(values.shape[1], constant=constant, max_lag=max_lag)
    rows = max(1, CHUNK_VALUES // values.shape[1])
    parts = [
        _tested(values[start : start + rows], longest, constant)
        for start in range(0, len(values), rows)
    ]
    if not parts:
        return AdfBatch(np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64))
    return AdfBatch(
        np.concatenate([part.statistic for part in parts]),
        np.concatenate([part.lag for part in parts]),
        np.concatenate([part.n_obs for part in parts]),
    )


def longest_lag(n: int, *, constant: bool, max_lag: int | None = None) -> int:
    """Return the longest candidate lag for n bars: ⌈12·(n/100)^¼⌉ (Schwert 1989), within n/2.

    Raises NotEnoughData where its regression has no degree of freedom, DataError where
    ``max_lag`` is negative or beyond n/2.
    """
    trend = 1 if constant else 0
    bound = n // 2 - trend - 1
    if max_lag is None:
        longest = min(bound, math.ceil(12.0 * (n / 100.0) ** 0.25)) if n else -1
    elif not 0 <= max_lag <= max(bound, 0):
        raise DataError(f"max_lag is {max_lag}; {n:,} bars allow 0 to {max(bound, 0)}")
    else:
        longest = max_lag if bound >= 0 else -1
    if longest < 0 or n - 1 - longest <= trend + 1 + longest:
        needed = 21 if max_lag is None else 2 * max_lag + trend + 3
        raise NotEnoughData(
            f"a unit-root test of {n:,} bars leaves nothing to measure; {needed} will do"
        )
    return longest


def _tested(levels: Floats, longest: int, constant: bool) -> AdfBatch:
    """Choose each series' lag on the common sample, then fit it on its own longer sample."""
    peak = np.abs(levels).max(axis=1)
    flat = np.ptp(levels, axis=1) <= FLAT * peak
    # Without a constant the level itself is tested: it may be scaled, never centred.
    scaled = levels - levels.mean(axis=1, keepdims=True) if constant else levels
    scale = np.abs(scaled).max(axis=1)
    scale[scale == 0.0] = 1.0
    moments = moments_of(scaled / scale[:, None], longest, np.finfo(np.float64).eps * peak / scale)
    every = np.arange(len(levels))
    factors = _factors(moments, every, longest, constant, False)
    lag = _least_aic(factors, moments.steps.shape[1] - longest, longest)
    lag[flat] = -1
    statistic = np.full(len(levels), np.nan)
    for chosen in np.unique(lag[lag >= 0]):
        rows = np.flatnonzero(lag == chosen)
        factors = _factors(moments, rows, int(chosen), constant, True)
        freedom = moments.steps.shape[1] - 2 * chosen - 1 - constant
        statistic[rows] = factors[:, -1, -2] / factors[:, -1, -1] * math.sqrt(freedom)
    lag[np.isnan(statistic)] = -1
    return AdfBatch(statistic, lag, np.where(lag >= 0, moments.steps.shape[1] - lag, 0))


def _factors(moments: Moments, rows: Ints, lag: int, constant: bool, level_last: bool) -> Floats:
    """Return the lower factors (rows, k, k) of the regression's columns, its target last.

    NaN where a column follows exactly from those before it.
    """
    factors, sound = gram_factor(moments, rows, lag, constant, level_last)
    for place in np.flatnonzero(~sound):
        factors[place] = direct_factor(moments, rows[place], lag, constant, level_last)
    return factors


def _least_aic(factors: Floats, n_obs: int, longest: int) -> Ints:
    """Return the lag with the least AIC of each factor, the shorter where two are equal.

    The target's row holds what each column explains beyond those before it: the sums of squares
    of all candidates, added up from the longest.
    """
    last = factors[:, -1, ::-1][:, : longest + 1]
    unexplained = np.cumsum(last * last, axis=1)[:, ::-1]
    aic = n_obs * np.log(unexplained) + 2.0 * np.arange(longest + 1)
    known = ~np.isnan(aic[:, 0])
    return np.where(known, np.argmin(aic, axis=1), -1).astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Surface:
    """MacKinnon's response surface: p = Φ(polynomial), one polynomial each side of ``split``.

    1 above ``high``, 0 below ``low``. Coefficients by rising power (1994, tables 3 and 4).
    """

    low: float
    split: float
    high: float
    left: tuple[float, ...]
    right: tuple[float, ...]


# Keyed by (constant, number of series).
_SURFACES = {
    (False, 1): _Surface(
        -19.04, -1.04, math.inf,
        (0.6344, 1.2378, 0.032496), (0.4797, 0.93557, -0.06999, 0.033066),
    ),
    (True, 1): _Surface(
        -18.83, -1.61, 2.74,
        (2.1659, 1.4412, 0.038269), (1.7339, 0.93202, -0.12745, -0.010368),
    ),
    (True, 2): _Surface(
        -18.86, -2.62, 0.92,
        (2.92, 1.5012, 0.039796), (2.1945, 0.64695, -0.29198, -0.042377),
    ),
}  # fmt: skip
# Critical values at 1, 5 and 10% by rising power of 1/n (MacKinnon 2010, table 2; 1996 for none).
_CRITICAL = {
    False: (
        (-2.56574, -2.2358, -3.627, 0.0),
        (-1.941, -0.2686, -3.365, 31.223),
        (-1.61682, 0.2656, -2.714, 25.364),
    ),
    True: (
        (-3.43035, -6.5393, -16.786, -79.433),
        (-2.86154, -2.8903, -4.234, -40.04),
        (-2.56677, -1.5384, -2.809, 0.0),
    ),
}


def mackinnon_p(statistic: float, *, constant: bool, series: int = 1) -> float:
    """Return the asymptotic p-value of a unit-root statistic (MacKinnon 1994).

    ``series`` 2, with a constant, is that of residuals of one series on another.
    """
    surface = _SURFACES[constant, series]
    if statistic > surface.high:
        return 1.0
    if statistic < surface.low:
        return 0.0
    powers = surface.left if statistic <= surface.split else surface.right
    return 0.5 * math.erfc(-_polynomial(powers, statistic) / math.sqrt(2.0))


def mackinnon_p_values(statistics: Floats, *, constant: bool, series: int = 1) -> Floats:
    """Return what `mackinnon_p` does for an array of any shape; NaN where a statistic is."""
    surface = _SURFACES[constant, series]
    left = _horner(surface.left, statistics)
    right = _horner(surface.right, statistics)
    found = ndtr(np.where(statistics <= surface.split, left, right))
    found[statistics > surface.high] = 1.0
    found[statistics < surface.low] = 0.0
    return np.asarray(found)


def critical_values(n_obs: int, *, constant: bool) -> tuple[float, float, float]:
    """Return the critical values at 1, 5 and 10% for so many rows (MacKinnon 2010)."""
    one, five, ten = (_polynomial(powers, 1.0 / n_obs) for powers in _CRITICAL[constant])
    return one, five, ten


def _polynomial(powers: tuple[float, ...], at: float) -> float:
    return math.fsum(factor * at**power for power, factor in enumerate(powers))


def _horner(powers: tuple[float, ...], at: Floats) -> Floats:
    found = np.full_like(at, powers[-1])
    for factor in powers[-2::-1]:
        found = found * at + factor
    return found
