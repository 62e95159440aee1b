"""Fewer rows for the screen: one common choice of rows for all panels of a linked figure.

MinMaxLTTB keeps the peaks and the shape of each column (Steinarsson 2013, largest triangle
three buckets, on a pre-selection of every bin's extremes: Van Der Donckt et al. 2023). The
picks of all columns are united, so that every panel has a value at every time that is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tsdownsample import MinMaxLTTBDownsampler

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.int64]

# Rows are thinned in stretches counted from the first row, whose length grows in steps of a
# quarter of a power of two: a row that is appended changes the choice in the last stretch alone,
# and a live figure sends that much instead of everything.
_STRETCHES = 24
_LEAST_PICKS = 8
# Of the points, this share may go to keeping gaps open: three rows a gap, the longest first.
_GAP_SHARE = 0.125
_downsampler = MinMaxLTTBDownsampler()  # type: ignore[no-untyped-call]


def thinned(columns: Sequence[FloatArray], points: int) -> IntArray:
    """Return the sorted rows to draw: at most about ``points``, all rows where there are no more.

    The columns are of one length; NaN and ±inf are gaps and stay visible as such. Always kept:
    the first and the last row, and every column's smallest and largest value. Raises ValueError
    where columns differ in length or ``points`` is below 2.
    """
    if points < 2:
        raise ValueError(f"points is {points}: at least 2 are needed to draw a line")
    lengths = {len(column) for column in columns}
    if len(lengths) > 1:
        raise ValueError(f"columns have {sorted(lengths)} rows: they must have the same number")
    rows = lengths.pop() if lengths else 0
    if rows <= points:
        return np.arange(rows, dtype=np.int64)
    keep = np.zeros(rows, dtype=bool)
    keep[[0, -1]] = True
    finite = [np.isfinite(column) for column in columns]
    kept_gaps = _gaps(finite, int(points * _GAP_SHARE) // 3)
    keep[kept_gaps] = True
    room = max(0, points - 2 - 2 * len(columns) - len(kept_gaps))
    length = _stretch(rows, max(1, min(_STRETCHES, room // (_LEAST_PICKS * len(columns)))))
    # Columns pick some rows in common: of picks made apart, this share a column makes up the room.
    share = 1.0 - (1.0 - room / (length * math.ceil(rows / length))) ** (1.0 / len(columns))
    for column, usable in zip(columns, finite, strict=True):
        _pick(keep, np.ascontiguousarray(column, dtype=np.float64), usable, length, share)
    return np.flatnonzero(keep).astype(np.int64)


def _pick(
    keep: NDArray[np.bool_],
    column: FloatArray,
    usable: NDArray[np.bool_],
    length: int,
    share: float,
) -> None:
    """Mark the rows that draw one column: this share of every stretch's, and both extremes."""
    rows = np.flatnonzero(usable)
    if not len(rows):
        return
    values = column[rows]
    keep[[rows[values.argmin()], rows[values.argmax()]]] = True
    edges = np.searchsorted(rows, np.arange(0, len(column) + length, length)).tolist()
    for begin, end in pairwise(edges):
        keep[rows[begin:end][_shape(values[begin:end], math.floor(share * (end - begin)))]] = True


def _stretch(rows: int, stretches: int) -> int:
    """Return the least length of the form (4…8)·2^k that covers the rows in so many stretches."""
    least = math.ceil(rows / stretches)
    unit = 1 << max(0, least.bit_length() - 3)
    return math.ceil(least / unit) * unit


def _shape(values: FloatArray, n: int) -> IntArray:
    """Return the positions of about ``n`` values that keep the shape; all where few are left."""
    if len(values) <= n:
        return np.arange(len(values), dtype=np.int64)
    if n < 3:  # the downsampler takes three at least
        return np.linspace(0, len(values) - 1, n).astype(np.int64)
    # Scaled, so that triangles of prices at 1e-8 have an area.
    middle, spread = values.mean(), np.ptp(values)
    scaled = (values - middle) / spread if spread > 0 else np.zeros_like(values)
    return np.asarray(_downsampler.downsample(scaled, n_out=n), dtype=np.int64)


def _gaps(finite: Sequence[NDArray[np.bool_]], limit: int) -> IntArray:
    """Return the rows before, at and after each gap's edge, for the ``limit`` longest gaps."""
    found: set[tuple[int, int]] = set()
    for usable in finite:
        edges = np.diff(np.concatenate([[0], (~usable).astype(np.int8), [0]]))
        begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
        longest = np.argsort(begins - ends, kind="stable")[:limit]
        found |= set(zip(begins[longest].tolist(), ends[longest].tolist(), strict=True))
    longest_first = sorted(found, key=lambda gap: (gap[0] - gap[1], gap[0]))[:limit]
    last = len(finite[0]) - 1 if finite else 0
    rows = {row for begin, end in longest_first for row in (begin - 1, begin, end)}
    return np.array(sorted(row for row in rows if 0 <= row <= last), dtype=np.int64)
