"""A backtest on its way: in steps, cancelled, failed; and what its checks are about."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from backtest.results import inputs, result, spec_of

from core.backtest import BacktestSettings, Execution
from core.backtest.honesty import (
    CHECKS,
    Honesty,
    entry_levels,
    examined,
    window_lengths,
)
from core.backtests import BacktestRun, Traded, first_result, traded_of
from core.backtests.running import CANCELLED, DONE, FAILED, subject_of
from core.errors import NotEnoughData
from core.pair_spec import METHODS, PairSpec

SETTINGS = BacktestSettings()


def all_of(found: object, runs: int = 8) -> Honesty:
    *_, last = examined(subject_of(found), lambda words, share: True, runs=runs)  # type: ignore[arg-type]
    return last


def test_it_runs_from_bars_to_checks() -> None:
    begun = BacktestRun(lambda: traded_of(inputs()), SETTINGS)
    assert begun.standing.result is None
    standing = begun.start().wait(120)
    assert (standing.state, standing.share, standing.error) == (DONE, 1.0, None)
    assert standing.result is not None
    honesty = standing.result.honesty
    assert honesty.reasons == {}
    for name, _, _ in CHECKS:
        assert getattr(honesty, name) is not None
    assert honesty.noise is not None
    assert len(honesty.noise.returns) == 200
    assert honesty.audit is not None
    assert (honesty.audit.cuts, honesty.audit.is_clean) == (20, True)
    alone = first_result(traded_of(inputs()), SETTINGS)
    np.testing.assert_array_equal(standing.result.done.books.equity, alone.done.books.equity)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_checked_or_says_why_not(method: str) -> None:
    found = all_of(result(method=method))
    for name, _, _ in CHECKS:
        assert (getattr(found, name) is None) == (name in found.reasons)
    assert ("folds" in found.reasons) == (method in ("ols", "tls"))


def test_what_is_known_is_told_one_after_the_other() -> None:
    told: list[tuple[str, float]] = []
    going = lambda words, share: told.append((words, share)) or True  # noqa: E731
    steps = list(examined(subject_of(result()), going, runs=4))
    assert len(steps) == len(CHECKS)
    known = [sum(getattr(one, name) is not None for name, _, _ in CHECKS) for one in steps]
    assert known == [1, 2, 3, 4, 5]
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    assert [words for words, _ in told if words] == sorted(
        (words for words, _ in told), key=[one[1] for one in CHECKS].index
    )


def test_a_check_cut_short_is_not_part_of_what_is_known() -> None:
    calls = 0

    def going(words: str, share: float) -> bool:
        nonlocal calls
        calls += words == "Against noise"
        return calls < 3

    steps = list(examined(subject_of(result()), going, runs=50))
    assert steps[-1].noise is None
    assert steps[-1].folds is not None
    assert len(steps) == 3


def test_it_can_be_cancelled_and_keeps_what_it_knows() -> None:
    gate = threading.Event()

    def load() -> Traded:
        gate.wait(30)
        return traded_of(inputs())

    begun = BacktestRun(load, SETTINGS).start()
    begun.cancel()
    gate.set()
    standing = begun.wait(60)
    assert standing.state == CANCELLED
    assert standing.result is not None
    assert standing.result.honesty.noise is None


def test_what_cannot_be_read_is_the_run_s_error() -> None:
    def load() -> Traded:
        raise NotEnoughData("share 0 bars")

    standing = BacktestRun(load, SETTINGS).start().wait(30)
    assert standing.state == FAILED
    assert isinstance(standing.error, NotEnoughData)


def test_a_defect_is_told_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    def load() -> Traded:
        raise ZeroDivisionError("planted")

    standing = BacktestRun(load, SETTINGS).start().wait(30)
    assert standing.state == FAILED
    assert "planted" in str(standing.error)
    assert "a backtest failed" in caplog.text


def test_the_sweep_has_the_chosen_point() -> None:
    found = all_of(result(settings=replace(SETTINGS, execution=Execution(slippage=0))))
    assert found.sweep is not None
    assert 2.0 in found.sweep.entries
    assert 60 in found.sweep.windows
    levels = entry_levels(replace(SETTINGS, rules=replace(SETTINGS.rules, enter=2.1)))
    assert 2.1 in levels
    assert len(levels) == len(entry_levels(SETTINGS)) + 1


@pytest.mark.parametrize(("window", "least", "most"), [(60, 15, 240), (3, 3, 12), (500, 125, 2000)])
def test_windows_tried_are_a_quarter_to_four_times_the_chosen(
    window: int, least: int, most: int
) -> None:
    found = window_lengths(spec_of(window_bars=window))
    assert window in found
    assert (found[0], found[-1]) == (least, most)
    assert list(found) == sorted(set(found))


def test_the_kalman_filter_has_no_window_to_try() -> None:
    assert window_lengths(PairSpec("y", "x", method="kalman")) == (60,)


def test_test_stretches_follow_each_other() -> None:
    found = all_of(result()).folds
    assert found is not None
    assert len(found) == 5
    for one, after in pairwise(found):
        assert one.train[1] == one.test[0]
        assert after.test[0] == one.test[1]
    grown = np.prod([1 + one.test_net for one in found]) - 1
    assert all_of(result()).out_of_sample == pytest.approx(grown)
