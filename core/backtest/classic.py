"""The mini backtest of the field's dashboards, kept for comparison: what it claims, in z units.

In at the close that made |z| > ``enter``, out at the close where z crosses 0, no cost at all, and
the gain counted in units of z. It trades at the very price that made the signal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from core.backtest.market import Floats, Ints
from core.backtest.settings import Rules
from core.backtest.signals import OPEN, decisions


@dataclass(frozen=True, slots=True, eq=False)
class Classic:
    """Its trades (side, entry_row, exit_row, z_in, z_out, gain) and gains added up, (n,).

    A trade that is open at the end is left out of ``trades`` and marked in ``equity``.
    """

    trades: pl.DataFrame
    equity: Floats


def classic(zscore: Floats, *, enter: float = 2.0) -> Classic:
    """Return the classic backtest of a z-score, (n,), NaN where it is not defined."""
    rows = len(zscore)
    # Filled at the row that decides.
    at_once: Ints = np.arange(rows)
    anywhere = np.ones(rows, bool)
    path = decisions(
        zscore, Rules(enter=enter), may_long=anywhere, may_short=anywhere, held=at_once,
        timeout=None,
    )  # fmt: skip
    # Over a hole the last z stands; before the first there is none, and nothing moves.
    last = np.maximum.accumulate(np.where(np.isnan(zscore), -1, np.arange(rows)))
    known = np.where(last < 0, 0.0, zscore[last])
    steps = np.diff(known, prepend=known[:1])
    side = np.zeros(rows)
    for one in path:
        side[one.entry + 1 : one.exit + 1] = one.side
    closed = [one for one in path if one.reason != OPEN]
    trades = pl.DataFrame(
        {
            "side": [one.side for one in closed],
            "entry_row": [one.entry for one in closed],
            "exit_row": [one.exit for one in closed],
            "z_in": [float(zscore[one.entry]) for one in closed],
            "z_out": [float(zscore[one.exit]) for one in closed],
        },
        schema={
            "side": pl.Int64,
            "entry_row": pl.Int64,
            "exit_row": pl.Int64,
            "z_in": pl.Float64,
            "z_out": pl.Float64,
        },
    ).with_columns(gain=pl.col("side") * (pl.col("z_out") - pl.col("z_in")))
    return Classic(trades, np.cumsum(side * steps))
