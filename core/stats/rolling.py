"""Hedge ratios that know only bars up to their own: rolling OLS and refit OLS.

Computed window by window in two passes, without running sums: the reference that the SQL
windows are held to, and what takes over where cross-products lose digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

from core.errors import DataError
from core.stats.arrays import FLAT, Floats, Ints, demand_pair
from core.stats.hedge import SAME_ASSET

# Numbers of one leg that a chunk of windows holds: half a megabyte stays in the cache, five
# times as fast as 4 MB.
_CHUNK = 60_000


@dataclass(frozen=True, slots=True)
class RollingFit:
    """One line a window, each array (n,), NaN where it is not defined; never in-sample.

    ``spread`` = y − alpha − beta·x of the window's last bar, ``zscore`` that over the window's
    residual deviation (ddof 1), ``se_beta`` with errors for slowly reverting residuals.
    """

    alpha: Floats
    beta: Floats
    se_beta: Floats
    correlation: Floats
    spread: Floats
    zscore: Floats
    window: int
    is_in_sample: bool = False


@dataclass(frozen=True, slots=True)
class RefitFit:
    """Lines fitted before and held for a while, each array (n,), NaN before the first one.

    ``sigma`` is the fit's residual deviation (ddof 1); ``fitted`` marks the bars t₀ from which
    on a new fit holds.
    """

    alpha: Floats
    beta: Floats
    sigma: Floats
    spread: Floats
    zscore: Floats
    fitted: np.ndarray[tuple[int], np.dtype[np.bool_]]
    lookback: int
    is_in_sample: bool = False


@dataclass(frozen=True, slots=True)
class _Lines:
    """Least squares on many windows at once, each array (windows,)."""

    mean_y: Floats
    mean_x: Floats
    beta: Floats
    sigma: Floats
    correlation: Floats
    rho_hat: Floats
    weight: Floats


def rolling_ols(y: ArrayLike, x: ArrayLike, window: int, *, rows: Ints | None = None) -> RollingFit:
    """Fit y = α + β·x on every window of ``window`` bars, one β for the whole window.

    z_t = (y_t − ȳ − β_t(x_t − x̄)) / (s_y·√(1 − r²)) over the same window. ``rows`` asks only for
    windows that end there. The error of β is √(ω² / Σ(x − x̄)²), ω² = σ²(1 − ρ̂²) / (1 − ρ)² from
    the window's own residuals: ρ̂ their first autocovariance (the first bar's predecessor is the
    bar before the window) over their variance, ρ = ρ̂ + (1 + 3ρ̂)/n, both within ±(1 − 1/n).

    Where x stands still in the window nothing is defined; where the residuals' deviation is
    ≤ 1e-12 or 1 − r² ≤ 1.5e-6 (the same asset), the line is, but zscore and se_beta are not.
    Raises DataError for a window below 3 or a row that is not there.
    """
    first, second = demand_pair(y, x, 1)
    if window < 3:
        raise DataError(f"a window of {window} bars has no residuals; give at least 3")
    n = len(first)
    ends = _demand_rows(rows, n)
    ends = ends[ends >= window - 1]
    made = {name: np.full(n, np.nan) for name in ("alpha", "beta", "se", "r", "spread", "z")}
    for at in _chunks(ends, window):
        line = _lines(first, second, at - window + 1, window)
        spread = first[at] - line.mean_y - line.beta * (second[at] - line.mean_x)
        rho = _limited(line.rho_hat + (1 + 3 * line.rho_hat) / window, window)
        with np.errstate(divide="ignore", invalid="ignore"):
            long_run = line.sigma * np.sqrt(1 - line.rho_hat**2) / (1 - rho)
            made["se"][at] = long_run / np.sqrt(line.weight)
            made["z"][at] = spread / line.sigma
        made["alpha"][at] = line.mean_y - line.beta * line.mean_x
        made["beta"][at], made["r"][at], made["spread"][at] = line.beta, line.correlation, spread
    return RollingFit(
        made["alpha"], made["beta"], made["se"], made["r"], made["spread"], made["z"], window
    )


def refit_ols(y: ArrayLike, x: ArrayLike, buckets: Ints, lookback: int) -> RefitFit:
    """Fit on the ``lookback`` bars before each period's first bar, and hold it for the period.

    ``buckets`` (n,) names the period of each bar, so that refits happen at times of the clock.
    No bar's fit knows the bar itself or a later one. A period that begins before ``lookback``
    bars are there has no line; σ and zscore are undefined where `rolling_ols` has no zscore.
    Raises DataError for a lookback below 3 or periods that are not one a bar, in order.
    """
    first, second = demand_pair(y, x, 1)
    if lookback < 3:
        raise DataError(f"a lookback of {lookback} bars has no residuals; give at least 3")
    n = len(first)
    starts = _period_starts(buckets, n)
    fits = {name: np.full(len(starts), np.nan) for name in ("alpha", "beta", "sigma")}
    full = np.flatnonzero(starts >= lookback)
    for part in _chunks(full, lookback):
        line = _lines(first, second, starts[part] - lookback, lookback, with_lag=False)
        fits["alpha"][part] = line.mean_y - line.beta * line.mean_x
        fits["beta"][part], fits["sigma"][part] = line.beta, line.sigma
    held = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, n]))
    alpha, beta, sigma = (fits[name][held] for name in ("alpha", "beta", "sigma"))
    spread = first - alpha - beta * second
    fitted = np.zeros(n, dtype=np.bool_)
    fitted[starts[full]] = True
    with np.errstate(divide="ignore", invalid="ignore"):
        zscore = spread / sigma
    return RefitFit(alpha, beta, sigma, spread, zscore, fitted, lookback)


def _demand_rows(rows: Ints | None, n: int) -> Ints:
    if rows is None:
        return np.arange(n)
    asked = np.asarray(rows, dtype=np.int64)
    outside = asked[(asked < 0) | (asked >= n)]
    if outside.size:
        raise DataError(f"row {outside[0]:,} was asked for and there are {n:,}; rows count from 0")
    return asked


def _period_starts(buckets: Ints, n: int) -> Ints:
    """Return the first row of each period."""
    periods = np.asarray(buckets)
    if periods.shape != (n,):
        raise DataError(f"periods have the shape {periods.shape} for {n:,} bars; give one a bar")
    steps = np.diff(periods)
    if (steps < 0).any():
        row = int(np.flatnonzero(steps < 0)[0]) + 1
        raise DataError(f"the period goes back in row {row:,}; sort the bars by time")
    return np.flatnonzero(np.r_[True, steps != 0])


def _windows(values: Floats, starts: Ints, window: int) -> Floats:
    """Return a copy of the windows that begin at ``starts``, one in a row."""
    return np.ascontiguousarray(sliding_window_view(values, window)[starts])


def _chunks(rows: Ints, window: int) -> Iterator[Ints]:
    size = max(1, _CHUNK // window)
    for at in range(0, len(rows), size):
        yield rows[at : at + size]


def _lines(y: Floats, x: Floats, starts: Ints, window: int, *, with_lag: bool = True) -> _Lines:
    """Fit the windows that begin at ``starts``; σ is NaN where the line says nothing."""
    dy, dx = _windows(y, starts, window), _windows(x, starts, window)
    mean_y, mean_x = dy.mean(axis=1), dx.mean(axis=1)
    dy -= mean_y[:, None]
    dx -= mean_x[:, None]
    # Not einsum: its buffer of 8,192 numbers makes a row's last bits depend on its neighbours.
    s_xx, s_yy, s_xy = np.vecdot(dx, dx), np.vecdot(dy, dy), np.vecdot(dx, dy)
    moves = np.sqrt(s_xx / (window - 1)) > FLAT * np.maximum(1, np.abs(mean_x))
    with np.errstate(divide="ignore", invalid="ignore"):
        beta = np.where(moves, s_xy / s_xx, np.nan)
        rest = dy - beta[:, None] * dx
        squares = np.vecdot(rest, rest)
        unexplained = squares / s_yy
        sigma = np.sqrt(squares / (window - 1))
        sigma[~((unexplained > SAME_ASSET) & (sigma > FLAT))] = np.nan
        correlation = np.where(moves, s_xy / np.sqrt(s_xx) / np.sqrt(s_yy), np.nan).clip(-1, 1)
        rho_hat = np.zeros_like(beta)
        if with_lag:
            rho_hat = _lagged(y, x, starts, window, beta, rest) / squares
    return _Lines(mean_y, mean_x, beta, sigma, correlation, _limited(rho_hat, window), s_xx)


def _limited(rho: Floats, window: int) -> Floats:
    """Keep an autocorrelation where a window of that length can tell it from ±1."""
    return np.clip(rho, 1 / window - 1, 1 - 1 / window)


def _lagged(y: Floats, x: Floats, starts: Ints, window: int, beta: Floats, rest: Floats) -> Floats:
    """Return Σ (e − ē)(e₋₁ − ē₋₁) over each window, e₋₁ of its first bar from the bar before."""
    before = np.maximum(starts - 1, 0)
    prior = _windows(y, before, window) - beta[:, None] * _windows(x, before, window)
    has_prior = starts > 0
    found = np.empty(len(starts))
    if has_prior.any():
        wide = prior[has_prior]
        wide = wide - wide.mean(axis=1)[:, None]
        found[has_prior] = np.vecdot(rest[has_prior], wide)
    for at in np.flatnonzero(~has_prior):
        # The series' first window has no bar before it: one pair fewer, as covar_pop counts it.
        later, earlier = rest[at, 1:], rest[at, :-1]
        shared = (later - later.mean()) @ (earlier - earlier.mean())
        found[at] = shared * window / (window - 1)
    return found
