"""Do two legs share one walk: Engle-Granger, its wild bootstrap, and Johansen.

Engle & Granger (1987); Cavaliere, Rahbek & Taylor (2010); Johansen (1991).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from core.errors import DataError
from core.stats.adf import adf, adf_batch, mackinnon_p
from core.stats.arrays import Floats, demand_movement, demand_pair
from core.stats.hedge import SAME_ASSET
from core.stats.lagged import upper_of

# From here on the largest regression always has a degree of freedom left.
LEAST_BARS = 21
# 90, 95 and 99% values for the null of rank 0 and of rank ≤ 1, with a constant (MacKinnon, Haug &
# Michelis 1999, case of unrestricted constants and no trend; the values that statsmodels holds).
TRACE_CRITICAL = ((13.4294, 15.4943, 19.9349), (2.7055, 3.8415, 6.6349))
MAX_EIG_CRITICAL = ((12.2971, 14.2639, 18.52), (2.7055, 3.8415, 6.6349))

Two = tuple[float, float]
Critical = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class EngleGranger:
    """The unit-root test of the residuals y − α − β·x; the null is no cointegration.

    ``p_value`` is asymptotic (MacKinnon 1994) and rejects too often where volatility clusters;
    `wild_bootstrap` does not. In-sample.
    """

    statistic: float
    p_value: float
    lag: int
    n_obs: int
    alpha: float
    beta: float
    r_squared: float


@dataclass(frozen=True, slots=True)
class BootstrapResult:
    """Bootstrap p-values of both directions, and p = min(1, 2 · the smaller).

    ``n``: the rows tested, after resampling.
    """

    p_y_on_x: float
    p_x_on_y: float
    p: float
    n: int
    replicates: int
    seed: int


@dataclass(frozen=True, slots=True)
class Johansen:
    """Johansen's statistics for rank 0 and rank ≤ 1, each with its 90, 95 and 99% values.

    ``beta`` is the hedge ratio of the leading vector v: −v₂/v₁, so that y − β·x comes back.
    """

    trace_statistic: Two
    trace_critical: tuple[Critical, Critical]
    max_eig_statistic: Two
    max_eig_critical: tuple[Critical, Critical]
    beta: float


def engle_granger(y: ArrayLike, x: ArrayLike) -> EngleGranger:
    """Test y and x, arrays (n,) of one scale and alignment, for cointegration.

    Equals ``statsmodels.tsa.stattools.coint(y, x)``: constant, lags by AIC. Raises NotEnoughData
    below 21 bars, DataError where a leg is constant or both are the same asset.
    """
    first, second = demand_pair(y, x, LEAST_BARS)
    demand_movement(first, "y")
    demand_movement(second, "x")
    (dy, mean_y, scale_y), (dx, mean_x, scale_x) = _centred(first), _centred(second)
    slope = float(dx @ dy / (dx @ dx))
    rest = dy - slope * dx
    unexplained = float(rest @ rest / (dy @ dy))
    _demand_two_assets(unexplained)
    found = adf(rest, constant=False)
    beta = slope * scale_y / scale_x
    return EngleGranger(
        statistic=found.statistic,
        p_value=mackinnon_p(found.statistic, constant=True, series=2),
        lag=found.lag,
        n_obs=found.n_obs,
        alpha=mean_y - beta * mean_x,
        beta=beta,
        r_squared=1.0 - unexplained,
    )


def wild_bootstrap(
    y: ArrayLike,
    x: ArrayLike,
    *,
    replicates: int = 199,
    seed: int = 7,
    max_bars: int = 1440,
) -> BootstrapResult:
    """Return Engle-Granger p-values that hold where volatility moves and clusters.

    Every ⌈n/max_bars⌉-th row is kept, the last one always. A replicate gives both legs' changes
    one common random sign a row and cumulates them: the volatility path and the legs' correlation
    stay, any return to a mean goes. The whole test is done again on each, lags included;
    p = (1 + #{statistic* ≤ statistic}) / (replicates + 1). A replicate that cannot be tested
    counts as extreme. The same seed gives the same answer. Raises as `engle_granger` does.
    """
    if replicates < 1 or max_bars < 1:
        raise DataError(f"{replicates} replicates of {max_bars} bars; both must be at least 1")
    first, second = demand_pair(y, x, LEAST_BARS)
    step = -(-len(first) // max_bars)
    kept = slice((len(first) - 1) % step, None, step)
    first, second = demand_pair(first[kept], second[kept], LEAST_BARS)
    demand_movement(first, "y")
    demand_movement(second, "x")
    dy, dx = _centred(first)[0], _centred(second)[0]
    _demand_two_assets(1.0 - float(dx @ dy) ** 2 / float((dx @ dx) * (dy @ dy)))
    signs = np.random.default_rng(seed).integers(0, 2, (replicates, len(dy) - 1), np.int8)
    signs = 2.0 * signs - 1.0
    tested = adf_batch(_residuals(_walks(dy, signs), _walks(dx, signs)), constant=False)
    y_on_x, x_on_y = (_share(found) for found in np.split(tested.statistic, 2))
    p = min(1.0, 2.0 * min(y_on_x, x_on_y))
    return BootstrapResult(y_on_x, x_on_y, p, len(dy), replicates, seed)


def johansen(y: ArrayLike, x: ArrayLike) -> Johansen:
    """Test y and x for cointegration with a constant and one lagged difference.

    Equals ``statsmodels.tsa.vector_ar.vecm.coint_johansen([y, x], 0, 1)``. The eigenvalues are
    squared canonical correlations of the changes and the levels before them, net of the lagged
    changes, from one QR of all columns. Raises as `engle_granger` does.
    """
    first, second = demand_pair(y, x, LEAST_BARS)
    demand_movement(first, "y")
    demand_movement(second, "x")
    (dy, _, scale_y), (dx, _, scale_x) = _centred(first), _centred(second)
    rest = dy - (dx @ dy / (dx @ dx)) * dx
    _demand_two_assets(float(rest @ rest / (dy @ dy)))
    upper = upper_of(_var_columns(dy, dx))
    # The rows of levels and changes; those of the lagged changes are what is taken off.
    levels, both, alone = upper[2:4, 2:4], upper[2:4, 4:], upper[4:, 4:]
    changes = upper_of(np.vstack([both, alone]))
    for block in (levels, changes):
        if np.abs(np.diag(block)).min() <= 1e-12 * np.abs(block).max():
            raise DataError("the legs move in too few bars for Johansen's test")
    vectors, correlations, _ = np.linalg.svd(np.linalg.solve(changes.T, both.T).T)
    if correlations[0] >= 1.0 - 1e-12:
        raise DataError("the legs' changes follow from their levels exactly; nothing to test")
    rows = len(dy) - 2
    first_eig, second_eig = (float(v) for v in -rows * np.log1p(-(correlations**2)))
    leading = np.linalg.solve(levels, vectors[:, 0])
    beta = -float(leading[1] / leading[0]) * scale_y / scale_x
    return Johansen(
        (first_eig + second_eig, second_eig),
        TRACE_CRITICAL,
        (first_eig, second_eig),
        MAX_EIG_CRITICAL,
        beta,
    )


def _centred(values: Floats) -> tuple[Floats, float, float]:
    """Return the values centred and scaled to 1 at most, with their mean and that scale."""
    mean = float(values.mean())
    centred = values - mean
    # Again: the mean was rounded to the last digit of the level.
    centred -= centred.mean()
    scale = float(np.abs(centred).max())
    return centred / scale, mean, scale


def _demand_two_assets(unexplained: float) -> None:
    if unexplained <= SAME_ASSET:
        raise DataError(
            f"the legs are the same asset: 1 − R² is {unexplained:.2g}, at or below "
            f"{SAME_ASSET:.2g}; choose another leg"
        )


def _share(statistics: Floats) -> float:
    """Return the bootstrap p-value of the first statistic among the others."""
    if np.isnan(statistics[0]):
        raise DataError(
            "the residuals follow their own past exactly: the legs move in too few bars; choose a "
            "longer range"
        )
    # Not greater, rather than less or equal: NaN counts as extreme.
    extreme = int(np.count_nonzero(~(statistics[1:] > statistics[0])))
    return (1 + extreme) / len(statistics)


def _walks(values: Floats, signs: Floats) -> Floats:
    """Return the series itself, then its changes cumulated with each row of signs: (B + 1, n)."""
    found = np.zeros((len(signs) + 1, len(values)))
    found[0] = values
    np.cumsum(signs * np.diff(values), axis=1, out=found[1:, 1:])
    return found


def _residuals(ys: Floats, xs: Floats) -> Floats:
    """Return the residuals of each row of ys on xs, then of xs on ys: (2m, n)."""
    ys -= ys.mean(axis=1, keepdims=True)
    xs -= xs.mean(axis=1, keepdims=True)
    both = np.einsum("mt,mt->m", ys, xs)
    on_x = both / np.einsum("mt,mt->m", xs, xs)
    on_y = both / np.einsum("mt,mt->m", ys, ys)
    return np.concatenate([ys - on_x[:, None] * xs, xs - on_y[:, None] * ys])


def _var_columns(y: Floats, x: Floats) -> Floats:
    """Return centred columns: lagged changes, levels before, changes; y then x: (n − 2, 6)."""
    found = np.empty((6, len(y) - 2))
    for place, values in enumerate((y, x)):
        steps = np.diff(values)
        found[place] = steps[:-1]
        found[2 + place] = values[1:-1]
        found[4 + place] = steps[1:]
    found -= found.mean(axis=1, keepdims=True)
    return found.T
