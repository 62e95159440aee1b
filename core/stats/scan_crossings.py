"""How often a pair's residual changes its sign: the one figure that takes every bar of a pair."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.stats.arrays import Floats, Ints
from core.stats.scan_legs import Bools, Legs

Singles = NDArray[np.float32]

# Residuals made at a time: they stay in the processor's second cache, and threads that hand NumPy
# smaller pieces wait for each other more often than they compute.
_VALUES = 3 << 16
# Truth values are added eight at a time, as the bytes of a word: each holds 255 at most.
_WORDS = 252


def crossings_of(y: Legs, x: Legs, slope: Floats, shift: Floats) -> Ints:
    """Return the sign changes of y − shift − slope·x from one bar to the next, a plane.

    A change counts where both legs have both bars; a residual of exactly 0 counts as negative.
    Residuals are made in single precision, in half the time: one within 1e-7 of a leg's range
    from 0 may count as either.
    """
    found = np.zeros(slope.shape, dtype=np.int64)
    lines, levels = (legs.levels[: legs.count, : y.bars].astype(np.float32) for legs in (y, x))
    kept = None if y.is_whole.all() and x.is_whole.all() else (_steps(y), _steps(x))
    block = max(1, _VALUES // y.bars)
    with np.errstate(all="ignore"):
        # NumPy copies what it broadcasts along rows shorter than its buffer, at twice the time.
        np.setbufsize(16)
        for start in range(0, x.count, block):
            some = slice(start, min(start + block, x.count))
            found[: y.count, some] = _counted(
                lines,
                levels[some],
                slope[: y.count, some].astype(np.float32),
                shift[: y.count, some].astype(np.float32),
                None if kept is None else (kept[0], kept[1][some]),
            )
    return found


def pair_crossings(y: Floats, x: Floats, alpha: Floats, beta: Floats) -> Ints:
    """Return the sign changes of y − α − βx of chosen pairs (k,), their legs columns (T, k).

    As a scan counts them, in double precision: NaN is a missing bar, and a change counts where
    both legs have both bars.
    """
    spread = y - alpha - beta * x
    is_above, known = spread > 0.0, np.isfinite(spread)
    changes = (is_above[1:] != is_above[:-1]) & known[1:] & known[:-1]
    return np.asarray(np.count_nonzero(changes, axis=0), dtype=np.int64)


def _counted(
    lines: Singles,
    levels: Singles,
    slope: Singles,
    shift: Singles,
    kept: tuple[Bools, Bools] | None,
) -> Ints:
    """Return the changes of sign of each line less shift and slope·level: (lines, levels)."""
    size, bars = levels.shape
    runs = -(-bars // (8 * _WORDS))
    width = runs * -(-bars // (8 * runs)) * 8
    product = np.empty((size, bars), dtype=np.float32)
    is_above, changes = np.zeros((size, width), dtype=bool), np.zeros((size, width), dtype=bool)
    signs, steps, ends = is_above[:, :bars], changes[:, : bars - 1], changes[:, bars - 1 :]
    # As one long row, which is quicker; what runs over a row's end is taken out again.
    after, before, flat = is_above.ravel()[1:], is_above.ravel()[:-1], changes.ravel()[:-1]
    words = changes.view(np.uint64).reshape(size, runs, -1)
    sums = np.empty((len(lines), size, runs), dtype=np.uint64)
    has_shift = bool(shift.any())
    for row, line in enumerate(lines):
        np.multiply(levels, slope[row, :, None], product)
        if has_shift:
            np.add(product, shift[row, :, None], product)
        np.less(product, line, signs)
        np.not_equal(after, before, flat)
        ends.fill(False)
        if kept is not None:
            steps &= kept[0][row] & kept[1]
        np.add.reduce(words, 2, None, sums[row])
    lanes = sums.view(np.uint8).reshape(len(lines), size, -1)
    return np.asarray(lanes.sum(axis=2, dtype=np.int64))


def _steps(legs: Legs) -> Bools:
    """Return which steps have both of their bars, (symbols, bars − 1)."""
    known = legs.known[: legs.count, : legs.bars]
    return known[:, 1:] & known[:, :-1]
