"""Hedge ratios fitted on a whole range: least squares, total least squares, dynamic OLS.

All of them are in-sample: they know the range they are shown on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from core.errors import DataError
from core.stats.arrays import Floats, demand_movement, demand_pair

# 1 − R² at or below this is the same asset twice: nothing to test.
SAME_ASSET = 1.5e-6
NORMAL_95 = 1.959963984540054
# Above this condition of their products, dynamic OLS's regressors are taken apart by an SVD.
_COLLINEAR = 1e8


@dataclass(frozen=True, slots=True)
class HedgeFit:
    """A line y = α + β·x through n bars; ``sigma`` is its residuals' deviation (ddof 1)."""

    method: str
    alpha: float
    beta: float
    r_squared: float
    sigma: float
    n: int
    is_in_sample: bool = True

    @property
    def is_same_asset(self) -> bool:
        """Whether y and x are, to rounding, one asset."""
        return 1.0 - self.r_squared <= SAME_ASSET


@dataclass(frozen=True, slots=True)
class DynamicFit:
    """β of dynamic OLS with its 95% interval; ``rho`` is the residuals' corrected AR(1)."""

    beta: float
    se: float
    low: float
    high: float
    rho: float
    n: int
    lags: int
    is_in_sample: bool = True


def residuals(y: ArrayLike, x: ArrayLike, alpha: float, beta: float) -> Floats:
    """Return y − α − β·x."""
    first, second = np.asarray(y, np.float64), np.asarray(x, np.float64)
    return np.asarray(first - alpha - beta * second)


def ols(y: ArrayLike, x: ArrayLike) -> HedgeFit:
    """Fit y = α + β·x by least squares.

    Raises NotEnoughData below three bars, DataError where x or y is constant.
    """
    first, second = demand_pair(y, x, 3)
    demand_movement(second, "x")
    demand_movement(first, "y")
    mean_y, mean_x = first.mean(), second.mean()
    dy, dx = first - mean_y, second - mean_x
    scale_y, scale_x = np.abs(dy).max(), np.abs(dx).max()
    dy, dx = dy / scale_y, dx / scale_x
    slope = float(dx @ dy / (dx @ dx))
    rest = dy - slope * dx
    unexplained = float(rest @ rest / (dy @ dy))
    beta = slope * scale_y / scale_x
    return HedgeFit(
        "ols",
        alpha=float(mean_y - beta * mean_x),
        beta=float(beta),
        r_squared=1.0 - unexplained,
        sigma=_deviation(rest) * float(scale_y),
        n=len(first),
    )


def tls(y: ArrayLike, x: ArrayLike) -> HedgeFit:
    """Fit the line of least squared distances, both legs with errors of one size.

    β depends on the legs' scales, so it means something for logs, less for prices. ``r_squared``
    is 1 − var(y − α − βx) / var(y), which total least squares does not maximise. Raises
    NotEnoughData below three bars, DataError where a leg is constant or the line stands upright.
    """
    first, second = demand_pair(y, x, 3)
    demand_movement(second, "x")
    demand_movement(first, "y")
    mean_y, mean_x = first.mean(), second.mean()
    scale = max(np.abs(first - mean_y).max(), np.abs(second - mean_x).max())
    dy, dx = (first - mean_y) / scale, (second - mean_x) / scale
    s_yy, s_xx, s_xy = float(dy @ dy), float(dx @ dx), float(dx @ dy)
    if abs(s_xy) <= 1e-14 * np.sqrt(s_yy * s_xx):
        raise DataError("y and x do not move together at all: total least squares has no slope")
    # Of the two forms of one root, that without a difference of nearly equal numbers.
    half = (s_yy - s_xx) / 2
    root = float(np.hypot(half, s_xy))
    beta = (half + root) / s_xy if half >= 0 else s_xy / (root - half)
    rest = dy - beta * dx
    return HedgeFit(
        "tls",
        alpha=float(mean_y - beta * mean_x),
        beta=float(beta),
        r_squared=1.0 - float(rest @ rest) / s_yy,
        sigma=_deviation(rest) * float(scale),
        n=len(first),
    )


def dynamic_ols(y: ArrayLike, x: ArrayLike, lags: int = 2) -> DynamicFit:
    """Return β with an interval that holds for slowly reverting residuals.

    y on 1, x and Δx from ``lags`` bars before to ``lags`` after (Stock & Watson 1993). The
    standard error is √(ω² / Σx̃²), x̃ what of x the other regressors leave, ω² = σ² / (1 − ρ)²
    with σ² the innovations' variance of an AR(1) of the residuals and ρ = ρ̂ + (1 + 3ρ̂) / n, at
    most 1 − 1/n; ρ̂ = Σeₜeₜ₋₁ / Σeₜ₋₁², σ² = Σ(eₜ − ρ̂eₜ₋₁)² / (n − 1). The interval is the normal
    one at 95%. ``n`` counts the regression's rows. Raises NotEnoughData, DataError where a leg is
    constant, the legs are one asset, or x is explained by its own changes.
    """
    if lags < 0:
        raise DataError(f"{lags} leads and lags were asked for; give 0 or more")
    first, second = demand_pair(y, x, 8 * lags + 5)
    n = len(first) - 2 * lags - 1
    target, level = first[lags + 1 : lags + 1 + n], second[lags + 1 : lags + 1 + n]
    demand_movement(level, "x")
    demand_movement(target, "y")
    level, target = level - level.mean(), target - target.mean()
    size = float(np.abs(level).max())
    level /= size
    _demand_two_assets(target, level)
    left_x, left_y = _left(_changes(second, lags), np.stack([level, target]))
    weight = float(left_x @ left_x)
    if weight <= 1e-12 * n:
        raise DataError("x is explained by its own changes: dynamic OLS has no slope")
    beta = float(left_x @ left_y) / weight
    rest = left_y - beta * left_x
    rho, omega = _long_run(rest)
    beta, se = beta / size, omega / float(np.sqrt(weight)) / size
    return DynamicFit(beta, se, beta - NORMAL_95 * se, beta + NORMAL_95 * se, rho, n, lags)


def _demand_two_assets(dy: Floats, dx: Floats) -> None:
    """Raise DataError where one centred leg is a line of the other: no test, no interval."""
    rest = dy - dx * float(dx @ dy / (dx @ dx))
    unexplained = float(rest @ rest / (dy @ dy))
    if unexplained <= SAME_ASSET:
        raise DataError(
            f"y is a line of x: 1 − R² is {unexplained:.1e}, and {SAME_ASSET:.1e} or less is the "
            "same asset; choose another pair"
        )


def _changes(x: Floats, lags: int) -> Floats:
    """Return dynamic OLS's other regressors in rows of unit length: 1, and Δx led and lagged."""
    steps = np.diff(x)
    n = len(x) - 2 * lags - 1
    rows = np.stack([np.ones(n), *(steps[k : k + n] for k in range(2 * lags + 1))])
    rows[1:] -= rows[1:].mean(axis=1, keepdims=True)
    rows /= np.sqrt(np.vecdot(rows, rows))[:, None].clip(1e-300)
    return rows


def _left(others: Floats, values: Floats) -> Floats:
    """Return what the other regressors, in rows, leave of the values; twice, for the digits."""
    gram = others @ others.T
    if np.linalg.cond(gram) > _COLLINEAR:
        # A smooth leg: its changes are nearly one another, and products square that.
        _, sizes, basis = np.linalg.svd(others, full_matrices=False)
        others = basis[sizes > 1e-12 * sizes[0]]
        gram = np.eye(len(others))
    for _ in range(2):
        weights = np.linalg.lstsq(gram, others @ values.T, rcond=None)[0]
        values = values - weights.T @ others
    return values


def _long_run(rest: Floats) -> tuple[float, float]:
    """Return the residuals' corrected ρ and the root of their long-run variance."""
    n = len(rest)
    total = float(rest @ rest)
    if total == 0.0:
        return 0.0, 0.0
    before, after = rest[:-1], rest[1:]
    rho_hat = float(before @ after / (before @ before))
    shock = after - rho_hat * before
    sigma = np.sqrt(float(shock @ shock) / (n - 1))
    rho = min(rho_hat + (1 + 3 * rho_hat) / n, 1 - 1 / n)
    return rho, float(sigma / (1 - rho))


def _deviation(rest: Floats) -> float:
    """Return the sample deviation of residuals, whose mean is zero by construction."""
    return float(np.sqrt(rest @ rest / (len(rest) - 1)))
