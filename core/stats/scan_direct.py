"""One pair of a scan from its bars: explicit residuals, and a QR of the regression's columns.

For the few pairs whose products lost too many digits, and the same for each as for all others:
the line over the common bars, the regression over the steps whose ``lag`` predecessors are there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from core.stats.arrays import FLAT, Floats
from core.stats.hedge import SAME_ASSET
from core.stats.lagged import LAST_DIGITS, LEAST_REST, upper_of
from core.stats.scan_legs import Bools
from core.stats.scan_moments import half_life_of
from core.stats.scan_planes import LEVEL, LagChoice


@dataclass(frozen=True, slots=True)
class DirectPair:
    """One pair's figures in the units of its legs; see `core.stats.scan_moments.Fit`.

    ``statistic`` is NaN and ``lag`` −1 where the pair is one asset, or its residuals follow from
    their own past exactly.
    """

    slope: float
    shift: float
    unexplained: float
    squares: float
    last: float
    half_life: float
    statistic: float
    lag: int
    rows: int


def direct_pair(
    y: Floats, x: Floats, known: Bools, lag: int, choice: LagChoice
) -> DirectPair | None:
    """Return the figures of two legs (T,) over the known bars; None where one stands still.

    At least one row of the regression must leave a degree of freedom.
    """
    dy, dx = _centred(y, known), _centred(x, known)
    if dy is None or dx is None:
        return None
    (first, mean_y), (second, mean_x) = dy, dx
    slope = float((first * second).sum() / (second * second).sum())
    rest = np.where(known, first - slope * second, 0.0)
    squares = float((rest * rest).sum())
    unexplained = squares / float((first * first).sum())
    statistic, chosen, rows = math.nan, -1, 0
    if unexplained > SAME_ASSET:
        statistic, chosen, rows = _tested(rest, known, lag, choice)
    return DirectPair(
        slope=slope,
        shift=mean_y - slope * mean_x,
        unexplained=unexplained,
        squares=squares,
        last=float(rest[np.flatnonzero(known)[-1]]),
        half_life=_half_life(rest, known),
        statistic=statistic,
        lag=chosen,
        rows=rows,
    )


def _centred(values: Floats, known: Bools) -> tuple[Floats, float] | None:
    """Return the known values less their mean, 0 elsewhere, and the mean; None for no movement."""
    size = float(np.abs(values[known]).max())
    mean = 0.0
    for _ in range(2):
        step = float(values[known].mean())
        values, mean = np.where(known, values - step, 0.0), mean + step
    return None if np.abs(values).max() <= FLAT * size else (values, mean)


def _tested(rest: Floats, known: Bools, lag: int, choice: LagChoice) -> tuple[float, int, int]:
    chosen = lag
    if choice == "aic":
        columns = _columns(rest, known, lag, [LEVEL, *range(1, lag + 1), 0])
        upper = _factor(columns, rest)
        if upper is None:
            return math.nan, -1, 0
        unexplained = np.cumsum(upper[::-1, -1][: lag + 1] ** 2)[::-1]
        aic = len(columns) * np.log(unexplained) + 2.0 * np.arange(lag + 1)
        chosen = int(np.argmin(aic))
    columns = _columns(rest, known, chosen, [*range(1, chosen + 1), LEVEL, 0])
    upper = _factor(columns, rest)
    if upper is None:
        return math.nan, -1, 0
    freedom = len(columns) - chosen - 1
    pull = upper[-2, -1] * np.sign(upper[-2, -2])
    return float(pull / abs(upper[-1, -1]) * math.sqrt(freedom)), chosen, len(columns)


def _columns(rest: Floats, known: Bools, lag: int, order: list[int]) -> Floats:
    """Return the regression's columns (rows, lag + 2): steps t−k by their k, and the level."""
    steps = np.diff(rest)
    is_row = np.ones(len(steps) - lag, dtype=bool)
    for at in range(lag + 2):
        is_row &= known[at : at + len(is_row)]
    rows = np.flatnonzero(is_row) + lag
    found = np.empty((len(rows), lag + 2))
    for place, column in enumerate(order):
        found[:, place] = rest[rows] if column == LEVEL else steps[rows - column]
    return found


def _factor(columns: Floats, rest: Floats) -> Floats | None:
    """Return the columns' upper factor; None where one follows from those before to rounding."""
    upper = upper_of(columns)
    least = LEAST_REST * np.linalg.norm(upper, axis=0)
    grain = float(np.finfo(np.float64).eps * np.abs(rest).max())
    least = np.maximum(least, LAST_DIGITS * grain * math.sqrt(len(columns)))
    return None if (np.abs(np.diag(upper)) <= least).any() else upper


def _half_life(rest: Floats, known: Bools) -> float:
    is_step = known[:-1] & known[1:]
    before, steps = rest[:-1][is_step], np.diff(rest)[is_step]
    before, steps = before - before.mean(), steps - steps.mean()
    nothing = np.zeros(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = half_life_of(
            float(len(steps)),
            nothing,
            nothing,
            np.array([(before * before).sum()]),
            np.array([(before * steps).sum()]),
        )
    return float(found[0])
