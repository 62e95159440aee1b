"""The scan of all pairs against statsmodels pair by pair, and against itself in other panels."""

from __future__ import annotations

from dataclasses import fields
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scan_panels import every_kind, near_line, walks
from series import Floats
from statsmodels.tsa.stattools import coint

from core.errors import DataError, NotEnoughData
from core.stats.cointegration import engle_granger
from core.stats.correlation import pearson
from core.stats.hedge import ols
from core.stats.reversion import half_life
from core.stats.scan import ScanResult, pair_scan

PANEL = every_kind(5, 400)
SYMBOLS = PANEL.shape[1]


def drawn(seed: int, pairs: int) -> list[tuple[int, int]]:
    """Return different random ordered pairs, and all near-identical ones in both orders."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(SYMBOLS * (SYMBOLS - 1), pairs, replace=False)
    # The number of a pair leaves out the diagonal.
    rows, columns = np.divmod(chosen, SYMBOLS - 1)
    found = {(int(i), int(j + (j >= i))) for i, j in zip(rows, columns, strict=True)}
    lines = [(100 + k, k) for k in range(40)]
    return [*sorted(found), *lines, *((j, i) for i, j in lines)]


def unit(values: Floats) -> Floats:
    """Centre and scale: statsmodels loses digits where the level dwarfs the moves."""
    return np.asarray((values - values.mean()) / values.std())


def assert_is_coint(found: ScanResult, pairs: list[tuple[int, int]], lag: int, choice: str) -> None:
    for i, j in pairs:
        if not found.is_tested[i, j]:
            assert 1.0 - found.r_squared[i, j] <= 1.5e-6
            continue
        autolag = None if choice == "fixed" else "aic"
        y, x = unit(PANEL[:, i]), unit(PANEL[:, j])
        statistic, p_value, _ = coint(y, x, maxlag=lag, autolag=autolag)
        assert abs(found.statistic[i, j] - statistic) <= 1e-8 * max(1.0, abs(statistic)), (i, j)
        assert found.p_value[i, j] == pytest.approx(p_value, rel=1e-6, abs=1e-12)


def test_statistic_and_p_are_statsmodels_on_two_thousand_pairs_of_every_kind() -> None:
    pairs = drawn(1, 2_100)
    found = pair_scan(PANEL, PANEL, lag=1)
    assert sum(bool(found.is_tested[pair]) for pair in set(pairs)) >= 2_000
    assert_is_coint(found, pairs, 1, "fixed")


@pytest.mark.parametrize("lag", [0, 2, 10])
def test_statistic_is_statsmodels_at_any_lag(lag: int) -> None:
    assert_is_coint(pair_scan(PANEL, PANEL, lag=lag), drawn(lag, 150), lag, "fixed")


@pytest.mark.parametrize("lag", [1, 5, 10])
def test_lags_by_aic_are_statsmodels(lag: int) -> None:
    found = pair_scan(PANEL, PANEL, lag=lag, lag_choice="aic")
    assert_is_coint(found, drawn(20 + lag, 150), lag, "aic")


def test_beta_alpha_and_r_squared_are_the_line_s() -> None:
    found = pair_scan(PANEL, PANEL)
    for i, j in drawn(3, 500):
        line = ols(PANEL[:, i], PANEL[:, j])
        assert found.beta[i, j] == pytest.approx(line.beta, rel=1e-10, abs=1e-10 * abs(line.beta))
        assert found.alpha[i, j] == pytest.approx(line.alpha, rel=1e-9)
        assert found.spread_sd[i, j] == pytest.approx(line.sigma, rel=1e-9)
        assert found.r_squared[i, j] == pytest.approx(line.r_squared, rel=1e-12, abs=1e-12)


def test_what_describes_a_pair_is_what_the_pair_s_own_functions_say() -> None:
    found = pair_scan(PANEL, PANEL)
    for i, j in drawn(4, 400):
        if not found.is_tested[i, j]:
            continue
        y, x = PANEL[:, i], PANEL[:, j]
        line = ols(y, x)
        spread = y - line.alpha - line.beta * x
        bars = half_life(spread).bars
        assert found.half_life_bars[i, j] == pytest.approx(
            np.nan if bars is None else bars, rel=1e-7, nan_ok=True
        )
        assert found.zscore[i, j] == pytest.approx(spread[-1] / line.sigma, rel=1e-7, abs=1e-7)
        correlation = pearson(np.diff(y), np.diff(x))
        assert found.return_correlation[i, j] == pytest.approx(correlation, abs=1e-10)
        assert found.crossings[i, j] == np.count_nonzero(np.diff(spread > 0.0))
        assert found.n_obs[i, j] == 400 - 2


def test_lags_by_aic_over_all_lags_is_the_pair_s_own_test() -> None:
    panel = walks(2, 40, 3)
    found = pair_scan(panel, panel, lag=10, lag_choice="aic")
    for i, j in ((0, 1), (2, 1), (1, 0)):
        known = engle_granger(panel[:, i], panel[:, j])
        assert found.statistic[i, j] == pytest.approx(known.statistic, rel=1e-9)
        assert found.p_value[i, j] == pytest.approx(known.p_value, rel=1e-7)
        assert (found.lag[i, j], found.n_obs[i, j]) == (known.lag, known.n_obs)
        assert found.beta[i, j] == pytest.approx(known.beta, rel=1e-10)


def test_the_same_asset_is_not_tested_and_what_nearly_is_goes_the_direct_way() -> None:
    rng = np.random.default_rng(1)
    x = walks(9, 500, 1)[:, 0]
    rests = np.array([1e-3, 5e-5, 9e-6, 3e-6, 1.6e-6, 1.4e-6, 1e-7, 1e-12])
    y = np.stack([near_line(rng, x, rest) for rest in rests], axis=1)
    found = pair_scan(y, x[:, None])
    assert found.is_same_asset[:, 0].tolist() == [False] * 5 + [True] * 3
    assert found.is_tested[:, 0].tolist() == [True] * 5 + [False] * 3
    assert found.is_direct[2:5, 0].all()
    assert not found.is_direct[0, 0]
    assert np.isnan(found.statistic[5:, 0]).all()
    assert np.isnan(found.p_value[5:, 0]).all()
    for k in range(5):
        statistic = coint(unit(y[:, k]), unit(x), maxlag=1, autolag=None)[0]
        assert found.statistic[k, 0] == pytest.approx(statistic, rel=1e-8)
    assert found.n_direct == int(found.is_direct.sum())
    assert found.n_tested == 5


def test_a_symbol_with_itself_is_the_same_asset() -> None:
    panel = walks(3, 300, 6)
    found = pair_scan(panel, panel)
    assert found.is_same_asset.diagonal().all()
    assert found.is_same_asset.sum() == 6
    assert found.n_tested == 30
    assert found.n_direct == 0


def test_x_may_be_of_another_window() -> None:
    now, earlier = walks(1, 300, 5), walks(2, 300, 4)
    found = pair_scan(now, earlier)
    assert found.statistic.shape == (5, 4)
    for i, j in product(range(5), range(4)):
        statistic = coint(now[:, i], earlier[:, j], maxlag=1, autolag=None)[0]
        assert found.statistic[i, j] == pytest.approx(statistic, rel=1e-8)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shift=st.floats(-100.0, 100.0),
    power=st.integers(-40, 40),
)
def test_shift_and_scale_change_beta_and_alpha_alone(seed: int, shift: float, power: int) -> None:
    panel = walks(seed, 60, 3)
    moved = panel.copy()
    moved[:, 0] = 2.0**power * (panel[:, 0] - panel[0, 0]) + 2.0**power * shift
    known, found = pair_scan(panel, panel), pair_scan(moved, moved)
    for name in ("statistic", "zscore", "half_life_bars", "return_correlation"):
        np.testing.assert_allclose(getattr(found, name), getattr(known, name), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.beta[0, 1:], 2.0**power * known.beta[0, 1:], rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), bars=st.integers(21, 60), lag=st.integers(0, 3))
def test_short_panels_are_statsmodels_too(seed: int, bars: int, lag: int) -> None:
    panel = walks(seed, bars, 3)
    found = pair_scan(panel, panel, lag=lag)
    statistic = coint(unit(panel[:, 2]), unit(panel[:, 0]), maxlag=lag, autolag=None)[0]
    assert found.statistic[2, 0] == pytest.approx(statistic, rel=1e-8, abs=1e-8)


def test_a_leg_that_stands_still_is_not_tested() -> None:
    panel = walks(4, 200, 4)
    panel[:, 2] = 3.5
    found = pair_scan(panel, panel)
    assert not found.is_tested[2].any()
    assert not found.is_tested[:, 2].any()
    assert not found.is_same_asset[2].any()
    assert np.isnan(found.beta[2]).all()
    assert np.isnan(found.zscore[:, 2]).all()
    assert (found.lag[2] == -1).all()
    assert (found.crossings[2] == -1).all()
    assert found.n_tested == 6


def test_residuals_that_follow_their_own_past_are_not_tested() -> None:
    bars = np.arange(120.0)
    panel = np.stack([np.sin(bars / 5.0), np.cos(bars / 5.0), walks(1, 120, 1)[:, 0]], axis=1)
    found = pair_scan(panel, panel, lag=2)
    assert not found.is_tested[0, 1]
    assert found.is_direct[0, 1]
    assert found.is_tested[0, 2]


def test_a_scan_without_crossings_says_all_the_rest() -> None:
    known, found = pair_scan(PANEL, PANEL), pair_scan(PANEL, PANEL, count_crossings=False)
    assert (found.crossings == -1).all()
    for field in fields(known):
        if field.name != "crossings":
            np.testing.assert_array_equal(getattr(found, field.name), getattr(known, field.name))


def test_what_cannot_be_scanned_is_refused_in_words() -> None:
    panel = walks(1, 60, 3)
    with pytest.raises(NotEnoughData, match="20 bars; 21 are needed"):
        pair_scan(panel[:20], panel[:20])
    with pytest.raises(NotEnoughData, match="22 bars; 23 are needed"):
        pair_scan(panel[:22], panel[:22], lag=10)
    with pytest.raises(DataError, match="60 bars and x 59"):
        pair_scan(panel, panel[1:])
    with pytest.raises(DataError, match="lag is 11; give 0 to 10"):
        pair_scan(panel, panel, lag=11)
    wrong = panel.copy()
    wrong[7, 2] = np.inf
    with pytest.raises(DataError, match="lag_choice is 'bic'"):
        pair_scan(panel, panel, lag_choice="bic")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="x is inf in row 7, column 2"):
        pair_scan(panel, wrong)
    with pytest.raises(DataError, match="1 dimensions"):
        pair_scan(panel[:, 0], panel)
    with pytest.raises(NotEnoughData, match="0 symbols"):
        pair_scan(panel, panel[:, :0])


def test_the_share_of_carried_bars_stands_beside_each_symbol() -> None:
    panel = walks(1, 50, 3)
    panel[:10, 1] = np.nan
    panel[:, 2] = np.nan
    stale = np.zeros(panel.shape, dtype=bool)
    stale[:20, :2] = True
    found = pair_scan(panel, panel[:, :1], y_stale=stale)
    assert found.y_stale_share.tolist()[:2] == [0.4, 0.25]
    assert np.isnan(found.y_stale_share[2])
    assert found.x_stale_share.tolist() == [0.0]
    with pytest.raises(DataError, match=r"stale bars are \(49, 3\) and the panel \(50, 3\)"):
        pair_scan(panel, panel, x_stale=stale[1:])


def test_progress_is_told_after_each_tile_and_may_end_the_scan() -> None:
    told: list[float] = []
    pair_scan(PANEL, PANEL, progress=told.append)
    assert told == [0.25, 0.5, 0.75, 1.0]

    class Cancelled(Exception):
        pass

    def stop(share: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        pair_scan(PANEL, PANEL, progress=stop)
