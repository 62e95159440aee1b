"""What was put into the simulated market comes out of the statistics again.

The practice exchange holds two pairs that are truly cointegrated; its own parameters are the
golden values, and its bars come from its trades.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from core.feed.practice.market import DAY_MS, EPOCH_MS, MINUTE_MS, Market
from core.stats.cointegration import wild_bootstrap
from core.stats.hedge import dynamic_ols, ols, residuals
from core.stats.reversion import half_life

# y, x, hedge ratio, half-life in minutes, as `core.feed.practice.symbols` has them.
PAIRS = (("arbusdt", "opusdt", 0.9, 5.0), ("ltcusdt", "bchusdt", 0.8, 60.0))
START_MS = EPOCH_MS + 2_400 * DAY_MS
MONTH, DAY = 29 * 1_440, 1_440


@cache
def logs(symbol: str) -> np.ndarray:
    """29 days of 1-minute closes."""
    bars = Market(7).klines(symbol, MINUTE_MS, START_MS, START_MS + 29 * DAY_MS)
    assert len(bars.close) == MONTH
    return np.log(bars.close)


@pytest.mark.parametrize(("y", "x", "beta", "minutes"), PAIRS)
def test_a_month_gives_the_hedge_ratio_within_2_percent(
    y: str, x: str, beta: float, minutes: float
) -> None:
    fit = ols(logs(y), logs(x))
    assert fit.beta == pytest.approx(beta, rel=0.02)
    assert fit.sigma > 30e-4


@pytest.mark.parametrize(("y", "x", "beta", "minutes"), PAIRS)
def test_a_day_gives_it_within_three_errors_of_dynamic_ols(
    y: str, x: str, beta: float, minutes: float
) -> None:
    covered = []
    for day in range(29):
        part = slice(day * DAY, (day + 1) * DAY)
        error = dynamic_ols(logs(y)[part], logs(x)[part]).se
        covered.append(abs(ols(logs(y)[part], logs(x)[part]).beta - beta) <= 3 * error)
    # A day holds 288 half-lives of the first pair and 24 of the second.
    assert sum(covered) >= (29 if minutes == 5.0 else 25)


@pytest.mark.parametrize(("y", "x", "beta", "minutes"), PAIRS)
def test_a_month_gives_the_half_life_within_a_quarter(
    y: str, x: str, beta: float, minutes: float
) -> None:
    fit = ols(logs(y), logs(x))
    found = half_life(residuals(logs(y), logs(x), fit.alpha, fit.beta))
    assert MONTH / minutes >= 200
    assert found.bars == pytest.approx(minutes, rel=0.25)


def test_a_day_of_the_fast_pair_is_found_and_of_strangers_mostly_not() -> None:
    found = [
        wild_bootstrap(logs("arbusdt")[part], logs("opusdt")[part]).p <= 0.01
        for part in (slice(day * DAY, (day + 1) * DAY) for day in range(10))
    ]
    assert all(found)
    # The legs that are walks: the others come back to those within minutes, whatever they face.
    strangers = [
        wild_bootstrap(logs("bchusdt")[part], logs("opusdt")[part]).p <= 0.05
        for part in (slice(day * DAY, (day + 1) * DAY) for day in range(29))
    ]
    assert sum(strangers) <= 5
