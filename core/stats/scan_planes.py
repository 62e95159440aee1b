"""The unit-root test of many pairs at once, by elimination on planes of cross-products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.stats.arrays import Floats, Ints
from core.stats.scan_legs import Bools
from core.stats.scan_moments import Moments, Sample

LagChoice = Literal["fixed", "aic"]

# What cancellation and collinearity must leave of every square, their product; below it a pair is
# computed from its bars. At this share statistics were off by 6e-11 at most (1,440 and 10,080
# bars, 0 to 10 lags, against coint of centred legs); twice the 1e-5 that 1 − R² must never pass.
LEAST_KEPT = 2e-5
# The regression's columns: steps t−k by their k, the target being 0, and the level.
TARGET, LEVEL = 0, -1


@dataclass(frozen=True, slots=True, eq=False)
class Tested:
    """The statistics of a tile's pairs, in planes; ``kept`` is what `LEAST_KEPT` is held to.

    ``rows`` of the final regression, ``least_rows`` of that with the most lags.
    """

    statistic: Floats
    lag: Ints
    rows: Floats
    least_rows: Floats
    kept: Floats


def tested(moments: Moments, lag: int, choice: LagChoice) -> Tested:
    """Test each pair with exactly so many lags, or with as many up to that as AIC chooses.

    All candidates stand on the sample of the longest, as in `core.stats.adf`; the chosen one is
    then fitted on its own longer sample.
    """
    sample = moments.sample(lag)
    shape = sample.level.shape
    least_rows = np.array(np.broadcast_to(sample.rows, shape), dtype=np.float64)
    if choice == "fixed":
        statistic, kept = _t_value(sample)
        lags = np.full(shape, lag, dtype=np.int64)
        return Tested(statistic, lags, least_rows.copy(), least_rows, kept)
    chosen, kept = _least_aic(sample)
    flat, kept = chosen.ravel(), kept.ravel()
    statistic, rows = np.empty(chosen.size), np.empty(chosen.size)
    for candidate in np.unique(flat):
        pairs = np.flatnonzero(flat == candidate)
        sample = moments.sample(int(candidate), pairs)
        statistic[pairs], own = _t_value(sample)
        kept[pairs] = np.minimum(kept[pairs], own)
        rows[pairs] = sample.rows
    return Tested(
        statistic.reshape(shape), chosen, rows.reshape(shape), least_rows, kept.reshape(shape)
    )


def _t_value(sample: Sample) -> tuple[Floats, Floats]:
    """Return the t-value of the level beside all lagged steps, and what was kept of squares."""
    columns = [*range(1, sample.lag + 1), LEVEL, TARGET]
    matrix = _matrix(sample, columns)
    share = np.full_like(sample.level, np.inf)
    for place in range(sample.lag):
        share = np.minimum(share, _eliminate(matrix, place) / _square(sample, columns[place]))
    level, pull, target = matrix[-2][-1], matrix[-1][-2], matrix[-1][-1]
    rest = target - pull * pull / level
    share = np.minimum(share, level / sample.level)
    share = np.minimum(share, rest / sample.steps[0][0])
    freedom = sample.rows - (sample.lag + 1.0)
    return pull / np.sqrt(level * (rest / freedom)), share * sample.kept


def _least_aic(sample: Sample) -> tuple[Ints, Floats]:
    """Return the lag of least AIC, the shorter of two equal ones, and what was kept of squares."""
    columns = [LEVEL, *range(1, sample.lag + 1), TARGET]
    matrix = _matrix(sample, columns)
    share = np.full_like(sample.level, np.inf)
    least = np.full_like(sample.level, np.inf)
    lag = np.zeros(sample.level.shape, dtype=np.int64)
    for place in range(sample.lag + 1):
        share = np.minimum(share, _eliminate(matrix, place) / _square(sample, columns[place]))
        aic = sample.rows * np.log(matrix[-1][-1]) + 2.0 * place
        is_less: Bools = aic < least
        least = np.where(is_less, aic, least)
        lag[is_less] = place
    share = np.minimum(share, matrix[-1][-1] / sample.steps[0][0])
    return lag, share * sample.kept


def _matrix(sample: Sample, columns: list[int]) -> list[list[Floats]]:
    """Return the lower triangle of the columns' cross-products."""
    return [[_product(sample, row, column) for column in columns[: at + 1]]
            for at, row in enumerate(columns)]  # fmt: skip


def _product(sample: Sample, first: int, second: int) -> Floats:
    low, high = sorted((first, second))
    if high == LEVEL:
        return sample.level
    return sample.mixed[high] if low == LEVEL else sample.steps[low][high - low]


def _square(sample: Sample, column: int) -> Floats:
    return _product(sample, column, column)


def _eliminate(matrix: list[list[Floats]], place: int) -> Floats:
    """Take a column off those after it, and return its own rest."""
    pivot = matrix[place][place]
    for row in range(place + 1, len(matrix)):
        factor = matrix[row][place] / pivot
        for column in range(place + 1, row + 1):
            matrix[row][column] = matrix[row][column] - factor * matrix[column][place]
    return pivot
