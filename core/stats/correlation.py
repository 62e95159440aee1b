"""Correlation of two symbols and of many: Pearson, Spearman, rolling, matrices, their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

from core.errors import DataError
from core.stats.arrays import Floats, Ints, demand_movement, demand_pair

Kind = Literal["pearson", "spearman"]

# With fewer common rows two series always correlate perfectly, or not at all.
LEAST_ROWS = 3
_CHUNK = 60_000


@dataclass(frozen=True, slots=True)
class CorrelationMatrix:
    """Correlations of N symbols: ``values`` (N, N), NaN where ``counts`` (N, N) rows say nothing.

    A cell stands on the rows that both of its symbols have.
    """

    symbols: tuple[str, ...]
    values: Floats
    counts: Ints
    kind: Kind

    def reason(self, row: int, column: int) -> str:
        """Return why a cell is not known, empty where it is."""
        if np.isfinite(self.values[row, column]):
            return ""
        rows = int(self.counts[row, column])
        if rows < LEAST_ROWS:
            return f"{rows} common rows; {LEAST_ROWS} are needed"
        return "one of the two never moves"


@dataclass(frozen=True, slots=True)
class RankedPair:
    """One pair of a matrix: its symbols, its correlation, its common rows."""

    first: str
    second: str
    correlation: float
    rows: int


def pearson(a: ArrayLike, b: ArrayLike) -> float:
    """Return the correlation of two series.

    Raises NotEnoughData below three rows, DataError where one never moves.
    """
    first, second = demand_pair(a, b, LEAST_ROWS)
    demand_movement(first, "the first series")
    demand_movement(second, "the second series")
    da, db = _unit(first), _unit(second)
    return float(np.clip(da @ db / np.sqrt((da @ da) * (db @ db)), -1.0, 1.0))


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Return the correlation of two series' ranks, ties sharing their mean rank.

    Raises NotEnoughData below three rows, DataError where one never moves.
    """
    first, second = demand_pair(a, b, LEAST_ROWS)
    return pearson(_ranks(first), _ranks(second))


def rolling_correlation(a: ArrayLike, b: ArrayLike, window: int) -> Floats:
    """Return every full window's correlation, each in two passes; NaN where it is not known."""
    first, second = demand_pair(a, b, 1)
    if window < LEAST_ROWS:
        raise DataError(f"a window of {window} rows; give at least {LEAST_ROWS}")
    found = np.full(len(first), np.nan)
    starts = np.arange(max(0, len(first) - window + 1))
    size = max(1, _CHUNK // window)
    for at in range(0, len(starts), size):
        part = starts[at : at + size]
        da = np.ascontiguousarray(sliding_window_view(first, window)[part])
        db = np.ascontiguousarray(sliding_window_view(second, window)[part])
        scale_a, scale_b = np.abs(da).max(axis=1), np.abs(db).max(axis=1)
        da -= da.mean(axis=1, keepdims=True)
        db -= db.mean(axis=1, keepdims=True)
        deviations = np.sqrt(np.vecdot(da, da)) * np.sqrt(np.vecdot(db, db))
        flat = (np.abs(da).max(axis=1) <= 1e-12 * scale_a) | (
            np.abs(db).max(axis=1) <= 1e-12 * scale_b
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.vecdot(da, db) / deviations
        found[part + window - 1] = np.where(flat, np.nan, np.clip(values, -1.0, 1.0))
    return found


def log_returns(closes: Floats, is_step: Floats | None = None) -> Floats:
    """Return log returns (T − 1, N) of closes (T, N); NaN across a missing bar.

    ``is_step`` (T − 1,) says which rows are neighbours in time; a return across others is left
    out.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        returns = np.diff(np.log(closes), axis=0)
    if is_step is not None:
        returns[~np.asarray(is_step, dtype=bool)] = np.nan
    return np.asarray(returns)


def correlation_matrix(
    panel: Floats, symbols: Sequence[str], *, kind: Kind = "pearson"
) -> CorrelationMatrix:
    """Return every pair's correlation over the rows that both have.

    ``panel`` (T, N), NaN where a symbol has no value. Raises DataError where the columns are not
    the symbols.
    """
    table = np.asarray(panel, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != len(symbols):
        raise DataError(
            f"the panel is {table.shape} for {len(symbols)} symbols; give one column each"
        )
    known = np.isfinite(table)
    counts = known.astype(np.float64).T @ known.astype(np.float64)
    if kind == "spearman":
        values = _ranked(table, known)
    else:
        values = _masked(table, known, counts)
    values[counts < LEAST_ROWS] = np.nan
    return CorrelationMatrix(tuple(symbols), values, counts.astype(np.int64), kind)


def _masked(table: Floats, known: np.ndarray, counts: Floats) -> Floats:
    """Return pairwise-complete correlations by products of masked, centred, scaled columns."""
    mask = known.astype(np.float64)
    filled = np.where(known, table, 0.0)
    rows = np.maximum(mask.sum(axis=0), 1.0)
    size = np.abs(filled).max(axis=0)
    centred = np.where(known, filled - filled.sum(axis=0) / rows, 0.0)
    scale = np.abs(centred).max(axis=0)
    flat = scale <= 1e-12 * size
    centred = centred / np.where(scale > 0, scale, 1.0)
    n = np.maximum(counts, 1.0)
    total = centred.T @ mask
    square = (centred * centred).T @ mask - total * total / n
    shared = centred.T @ centred - total * total.T / n
    with np.errstate(divide="ignore", invalid="ignore"):
        values = shared / np.sqrt(square * square.T)
    # What a pair's own rows leave of a column may be no movement at all.
    still = square <= 1e-20 * n
    values[still | still.T | flat[:, None] | flat[None, :]] = np.nan
    return np.asarray(np.clip(values, -1.0, 1.0))


def _ranked(table: Floats, known: np.ndarray) -> Floats:
    """Return rank correlations, the ranks taken anew where two columns miss different rows."""
    n = table.shape[1]
    values = np.full((n, n), np.nan)
    groups: dict[bytes, list[int]] = {}
    for column in range(n):
        groups.setdefault(known[:, column].tobytes(), []).append(column)
    for columns in groups.values():
        rows = known[:, columns[0]]
        if rows.sum() < LEAST_ROWS:
            continue
        ranks = rankdata(table[rows][:, columns], axis=0)
        full = np.ones(ranks.shape, dtype=bool)
        counts = np.full((len(columns), len(columns)), float(len(ranks)))
        values[np.ix_(columns, columns)] = _masked(ranks, full, counts)
    places = {column: group for group, columns in groups.items() for column in columns}
    orders = [
        np.argsort(np.where(known[:, i], table[:, i], np.inf), kind="stable") for i in range(n)
    ]
    for i in range(n):
        for j in range(i):
            if places[i] == places[j]:
                continue
            first = _common_ranks(table[:, i], orders[i], known[:, i] & known[:, j])
            second = _common_ranks(table[:, j], orders[j], known[:, i] & known[:, j])
            size = float(first @ first) * float(second @ second)
            if size > 0:
                values[i, j] = values[j, i] = float(first @ second) / np.sqrt(size)
    return values


def _common_ranks(column: Floats, order: Ints, rows: np.ndarray) -> Floats:
    """Return centred mean ranks among some rows, 0 elsewhere, from the column's own order."""
    chosen = order[rows[order]]
    found = np.zeros(len(column))
    if not len(chosen):
        return found
    ordered = column[chosen]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    lengths = np.diff(np.r_[starts, len(chosen)])
    ranks = starts + (lengths + 1) / 2
    found[chosen] = np.repeat(ranks - (len(chosen) + 1) / 2, lengths)
    return found


def clustered_order(values: Floats) -> tuple[int, ...]:
    """Return an order of the symbols that puts what moves together side by side.

    Average linkage on the distance √(2(1 − ρ)), the leaves in their best order; an unknown
    correlation counts as none.
    """
    n = len(values)
    return tuple(range(n)) if n < 3 else tuple(int(leaf) for leaf in leaves_list(_tree(values)))


def distances(values: Floats) -> Floats:
    """Return √(2(1 − ρ)) of correlations (N, N), in which symbols would be unit vectors.

    An unknown correlation counts as none.
    """
    rho = np.where(np.isfinite(values), values, 0.0)
    found: Floats = np.sqrt(np.maximum(0.0, 2.0 * (1.0 - (rho + rho.T) / 2.0)))
    np.fill_diagonal(found, 0.0)
    return found


def _tree(values: Floats) -> Floats:
    """Return the linkage of at least two symbols, its leaves in their best order."""
    apart = squareform(distances(values), checks=False)
    return np.asarray(linkage(apart, "average", optimal_ordering=True))


def ranked_pairs(matrix: CorrelationMatrix) -> tuple[RankedPair, ...]:
    """Return all pairs whose correlation is known, the strongest first."""
    first, second = np.triu_indices(len(matrix.symbols), 1)
    values = matrix.values[first, second]
    order = np.argsort(-values, kind="stable")
    return tuple(
        RankedPair(
            matrix.symbols[first[at]],
            matrix.symbols[second[at]],
            float(values[at]),
            int(matrix.counts[first[at], second[at]]),
        )
        for at in order
        if np.isfinite(values[at])
    )


def _ranks(values: Floats) -> Floats:
    """Return the ranks of one series; Polars takes a fifth of the time that rankdata takes."""
    return pl.Series(values).rank("average").to_numpy()


def _unit(values: Floats) -> Floats:
    """Centre and scale to at most 1, so that no product over- or underflows."""
    centred = values - values.mean()
    return np.asarray(centred / np.abs(centred).max())
