"""Measures against values worked out apart from the code, and the properties of whole backtests."""

from __future__ import annotations

import dataclasses
import math
import statistics

import numpy as np
import pytest
from backtest.test_backtest_ledger import made, run
from backtest.test_backtest_reference import random_market, random_settings

from core.backtest import Backtest, Execution, Money, Rules, Signals, backtest
from core.backtest.measures import (
    daily_returns,
    deflated_sharpe,
    drawdown,
    measures,
    probabilistic_sharpe,
    sharpe_ratio,
)

DAY = 86_400


def test_days_are_utc_days_and_a_day_without_a_bar_returns_nothing() -> None:
    ends = np.array([DAY, DAY + 3600, 2 * DAY, 4 * DAY + 60])
    equity = np.array([110.0, 200.0, 121.0, 60.5])
    assert daily_returns(equity, ends, 100.0) == pytest.approx([0.1, 0.1, 0.0, 0.0, -0.5])


def test_an_account_that_is_lost_stays_lost() -> None:
    ends = np.array([DAY, 2 * DAY, 3 * DAY])
    assert daily_returns(np.array([50.0, -5.0, 20.0]), ends, 100.0).tolist() == [-0.5, -1.0, 0.0]


def test_drawdown_is_the_deepest_fall_and_its_longest_wait() -> None:
    curve = np.array([110.0, 99.0, 105.0, 110.0, 88.0, 120.0, 119.0])
    depth, length = drawdown(curve, np.arange(7) * 60, 100.0, 60)
    assert depth == pytest.approx(-0.2)
    assert length == 180
    assert drawdown(np.array([100.0, 101.0]), np.arange(2) * 60, 100.0, 60) == (0.0, 0)


def test_sharpe_is_that_of_the_textbook() -> None:
    daily = [0.01, -0.02, 0.015, 0.0, 0.005]
    expected = statistics.mean(daily) / statistics.stdev(daily) * math.sqrt(365)
    assert sharpe_ratio(np.array(daily)) == pytest.approx(expected, rel=1e-12)
    assert sharpe_ratio(np.zeros(9)) is None
    # A lost account's days of nothing would look better than its slow end.
    assert sharpe_ratio(np.array([-0.3, -0.2, -1.0, 0.0, 0.0])) is None


def test_the_probabilistic_sharpe_is_a_normal_tail_where_returns_are_normal() -> None:
    """With skewness 0 and kurtosis 3 the error is √((1 + SR²/2)/(n − 1))."""
    daily = np.random.default_rng(1).normal(0.001, 0.02, 200_000)
    ratio = daily.mean() / daily.std(ddof=1)
    spread = math.sqrt((1 + ratio**2 / 2) / (len(daily) - 1))
    expected = statistics.NormalDist().cdf((ratio - 0.05) / spread)
    found = probabilistic_sharpe(daily, 0.05 * math.sqrt(365))
    assert found == pytest.approx(expected, abs=0.01)


def test_the_deflated_sharpe_expects_the_best_of_luck() -> None:
    """Of many useless trials the best one is as good as luck makes it: about one half."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(40):
        trials = rng.normal(0, 0.01, (100, 250))
        ratios = np.array([sharpe_ratio(one) or 0.0 for one in trials])
        found.append(deflated_sharpe(trials[int(np.argmax(ratios))], ratios) or 0.0)
    assert 0.35 < statistics.mean(found) < 0.65
    alone = deflated_sharpe(trials[0], np.array([1.0]))
    assert alone == probabilistic_sharpe(trials[0])


def test_few_days_give_no_ratio_and_say_why() -> None:
    found = measures(run(made([100, 100, 110, 110], [50] * 4), [-3, 0, 1, 1]))
    assert found.sharpe is None
    assert found.reasons["sharpe"] == "1 daily returns; 20 are needed"
    assert found.reasons["annual_return"].endswith("from 20 on they are made a year of")
    assert (found.net, found.trades, found.hit_rate) == (50.0, 1, 1.0)
    assert found.reasons["profit_factor"] == "no trade lost"
    assert found.exposure == 0.25
    assert found.mean_holding_s == 3600.0


def test_a_year_is_365_days() -> None:
    rows = 24 * 25
    prices = [100.0, 100.0] + [110.0] * (rows - 2)
    found = measures(run(made(prices, [50] * rows), [-3, 0] + [1] * (rows - 2)))
    assert found.annual_return == pytest.approx(1.05**14.6 - 1, rel=1e-9)
    assert found.turnover == pytest.approx((1000 + 550 + 500) / 1000 * 14.6, rel=1e-9)


def one(seed: int, **changes: object) -> tuple[Backtest, Backtest]:
    """A random backtest, and the same with some of its settings changed."""
    rng = np.random.default_rng(seed)
    at = random_market(rng, 200, gaps=seed % 2 == 0)
    settings = random_settings(rng)
    zscore = np.convolve(rng.normal(0, 1, at.rows), 0.8 ** np.arange(20))[: at.rows]
    signals = Signals(
        zscore, rng.uniform(0.6, 1.5, at.rows), np.full(at.rows, 2e-3),
        half_life=rng.exponential(5, at.rows),
    )  # fmt: skip
    steps = dataclasses.replace(
        settings,
        money=dataclasses.replace(settings.money, gate=None),
        contract_y=dataclasses.replace(settings.contract_y, step_size=0.0, min_notional=0.0),
        contract_x=dataclasses.replace(settings.contract_x, step_size=0.0, min_notional=0.0),
    )
    return (
        backtest(at, signals, steps),
        backtest(at, signals, dataclasses.replace(steps, **changes)),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("seed", range(30))
def test_twice_the_capital_is_twice_the_money_and_the_same_ratios(seed: int) -> None:
    small, _ = one(seed)
    money = small.settings.money
    _, large = one(seed, money=dataclasses.replace(money, capital=2 * money.capital))
    assert large.books.equity == pytest.approx(2 * small.books.equity, rel=1e-12)
    a, b = measures(small), measures(large)
    assert b.net == pytest.approx(2 * a.net, rel=1e-9, abs=1e-9)
    assert (b.hit_rate, b.exposure, b.trades) == (a.hit_rate, a.exposure, a.trades)
    assert b.max_drawdown == pytest.approx(a.max_drawdown, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_more_cost_never_helps(seed: int) -> None:
    cheap, _ = one(seed)
    how = cheap.settings.execution
    _, dear = one(seed, execution=dataclasses.replace(how, taker_bps=9.0, maker_bps=9.0))
    assert dear.books.end <= cheap.books.end
    if not how.is_maker:
        # Sizes follow the price paid, so slippage is compared on the sum of what it takes.
        _, slow = one(seed, execution=how.scaled(2.0))
        gross = [b.books.trades["gross"].sum() for b in (cheap, slow)]
        assert slow.books.trades["slippage"].sum() >= cheap.books.trades["slippage"].sum()
        capital = cheap.settings.money.gross
        assert gross[0] == pytest.approx(gross[1], rel=0.05, abs=2e-3 * capital)


def test_no_trade_costs_nothing() -> None:
    found = run(made([100] * 30, [50] * 30), [0.0] * 30, execution=Execution(taker_bps=100))
    assert found.books.equity.tolist() == [1000.0] * 30
    assert measures(found).turnover == 0.0


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_cutting_off_the_future_changes_no_earlier_trade(seed: int, share: float) -> None:
    """Whole trades that ended before the cut are the same to the last bit."""
    whole, _ = one(seed)
    rows = int(whole.market.rows * share)
    cut_s = int(whole.market.start_s[rows - 1])
    at, signals = whole.market, whole.signals
    short = dataclasses.replace(
        at,
        start_s=at.start_s[:rows],
        close_y=at.close_y[:rows],
        close_x=at.close_x[:rows],
        fill_y=at.fill_y[:rows],
        fill_x=at.fill_x[:rows],
        held=np.minimum(at.held[:rows], rows),
    )
    part = backtest(short, signals.until(rows), whole.settings).books.trades
    done = part.filter(part["reason"] != "open")
    columns = [c for c in done.columns if c not in ("max_adverse",)]
    earlier = whole.books.trades.head(done.height)
    assert done.select(columns).equals(earlier.select(columns))
    left = whole.books.trades.slice(done.height)
    assert left.filter(left["exit_ts"].dt.epoch("s") <= cut_s).is_empty()


@pytest.mark.parametrize("seed", range(20))
def test_swapping_the_roles_of_the_legs_mirrors_the_money(seed: int) -> None:
    """Given z and dollar-neutral sizes: long y short x is short x long y."""
    first, _ = one(seed, rules=Rules(enter=0.8))
    money = Money(capital=1000.0, sizing="dollar", lowest_beta=0.01, highest_beta=100.0)
    settings = dataclasses.replace(first.settings, rules=Rules(enter=0.8), money=money)
    at = first.market
    ones = np.ones(at.rows)
    forth = backtest(at, dataclasses.replace(first.signals, beta=ones), settings)
    mirrored = dataclasses.replace(
        at, y=at.x, x=at.y, close_y=at.close_x, close_x=at.close_y, fill_y=at.fill_x,
        fill_x=at.fill_y, funding_y=at.funding_x, funding_x=at.funding_y,
    )  # fmt: skip
    swapped = dataclasses.replace(
        settings, contract_y=settings.contract_x, contract_x=settings.contract_y
    )
    back = backtest(
        mirrored,
        dataclasses.replace(first.signals, zscore=-first.signals.zscore, beta=ones),
        swapped,
    )
    assert back.books.equity == pytest.approx(forth.books.equity, rel=1e-12)
