"""How a spread comes back: half-life, KPSS, Hurst exponent, variance ratio.

Descriptions of the series given; none of them replaces a test of the pair.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from core.errors import DataError, NotEnoughData
from core.stats.arrays import Floats, demand_movement, demand_series

NORMAL_95 = 1.96
# Steps whose squares stay below this share of the series' last digit are rounding.
LAST_DIGITS = 8.0 * float(np.finfo(np.float64).eps)
# Hurst's lags, spread evenly in logs over one and a half decades.
HURST_LAGS = (2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 32, 40, 50, 64)


@dataclass(frozen=True, slots=True)
class HalfLife:
    """Bars until half of a deviation is gone, with its 95% interval; ``n`` bars were used.

    ``bars`` is None, with the ``reason``, where the series does not come back. ``low`` is 0 where
    φ may be 0, ``high`` infinite where φ may be 1.
    """

    bars: float | None
    low: float | None
    high: float | None
    phi: float
    n: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class KpssResult:
    """KPSS with a constant: the null hypothesis is that the series is stationary.

    ``critical_5pct`` holds for a given series (Kwiatkowski et al. 1992),
    ``critical_5pct_residual`` for residuals of one estimated slope (Shin 1994).
    """

    statistic: float
    lags: int
    critical_5pct: float = 0.463
    critical_5pct_residual: float = 0.314


@dataclass(frozen=True, slots=True)
class Hurst:
    """The Hurst exponent: 0.5 for a random walk, less for a series that comes back."""

    value: float
    lags_low: int
    lags_high: int
    estimator: str = "sd of lagged differences"


@dataclass(frozen=True, slots=True)
class VarianceRatio:
    """Variance of q-bar steps over q times that of one bar's: 1 for a random walk.

    ``z_star`` is its heteroskedasticity-robust statistic, standard normal under the null;
    ``p_value`` is two-sided. ``n`` counts steps.
    """

    ratio: float
    z_star: float
    p_value: float
    q: int
    n: int


def half_life(spread: ArrayLike) -> HalfLife:
    """Return −ln 2 / ln φ bars of Δsₜ = a + λ·sₜ₋₁ + e, φ = 1 + λ, by least squares.

    The interval is that of φ ± 1.96 standard errors. Raises NotEnoughData below four bars,
    DataError where the spread is constant (or moves in its last bar only).
    """
    scaled = _scaled(demand_series(spread, 4))
    before = scaled[:-1]
    steps = np.diff(scaled)
    before = before - before.mean()
    steps -= steps.mean()
    power = float(before @ before)
    if np.ptp(before) == 0.0:
        raise DataError("spread moves in its last bar only; choose bars in which it moves")
    pull = float(before @ steps) / power
    rest = steps - pull * before
    error = math.sqrt(float(rest @ rest) / (len(steps) - 2) / power)
    phi, n = 1.0 + pull, len(scaled)
    if pull >= 0.0:
        return HalfLife(None, None, None, phi, n, f"φ is {phi:.6g}: it does not come back")
    if phi <= 0.0:
        return HalfLife(None, None, None, phi, n, f"φ is {phi:.3g}: it turns within a bar")
    low = _bars_of(phi - NORMAL_95 * error)
    return HalfLife(_bars_of(phi), low, _bars_of(phi + NORMAL_95 * error), phi, n)


def rolling_half_life(spread: ArrayLike, window: int) -> Floats:
    """Return the half-life of the window that ends with each bar, (n,), as `half_life` has it.

    ∞ where the window does not come back, 0 where it turns within a bar, NaN where the window is
    not whole (``spread`` may have NaN) or stands still. From running sums, so that time does not
    grow with the window; nothing looks ahead. Raises DataError for a window below 4.
    """
    if window < 4:
        raise DataError(f"a window of {window} bars has no half-life; give at least 4")
    values = np.asarray(spread, dtype=np.float64)
    n = len(values)
    found = np.full(n, np.nan)
    if n < window:
        return found
    finite = np.isfinite(values)
    shifted = np.where(finite, values - (values[finite][0] if finite.any() else 0.0), 0.0)
    before, steps = shifted[:-1], np.diff(shifted)
    usable = finite[:-1] & finite[1:]
    pairs = window - 1

    def sums(of: Floats) -> Floats:
        running = np.concatenate(([0.0], np.cumsum(np.where(usable, of, 0.0))))
        return np.asarray(running[pairs:] - running[:-pairs])

    mean_before, mean_step = sums(before) / pairs, sums(steps) / pairs
    power = sums(before * before) - pairs * mean_before**2
    with np.errstate(divide="ignore", invalid="ignore"):
        phi = 1.0 + (sums(before * steps) - pairs * mean_before * mean_step) / power
        bars = np.where(phi >= 1.0, np.inf, -math.log(2.0) / np.log(np.clip(phi, 1e-300, 1.0)))
        bars = np.where(phi <= 0.0, 0.0, bars)
    # What is left of a sum of squares after its mean is taken off: below this it is rounding.
    is_flat = power <= 1e-10 * np.maximum(sums(before * before), 1e-300)
    whole = sums(np.ones(n - 1)) > pairs - 0.5
    found[pairs:] = np.where(whole & ~is_flat, bars, np.nan)
    return found


def _bars_of(phi: float) -> float:
    """Return the half-life of φ: 0 at or below 0, infinite at or above 1."""
    if phi <= 0.0:
        return 0.0
    return math.inf if phi >= 1.0 else -math.log(2.0) / math.log(phi)


def kpss(series: ArrayLike) -> KpssResult:
    """Test a series for stationarity about a constant.

    Equals ``statsmodels.tsa.stattools.kpss(nlags="auto", regression="c")``: lags by Hobijn,
    Franses & Ooms (2004). The long-run variance Σ (1 − |k|/(L+1))·γₖ is summed as squares of
    moving sums of L + 1 values, so that time does not grow with the lags. Raises NotEnoughData
    below three bars, DataError where the series is constant.
    """
    scaled = _scaled(demand_series(series, 3))
    n = len(scaled)
    lags = _kpss_lags(scaled)
    sums = np.concatenate([np.zeros(lags + 1), np.cumsum(scaled), np.zeros(lags)])
    # After the last bar a moving sum only loses values; the sum of all is 0 by centring.
    sums[n + lags + 1 :] = sums[n + lags]
    moving = sums[lags + 1 :] - sums[: n + lags]
    variance = float(moving @ moving) / (lags + 1)
    total = sums[lags + 1 : n + lags + 1]
    if variance <= 0.0:
        raise DataError(
            f"the long-run variance of {n:,} bars is 0 with {lags} lags; take more bars"
        )
    return KpssResult(float(total @ total) / n / variance, lags)


def _kpss_lags(centred: Floats) -> int:
    """Return the Bartlett window's lags (Hobijn, Franses & Ooms 2004, equation 20)."""
    n = len(centred)
    level, slope = float(centred @ centred) / n, 0.0
    for lag in range(1, int(n ** (2.0 / 9.0)) + 1):
        product = 2.0 * float(centred[lag:] @ centred[:-lag]) / n
        level += product
        slope += lag * product
    if level == 0.0:
        return n - 1
    third = 1.0 / 3.0
    return min(int(1.1447 * ((slope / level) ** 2) ** third * n**third), n - 1)


def hurst(series: ArrayLike, lags: Sequence[int] = HURST_LAGS) -> Hurst:
    """Return the slope of ln sd(sₜ₊ₖ − sₜ) on ln k over the lags k, by least squares.

    Lags beyond a quarter of the series are left out. Raises NotEnoughData where fewer than three
    remain, DataError where the slope is outside [0, 1] (the series is neither a walk nor comes
    back as one does) or a lag has no deviation.
    """
    scaled = _scaled(demand_series(series, 4))
    used = sorted({lag for lag in lags if 1 <= lag <= len(scaled) // 4})
    if len(used) < 3:
        raise NotEnoughData(
            f"series has {len(scaled):,} bars, which leaves {len(used)} of {len(lags)} lags for a "
            "Hurst exponent; three are needed, each at most a quarter of the bars"
        )
    deviations = np.array([np.std(scaled[lag:] - scaled[:-lag], ddof=1) for lag in used])
    if deviations.min() <= LAST_DIGITS:
        lag = used[int(deviations.argmin())]
        raise DataError(f"series repeats itself after {lag} bars; a Hurst exponent has no meaning")
    widths = np.log(used) - np.log(used).mean()
    value = float(widths @ np.log(deviations) / (widths @ widths))
    if not 0.0 <= value <= 1.0:
        raise DataError(
            f"the Hurst exponent comes out at {value:.3g}, outside 0 to 1: over {used[0]} to "
            f"{used[-1]} bars the deviation does not grow as a power of the lag"
        )
    return Hurst(value, used[0], used[-1])


def variance_ratio(series: ArrayLike, q: int) -> VarianceRatio:
    """Return Lo & MacKinlay's (1988) variance ratio of overlapping q-bar steps of levels s.

    With n steps d, μ their mean, u = d − μ: σ₁² = Σu² / (n−1);
    σ_q² = Σ (sₜ − sₜ₋q − qμ)² / (q·(n−q+1)·(1−q/n)); ratio = σ_q²/σ₁²;
    z* = (ratio − 1)/√θ, θ = Σⱼ₌₁^{q−1} (2(q−j)/q)²·δⱼ, δⱼ = Σ uₜ²·uₜ₋ⱼ² / (Σu²)².

    Raises NotEnoughData with fewer than 2q steps, DataError for q < 2, a constant series or one
    whose steps are all alike.
    """
    if q < 2:
        raise DataError(f"q is {q}; a variance ratio compares steps of at least 2 bars")
    scaled = _scaled(demand_series(series, 2 * q + 1))
    steps = np.diff(scaled)
    n, mean = len(steps), float(scaled[-1] - scaled[0]) / len(steps)
    power = (steps - mean) ** 2
    total = float(power.sum())
    if total <= n * LAST_DIGITS**2:
        raise DataError("series moves along a straight line; a variance ratio has no meaning")
    wide = scaled[q:] - scaled[:-q] - q * mean
    ratio = float(wide @ wide) / (q * (n - q + 1) * (1.0 - q / n)) / (total / (n - 1))
    weights = (2.0 * (q - np.arange(1, q)) / q) ** 2
    power /= total
    theta = math.fsum(w * float(power[j:] @ power[:-j]) for j, w in enumerate(weights, start=1))
    if theta <= 0.0:
        raise DataError(f"series moves in too few of {n:,} bars for a variance ratio over {q}")
    z_star = (ratio - 1.0) / math.sqrt(theta)
    return VarianceRatio(ratio, z_star, math.erfc(abs(z_star) / math.sqrt(2.0)), q, n)


def _scaled(values: Floats) -> Floats:
    """Return the values centred and scaled to unit deviation; none of the measures changes."""
    demand_movement(values, "series")
    centred = values - values.mean()
    centred /= np.abs(centred).max()
    # Again: the first mean was rounded to the last digit of the level, which sums would add up.
    centred -= centred.mean()
    centred /= math.sqrt(float(centred @ centred) / len(centred))
    return np.asarray(centred, dtype=np.float64)
