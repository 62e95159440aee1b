"""What a backtest's numbers say in sentences: the verdict, caveats, checks."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from backtest.results import result

from core.backtest import BacktestSettings, Execution, Rules
from core.backtest.audit import Audit, Change
from core.backtest.honesty import Honesty
from core.backtest.noise import Noise
from core.backtest.sweep import Fold, Sweep
from core.backtest.toll import costs_view
from core.backtests import BacktestResult
from core.backtests.words import (
    CROWDED,
    check_words,
    counted,
    judgement,
    largest_share,
    percent,
    weaknesses,
)

FREE = BacktestSettings(execution=Execution(taker_bps=0, slippage=0, least_ticks=0))
DEAR = BacktestSettings(execution=Execution(taker_bps=60))
GOOD, PAID = result(settings=FREE), result()
CLEAN = Audit(20, (), pl.DataFrame())


def noise(better_than: float) -> Noise:
    return Noise(np.linspace(-0.2, 0.1, 200), 0.05, better_than, 187, 30)


def folds(*nets: float) -> tuple[Fold, ...]:
    return tuple(Fold((0, 10), (10, 20), 2.0, 60, 0.1, net, 5, 4) for net in nets)


def checked(found: BacktestResult, **honesty: Any) -> BacktestResult:
    return replace(found, honesty=Honesty(**honesty))


def test_the_best_there_is_says_what_it_beat_and_how_it_held() -> None:
    found = judgement(checked(GOOD, noise=noise(0.985), audit=CLEAN, folds=folds(0.02, 0.03)))
    assert found.kind == "holds"
    assert not found.is_grave
    assert "after costs over 25 h" in found.words
    assert "better than 98% of noise; +5.06% out of sample" in found.words


def test_no_better_than_noise_is_said_first() -> None:
    found = judgement(checked(GOOD, noise=noise(0.7), audit=CLEAN, folds=folds(0.02)))
    assert found.kind == "noise"
    assert found.words.startswith("No better than noise: +")
    assert "as well on 30% of shuffled histories" in found.words


def test_a_loss_that_noise_explains_is_called_noise() -> None:
    lost = result("independent", settings=DEAR)
    assert lost.measures.net < 0
    assert lost.measures.trades >= 10
    found = judgement(checked(lost, noise=noise(0.24), audit=CLEAN))
    assert found.kind == "noise"
    assert found.words.startswith("No better than noise, and ")
    assert "better than 24% of noise" in found.words
    assert "−" in found.words


def test_costs_that_eat_a_gain_are_named() -> None:
    lost = result(settings=DEAR)
    assert lost.measures.gross > 0 > lost.measures.net
    found = judgement(checked(lost, audit=CLEAN, noise=noise(0.99)))
    assert found.kind == "loses"
    assert found.words.startswith(
        f"Costs eat {percent(lost.measures.gross / lost.done.books.start)}: −"
    )


def test_in_sample_is_grave_whatever_else_there_is() -> None:
    found = judgement(checked(result(method="ols", settings=FREE), noise=noise(1.0), audit=CLEAN))
    assert (found.kind, found.is_grave) == ("in-sample", True)
    assert "In-sample" in found.words
    assert "is no result" in found.words


def test_a_result_that_knows_its_future_is_grave() -> None:
    changed = Audit(20, (Change(100, 0, 4, 7, 1),), pl.DataFrame())
    found = judgement(checked(GOOD, audit=changed, noise=noise(1.0)))
    assert (found.kind, found.is_grave) == ("changed", True)
    assert "1 of 20 cut-off histories" in found.words


def test_without_a_trade_it_says_what_was_missing() -> None:
    never = result(settings=BacktestSettings(Rules(enter=19.0)))
    found = judgement(never)
    assert found.kind == "none"
    assert "the largest |z| is" in found.words
    assert "the entry level 19" in found.words


def test_refused_entries_are_the_reason_where_there_were_any() -> None:
    money = replace(FREE.money, capital=2.0, lowest_beta=-99.0, highest_beta=99.0)
    tiny = result(settings=BacktestSettings(money=money))
    words = judgement(tiny).words
    assert "refused, most of all: below the minimum notional" in words
    assert any("refused: below the minimum notional" in one for one in weaknesses(tiny))


def test_few_trades_say_nothing() -> None:
    few = result(settings=BacktestSettings(Rules(enter=3.2)))
    assert 0 < few.measures.trades < 10
    assert judgement(checked(few, noise=noise(1.0))).words.startswith("Too few trades")


def test_what_is_not_yet_checked_is_not_yet_believed() -> None:
    assert "not yet held against noise" in judgement(GOOD).words
    untested = judgement(checked(GOOD, noise=noise(0.99)))
    assert untested.kind == "unproven"
    assert "not tested out of sample" in untested.words
    lost = judgement(checked(GOOD, noise=noise(0.99), folds=folds(-0.1, 0.01)))
    assert lost.kind == "unproven"
    assert "lost −9.10% out of sample" in lost.words


def test_what_a_reader_has_to_know_is_said() -> None:
    said = "\n".join(weaknesses(checked(PAID, costs=costs_view(PAID.done))))
    assert "no funding rates of x" in said
    assert "without a mark price" in said
    assert "2 days of returns: no Sharpe ratio" in said
    assert "an upper bound, not an expectation" in said
    assert said.endswith("and so does the pair")
    fills, bars = PAID.done.books.fills_y, PAID.traded.inputs.bars
    share = largest_share(PAID)
    assert share > CROWDED
    assert f"the largest order was {share:.0%} of what its bar turned over" in said
    one = bars.filter((pl.col("symbol") == "yusdt") & (pl.col("ts").dt.epoch("s") == fills.at_s[0]))
    assert share >= abs(fills.size[0]) * fills.paid[0] / one["quote_volume"][0]
    small = result(settings=BacktestSettings(money=replace(FREE.money, capital=50.0)))
    assert largest_share(small) == 0 or largest_share(small) < share / 50
    maker = replace(PAID, measures=replace(PAID.measures, optimistic_fills=0.25))
    assert any("25% of the maker fills are optimistic" in one for one in weaknesses(maker))


def test_every_check_has_its_sentence() -> None:
    grid = np.full((1, 2), 0.5)
    found = checked(
        PAID,
        noise=noise(0.9),
        audit=CLEAN,
        folds=folds(0.02, -0.01),
        costs=costs_view(PAID.done),
        sweep=Sweep((2.0,), (60, 85), grid, grid * math.nan, grid, (2.0, 85), None, 2),
    )
    said = check_words(found)
    assert set(said) == {"noise", "audit", "folds", "costs", "sweep"}
    assert "Better than 90% of 200 resamplings" in said["noise"]
    assert "in 30-bar blocks; 187 of them traded" in said["noise"]
    assert "no signal and no trade knows" in said["audit"]
    assert "+0.98% over 2 test stretches, 1 of them won" in said["folds"]
    assert "Net at 0× +" in said["costs"]
    assert "bps a fill" in said["costs"]
    assert "Best of 2 tried: entry 2, window 85" in said["sweep"]
    assert "Under 20 days" in said["sweep"]
    assert check_words(checked(PAID, reasons={"folds": "too short"})) == {
        "folds": "Not possible: too short."
    }


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.1234, "+12.34%"), (-0.001, "−0.10%"), (0.0, "0.00%"), (-1e-7, "0.00%"),
     (12.5, "+1,250%"), (None, "–"), (math.nan, "–"), (math.inf, "–")],
)  # fmt: skip
def test_percentages_have_a_sign_or_a_dash(share: float | None, text: str) -> None:
    assert percent(share) == text


def test_one_is_not_many() -> None:
    assert (counted(1, "trade"), counted(2_000, "trade")) == ("1 trade", "2,000 trades")
    assert counted(2, "entry", "entries") == "2 entries"
