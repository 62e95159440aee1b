"""Backtests of made pairs, without a file: what the words, figures, reports and bundles show."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
from pair_bars import START
from stats.series import cointegrated, independent

from core.backtest import BacktestSettings, Contract
from core.backtests import BacktestResult, Inputs, first_result, traded_of
from core.backtests.loading import BARS, RATES
from core.models import CoverageSummary
from core.pair_spec import PairSpec

BARS_MADE = 2_000
FIRST = 500


def bars_of(symbol: str, logs: np.ndarray) -> pl.DataFrame:
    """One leg's 1-minute bars as the file has them; each opens at the close before."""
    n = len(logs)
    close = 100 * np.exp(logs)
    open_ = np.concatenate((close[:1], close[:-1]))
    return pl.DataFrame(
        {
            "symbol": symbol,
            "ts": [START + timedelta(minutes=i) for i in range(n)],
            "open": open_,
            "high": np.maximum(open_, close) * 1.0002,
            "low": np.minimum(open_, close) * 0.9998,
            "close": close,
            "volume": np.full(n, 5.0),
            "quote_volume": 5.0 * (open_ + close) / 2,
        }
    )


def legs(kind: str = "pair", seed: int = 5, bars: int = BARS_MADE) -> pl.DataFrame:
    """Two legs that belong together, or two that do not."""
    if kind == "pair":
        y, x = cointegrated(seed, bars, half_life=12.0, sigma=0.004)
    else:
        y, x = independent(seed, bars)
    return pl.concat([bars_of("yusdt", y), bars_of("xusdt", x)])


def spec_of(method: str = "refit", **more: Any) -> PairSpec:
    options: dict[str, Any] = {"window_bars": 60, "refit_bars": 30, "burn_in_bars": 300}
    return PairSpec("yusdt", "xusdt", method=method, **(options | more))  # type: ignore[arg-type]


def inputs(
    kind: str = "pair", method: str = "refit", *, seed: int = 5, bars: int = BARS_MADE, **more: Any
) -> Inputs:
    """What a file would have given: bars, one leg's settlements, one leg's contract."""
    start, end = START + timedelta(minutes=FIRST), START + timedelta(minutes=bars)
    rates = pl.DataFrame(
        {
            "symbol": "yusdt",
            "ts": [START + timedelta(hours=hour, milliseconds=3) for hour in (16, 24)],
            "rate": [0.001, 0.001],
            "mark_price": [101.0, None],
        },
        schema_overrides={"mark_price": pl.Float64},
    )
    held = tuple(CoverageSummary(one, 990, 10, start, end) for one in ("yusdt", "xusdt"))
    return Inputs(
        spec_of(method, **more), start, end,
        legs(kind, seed, bars).with_columns(origin=pl.lit("trades")).select(BARS),
        rates.select(RATES), (Contract(0.01, 0.1, 5.0), Contract()), held,
    )  # fmt: skip


def result(
    kind: str = "pair", method: str = "refit", settings: BacktestSettings | None = None, **more: Any
) -> BacktestResult:
    """A backtest with its numbers, before any check."""
    return first_result(traded_of(inputs(kind, method, **more)), settings or BacktestSettings())
