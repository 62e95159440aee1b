"""From a pair's view to what a backtest trades on: the z-score and hedge of the Pair page."""

from __future__ import annotations

import numpy as np
import polars as pl

from core.backtest.engine import Signals
from core.backtest.market import Floats
from core.pair_series import Origin, origin_of, pair_hedge
from core.pair_spec import PairSpec
from core.stats.hedge import HedgeFit, ols, tls
from core.stats.reversion import rolling_half_life


def signals(
    spec: PairSpec, rows: pl.DataFrame, lead: pl.DataFrame | None = None, *, lives: bool = True
) -> Signals:
    """Return what the pair's rows (`core.pair_series.aligned`) say, one value a row.

    ``lead`` are the aligned bars before them; the last `PairSpec.warm_bars` are what the first
    windows stand on, as on the Pair page, so that all is the same to the last digit. OLS and TLS
    are fitted on all of ``rows``: in-sample. ``lives``: with half-lives, for rules that need them.
    """
    warm = None if lead is None else lead.tail(spec.warm_bars)
    before = 0 if warm is None else warm.height
    frame = rows if warm is None or not before else pl.concat([warm, rows])
    origin = origin_of(spec, frame)
    found = pair_hedge(spec, frame, origin, _fit(spec, frame, origin, before)).rows[before:]
    window = max(4, spec.window_bars)
    half_life = rolling_half_life(_floats(found["spread"]), window) if lives else None
    return Signals(
        _floats(found["zscore"]), _floats(found["beta"]), _floats(found["spread_sd"]),
        spec.is_log, spec.is_in_sample, half_life, spec.window_bars,
    )  # fmt: skip


def _fit(spec: PairSpec, frame: pl.DataFrame, origin: Origin, before: int) -> HedgeFit | None:
    if not spec.is_in_sample:
        return None
    y, x = origin.legs(frame)
    return (ols if spec.method == "ols" else tls)(y[before:], x[before:])


def _floats(values: pl.Series) -> Floats:
    found: Floats = values.cast(pl.Float64).fill_null(np.nan).to_numpy()
    return found
