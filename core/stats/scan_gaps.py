"""Cross-products of many pairs' residuals where bars are missing: masks as further products.

A pair's line stands on the bars that both legs have. A regression's row is a step t whose levels
t − lag … t + 1 both legs have, so no return leads across a missing bar and none is made up. Which
rows a pair has is the product of its legs' masks, so every sum over them is a matrix product of
masked columns: about (p + 1)(2p + 9) of them for p lags, instead of p + 2.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from core.stats.arrays import Floats, Ints
from core.stats.scan_legs import Bools, Legs, products
from core.stats.scan_moments import Fit, Sample, half_life_of

# Below this share of a leg's squares about its pair's mean, 1 − R² is not known from sums.
LEAST_CLEARED = 1e-6
# A column is a product of parts: LEVEL, and steps t−k by their k. ONE is none of them, the mask.
LEVEL = -1
ONE: tuple[int, ...] = ()
Column = tuple[int, ...]


class Columns:
    """One tile's columns over the rows of a regression, (TILE, C), 0 in other rows."""

    def __init__(self, legs: Legs, mask: Bools) -> None:
        self._legs = legs
        self._made: dict[Column, Floats] = {ONE: mask.astype(np.float64)}

    def of(self, column: Column) -> Floats:
        """Return the product of the column's parts; those of two are needed once, and not kept."""
        if len(column) > 1:
            return self.of(column[:1]) * self.of(column[1:])
        if column not in self._made:
            self._made[column] = self._made[ONE] * self._part(*column)
        return self._made[column]

    def _part(self, part: int) -> Floats:
        if part == LEVEL:
            return self._legs.levels
        earlier = np.zeros_like(self._legs.steps)
        earlier[:, part:] = self._legs.steps[:, : earlier.shape[1] - part]
        return earlier


class Sums:
    """The sums over each pair's rows of one column of y times one of x, each made once."""

    def __init__(self, y: Columns, x: Columns) -> None:
        self._y, self._x = y, x
        self._made: dict[tuple[Column, Column], Floats] = {}

    def __call__(self, y: Column, x: Column) -> Floats:
        """Return Σ y · x, a plane."""
        if (y, x) not in self._made:
            self._made[y, x] = products(self._y.of(y), self._x.of(x))
        return self._made[y, x]

    def own(self, column: Column, slope: Floats) -> tuple[Floats, Floats]:
        """Return Σ of a column of two parts over y, and slope² times that over x."""
        return self(column, ONE), slope * slope * self(ONE, column)

    def crossed(self, first: int, second: int) -> Floats:
        """Return Σ first of y · second of x + second of y · first of x."""
        return self((first,), (second,)) + self((second,), (first,))


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
            self.made[lag] = self.sample_of(sums_of(self.y, self.x, lag), lag)
        return self.made[lag] if pairs is None else _some(self.made[lag], pairs)

    def sample_of(self, sums: Sums, lag: int) -> Sample:
        """Return the products of residuals from the sums of their legs."""
        level, kept = self._level(sums)
        kept = np.minimum(kept, self.cleared)
        steps = []
        for a in range(lag + 1):
            steps.append([self._product(sums, a, b) for b in range(a, lag + 1)])
            own, other = sums.own((a, a), self.slope)
            kept = np.minimum(kept, steps[a][0] / (own + other))
        mixed = [
            self._product(sums, LEVEL, k) - self.shift * self.moved(sums, k) for k in range(lag + 1)
        ]
        return Sample(lag, sums(ONE, ONE), steps, level, mixed, kept)

    def _level(self, sums: Sums) -> tuple[Floats, Floats]:
        """Return Σ (level t)², and the share of its terms that did not cancel."""
        b, c = self.slope, self.shift
        own, other = sums.own((LEVEL, LEVEL), b)
        terms = own + other + c * c * sums(ONE, ONE)
        ends = sums((LEVEL,), ONE) - b * sums(ONE, (LEVEL,))
        level = terms - 2.0 * (b * sums((LEVEL,), (LEVEL,)) + c * ends)
        return level, level / terms

    def _product(self, sums: Sums, a: int, b: int) -> Floats:
        """Return Σ of two parts of y − slope·x."""
        own, other = sums.own((a, b), self.slope)
        return own - self.slope * sums.crossed(a, b) + other

    def moved(self, sums: Sums, k: int) -> Floats:
        """Return Σ step t−k."""
        return sums((k,), ONE) - self.slope * sums(ONE, (k,))


def sums_of(y: Legs, x: Legs, lag: int) -> Sums:
    """Return the sums over the rows of the regression with so many lags."""
    return Sums(Columns(y, _window(y.known, lag)), Columns(x, _window(x.known, lag)))


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
    sums = Sums(Columns(y, y.known), Columns(x, x.known))
    one, level, square = ONE, (LEVEL,), (LEVEL, LEVEL)
    bars = sums(one, one)
    sum_y, sum_x = sums(level, one), sums(one, level)
    yy, xx = sums(square, one) - sum_y * sum_y / bars, sums(one, square) - sum_x * sum_x / bars
    shared = sums(level, level) - sum_y * sum_x / bars
    slope = shared / xx
    shift = (sum_y - slope * sum_x) / bars
    squares = yy - slope * shared
    cleared = np.minimum(yy / sums(square, one), xx / sums(one, square))
    moments = GapMoments(y, x, slope, shift, cleared)
    return Fit(
        slope=slope,
        shift=shift,
        # A leg that hardly moves on the common bars: its bars must say what is left of it.
        unexplained=np.where(cleared >= LEAST_CLEARED, squares / yy, np.nan),
        squares=squares,
        bars=bars,
        last=_last_residuals(y, x, slope, shift),
        **_step_figures(moments),
    ), moments


def _step_figures(moments: GapMoments) -> dict[str, Floats]:
    """Return half-life and correlation, over the steps that both legs have."""
    sums = sums_of(moments.y, moments.x, 0)
    moments.made[0] = sample = moments.sample_of(sums, 0)
    rows = sums(ONE, ONE)
    level = sums((LEVEL,), ONE) - moments.slope * sums(ONE, (LEVEL,)) - moments.shift * rows
    sum_y, sum_x = sums((0,), ONE), sums(ONE, (0,))
    yy, xx = sums((0, 0), ONE) - sum_y * sum_y / rows, sums(ONE, (0, 0)) - sum_x * sum_x / rows
    shared = sums((0,), (0,)) - sum_y * sum_x / rows
    return {
        "half_life": half_life_of(
            rows, level, moments.moved(sums, 0), sample.level, sample.mixed[0]
        ),
        "correlation": np.asarray(np.clip(shared / np.sqrt(yy * xx), -1.0, 1.0)),
    }


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
