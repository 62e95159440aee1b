"""Ledgers worked out by hand, in fractions: every euro of every fill."""

from __future__ import annotations

from fractions import Fraction as F

import numpy as np
import polars as pl
import pytest

from core.backtest import (
    Backtest,
    BacktestSettings,
    Contract,
    Execution,
    Funding,
    Market,
    Money,
    Rules,
    Signals,
    backtest,
    leg,
    market,
)
from core.backtest.market import NO_FUNDING
from core.errors import DataError, NotEnoughData

BAR_S = 3600
DAY = 1_767_225_600  # 2026-01-01T00:00Z
FREE = Execution(taker_bps=0, slippage=0, least_ticks=0)
PLAIN = Contract()


def made(
    y: list[int | float],
    x: list[int | float],
    *,
    funding_y: Funding = NO_FUNDING,
    funding_x: Funding = NO_FUNDING,
) -> Market:
    """Hourly bars that open and trade at one price throughout: a fill's price is its bar's."""

    def bars(prices: list[int | float]) -> pl.DataFrame:
        price = np.array(prices, dtype=np.float64)
        n = len(price)
        return pl.DataFrame(
            {
                "ts": pl.Series((DAY + np.arange(n) * BAR_S) * 1000).cast(pl.Datetime("ms")),
                "open": price, "high": price, "low": price, "close": price,
                "volume": np.ones(n), "quote_volume": price,
            }
        )  # fmt: skip

    by, bx = bars(y), bars(x)
    rows = pl.DataFrame({"ts": by["ts"], "price_y": by["close"], "price_x": bx["close"]})
    return market(rows, leg(by), leg(bx), bar_s=BAR_S, funding_y=funding_y, funding_x=funding_x)


def run(
    at: Market,
    zscore: list[float],
    *,
    rules: Rules | None = None,
    execution: Execution = FREE,
    beta: float | list[float] = 1.0,
    contracts: tuple[Contract, Contract] = (PLAIN, PLAIN),
) -> Backtest:
    settings = BacktestSettings(
        rules or Rules(), execution, Money(capital=1000.0), contracts[0], contracts[1]
    )
    z = np.array(zscore, dtype=np.float64)
    slopes = np.broadcast_to(np.asarray(beta, dtype=np.float64), z.shape).copy()
    return backtest(at, Signals(z, slopes, np.full(len(z), 0.01)), settings)


def funding_at(hours: list[float], rates: list[float], marks: list[float]) -> Funding:
    at = np.array([DAY + round(hour * 3600) for hour in hours], dtype=np.int64)
    return Funding(at, np.array(rates), np.array(marks))


def test_one_winning_trade() -> None:
    """Long spread: 500 of y at 100, −500 of x at 50; y rises 10%, x rises 2%: 50 − 10."""
    found = run(made([100, 100, 110, 110], [50, 50, 51, 51]), [-3, 0, 1, 1]).books
    trade = found.trades.row(0, named=True)
    assert (trade["size_y"], trade["size_x"]) == (5.0, -10.0)
    assert (trade["price_y_in"], trade["price_y_out"]) == (100.0, 110.0)
    assert trade["net"] == trade["gross"] == float(5 * F(10) - 10 * F(1))
    assert (trade["side"], trade["reason"], trade["bars_held"]) == ("long", "exit", 1.0)
    assert trade["max_adverse"] == 0.0
    assert found.equity.tolist() == [1000, 1000, 1040, 1040]
    assert found.open_mark == 0.0


def test_one_losing_trade_shows_how_deep_it_stood() -> None:
    """Short spread: −5 y at 100, +10 x at 50. y to 120 and back to 106: −100, then −30."""
    found = run(made([100, 100, 120, 106, 106], [50] * 5), [3, 1, 1, -1, 0]).books
    trade = found.trades.row(0, named=True)
    assert (trade["side"], trade["size_y"], trade["size_x"]) == ("short", -5.0, 10.0)
    assert trade["net"] == -30.0 if trade["price_y_out"] == 106 else pytest.fail(str(trade))
    assert trade["max_adverse"] == -100.0
    assert found.equity.tolist() == [1000, 1000, 900, 970, 970]


def test_fees_only() -> None:
    """Four fills at 10 bps of their notional; nothing moves."""
    fees = Execution(taker_bps=10, slippage=0, least_ticks=0)
    found = run(made([100] * 4, [50] * 4), [-3, 0, 0, 0], execution=fees).books
    trade = found.trades.row(0, named=True)
    expected = 4 * F(500) * F(10, 10_000)
    assert trade["fees"] == pytest.approx(float(expected), rel=1e-12)
    assert trade["net"] == pytest.approx(-float(expected), rel=1e-12)
    assert trade["gross"] == 0.0
    assert found.end == pytest.approx(998.0, rel=1e-12)


def test_slippage_is_paid_on_every_fill_and_is_a_tick_at_least() -> None:
    """Buys one tick of 0.5 higher, sells one lower: sizes follow the price paid."""
    ticks = Execution(taker_bps=0, slippage=0.1, slippage_kind="bps")
    grid = (Contract(tick_size=0.5), Contract(tick_size=0.25))
    found = run(made([100] * 4, [50] * 4), [-3, 0, 0, 0], execution=ticks, contracts=grid).books
    trade = found.trades.row(0, named=True)
    y_in, x_in = F(201, 2), F(199, 4)
    size_y, size_x = F(500) / y_in, F(500) / x_in
    assert (trade["price_y_in"], trade["price_x_in"]) == (float(y_in), float(x_in))
    assert trade["size_y"] == pytest.approx(float(size_y), rel=1e-12)
    expected = size_y * 1 + size_x * F(1, 2)
    assert trade["slippage"] == pytest.approx(float(expected), rel=1e-12)
    assert trade["net"] == pytest.approx(-float(expected), rel=1e-12)


def test_funding_only_over_three_settlements_of_unequal_spacing() -> None:
    """In at 01:00, out at 08:00: those after the entry and up to the exit count, 08:00 as well.

    Settlements of y at 01:00 (not after the entry), 02:30, 05:00 without a mark price, and 08:00;
    of x one at 03:00 and one after the exit.
    """
    rates_y = funding_at([1, 2.5, 5, 8], [1, 0.01, 0.02, 0.03], [1, 100, np.nan, 110])
    rates_x = funding_at([3, 9], [0.05, 1], [50, 50])
    at = made([100] * 10, [50] * 10, funding_y=rates_y, funding_x=rates_x)
    found = run(at, [-3, -1, -1, -1, -1, -1, -1, 1, 1, 1]).books
    trade = found.trades.row(0, named=True)
    paid_y = 5 * (100 * F(1, 100) + 100 * F(2, 100) + 110 * F(3, 100))
    paid_x = -10 * 50 * F(5, 100)
    assert trade["funding"] == pytest.approx(float(-paid_y - paid_x), rel=1e-12)
    assert trade["net"] == trade["funding"]
    assert found.end == pytest.approx(1000 + trade["net"], rel=1e-12)
    assert found.trades["exit_ts"][0].hour == 8


def test_a_stop_ends_it_and_waits_until_the_spread_was_inside() -> None:
    rules = Rules(stop=4.0)
    zscore = [-3, -3, -5, -3, -3, -1, -3, 0, 0, 0]
    found = run(made([100] * 10, [50] * 10), zscore, rules=rules).books.trades
    assert found["reason"].to_list() == ["stop", "exit"]
    assert found["decided_row"].to_list() == [0, 6]


def test_a_time_stop_counts_bars_since_the_fill() -> None:
    rules = Rules(time_stop_bars=2)
    found = run(made([100] * 8, [50] * 8), [-3] * 8, rules=rules).books.trades
    # Filled in bar 1, decided out at the close of bar 3, filled in bar 4; and again.
    assert found["reason"].to_list() == ["time stop", "open"]
    assert found["decided_row"].to_list() == [0, 4]
    assert found["bars_held"].to_list() == [3.0, 3.0]


def test_a_time_stop_in_half_lives_is_that_of_the_decision() -> None:
    """2 half-lives of 1.2 bars at the first decision: 3 bars; none known at the second: 5."""
    rules = Rules(time_stop_half_lives=2.0)
    z = np.full(14, -3.0)
    lives = np.array([1.2, 9, 9, 9, 9, np.inf, 9, 9, 9, 9, 9, 9, 9, 9])
    signals = Signals(z, np.ones(14), np.full(14, 0.01), half_life=lives, window_bars=5)
    found = backtest(
        made([100] * 14, [50] * 14), signals, BacktestSettings(rules, FREE, Money(capital=1000.0))
    ).books.trades
    # Filled in bar 1, out at the close of 4, filled in 5; in again at 5's close, out at 11's.
    assert found["decided_row"].to_list() == [0, 5, 12]
    assert found["reason"].to_list() == ["time stop", "time stop", "open"]
    assert found["bars_held"].to_list()[:2] == [4.0, 6.0]
    with pytest.raises(DataError, match="half-lives"):
        run(made([100] * 4, [50] * 4), [-3] * 4, rules=rules)


def test_open_at_the_end_is_marked_and_reported() -> None:
    """Short y by 5 at 100, long x by 10 at 50; the last closes are 90 and 51: 50 + 10."""
    found = run(made([100, 100, 90], [50, 50, 51]), [3, 3, 3]).books
    trade = found.trades.row(0, named=True)
    assert (trade["reason"], trade["exit_ts"], trade["price_y_out"]) == ("open", None, None)
    assert trade["net"] == found.open_mark == 60.0
    assert found.end == 1060.0


def test_both_directions_one_after_the_other() -> None:
    """Long from 100 to 110 (+50), then short from 110 to 104 with 1000 of gross again."""
    zscore = [-3, 1, 3, -1, 0, 0]
    found = run(made([100, 100, 110, 110, 104, 104], [50] * 6), zscore).books
    assert found.trades["side"].to_list() == ["long", "short"]
    assert found.trades["net"].to_list() == pytest.approx([50.0, float(6 * F(500, 110))], rel=1e-12)
    one_sided = run(
        made([100, 100, 110, 110, 104, 104], [50] * 6), zscore, rules=Rules(sides="long")
    )
    assert one_sided.books.trades["side"].to_list() == ["long"]


def test_a_frozen_hedge_stays_and_a_rebalanced_one_follows_beta() -> None:
    """β from 1 to 2 while both legs are flat: x goes from −10 to −20 at 50, out at 51."""
    y, x = [100] * 6, [50, 50, 50, 50, 51, 51]
    zscore, beta = [-3, -1, -1, 1, 0, 0], [1.0, 1.0, 2.0, 2.0, 2.0, 2.0]
    frozen = run(made(y, x), zscore, beta=beta).books
    assert frozen.trades["net"].to_list() == [-10.0]
    rules = Rules(rebalance_bars=1)
    moved = run(made(y, x), zscore, beta=beta, rules=rules).books
    assert moved.fills_x.size.tolist() == [-10.0, -10.0, 20.0]
    assert moved.trades["net"].to_list() == [-20.0]
    assert moved.position_x.tolist() == [0, -10, -10, -20, 0, 0]


def test_sizes_are_rounded_down_and_the_error_is_told() -> None:
    grid = (Contract(step_size=1.0), Contract(step_size=4.0))
    found = run(made([100] * 4, [50] * 4), [-3, 0, 0, 0], contracts=grid).books.trades
    assert found.select("size_y", "size_x").row(0) == (5.0, -8.0)
    assert found["hedge_error"][0] == pytest.approx(-0.2, rel=1e-12)


@pytest.mark.parametrize(
    ("beta", "contracts", "reason"),
    [
        (0.1, (PLAIN, PLAIN), "β outside 0.2 to 5"),
        (-1.0, (PLAIN, PLAIN), "β outside 0.2 to 5"),
        (float("nan"), (PLAIN, PLAIN), "no hedge ratio"),
        (1.0, (Contract(min_notional=501.0), PLAIN), "below the minimum notional"),
        (1.0, (PLAIN, Contract(step_size=11.0)), "below the minimum notional"),
    ],
)
def test_what_cannot_be_traded_is_refused_with_its_reason(
    beta: float, contracts: tuple[Contract, Contract], reason: str
) -> None:
    found = run(made([100] * 4, [50] * 4), [-3, 0, 0, 0], beta=beta, contracts=contracts)
    assert found.books.trades.is_empty()
    assert found.refused == {reason: 1}
    assert found.books.equity.tolist() == [1000.0] * 4


def test_missing_funding_is_said_to_be_assumed() -> None:
    days = made(
        [100] * 49, [50] * 49, funding_y=funding_at([8, 16, 24, 32, 40, 48], [0.0] * 6, [1.0] * 6)
    )
    found = run(days, [0.0] * 49)
    assert found.assumptions == ("no funding rates of x for 100% of the time: 0 is assumed",)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Rules(enter=0),
        lambda: Rules(exit=2.5),
        lambda: Rules(stop=1.0),
        lambda: Rules(time_stop_bars=0),
        lambda: Execution(slippage=-1),
        lambda: Money(capital=0),
        lambda: made([100, -1], [50, 50]),
    ],
)
def test_what_makes_no_sense_is_refused_at_the_door(build: object) -> None:
    with pytest.raises(DataError):
        build()  # type: ignore[operator]


def test_one_bar_is_too_few() -> None:
    with pytest.raises(NotEnoughData, match="1 common bars"):
        made([100], [50])
