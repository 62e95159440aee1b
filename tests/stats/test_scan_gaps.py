"""Pairs with missing bars against the same definition done one pair and one bar at a time."""

from __future__ import annotations

import numpy as np
import pytest
from scan_panels import OnePair, every_kind, near_line, one_pair, walks, with_gaps
from series import Floats

from core.stats.scan import ScanResult, pair_scan
from core.stats.scan_crossings import pair_crossings


def assert_is(found: ScanResult, i: int, j: int, known: OnePair) -> None:
    at = i, j
    assert found.statistic[at] == pytest.approx(known.statistic, rel=1e-7, abs=1e-8)
    assert (found.lag[at], found.n_obs[at]) == (known.lag, known.n_obs)
    assert found.beta[at] == pytest.approx(known.beta, rel=1e-9)
    assert found.alpha[at] == pytest.approx(known.alpha, rel=1e-8, abs=1e-9)
    assert found.half_life_bars[at] == pytest.approx(known.half_life, rel=1e-6, nan_ok=True)
    assert found.spread_sd[at] == pytest.approx(known.deviation, rel=1e-8)
    assert found.zscore[at] == pytest.approx(known.zscore, rel=1e-7, abs=1e-7)
    assert found.r_squared[at] == pytest.approx(known.r_squared, abs=1e-10)
    assert found.return_correlation[at] == pytest.approx(known.correlation, abs=1e-10)
    assert found.crossings[at] == known.crossings


def assert_all_are(panel: Floats, lag: int, choice: str, pairs: int) -> None:
    found = pair_scan(panel, panel, lag=lag, lag_choice=choice)  # type: ignore[arg-type]
    rng = np.random.default_rng(lag)
    seen = 0
    for i, j in rng.integers(0, panel.shape[1], (pairs, 2)):
        if found.is_tested[i, j]:
            assert_is(found, int(i), int(j), one_pair(panel[:, i], panel[:, j], lag, choice))
            seen += 1
    assert seen >= pairs * 0.8


@pytest.mark.parametrize("choice", ["fixed", "aic"])
@pytest.mark.parametrize("lag", [0, 1, 4])
def test_pairs_with_gaps_are_those_of_the_plain_loop(lag: int, choice: str) -> None:
    panel = with_gaps(3, walks(3, 260, 20), 0.06, 12)
    assert_all_are(panel, lag, choice, 80)


def test_without_gaps_the_plain_loop_says_the_same() -> None:
    assert_all_are(walks(5, 200, 8), 2, "aic", 40)


def test_near_identical_pairs_with_gaps_go_the_direct_way_too() -> None:
    rng = np.random.default_rng(2)
    panel = walks(6, 400, 4)
    lines = [near_line(rng, panel[:, k], rest) for k, rest in enumerate((1e-3, 5e-6, 2e-6, 1e-6))]
    panel = with_gaps(4, np.concatenate([panel, np.stack(lines, axis=1)], axis=1), 0.03, 8)
    found = pair_scan(panel, panel, lag=1)
    for k in range(3):
        assert_is(found, k + 4, k, one_pair(panel[:, k + 4], panel[:, k], 1, "fixed"))
    assert found.is_direct[5, 1]
    assert found.is_direct[6, 2]
    assert found.is_same_asset[7, 3]


def test_a_missing_bar_of_one_symbol_changes_no_pair_of_others() -> None:
    panel = every_kind(1, 200)
    known = pair_scan(panel, panel)
    hole = panel.copy()
    hole[50, 7] = np.nan
    found = pair_scan(hole, hole)
    others = np.delete(np.arange(panel.shape[1]), 7)
    at = np.ix_(others, others)
    np.testing.assert_array_equal(found.statistic[at], known.statistic[at])
    np.testing.assert_array_equal(found.crossings[at], known.crossings[at])
    assert (found.n_obs[7, others][found.is_tested[7, others]] == 200 - 2 - 3).all()


def test_crossings_of_chosen_pairs_are_those_of_the_scan() -> None:
    panel = walks(10, 300, 6)
    panel[np.random.default_rng(4).random(panel.shape) < 0.05] = np.nan
    found = pair_scan(panel, panel)
    first, second = np.nonzero(found.is_tested)
    counted = pair_crossings(
        panel[:, first], panel[:, second], found.alpha[first, second], found.beta[first, second]
    )
    assert len(counted) == 30
    assert counted.max() > 5
    np.testing.assert_array_equal(counted, found.crossings[first, second])


def test_sums_over_masks_are_those_without_where_nothing_is_missing() -> None:
    """One bar that nobody else needs: at the end, so that only rows at the end go."""
    panel = walks(8, 150, 4)
    longer = np.concatenate([panel, np.full((1, 4), np.nan)])
    known, found = pair_scan(panel, panel), pair_scan(longer, longer)
    np.testing.assert_allclose(found.statistic, known.statistic, rtol=1e-9)
    np.testing.assert_allclose(found.zscore, known.zscore, rtol=1e-9)
    np.testing.assert_array_equal(found.n_obs, known.n_obs)
    np.testing.assert_array_equal(found.crossings, known.crossings)


def test_pairs_with_too_few_common_bars_are_not_tested() -> None:
    panel = walks(9, 120, 4)
    panel[:70, 0] = np.nan
    panel[60:, 1] = np.nan
    panel[::2, 2] = np.nan
    found = pair_scan(panel, panel)
    assert not found.is_tested[0, 1]
    assert np.isnan(found.beta[0, 1])
    assert np.isnan(found.zscore[1, 0])
    # Every second bar: 60 of them, and no step.
    assert not found.is_tested[2, 3]
    assert found.is_tested[0, 3]
    assert not pair_scan(panel, panel, least_bars=51).is_tested[0, 3]
    assert pair_scan(panel, panel, least_bars=50).is_tested[0, 3]


def test_a_symbol_without_any_bar_is_not_tested() -> None:
    panel = walks(9, 60, 3)
    panel[:, 1] = np.nan
    found = pair_scan(panel, panel)
    assert found.is_tested.tolist() == [[False, False, True], [False] * 3, [True, False, False]]


def test_a_leg_that_moves_only_where_the_other_is_missing_is_not_tested() -> None:
    panel = walks(10, 80, 2)
    panel[:40, 0] = 1.0
    panel[40:, 1] = np.nan
    found = pair_scan(panel, panel)
    assert not found.is_tested[0, 1]
    assert np.isnan(found.beta[0, 1])
