"""Markets for scans: minute bars of made or of the practice exchange's prices, in a file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.feed.practice.paths import PricePaths
from core.feed.practice.symbols import SYMBOLS
from core.history_writer import Fetched, Span, write_klines
from core.models import KLINE_SCHEMA
from core.store import Store, open_store

Floats = NDArray[np.float64]
EPOCH = datetime(1970, 1, 1)
# The end of the practice market's days: any fixed day gives the same prices for ever.
LAST_DAY = datetime(2026, 11, 20)


def market_store(path: Path, logs: Mapping[str, Floats], *, until: datetime = LAST_DAY) -> Store:
    """Write log closes, a minute each, NaN where there was no trade, as the exchange's bars."""
    store = open_store(path)
    store.prepare("practice:7")
    pages = []
    for symbol, series in logs.items():
        first = until - timedelta(minutes=len(series))
        close = np.exp(series)
        frame = pl.DataFrame(
            {
                "symbol": symbol,
                "ts": pl.datetime_range(
                    first, until, "1m", closed="left", time_unit="ms", eager=True
                ),
                "open": close, "high": close, "low": close, "close": close,
                "volume": np.full(len(close), 1000.0), "quote_volume": 1000.0 * close,
                "trades": np.ones(len(close), np.int64),
                "taker_buy_volume": np.full(len(close), 500.0),
            }
        ).filter(pl.col("close").is_finite())  # fmt: skip
        minute = int((first - EPOCH).total_seconds()) // 60
        span = Span(minute, minute + len(series))
        pages.append(Fetched(symbol, span, frame.cast(pl.Schema(KLINE_SCHEMA))))
    with store.write() as con:
        write_klines(con, pages)
    return store


def practice_logs(days: float, *, seed: int = 7, until: datetime = LAST_DAY) -> dict[str, Floats]:
    """Return the practice market's log mid prices, a minute each, of whole days up to a day."""
    paths = PricePaths(seed)
    last = int((until - EPOCH).days)
    count = math.ceil(days)
    return {
        symbol: np.concatenate(
            [paths.log_price(symbol, day)[:86_400:60] for day in range(last - count, last)]
        )[-int(days * 1440) :]
        for symbol in SYMBOLS
    }


def walks(count: int, bars: int, *, seed: int = 1, volatility: float = 1e-3) -> dict[str, Floats]:
    """Return walks that have a factor in common and nothing else."""
    rng = np.random.default_rng(seed)
    factor = rng.standard_normal(bars)
    return {
        f"s{at:03}usdt": 3.0
        + np.cumsum(volatility * (0.6 * factor + 0.8 * rng.standard_normal(bars)))
        for at in range(count)
    }


def planted(
    y: Floats, *, half_life: float, sigma: float, beta: float = 0.9, seed: int = 3
) -> Floats:
    """Return a leg that comes back to ``beta`` times another one."""
    rng = np.random.default_rng(seed)
    phi = 0.5 ** (1.0 / half_life)
    steps = sigma * math.sqrt(1 - phi**2) * rng.standard_normal(len(y))
    spread = np.empty(len(y))
    spread[0] = sigma * rng.standard_normal()
    for at in range(1, len(y)):
        spread[at] = phi * spread[at - 1] + steps[at]
    return beta * y + spread


def now() -> datetime:
    """Return the moment, as the store keeps it."""
    return datetime.now(UTC).replace(tzinfo=None)
