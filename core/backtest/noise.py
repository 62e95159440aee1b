"""The same settings on noise: blocks of the legs' joint returns, resampled.

Joint, because independent legs are the wrong null: they make losers look skilled and winners
worse. What a bar does inside (open, high, low, VWAP against the close before) moves with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.backtest.engine import backtest
from core.backtest.market import Floats, Funding, Ints, Leg, Market, market
from core.backtest.pairing import signals
from core.backtest.settings import BacktestSettings
from core.errors import NotEnoughData
from core.pair_spec import PairSpec

BLOCK_BARS = 30
RUNS = 200
_SHAPES = ("open", "high", "low", "vwap", "close")


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """Ends of the runs on noise, (runs,), as returns of the capital; and where the real one stands.

    ``better_than`` is the share of runs that ended below the real result, ties counted half;
    ``traded`` the number of runs with a trade.
    """

    returns: Floats
    result: float
    better_than: float
    traded: int
    block_bars: int


def noise(
    at: Market,
    spec: PairSpec,
    settings: BacktestSettings,
    result: float,
    *,
    runs: int = RUNS,
    seed: int = 7,
    block_bars: int = BLOCK_BARS,
    going_on: Callable[[int], bool] = lambda done: True,
) -> Noise:
    """Return how the settings fare on resampled returns; ``result`` is the real net return.

    ``going_on`` is told after each run how many are done, and ends it all by saying False.
    Raises NotEnoughData under ten blocks.
    """
    if at.rows < 10 * block_bars:
        raise NotEnoughData(
            f"{at.rows} common bars; noise to compare with needs {10 * block_bars} at least"
        )
    shapes = [_Shapes.of(at, one, close) for one, close in ((at.y, at.close_y), (at.x, at.close_x))]

    def run(number: int) -> tuple[float, bool]:
        places = blocks(at.rows, block_bars, np.random.default_rng([seed, number]))
        made, rows = resampled(at, shapes, places)
        books = backtest(
            made, signals(spec, rows, lives=settings.rules.needs_half_lives), settings
        ).books
        return books.end / books.start - 1.0, books.trades.height > 0

    found: list[tuple[float, bool]] = []
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for one in pool.map(run, range(runs)):
            found.append(one)
            if not going_on(len(found)):
                pool.shutdown(wait=False, cancel_futures=True)
                break
    returns = np.array([end for end, _ in found])
    below, equal = (returns < result).mean(), (returns == result).mean()
    traded = sum(has_trades for _, has_trades in found)
    return Noise(returns, result, float(below + equal / 2), traded, block_bars)


def blocks(rows: int, block_bars: int, rng: np.random.Generator) -> Ints:
    """Return ``rows`` places of whole blocks of neighbours, drawn with replacement."""
    count = -(-rows // block_bars)
    # The first row has no return: nothing before it.
    starts = rng.integers(1, rows - block_bars + 1, count)
    places: Ints = (starts[:, None] + np.arange(block_bars)).ravel()[:rows]
    return places


@dataclass(frozen=True, slots=True, eq=False)
class _Shapes:
    """One leg's rows as logs against the close before, (5, n), and its first close."""

    logs: NDArray[np.float64]
    first: float

    @classmethod
    def of(cls, at: Market, one: Leg, closes: Floats) -> _Shapes:
        """Take the own bar of each row; a carried row keeps its close throughout."""
        bars = np.minimum(np.searchsorted(one.start_s, at.start_s), len(one.start_s) - 1)
        own = one.start_s[bars] == at.start_s
        before = np.concatenate((closes[:1], closes[:-1]))
        columns = [
            np.log(np.where(own, getattr(one, name)[bars], closes) / before) for name in _SHAPES
        ]
        return cls(np.array(columns), float(closes[0]))


def resampled(at: Market, shapes: list[_Shapes], places: Ints) -> tuple[Market, pl.DataFrame]:
    """Return the market and common rows that the drawn places make, at the real times."""
    legs = []
    for shape in shapes:
        drawn = shape.logs[:, places]
        paths = np.cumsum(drawn[-1])
        before = np.concatenate(([0.0], paths[:-1]))
        open_, high, low, vwap, close = shape.first * np.exp(drawn + before)
        legs.append(Leg(at.start_s, open_, high, low, close, vwap, True))
    y, x = legs
    rows = pl.DataFrame(
        {
            "ts": pl.Series(at.start_s * 1000).cast(pl.Datetime("ms")),
            "price_y": y.close,
            "price_x": x.close,
            "is_stale": np.zeros(at.rows, bool),
        }
    )
    rates = [
        # The mark prices were those of other prices: the made ones' last close stands in.
        Funding(one.at_s, one.rate, np.full(len(one.at_s), np.nan))
        for one in (at.funding_y, at.funding_x)
    ]
    made = market(rows, y, x, bar_s=at.bar_s, funding_y=rates[0], funding_x=rates[1])
    return made, rows
