"""Backtests of stored pairs: read, run in the background, judged, drawn and taken along."""

from core.backtests.loading import (
    BARS,
    RATES,
    Inputs,
    Traded,
    load_traded,
    read_inputs,
    run_backtest,
    traded_of,
)
from core.backtests.running import BacktestResult, BacktestRun, Standing, first_result

__all__ = [
    "BARS",
    "RATES",
    "BacktestResult",
    "BacktestRun",
    "Inputs",
    "Standing",
    "Traded",
    "first_result",
    "load_traded",
    "read_inputs",
    "run_backtest",
    "traded_of",
]
