"""The documented facts of the practice market, measured on its own 1-minute closes.

Expected values are the table in `core/feed/practice/symbols.py`; the tolerances are about three
standard errors (an AR(1)'s half-life over n = 1440 bars has the relative error
sqrt(2 / (n (1 - phi))) or so: 10% at 5 minutes, 35% at 60 minutes in one day).
"""

import numpy as np
import pytest
from numpy.typing import NDArray
from statsmodels.tsa.stattools import coint

from core.feed.practice.blocks import prices
from core.feed.practice.market import DAY_MS, EPOCH_MS, HOUR_MS, MINUTE_MS, Market
from core.feed.practice.symbols import PAIRS

MARKET = Market(seed=7)
DAY = EPOCH_MS + 2_517 * DAY_MS


def log_closes(symbol: str, days: int = 1) -> NDArray[np.float64]:
    bars = MARKET.klines(symbol, MINUTE_MS, DAY, DAY + days * DAY_MS)
    return np.log(prices(bars.spec, bars.close))


def half_life(spread: NDArray[np.float64]) -> float:
    centred = spread - spread.mean()
    phi = float(centred[:-1] @ centred[1:] / (centred[:-1] @ centred[:-1]))
    return -np.log(2) / np.log(phi)


@pytest.mark.parametrize(
    ("pair", "days", "tolerance"), [(PAIRS[0], 1, 0.3), (PAIRS[1], 4, 0.5)], ids=["fast", "slow"]
)
def test_pairs_have_their_half_life_and_sigma(pair, days: int, tolerance: float) -> None:
    y, x = log_closes(pair.y, days), log_closes(pair.x, days)
    spread = y - pair.hedge_ratio * x
    assert half_life(spread) == pytest.approx(pair.half_life_min, rel=tolerance)
    assert spread.std() * 1e4 == pytest.approx(pair.sigma_bps, rel=tolerance)
    assert np.polyfit(x, y, 1)[0] == pytest.approx(pair.hedge_ratio, abs=0.12)


def test_the_fast_pair_is_found_in_a_day_and_others_are_not() -> None:
    fast = PAIRS[0]
    assert fast.sigma_bps >= 60
    assert coint(log_closes(fast.y), log_closes(fast.x))[1] < 0.001
    for y, x in (("ethusdt", "btcusdt"), ("solusdt", "ethusdt"), ("linkusdt", "avaxusdt")):
        assert coint(log_closes(y), log_closes(x))[1] > 0.1


def test_the_spread_is_stationary_over_ten_days() -> None:
    fast = PAIRS[0]
    spread = log_closes(fast.y, 10) - fast.hedge_ratio * log_closes(fast.x, 10)
    means = spread.reshape(10, -1).mean(axis=1)
    # A day's mean of this AR(1) has a standard error of 75 bps * sqrt(2 * 7.2 / 1440) = 7.5 bps.
    assert means.std() * 1e4 < 20


def test_symbols_share_a_factor() -> None:
    returns = [np.diff(log_closes(s)) for s in ("btcusdt", "ethusdt", "solusdt")]
    assert np.corrcoef(returns)[np.triu_indices(3, 1)].min() > 0.5


def test_volatility_and_arrivals_cluster() -> None:
    moves = np.abs(np.diff(log_closes("btcusdt", 3)))
    counts = MARKET.klines("btcusdt", MINUTE_MS, DAY, DAY + DAY_MS).trades.astype(float)
    for series in (moves, counts):
        assert np.corrcoef(series[:-5], series[5:])[0, 1] > 0.1
    assert counts.max() > 4 * counts.mean()
    block = MARKET.trades_between("linkusdt", DAY, DAY + 6 * HOUR_MS)
    gaps = np.diff(block.ts_ms)
    assert gaps.std() / gaps.mean() > 1.2  # a Poisson stream has 1


@pytest.mark.parametrize("symbol", ["btcusdt", "linkusdt", "nearusdt"])
def test_prices_bounce_between_bid_and_ask(symbol: str) -> None:
    block = MARKET.trades_between(symbol, DAY, DAY + 3 * HOUR_MS)
    moves = np.diff(block.price_ticks)
    assert np.corrcoef(moves[:-1], moves[1:])[0, 1] < -0.05  # Roll (1984)
    share = block.buyer_is_maker.mean()
    assert 0.4 < share < 0.6


def test_sizes_are_heavy_tailed() -> None:
    block = MARKET.trades_between("ethusdt", DAY, DAY + HOUR_MS)
    assert block.size.max() > 30 * np.median(block.size)
    assert block.size.mean() > 1.3 * np.median(block.size)
