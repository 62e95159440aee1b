"""How often each pair's residual changes its sign: the one figure that takes a pair's bars."""

from __future__ import annotations

import numpy as np

from core.stats.arrays import Floats, Ints
from core.stats.scan_legs import Bools, Legs

# Residuals made at a time: they stay in the processor's cache.
_VALUES = 3 << 14
# Truth values are added eight at a time, as the bytes of a word: each holds 255 at most.
_WORDS = 252


def crossings_of(y: Legs, x: Legs, slope: Floats, shift: Floats) -> Ints:
    """Return the sign changes of y − shift − slope·x from one bar to the next, a plane.

    A change counts where both legs have both bars; a residual of exactly 0 counts as negative.
    """
    counter = _Counter(y.bars)
    found = np.zeros((*slope.shape, counter.words.shape[1]), dtype=np.uint64)
    has_gaps = not (y.is_whole.all() and x.is_whole.all())
    with np.errstate(all="ignore"):
        # NumPy copies what it broadcasts along rows shorter than its buffer, at twice the time.
        np.setbufsize(16)
        for start in range(0, x.count, counter.block):
            some = slice(start, min(start + counter.block, x.count))
            levels = x.levels[some, : x.bars]
            both = _both(x.known[some, : x.bars]) if has_gaps else None
            for row in range(y.count):
                line = y.levels[row, : y.bars]
                counter.compare(levels, slope[row, some], line, shift[row, some])
                if both is not None:
                    counter.leave_out(both & _both(y.known[row, : y.bars]))
                np.add.reduce(counter.words[: len(levels)], axis=2, out=found[row, some])
    counts = found.view(np.uint8).reshape(*slope.shape, -1).sum(axis=2, dtype=np.int64)
    return np.asarray(counts)


class _Counter:
    """Room for the residuals of a block of pairs, their signs, and where those change."""

    def __init__(self, bars: int) -> None:
        runs = -(-bars // (8 * _WORDS))
        self.width = runs * -(-bars // (8 * runs)) * 8
        self.block = max(1, _VALUES // self.width)
        self.bars = bars
        self.line = np.empty((self.block, bars))
        self.is_above = np.zeros((self.block, self.width), dtype=bool)
        self.changes = np.zeros((self.block, self.width), dtype=bool)
        self.words = self.changes.view(np.uint64).reshape(self.block, runs, -1)

    def compare(self, levels: Floats, slope: Floats, line: Floats, shift: Floats) -> None:
        """Note where the residuals of one leg on some others change their sign."""
        some = len(levels)
        part = self.line[:some]
        np.multiply(levels, slope[:, None], out=part)
        if shift.any():
            np.add(part, shift[:, None], out=part)
        np.less(part, line, out=self.is_above[:some, : self.bars])
        # As one long row, which is quicker; what runs over a row's end is taken out again.
        signs, changes = self.is_above[:some].ravel(), self.changes[:some].ravel()
        np.not_equal(signs[1:], signs[:-1], out=changes[:-1])
        self.changes[:some, self.bars - 1 :] = False

    def leave_out(self, kept: Bools) -> None:
        """Forget the changes of steps that are not kept, (pairs, bars − 1)."""
        self.changes[: len(kept), : self.bars - 1] &= kept


def _both(known: Bools) -> Bools:
    """Return which steps have both of their bars."""
    return known[..., 1:] & known[..., :-1]
