"""Many tests at once: q-values.

Benjamini & Hochberg (1995); Benjamini & Yekutieli (2001).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from core.errors import DataError
from core.stats.arrays import Floats

Method = Literal["bh", "by"]


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


def _demand_shares(values: Floats) -> Floats:
    is_wrong = ~((values >= 0.0) & (values <= 1.0))
    if is_wrong.any():
        raise DataError(f"{values[is_wrong][0]} is no probability; give values from 0 to 1")
    return values
