"""Many tests at once: q-values, and the share that passes where nothing can be there.

Benjamini & Hochberg (1995); Benjamini & Yekutieli (2001).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from core.errors import DataError, NotEnoughData
from core.stats.arrays import Floats, Ints

Method = Literal["bh", "by"]


@dataclass(frozen=True, slots=True, eq=False)
class NoiseFloor:
    """How many of the scan's and of the noise's p-values are at or below each threshold.

    All arrays (k,); shares are of the ``n_tested`` and ``n_noise`` tests. What passes among the
    noise, its x-legs from another time than its y-legs, is there without any pair behind it.
    """

    thresholds: Floats
    passing: Ints
    noise_passing: Ints
    n_tested: int
    n_noise: int

    @property
    def passing_share(self) -> Floats:
        """The share of the scan's pairs."""
        return self.passing / self.n_tested

    @property
    def noise_share(self) -> Floats:
        """The share of the noise's pairs: the noise floor."""
        return self.noise_passing / self.n_noise

    @property
    def expected(self) -> Floats:
        """The number of the scan's pairs that noise alone would let pass."""
        return self.noise_share * self.n_tested


def q_values(p_values: ArrayLike, method: Method = "by") -> Floats:
    """Return the q-values of p-values of any shape: the least false discovery rate that takes each.

    NaN was not tested: it does not count, and stays. "bh" holds for independent or positively
    dependent tests, "by" for any dependence, as of pairs that share legs. Raises DataError for a
    p-value outside 0 to 1.
    """
    found = np.array(p_values, dtype=np.float64)
    is_tested = ~np.isnan(found)
    tested = _demand_shares(found[is_tested])
    m = len(tested)
    order = np.argsort(tested, kind="stable")
    scaled = tested[order] * m / np.arange(1, m + 1)
    if method == "by":
        scaled *= (1.0 / np.arange(1, m + 1)).sum()
    ordered = np.minimum.accumulate(scaled[::-1])[::-1]
    rates = np.empty(m)
    rates[order] = np.minimum(ordered, 1.0)
    found[is_tested] = rates
    return found


def p_threshold(p_values: ArrayLike, level: float, method: Method = "by") -> float:
    """Return the largest p-value whose q-value is at most ``level``; 0 where none is.

    The noise floor at this threshold is that of the selection. Raises as `q_values` does.
    """
    p, q = np.asarray(p_values, dtype=np.float64), q_values(p_values, method)
    passing = p[q <= level]
    return float(passing.max()) if passing.size else 0.0


def noise_floor(
    p_values: ArrayLike, noise_p_values: ArrayLike, thresholds: Sequence[float]
) -> NoiseFloor:
    """Return how many p-values of a scan, and of its noise, pass each threshold.

    Both of any shape, NaN where not tested. Raises NotEnoughData where nothing was tested,
    DataError for a p-value or threshold outside 0 to 1.
    """
    levels = _demand_shares(np.array(thresholds, dtype=np.float64))
    tested, noise = (_tested(p_values, "scan"), _tested(noise_p_values, "noise"))
    return NoiseFloor(
        thresholds=levels,
        passing=np.searchsorted(tested, levels, side="right"),
        noise_passing=np.searchsorted(noise, levels, side="right"),
        n_tested=len(tested),
        n_noise=len(noise),
    )


def _tested(p_values: ArrayLike, name: str) -> Floats:
    values = np.asarray(p_values, dtype=np.float64)
    found = np.sort(_demand_shares(values[~np.isnan(values)]))
    if not len(found):
        raise NotEnoughData(f"none of the {name}'s {values.size:,} pairs was tested; scan others")
    return found


def _demand_shares(values: Floats) -> Floats:
    is_wrong = ~((values >= 0.0) & (values <= 1.0))
    if is_wrong.any():
        raise DataError(f"{values[is_wrong][0]} is no probability; give values from 0 to 1")
    return values
