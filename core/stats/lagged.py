"""Regressions of a series' steps on its level and its lagged steps, many series at once.

The regression with ``lag`` lags stands on the steps t = lag … N − 1, where step t leads from
level t to level t + 1. Its columns: 1 (on request), level t, steps t−1 … t−lag, and the target,
step t. Every regression is answered by one lower-triangular factor of its columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from core.stats.arrays import Floats, Ints

# Squared pivots below this share of their column lose too many digits in cross-products, and so
# do sums that mostly leave a sample: the factor is then taken from the rows themselves.
LEAST_PIVOT = 1e-5
LEAST_SHARE = 1e-4
# What remains of a column below this share of it, or of the series' last digit, is rounding.
LEAST_REST = 1e-12
LAST_DIGITS = 8.0
BLOCK = 32
CHUNK_ROWS = 1 << 13


@dataclass(frozen=True, slots=True)
class Moments:
    """What all regressions of m series share.

    ``levels`` (m, N + 1), ``steps`` (m, N); ``products`` (m, longest + 1): Σ step t · step t−k
    over t ≥ longest; ``sums``, ``squares`` and ``mixed`` (m,): of the levels of the same t, and
    of level t · step t; ``grain`` (m,): the last digit of a level.
    """

    longest: int
    levels: Floats
    steps: Floats
    products: Floats
    sums: Floats
    squares: Floats
    mixed: Floats
    grain: Floats


def moments_of(levels: Floats, longest: int, grain: Floats) -> Moments:
    """Return the shared moments of levels (m, N + 1), scaled to about 1."""
    steps = np.diff(levels, axis=1)
    inner = levels[:, longest:-1]
    return Moments(
        longest=longest,
        levels=levels,
        steps=steps,
        products=_lagged_products(steps, longest),
        sums=inner.sum(axis=1),
        squares=np.einsum("mt,mt->m", inner, inner),
        mixed=np.einsum("mt,mt->m", inner, steps[:, longest:]),
        grain=grain,
    )


def _lagged_products(steps: Floats, longest: int) -> Floats:
    """Return Σ step t · step t−k over t ≥ longest, for k = 0 … longest: (m, longest + 1).

    The steps are cut into blocks as wide as the longest lag: a product's partner is then in the
    same block or the one before, and two matrix products hold all of them on their diagonals.
    """
    m, n = steps.shape
    width = max(longest, BLOCK)
    blocks = -(-(n - longest) // width)
    padded = np.zeros((m, (blocks + 1) * width))
    padded[:, width - longest : width - longest + n] = steps
    padded = padded.reshape(m, blocks + 1, width)
    later = padded[:, 1:]
    both = np.empty((m, 2 * width, width))
    np.matmul(padded[:, :-1].transpose(0, 2, 1), later, out=both[:, :width])
    np.matmul(later.transpose(0, 2, 1), later, out=both[:, width:])
    found = np.empty((m, longest + 1))
    for lag in range(longest + 1):
        found[:, lag] = np.einsum("mtt->m", both[:, width - lag : 2 * width - lag])
    return found


def gram_factor(
    moments: Moments, rows: Ints, lag: int, constant: bool, level_last: bool
) -> tuple[Floats, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]:
    """Return the factors (r, k, k) of the columns scaled to unit norm, and which are sound.

    A factor that is not sound has lost too many digits: take `direct_factor`.
    """
    gram = _gram(moments, rows, lag)
    share = np.einsum("mii->mi", gram)[:, 2:]
    order = _order(lag, constant, level_last)
    gram = gram[:, order[:, None], order]
    # A sum that lost all its digits can come out negative; its pivot then is 0.
    norm = np.sqrt(np.maximum(np.einsum("mii->mi", gram), 0.0))
    norm[norm == 0.0] = 1.0
    factors = _cholesky(gram / (norm[:, :, None] * norm[:, None, :]))
    pivots = np.einsum("mii->mi", factors) ** 2
    even = share.min(axis=1) >= LEAST_SHARE * share.max(axis=1)
    return factors, (pivots.min(axis=1) >= LEAST_PIVOT) & even


def _gram(moments: Moments, rows: Ints, lag: int) -> Floats:
    """Return the cross-products (r, lag + 3, lag + 3) of [1, level t, steps t … t−lag]."""
    levels, steps = moments.levels[rows], moments.steps[rows]
    n = steps.shape[1]
    between = _step_products(steps, moments.products[rows, : lag + 1], lag, moments.longest)
    early = levels[:, lag : moments.longest]
    gram = np.empty((len(rows), lag + 3, lag + 3))
    gram[:, 0, 0] = n - lag
    gram[:, 0, 1] = moments.sums[rows] + early.sum(axis=1)
    gram[:, 1, 1] = moments.squares[rows] + np.einsum("mt,mt->m", early, early)
    gram[:, 0, 2:] = levels[:, n - np.arange(lag + 1)] - levels[:, lag - np.arange(lag + 1)]
    gram[:, 1, 2] = moments.mixed[rows]
    gram[:, 1, 2] += np.einsum("mt,mt->m", early, steps[:, lag : moments.longest])
    # Σ level t−i · step t−i: by what enters and leaves; level t is level t−i and the steps since.
    entering = (levels[:, :lag] * steps[:, :lag])[:, ::-1]
    leaving = (levels[:, n - lag : n] * steps[:, n - lag :])[:, ::-1]
    gram[:, 1, 3:] = gram[:, 1, 2, None] + np.cumsum(entering - leaving, axis=1)
    gram[:, 1, 3:] += np.tril(between[:, 1:, 1:]).sum(axis=2)
    gram[:, 1:, 0] = gram[:, 0, 1:]
    gram[:, 2:, 1] = gram[:, 1, 2:]
    gram[:, 2:, 2:] = between
    return gram


def _step_products(steps: Floats, products: Floats, lag: int, longest: int) -> Floats:
    """Return Σ step t−i · step t−j over t ≥ lag, for i, j = 0 … lag: (r, lag + 1, lag + 1)."""
    first = products
    if lag < longest:
        windows = sliding_window_view(steps[:, :longest], lag + 1, axis=1)[:, :, ::-1]
        first = products + np.einsum("mt,mtk->mk", steps[:, lag:longest], windows)
    found = np.empty((len(steps), lag + 1, lag + 1))
    found[:, 0] = first
    found[:, :, 0] = first
    entering = steps[:, :lag][:, ::-1]
    leaving = steps[:, steps.shape[1] - lag :][:, ::-1]
    for i in range(lag):
        change = entering[:, i, None] * entering - leaving[:, i, None] * leaving
        found[:, i + 1, 1:] = found[:, i, :-1] + change
    return found


def _order(lag: int, constant: bool, level_last: bool) -> Ints:
    """Return the places of the regression's columns among [1, level, target, lagged steps]."""
    lagged = list(range(3, lag + 3))
    columns = [*lagged, 1] if level_last else [1, *lagged]
    return np.array([*([0] if constant else []), *columns, 2], dtype=np.int64)


def _cholesky(gram: Floats) -> Floats:
    """Return the lower factors; zeros where a matrix is not positive definite."""
    try:
        return np.asarray(np.linalg.cholesky(gram))
    except np.linalg.LinAlgError:
        if len(gram) == 1:
            return np.zeros_like(gram)
        half = len(gram) // 2
        return np.concatenate([_cholesky(gram[:half]), _cholesky(gram[half:])])


def direct_factor(moments: Moments, row: int, lag: int, constant: bool, level_last: bool) -> Floats:
    """Return one series' factor (k, k) by QR of the columns, so many rows at a time.

    NaN where a column, or the target, follows from those before it to rounding.
    """
    level, steps = moments.levels[row], moments.steps[row]
    n = len(steps) - lag
    order = _order(lag, constant, level_last)
    upper = np.empty((0, len(order)))
    for start in range(0, n, CHUNK_ROWS):
        stop = min(start + CHUNK_ROWS, n)
        columns = np.empty((stop - start, lag + 3))
        columns[:, 0] = 1.0
        columns[:, 1] = level[start + lag : stop + lag]
        columns[:, 2:] = sliding_window_view(steps[start : stop + lag], lag + 1)[:, ::-1]
        upper = upper_of(np.vstack([upper, columns[:, order]]))
    rest = np.diag(upper)
    least = LEAST_REST * np.linalg.norm(upper, axis=0)
    least = np.maximum(least, LAST_DIGITS * moments.grain[row] * np.sqrt(n))
    if (np.abs(rest) <= least).any():
        return np.full((len(order), len(order)), np.nan)
    return np.asarray((upper * np.sign(rest)[:, None]).T)


def upper_of(columns: Floats) -> Floats:
    """Return R of the QR of columns (rows, k), rows ≥ k; so many rows at a time."""
    upper = columns[:0]
    for start in range(0, len(columns), CHUNK_ROWS):
        part = np.vstack([upper, columns[start : start + CHUNK_ROWS]])
        upper = np.asarray(np.linalg.qr(part, mode="r"))
    return upper
