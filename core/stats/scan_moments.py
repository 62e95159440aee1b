"""Cross-products of many pairs' residuals from those of their legs: no pair's bars are touched.

The residual e = y − α − βx is linear in the legs, so each product of it is
[yy] − β·([yx] + [xy]) + β²·[xx], and a few symbol × symbol matrices hold all of them. A shift in
time needs no matrix of its own: Σ step t−i · step t−j follows from that of t and t−(j−i) by what
enters and leaves at the ends, and Σ level t · step t = ½(e²_N − e²_0 − Σ (step t)²). So a
regression with p lags costs p + 2 matrices. This is for symbols without a missing bar; pairs with
one are in `scan_gaps`. An array with one value a pair of the tile is called a plane.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from core.stats.arrays import Floats, Ints
from core.stats.scan_legs import Legs, products, shifted


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """The products of one regression, in planes; step t leads from level t to level t + 1.

    ``rows`` of the regression; ``steps[a][b − a]`` Σ step t−a · step t−b for a ≤ b ≤ ``lag``;
    ``level`` Σ (level t)²; ``mixed[k]`` Σ level t · step t−k. ``kept`` is the least share of a
    square's terms that did not cancel.
    """

    lag: int
    rows: Floats | float
    steps: list[list[Floats]]
    level: Floats
    mixed: list[Floats]
    kept: Floats


class Moments(Protocol):
    """What knows the products of every regression up to a lag."""

    def sample(self, lag: int, pairs: Ints | None = None) -> Sample:
        """Return one regression's products, of all pairs or of some places in the flat planes."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """The line of each pair, y = shift + slope·x in the units of its legs, in planes.

    ``unexplained`` is 1 − R²; ``squares`` Σ e²; ``bars`` counts rows; ``last`` is the last
    residual; ``half_life`` in bars, NaN for none; ``correlation`` that of the steps.
    """

    slope: Floats
    shift: Floats
    unexplained: Floats
    squares: Floats
    bars: Floats
    last: Floats
    half_life: Floats
    correlation: Floats


@dataclass(frozen=True, slots=True, eq=False)
class WholeMoments:
    """What all regressions of pairs without a missing bar share, in planes.

    ``count`` steps; ``lagged[k]`` Σ step t · step t−k; ``squares`` Σ e² over all bars;
    ``first[k]`` and ``last[k]`` the k-th residual from either end; ``level_terms`` and
    ``step_terms`` what ``squares`` and ``lagged[0]`` were before anything cancelled.
    """

    count: int
    lagged: list[Floats]
    squares: Floats
    first: list[Floats]
    last: list[Floats]
    level_terms: Floats
    step_terms: Floats

    def sample(self, lag: int, pairs: Ints | None = None) -> Sample:
        """Return one regression's products; see `Moments`."""
        if pairs is not None:
            return self._some(lag, pairs).sample(lag)
        steps = self._step_products(lag)
        early = [self.first[k] * self.first[k] for k in range(lag + 1)]
        late = [self.last[k] * self.last[k] for k in range(lag + 1)]
        level = self.squares - late[0]
        for k in range(lag):
            level = level - early[k]
        mixed = []
        for k in range(lag + 1):
            # Level t is level t−k and the steps since; level t−k · step t−k is a difference.
            own = 0.5 * (late[k] - early[lag - k])
            own = own + (0.5 if k else -0.5) * steps[k][0]
            for between in range(1, k):
                own = own + steps[between][k - between]
            mixed.append(own)
        kept = level / self.level_terms
        for k in range(lag + 1):
            kept = np.minimum(kept, steps[k][0] / self.step_terms)
        return Sample(lag, float(self.count - lag), steps, level, mixed, kept)

    def _step_products(self, lag: int) -> list[list[Floats]]:
        """Return Σ step t−a · step t−b over t = lag … N − 1, as `Sample` has them."""
        entering = [self.first[k + 1] - self.first[k] for k in range(lag)]
        leaving = [self.last[k] - self.last[k + 1] for k in range(lag)]
        row = []
        for k in range(lag + 1):
            product = self.lagged[k]
            for t in range(k, lag):
                product = product - entering[t] * entering[t - k]
            row.append(product)
        found = [row]
        for a in range(lag):
            row = [
                row[gap]
                + entering[lag - a - 1] * entering[lag - a - gap - 1]
                - leaving[a] * leaving[a + gap]
                for gap in range(lag - a)
            ]
            found.append(row)
        return found

    def _some(self, lag: int, pairs: Ints) -> WholeMoments:
        def few(planes: list[Floats]) -> list[Floats]:
            return [plane.ravel()[pairs] for plane in planes[: lag + 1]]

        return WholeMoments(
            self.count,
            few(self.lagged),
            self.squares.ravel()[pairs],
            few(self.first),
            few(self.last),
            self.level_terms.ravel()[pairs],
            self.step_terms.ravel()[pairs],
        )


def whole_fit(y: Legs, x: Legs, lag: int) -> tuple[Fit, WholeMoments]:
    """Return the lines of one tile on another, none with a missing bar, and their moments."""
    count = y.bars - 1
    shared = products(y.levels, x.levels)
    slope = shared / x.squares
    squares = y.squares[:, None] - slope * shared
    together = products(y.steps, x.steps)
    lagged = []
    for k in range(lag + 1):
        both = 2.0 * together if k == 0 else products(y.steps, shifted(x.steps, k))
        lagged.append(y.step_products[:, k, None] - slope * (both - slope * x.step_products[:, k]))
    first = [y.levels[:, k, None] - slope * x.levels[:, k] for k in range(lag + 1)]
    last = [y.levels[:, count - k, None] - slope * x.levels[:, count - k] for k in range(lag + 1)]
    terms = y.step_products[:, 0, None] + slope * slope * x.step_products[:, 0]
    level_terms = np.broadcast_to(y.squares[:, None], slope.shape)
    moments = WholeMoments(count, lagged, squares, first, last, level_terms, terms)
    fit = Fit(
        slope=slope,
        shift=np.zeros_like(slope),
        unexplained=squares / y.squares[:, None],
        squares=squares,
        bars=np.full_like(slope, y.bars),
        last=last[0],
        half_life=_whole_half_life(moments),
        correlation=_whole_correlation(y, x, together),
    )
    return fit, moments


def _whole_half_life(moments: WholeMoments) -> Floats:
    """All bars' residuals add up to 0: those before the last to its negative."""
    first, last = moments.first[0], moments.last[0]
    squares = last * last
    mixed = 0.5 * (squares - first * first - moments.lagged[0])
    return half_life_of(float(moments.count), -last, last - first, moments.squares - squares, mixed)


def half_life_of(
    rows: Floats | float, level: Floats, step: Floats, squares: Floats, mixed: Floats
) -> Floats:
    """Return −ln 2 / ln φ of Δs = a + λs₋₁, φ = 1 + λ, from Σs₋₁, ΣΔs, Σs₋₁² and Σs₋₁Δs.

    NaN where λ ≥ 0 or φ ≤ 0.
    """
    pull = (mixed - level * step / rows) / (squares - level * level / rows)
    comes_back = (pull < 0.0) & (pull > -1.0)
    return np.asarray(-math.log(2.0) / np.log1p(np.where(comes_back, pull, np.nan)))


def _whole_correlation(y: Legs, x: Legs, together: Floats) -> Floats:
    count = y.bars - 1
    moved_y = y.levels[:, count] - y.levels[:, 0]
    moved_x = x.levels[:, count] - x.levels[:, 0]
    spread_y = y.step_products[:, 0] - moved_y * moved_y / count
    spread_x = x.step_products[:, 0] - moved_x * moved_x / count
    shared = together - moved_y[:, None] * (moved_x / count)
    return np.asarray(np.clip(shared / (np.sqrt(spread_y)[:, None] * np.sqrt(spread_x)), -1.0, 1.0))
