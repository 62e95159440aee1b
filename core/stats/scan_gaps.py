"""Cross-products of many pairs' residuals where bars are missing: masks as further products.

A pair's line stands on the bars that both legs have. A regression's row is a step t whose levels
t − lag … t + 1 both legs have, so no return leads across a missing bar and none is made up. Which
rows a pair has is the product of its legs' masks, so every sum over them is a matrix product of
masked columns, about (p + 1)(p + 2)·2 + 6p of them for p lags instead of p + 2.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from core.stats.arrays import Floats, Ints
from core.stats.scan_legs import Bools, Legs, products
from core.stats.scan_moments import Fit, Sample, half_life_of

# Below this share of a leg's squares about its pair's mean, 1 − R² is not known from sums.
LEAST_CLEARED = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class GapMoments:
    """What knows the products of pairs with missing bars; each lag's are made once, in planes.

    ``cleared`` is the share of each pair's squares that is left after its means are taken off.
    """

    y: Legs
    x: Legs
    slope: Floats
    shift: Floats
    cleared: Floats
    made: dict[int, Sample] = field(default_factory=dict)

    def sample(self, lag: int, pairs: Ints | None = None) -> Sample:
        """Return one regression's products; see `core.stats.scan_moments.Moments`."""
        if lag not in self.made:
            self.made[lag] = self._sample(lag)
        return self.made[lag] if pairs is None else _some(self.made[lag], pairs)

    def _sample(self, lag: int) -> Sample:
        y, x = Columns(self.y, lag), Columns(self.x, lag)
        rows = products(y.mask, x.mask)
        level, terms = self._level(y, x, rows)
        kept = np.minimum(self.cleared, level / terms)
        steps = []
        for a in range(lag + 1):
            steps.append([self._steps(y, x, a, b) for b in range(a, lag + 1)])
            kept = np.minimum(kept, steps[a][0] / self._step_terms(y, x, a))
        mixed = [self._mixed(y, x, k) for k in range(lag + 1)]
        return Sample(lag, rows, steps, level, mixed, kept)

    def _level(self, y: Columns, x: Columns, rows: Floats) -> tuple[Floats, Floats]:
        b, c = self.slope, self.shift
        own = products(y.level * y.level, x.mask)
        other = b * b * products(y.mask, x.level * x.level)
        shared = b * products(y.level, x.level)
        ends = c * (products(y.level, x.mask) - b * products(y.mask, x.level))
        return own + other + c * c * rows - 2.0 * (shared + ends), own + other + c * c * rows

    def _steps(self, y: Columns, x: Columns, a: int, b: int) -> Floats:
        first, second = y.step(a), y.step(b)
        third, fourth = x.step(a), x.step(b)
        own = products(first * second, x.mask)
        other = products(y.mask, third * fourth)
        shared = products(first, fourth) + products(second, third)
        return own - self.slope * (shared - self.slope * other)

    def _step_terms(self, y: Columns, x: Columns, k: int) -> Floats:
        own = products(y.step(k) ** 2, x.mask)
        return own + self.slope * self.slope * products(y.mask, x.step(k) ** 2)

    def _mixed(self, y: Columns, x: Columns, k: int) -> Floats:
        first, second = y.step(k), x.step(k)
        own = products(y.level * first, x.mask)
        other = products(y.mask, x.level * second)
        shared = products(y.level, second) + products(first, x.level)
        return own - self.slope * (shared - self.slope * other) - self.shift * self.moved(y, x, k)

    def moved(self, y: Columns, x: Columns, k: int) -> Floats:
        """Return Σ step t−k of the residuals."""
        return products(y.step(k), x.mask) - self.slope * products(y.mask, x.step(k))


class Columns:
    """One tile's columns over the rows of a regression, (TILE, C), 0 in other rows."""

    def __init__(self, legs: Legs, lag: int) -> None:
        self.legs = legs
        self.mask = _window(legs.known, lag).astype(np.float64)
        self.level = legs.levels * self.mask
        self.lagged: dict[int, Floats] = {}

    def step(self, k: int) -> Floats:
        """Return the steps t−k."""
        if k not in self.lagged:
            found = np.zeros_like(self.mask)
            width = found.shape[1] - k
            np.multiply(self.legs.steps[:, :width], self.mask[:, k:], out=found[:, k:])
            self.lagged[k] = found
        return self.lagged[k]


def _window(known: Bools, lag: int) -> Bools:
    """Return whether levels t − lag … t + 1 are all there, for each t."""
    found = np.zeros_like(known)
    width = known.shape[1]
    inner = found[:, lag : width - 1]
    inner[:] = True
    for at in range(lag + 2):
        inner &= known[:, at : at + inner.shape[1]]
    return found


def _some(sample: Sample, pairs: Ints) -> Sample:
    def few(planes: list[Floats]) -> list[Floats]:
        return [plane.ravel()[pairs] for plane in planes]

    return Sample(
        sample.lag,
        np.asarray(sample.rows).ravel()[pairs],
        [few(row) for row in sample.steps],
        sample.level.ravel()[pairs],
        few(sample.mixed),
        sample.kept.ravel()[pairs],
    )


def gap_fit(y: Legs, x: Legs) -> tuple[Fit, GapMoments]:
    """Return the lines of one tile on another over each pair's common bars, and their moments."""
    mask_y, mask_x = y.known.astype(np.float64), x.known.astype(np.float64)
    bars = products(mask_y, mask_x)
    sum_y, sum_x = products(y.levels, mask_x), products(mask_y, x.levels)
    raw_yy, raw_xx = products(y.levels**2, mask_x), products(mask_y, x.levels**2)
    yy, xx = raw_yy - sum_y * sum_y / bars, raw_xx - sum_x * sum_x / bars
    shared = products(y.levels, x.levels) - sum_y * sum_x / bars
    slope = shared / xx
    shift = (sum_y - slope * sum_x) / bars
    squares = yy - slope * shared
    cleared = np.minimum(yy / raw_yy, xx / raw_xx)
    moments = GapMoments(y, x, slope, shift, cleared)
    one = moments.sample(0)
    first, second = Columns(y, 0), Columns(x, 0)
    moved = moments.moved(first, second, 0)
    level = products(first.level, second.mask) - slope * products(first.mask, second.level)
    level -= shift * one.rows
    return Fit(
        slope=slope,
        shift=shift,
        # A leg that hardly moves on the common bars: its bars must say what is left of it.
        unexplained=np.where(cleared >= LEAST_CLEARED, squares / yy, np.nan),
        squares=squares,
        bars=bars,
        last=_last_residuals(y, x, slope, shift),
        half_life=half_life_of(one.rows, level, moved, one.level, one.mixed[0]),
        correlation=_correlation(first, second, one.rows),
    ), moments


def _correlation(y: Columns, x: Columns, rows: Floats | float) -> Floats:
    """Return the correlation of the steps that both legs have."""
    first, second = y.step(0), x.step(0)
    sum_y, sum_x = products(first, x.mask), products(y.mask, second)
    yy = products(first * first, x.mask) - sum_y * sum_y / rows
    xx = products(y.mask, second * second) - sum_x * sum_x / rows
    shared = products(first, second) - sum_y * sum_x / rows
    return np.asarray(np.clip(shared / np.sqrt(yy * xx), -1.0, 1.0))


def _last_residuals(y: Legs, x: Legs, slope: Floats, shift: Floats) -> Floats:
    """Return each pair's residual at the last bar that both legs have, NaN for none."""
    found = np.full_like(slope, np.nan)
    is_open = np.ones(slope.shape, dtype=bool)
    for bar in range(y.bars - 1, -1, -1):
        here = is_open & (y.known[:, bar, None] & x.known[:, bar])
        if here.any():
            residual = y.levels[:, bar, None] - shift - slope * x.levels[:, bar]
            found[here] = residual[here]
            is_open &= ~here
            if not is_open.any():
                break
    return found
