"""On 1,000 pairs of independent walks, without costs, nobody wins but who looks ahead."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from core.backtest import BacktestSettings, Execution, Leg, Market, Money, backtest, market
from core.backtest.pairing import signals
from core.pair_spec import PairSpec

PAIRS, BARS, BAR_S = 1_000, 800, 60
BEGIN_S = 1_793_491_200
# Half a spread as wide as a bar's own move: what a minor contract has.
BOUNCE = 1e-3
# Independent legs have any β; with the default limits on it most of them would not trade.
ANY_BETA = Money(lowest_beta=-1e3, highest_beta=1e3)
NEXT_BAR = BacktestSettings(
    execution=Execution(taker_bps=0.0, slippage=0.0, least_ticks=0.0), money=ANY_BETA
)
# A maker without a fee fills at the close that decided: the field's mini backtest.
SAME_BAR = BacktestSettings(execution=Execution(is_maker=True, maker_bps=0.0), money=ANY_BETA)


def walks(seed: int, bounce: float) -> tuple[Market, pl.DataFrame]:
    """Two independent walks of 10 bps a bar; opens and closes stand ``bounce`` off the middle."""
    rng = np.random.default_rng([seed, 77])
    start = BEGIN_S + BAR_S * np.arange(BARS)
    legs = []
    for _ in range(2):
        step = rng.normal(0, 1e-3, BARS)
        middle = np.cumsum(step)
        before = np.concatenate(([0.0], middle[:-1]))
        side = rng.choice((-1.0, 1.0), (2, BARS))
        close = 100 * np.exp(middle + bounce * side[0])
        open_ = 100 * np.exp(before + bounce * side[1])
        vwap = 100 * np.exp(before + step * rng.random(BARS))
        high, low = np.max((open_, close, vwap), axis=0), np.min((open_, close, vwap), axis=0)
        legs.append(Leg(start, open_, high, low, close, vwap, True))
    rows = pl.DataFrame(
        {
            "ts": pl.Series(start * 1000).cast(pl.Datetime("ms")),
            "price_y": legs[0].close,
            "price_x": legs[1].close,
            "is_stale": False,
        }
    )
    return market(rows, *legs, bar_s=BAR_S), rows


def results(method: str, bounce: float, *settings: BacktestSettings) -> list[NDArray[np.float64]]:
    """For each setting, the returns of the pairs that traded, open trades marked."""
    spec = PairSpec("y", "x", method=method, burn_in_bars=200)  # type: ignore[arg-type]

    def one(seed: int) -> list[float]:
        at, rows = walks(seed, bounce)
        made = signals(spec, rows)
        found = [backtest(at, made, each).books for each in settings]
        return [one.end / one.start - 1.0 if one.trades.height else np.nan for one in found]

    with ThreadPoolExecutor(2) as pool:
        ends = np.array(list(pool.map(one, range(PAIRS))))
    return [column[~np.isnan(column)] for column in ends.T]


def standing(returns: NDArray[np.float64]) -> tuple[float, float]:
    """The share that ended above the start, and the mean in standard errors."""
    error = returns.std(ddof=1) / np.sqrt(len(returns))
    return float((returns > 0).mean()), float(returns.mean() / error)


@pytest.mark.parametrize("method", ["rolling", "refit", "kalman"])
def test_no_trailing_mode_wins_on_noise(method: str) -> None:
    (plain,) = results(method, 0.0, NEXT_BAR)
    bounced, same_bar = results(method, BOUNCE, NEXT_BAR, SAME_BAR)
    for found in (plain, bounced):
        won, errors = standing(found)
        assert len(found) > 0.9 * PAIRS
        assert 0.45 < won < 0.56
        assert abs(errors) < 3
    # Filled at the very price that made the signal, the bounce itself looks like a profit.
    won, errors = standing(same_bar)
    assert errors > 3
    assert won > 0.56


@pytest.mark.parametrize("method", ["ols", "tls"])
def test_a_fit_on_the_whole_range_stands_out_and_is_marked(method: str) -> None:
    (found,) = results(method, 0.0, NEXT_BAR)
    won, errors = standing(found)
    assert won > 0.58
    assert errors > 6
    at, rows = walks(0, 0.0)
    spec = PairSpec("y", "x", method=method)  # type: ignore[arg-type]
    done = backtest(at, signals(spec, rows), NEXT_BAR)
    assert done.signals.is_in_sample
    assert any(one.startswith("IN-SAMPLE") for one in done.assumptions)
