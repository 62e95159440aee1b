"""One side of a scan: its symbols centred and scaled, one a row, in tiles of one shape.

Every product of the scan is of two whole tiles, padded with zeros and cut into pieces of one shape.
So a pair's sums do not depend on its neighbours, on its place in the tile or on the number of
BLAS' threads (OpenBLAS adds up so few bars in order; longer sums it splits differently for one
thread and for two), and blocks scanned apart are the whole to the last digit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.errors import DataError, NotEnoughData
from core.stats.arrays import FLAT, Floats

Bools = NDArray[np.bool_]

TILE = 128
# Symbols and bars of one BLAS call. Tiles run in threads of ours, and up to 2¹⁸ multiplications
# OpenBLAS starts none of its own: with them a product took 1.6 times the processors' time, and on
# a busy machine, where they wait for each other, up to twenty times as long.
PART = 32
RUN = 128


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
    has_gaps = not np.isfinite(values).all()
    if has_gaps:
        known[:count, :bars] = ~np.isnan(values)
        _demand_finite(values, known[:count, :bars], name)
    mean, scale, is_flat = _unit(values, known[:count, :bars], not has_gaps)
    steps = _steps(levels, known, bars, not has_gaps)
    rest = len(levels) - count
    return Legs(
        bars=bars,
        count=count,
        levels=levels,
        steps=steps,
        known=known,
        mean=np.pad(mean, (0, rest)),
        scale=np.pad(scale, (0, rest), constant_values=1.0),
        squares=np.einsum("it,it->i", levels, levels),
        step_products=_lagged_products(steps, lag),
        is_flat=np.pad(is_flat, (0, rest), constant_values=True),
        is_whole=np.asarray(known[:, :bars].all(axis=1)),
    )


def padded(bars: int) -> int:
    """Return the bars and the zeros behind them: a whole number of runs of one length."""
    runs = -(-bars // RUN)
    return runs * (-(-bars // (8 * runs)) * 8)


def products(first: Floats, second: Floats) -> Floats:
    """Return Σₜ first[i, t] · second[j, t] of two tiles (TILE, C): (TILE, TILE)."""
    parts, runs = TILE // PART, -(-first.shape[1] // RUN)
    left = first.reshape(parts, 1, PART, runs, -1).transpose(0, 1, 3, 2, 4)
    right = second.reshape(1, parts, PART, runs, -1).transpose(0, 1, 3, 4, 2)
    found = np.empty((TILE, TILE))
    by_part = found.reshape(parts, PART, parts, PART).transpose(0, 2, 1, 3)
    np.add.reduce(np.matmul(left, right), axis=2, out=by_part)
    return found


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
        [np.einsum("it,it->i", steps[:, k:], steps[:, : width - k]) for k in range(lag + 1)],
        axis=1,
    )
