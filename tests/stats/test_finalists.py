"""What the few that a scan selects must stand: each test as it is alone, and a later window."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from scan_panels import walks
from series import cointegrated
from statsmodels.tsa.stattools import adfuller

from core.errors import DataError, NotEnoughData
from core.stats.cointegration import engle_granger, johansen, wild_bootstrap
from core.stats.finalists import confirmation, confirmations, finalist
from core.stats.hedge import ols
from core.stats.multiple_testing import q_values

Y, X = cointegrated(3, 600, half_life=20.0)


def test_a_finalist_has_every_test_of_the_pair_in_both_directions() -> None:
    found = finalist(Y, X, replicates=49, seed=3, max_bars=200)
    assert found.y_on_x == engle_granger(Y, X)
    assert found.x_on_y == engle_granger(X, Y)
    assert found.johansen == johansen(Y, X)
    assert found.bootstrap == wild_bootstrap(Y, X, replicates=49, seed=3, max_bars=200)
    assert found.n == 600


def test_rows_that_a_leg_misses_are_left_out() -> None:
    y, x = Y.copy(), X.copy()
    y[5:9], x[100] = np.nan, np.nan
    kept = np.isfinite(y) & np.isfinite(x)
    assert finalist(y, x, replicates=9) == finalist(y[kept], x[kept], replicates=9)
    assert finalist(y, x, replicates=9).n == 595


def test_a_pool_of_processes_says_the_same() -> None:
    known = finalist(Y, X, replicates=9)
    assert pickle.loads(pickle.dumps(known)) == known
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(finalist, Y, X, replicates=9).result() == known


def test_confirmation_is_the_unit_root_test_of_the_frozen_spread() -> None:
    line = ols(Y[:300], X[:300])
    found = confirmation(Y[300:], X[300:], line.alpha, line.beta)
    spread = Y[300:] - line.alpha - line.beta * X[300:]
    known = adfuller(spread - spread.mean(), result_object=True)
    assert found.statistic == pytest.approx(known.statistic, rel=1e-8)
    assert found.p_value == pytest.approx(known.pvalue, rel=1e-7)


def test_confirmations_are_those_of_each_pair_with_bh_over_all() -> None:
    panel = walks(4, 300, 5)
    panel[10:20, 3] = np.nan
    panel[:290, 4] = np.nan
    pairs = np.array([[0, 1], [1, 2], [2, 3], [3, 4]])
    found = confirmations(panel, panel, pairs, np.zeros(4), np.ones(4))
    for k in range(3):
        known = confirmation(panel[:, pairs[k, 0]], panel[:, pairs[k, 1]], 0.0, 1.0)
        assert found.statistic[k] == known.statistic
        assert found.p_value[k] == known.p_value
        assert (found.lag[k], found.n_obs[k]) == (known.lag, known.n_obs)
    assert np.isnan(found.p_value[3])
    assert np.isnan(found.q_value[3])
    assert found.lag[3] == -1
    np.testing.assert_array_equal(found.q_value[:3], q_values(found.p_value[:3], "bh"))
    assert not len(confirmations(panel, panel, np.empty((0, 2)), [], []).p_value)


def test_what_does_not_fit_together_is_refused_in_words() -> None:
    panel = walks(4, 100, 3)
    with pytest.raises(DataError, match="2 pairs with 1 alphas and 2 betas"):
        confirmations(panel, panel, [[0, 1], [1, 2]], [0.0], [1.0, 1.0])
    with pytest.raises(DataError, match="column 3 of 3"):
        confirmations(panel, panel, [[0, 3]], [0.0], [1.0])
    with pytest.raises(DataError, match=r"y is \(5,\) and x \(4,\)"):
        finalist(Y[:5], X[:4])
    with pytest.raises(NotEnoughData, match="20 common bars in the later window"):
        confirmation(Y[:20], X[:20], 0.0, 1.0)
    with pytest.raises(NotEnoughData, match="15 bars"):
        finalist(Y[:15], X[:15])
