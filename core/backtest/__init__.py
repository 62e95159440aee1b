"""Backtests of pair trades: decided on closed bars, filled later, with every cost."""

from core.backtest.engine import Backtest, Signals, backtest
from core.backtest.market import Funding, Leg, Market, funding, leg, market
from core.backtest.settings import BacktestSettings, Contract, Execution, Money, Rules

__all__ = [
    "Backtest",
    "BacktestSettings",
    "Contract",
    "Execution",
    "Funding",
    "Leg",
    "Market",
    "Money",
    "Rules",
    "Signals",
    "backtest",
    "funding",
    "leg",
    "market",
]
