"""One side of a scan: its symbols centred and scaled, one a row, in tiles of one shape.

Every product of the scan is of two whole tiles, padded with zeros, cut into the same runs of bars.
So a pair's sums do not depend on its neighbours, on the place in the tile or on the number of
BLAS' threads (OpenBLAS adds up one run in order; longer runs it splits differently for one thread
and for two), and blocks scanned apart are the whole to the last digit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.errors import DataError, NotEnoughData
from core.stats.arrays import FLAT, Floats

Bools = NDArray[np.bool_]

# Symbols of a tile: 64 costs a third more per product, 256 pads 500 symbols no better.
TILE = 128
# Bars of a run: within the depth (256 to 384) that OpenBLAS' kernels take at once.
RUN = 256


@dataclass(frozen=True, slots=True, eq=False)
class Legs:
    """The symbols of one side, or a tile of them: R rows, a multiple of the tile.

    ``levels`` (R, C) have mean 0 and are 1 at most, 0 where a bar is missing and beyond ``bars``,
    the bars of the panel; ``steps`` (R, C) lead from each bar to the next, 0 across a missing
    one; ``known`` (R, C) says which bars there are. ``mean``, ``scale``, ``squares`` (of the
    levels), ``is_flat`` (never moves) and ``is_whole`` (no bar missing) are (R,);
    ``step_products`` (R, lag + 1) is Σ step t · step t−k. ``count`` symbols are real, and come
    first; the others are zeros.
    """

    bars: int
    count: int
    levels: Floats
    steps: Floats
    known: Bools
    mean: Floats
    scale: Floats
    squares: Floats
    step_products: Floats
    is_flat: Bools
    is_whole: Bools

    @property
    def tiles(self) -> int:
        """The number of tiles."""
        return len(self.levels) // TILE

    def copy(self) -> Legs:
        """Return legs whose products with these take BLAS' way for two matrices, not for one."""
        return replace(self, levels=self.levels.copy(), steps=self.steps.copy())

    def tile(self, place: int) -> Legs:
        """Return one tile of the legs, as views."""
        rows = slice(place * TILE, (place + 1) * TILE)
        return Legs(
            self.bars,
            min(max(self.count - place * TILE, 0), TILE),
            self.levels[rows],
            self.steps[rows],
            self.known[rows],
            self.mean[rows],
            self.scale[rows],
            self.squares[rows],
            self.step_products[rows],
            self.is_flat[rows],
            self.is_whole[rows],
        )


def legs_of(panel: ArrayLike, lag: int, name: str) -> Legs:
    """Return the legs of a panel (T, N) of levels, NaN where a symbol has no bar.

    Raises NotEnoughData for no bar or no symbol, DataError for another shape or an infinite level.
    """
    table = np.asarray(panel, dtype=np.float64)
    if table.ndim != 2:
        raise DataError(f"{name} has {table.ndim} dimensions; give a bar a row, a symbol a column")
    bars, count = table.shape
    if not bars or not count:
        raise NotEnoughData(f"{name} is {bars:,} bars of {count:,} symbols; give at least one each")
    levels = np.zeros((-(-count // TILE) * TILE, padded(bars)))
    values = levels[:count, :bars]
    values[:] = table.T
    known = np.zeros(levels.shape, dtype=bool)
    known[:, :bars] = True
    known[:count, :bars] = ~np.isnan(values)
    is_whole = np.asarray(known[:, :bars].all(axis=1))
    _demand_finite(values, known[:count, :bars], name)
    mean, scale, is_flat = _unit(values, known[:count, :bars], bool(is_whole.all()))
    steps = _steps(levels, known, bars, bool(is_whole.all()))
    rest = len(levels) - count
    return Legs(
        bars=bars,
        count=count,
        levels=levels,
        steps=steps,
        known=known,
        mean=np.pad(mean, (0, rest)),
        scale=np.pad(scale, (0, rest), constant_values=1.0),
        squares=(levels * levels).sum(axis=1),
        step_products=_lagged_products(steps, lag),
        is_flat=np.pad(is_flat, (0, rest), constant_values=True),
        is_whole=is_whole,
    )


def padded(bars: int) -> int:
    """Return the bars and the zeros behind them: a whole number of runs of one length."""
    runs = -(-bars // RUN)
    return runs * (-(-bars // (8 * runs)) * 8)


def products(first: Floats, second: Floats) -> Floats:
    """Return Σₜ first[i, t] · second[j, t] of two tiles (TILE, C): (TILE, TILE)."""
    runs = -(-first.shape[1] // RUN)
    left = first.reshape(TILE, runs, -1).transpose(1, 0, 2)
    right = second.reshape(TILE, runs, -1).transpose(1, 2, 0)
    return np.asarray(np.matmul(left, right).sum(axis=0))


def shifted(steps: Floats, lag: int) -> Floats:
    """Return step t−lag + step t+lag, each 0 where there is none: (R, C)."""
    both = np.zeros_like(steps)
    both[:, lag:] = steps[:, : steps.shape[1] - lag]
    both[:, : steps.shape[1] - lag] += steps[:, lag:]
    return both


def _demand_finite(values: Floats, known: Bools, name: str) -> None:
    is_wrong = known & np.isinf(values)
    if is_wrong.any():
        symbol, bar = np.argwhere(is_wrong)[0]
        raise DataError(
            f"{name} is {values[symbol, bar]} in row {bar}, column {symbol}; leave it out, or put "
            "NaN where there is no bar"
        )


def _unit(values: Floats, known: Bools, is_whole: bool) -> tuple[Floats, Floats, Bools]:
    """Centre and scale the symbols' levels (N, T) in place; return mean, scale, is_flat (N,).

    A symbol that never moves becomes zeros.
    """
    rows = np.maximum(known.sum(axis=1), 1)
    if not is_whole:
        values[~known] = 0.0
    size = np.abs(values).max(axis=1)
    mean = np.zeros(len(values))
    # Twice: the first mean was rounded to the last digit of the level.
    for _ in range(2):
        step = values.sum(axis=1) / rows
        values -= step[:, None]
        if not is_whole:
            values[~known] = 0.0
        mean += step
    largest = np.abs(values).max(axis=1)
    is_flat = largest <= FLAT * size
    values[is_flat] = 0.0
    # A power of two: the division rounds nothing.
    scale = np.where(is_flat, 1.0, np.ldexp(1.0, np.frexp(largest)[1]))
    values /= scale[:, None]
    return mean, scale, is_flat


def _steps(levels: Floats, known: Bools, bars: int, is_whole: bool) -> Floats:
    steps = np.zeros_like(levels)
    np.subtract(levels[:, 1:bars], levels[:, : bars - 1], out=steps[:, : bars - 1])
    if not is_whole:
        steps[:, : bars - 1][~(known[:, 1:bars] & known[:, : bars - 1])] = 0.0
    return steps


def _lagged_products(steps: Floats, lag: int) -> Floats:
    width = steps.shape[1]
    return np.stack(
        [(steps[:, k:] * steps[:, : width - k]).sum(axis=1) for k in range(lag + 1)], axis=1
    )
