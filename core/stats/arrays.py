"""What every statistic demands of its arrays, and how it says what is wrong with them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.errors import DataError, NotEnoughData

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# A deviation below this share of the level is rounding, not movement.
FLAT = 1e-12


def demand_series(values: ArrayLike, least: int, name: str = "series") -> Floats:
    """Return the values as a finite 1-d float array of at least ``least``.

    Raises NotEnoughData, or DataError naming the first value that is no number.
    """
    found = np.ascontiguousarray(values, dtype=np.float64)
    if found.ndim != 1:
        raise DataError(f"{name} has {found.ndim} dimensions; give one value a bar")
    if len(found) < least:
        raise NotEnoughData(f"{name} has {len(found):,} bars; {least:,} are needed")
    if not np.isfinite(found).all():
        row = int(np.flatnonzero(~np.isfinite(found))[0])
        raise DataError(f"{name} is {found[row]} in row {row}; leave out rows without a number")
    return found


def demand_pair(y: ArrayLike, x: ArrayLike, least: int) -> tuple[Floats, Floats]:
    """Return both legs as finite arrays of one length, at least ``least``.

    Raises NotEnoughData, or DataError where the lengths differ or a value is no number.
    """
    first, second = demand_series(y, least, "y"), demand_series(x, least, "x")
    if len(first) != len(second):
        raise DataError(f"y has {len(first):,} bars and x {len(second):,}; align them first")
    return first, second


def demand_movement(values: Floats, name: str) -> None:
    """Raise DataError where the series never moves."""
    if is_flat(values):
        raise DataError(f"{name} is constant at {values[0]:.10g}; choose bars in which it moves")


def is_flat(values: Floats) -> bool:
    """Return whether the series moves no more than rounding does."""
    return bool(np.ptp(values) <= FLAT * np.abs(values).max())
