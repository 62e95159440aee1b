"""The practice exchange: a small loopback exchange that speaks Binance's market-data protocol.

`Market` is the pure market (a function of seed, rate and time); `PracticeExchange` serves it.
"""

from core.feed.practice.market import Market
from core.feed.practice.symbols import PAIRS, SYMBOLS

__all__ = ["PAIRS", "SYMBOLS", "Market"]
