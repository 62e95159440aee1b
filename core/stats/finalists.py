"""What the few pairs that a scan selects must stand: every test of a pair, and a later window.

All functions are pure and their results can be pickled, so a pool of processes may share the work.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from core.errors import DataError, NotEnoughData
from core.stats.adf import AdfResult, adf
from core.stats.arrays import Floats, Ints
from core.stats.cointegration import (
    LEAST_BARS,
    BootstrapResult,
    EngleGranger,
    Johansen,
    engle_granger,
    johansen,
    wild_bootstrap,
)
from core.stats.hedge import ols, residuals
from core.stats.multiple_testing import q_values


@dataclass(frozen=True, slots=True)
class Finalist:
    """The tests of one pair over its ``n`` common bars, closed up where bars are missing."""

    y_on_x: EngleGranger
    x_on_y: EngleGranger
    johansen: Johansen
    bootstrap: BootstrapResult
    n: int


@dataclass(frozen=True, slots=True, eq=False)
class Confirmations:
    """ADF with constant of k frozen spreads in a later window, arrays (k,).

    ``q_value`` is Benjamini-Hochberg's over those that could be tested; NaN and lag −1 for others.
    """

    statistic: Floats
    p_value: Floats
    q_value: Floats
    lag: Ints
    n_obs: Ints


def finalist(
    y: ArrayLike, x: ArrayLike, *, replicates: int = 199, seed: int = 7, max_bars: int = 1440
) -> Finalist:
    """Return all tests of one pair, levels (T,) with NaN where a leg has no bar.

    Lags by AIC up to the longest; the wild bootstrap with so many replicates of at most
    ``max_bars`` bars. The same seed gives the same answer. Raises as `engle_granger` does.
    """
    first, second = _common(y, x)
    return Finalist(
        y_on_x=engle_granger(first, second),
        x_on_y=engle_granger(second, first),
        johansen=johansen(first, second),
        bootstrap=wild_bootstrap(
            first, second, replicates=replicates, seed=seed, max_bars=max_bars
        ),
        n=len(first),
    )


def confirmation(y: ArrayLike, x: ArrayLike, alpha: float, beta: float) -> AdfResult:
    """Test the spread y − α − βx of a later window, α and β of the training window.

    Levels (T,), NaN where a leg has no bar. The null is a unit root, with a constant: the later
    mean may be another. Its textbook p-value holds, as nothing was estimated on this window.
    Raises NotEnoughData below 21 common bars, DataError as `adf` does.
    """
    first, second = _common(y, x)
    if len(first) < LEAST_BARS:
        raise NotEnoughData(
            f"the pair has {len(first):,} common bars in the later window; {LEAST_BARS} are needed"
        )
    return adf(residuals(first, second, alpha, beta))


def confirmations(
    y: ArrayLike, x: ArrayLike, pairs: ArrayLike, alpha: ArrayLike, beta: ArrayLike
) -> Confirmations:
    """Test the frozen spreads of k pairs (k, 2), columns of the later panels (T, N_y) and (T, N_x).

    ``alpha`` and ``beta`` (k,) are those of the training window. Raises DataError where their
    numbers differ, or a column is not there.
    """
    first, second = np.asarray(y, dtype=np.float64), np.asarray(x, dtype=np.float64)
    places = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    shifts, slopes = np.asarray(alpha, np.float64).ravel(), np.asarray(beta, np.float64).ravel()
    if not len(places) == len(shifts) == len(slopes):
        raise DataError(
            f"{len(places)} pairs with {len(shifts)} alphas and {len(slopes)} betas; give one each"
        )
    for column, panel in ((0, first), (1, second)):
        wrong = places[(places[:, column] < 0) | (places[:, column] >= panel.shape[1]), column]
        if wrong.size:
            raise DataError(f"column {wrong[0]} of {panel.shape[1]}; give columns that are there")
    found: list[AdfResult | None] = []
    for (row, column), shift, slope in zip(places, shifts, slopes, strict=True):
        try:
            found.append(confirmation(first[:, row], second[:, column], float(shift), float(slope)))
        except DataError:
            found.append(None)
    return _batch(found)


def level_p(y: ArrayLike, x: ArrayLike, alpha: float, beta: float) -> float:
    """Return the p-value of the same spread's unit root without a constant.

    It is small only where the spread returns to the mean that it was trained at; `confirmation`
    lets it return to another. Raises as `adf` does.
    """
    first, second = _common(y, x)
    return adf(residuals(first, second, alpha, beta), constant=False).p_value


def explained_p(
    leg: ArrayLike, partner: ArrayLike, other: ArrayLike, *, replicates: int = 199
) -> float:
    """Return the bootstrap p-value of a pair once a leg's spread against ``partner`` is taken off.

    A leg that departs from a walk for a while and comes back seems to come back to every other
    symbol too. With its line on the better partner in its place, a small value means that the
    pair returns by itself, a large one that its return was the better pair's. Levels (T,), NaN
    where a leg has no bar. Raises as `engle_granger` does.
    """
    known = np.isfinite(np.asarray(leg) + np.asarray(partner) + np.asarray(other))
    near, far = np.asarray(partner)[known], np.asarray(other)[known]
    fit = ols(np.asarray(leg)[known], near)
    return wild_bootstrap(fit.alpha + fit.beta * near, far, replicates=replicates).p


def _batch(found: list[AdfResult | None]) -> Confirmations:
    p = np.array([np.nan if one is None else one.p_value for one in found])
    return Confirmations(
        statistic=np.array([np.nan if one is None else one.statistic for one in found]),
        p_value=p,
        q_value=q_values(p, "bh"),
        lag=np.array([-1 if one is None else one.lag for one in found], dtype=np.int64),
        n_obs=np.array([0 if one is None else one.n_obs for one in found], dtype=np.int64),
    )


def _common(y: ArrayLike, x: ArrayLike) -> tuple[Floats, Floats]:
    """Return both legs' levels in the rows that both have."""
    first, second = np.asarray(y, dtype=np.float64), np.asarray(x, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise DataError(f"y is {first.shape} and x {second.shape}; give both one value a bar")
    known = ~(np.isnan(first) | np.isnan(second))
    return first[known], second[known]
