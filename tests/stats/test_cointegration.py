"""Engle-Granger, its wild bootstrap and Johansen: against statsmodels, and as tests go wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from series import Floats, Legs, clustered, cointegrated, independent
from statsmodels.tsa.stattools import coint
from statsmodels.tsa.vector_ar.vecm import coint_johansen

from core.errors import DataError, NotEnoughData
from core.stats.cointegration import engle_granger, johansen, wild_bootstrap

MAKERS: list[Callable[[int, int], Legs]] = [independent, clustered, cointegrated]
ASKED: list[Callable[[Floats, Floats], object]] = [engle_granger, wild_bootstrap, johansen]


def unit(values: Floats) -> Floats:
    """Centre and scale: statsmodels loses seven digits on log prices, which are far from 0."""
    return np.asarray((values - values.mean()) / values.std())


def scaled_coint(y: Floats, x: Floats) -> tuple[float, float]:
    found = coint(unit(unit(y)), unit(unit(x)))
    return float(found[0]), float(found[1])


@pytest.mark.parametrize("make", MAKERS)
def test_engle_granger_equals_coint(make: Callable[[int, int], Legs]) -> None:
    for n in (25, 60, 301, 1500):
        for seed in range(3):
            y, x = make(seed, n)
            for first, second in ((y, x), (x, y)):
                found = engle_granger(first, second)
                statistic, p_value = scaled_coint(first, second)
                assert found.statistic == pytest.approx(statistic, rel=1e-8)
                assert found.p_value == pytest.approx(p_value, rel=1e-7, abs=1e-300)


@pytest.mark.parametrize("make", MAKERS)
def test_engle_granger_reports_its_regression(make: Callable[[int, int], Legs]) -> None:
    y, x = make(5, 400)
    found = engle_granger(np.exp(y), np.exp(x))
    beta, alpha = np.polyfit(np.exp(x), np.exp(y), 1)
    assert (found.alpha, found.beta) == (pytest.approx(alpha), pytest.approx(beta))
    r_squared = np.corrcoef(np.exp(x), np.exp(y))[0, 1] ** 2
    assert found.r_squared == pytest.approx(r_squared, abs=1e-12)
    assert found.n_obs == 399 - found.lag


@pytest.mark.parametrize(("of_y", "of_x"), [(1e-8, 1e8), (1e8, 1e-8), (1e8, 1e8), (1e-8, 1e-8)])
def test_the_unit_of_the_prices_changes_nothing(of_y: float, of_x: float) -> None:
    y, x = (np.exp(leg) for leg in cointegrated(3, 500, half_life=20.0))
    known, found = engle_granger(y, x), engle_granger(of_y * y, of_x * x)
    assert found.lag == known.lag
    assert found.statistic == pytest.approx(known.statistic, rel=1e-10)
    assert found.beta == pytest.approx(known.beta * of_y / of_x, rel=1e-10)
    assert wild_bootstrap(of_y * y, of_x * x) == wild_bootstrap(y, x)
    rank, known_rank = johansen(of_y * y, of_x * x), johansen(y, x)
    assert rank.trace_statistic == pytest.approx(known_rank.trace_statistic, rel=1e-9)
    assert rank.beta == pytest.approx(known_rank.beta * of_y / of_x, rel=1e-9)


def nearly_same(share: float) -> Legs:
    """Return legs of which that share of the variance is unexplained."""
    y, _ = independent(4, 600)
    noise = np.random.default_rng(9).normal(size=600)
    return y, np.asarray(unit(y) + np.sqrt(share) * noise)


def test_nearly_the_same_asset_is_tested_and_the_same_is_not() -> None:
    y, x = nearly_same(4e-6)
    found = engle_granger(y, x)
    assert 1.5e-6 < 1.0 - found.r_squared < 1e-5
    assert found.statistic == pytest.approx(scaled_coint(y, x)[0], rel=1e-8)
    y, x = nearly_same(1e-6)
    with pytest.warns(match="colinear"):
        assert coint(y, x)[0] == -np.inf
    for ask in ASKED:
        with pytest.raises(DataError, match="same asset"):
            ask(y, x)


@pytest.mark.parametrize("ask", ASKED)
def test_what_cannot_be_tested_says_so(ask: Callable[[Floats, Floats], object]) -> None:
    y, x = independent(1, 200)
    for other in (y, 2.0 * y + 3.0, -y):
        with pytest.raises(DataError, match="same asset"):
            ask(y, other)
    with pytest.raises(DataError, match="y is constant"):
        ask(np.full(200, 0.1), x)
    with pytest.raises(DataError, match="x is constant"):
        ask(y, np.full(200, 0.1))
    hole = x.copy()
    hole[17] = np.nan
    with pytest.raises(DataError, match="row 17"):
        ask(y, hole)
    with pytest.raises(DataError, match="199"):
        ask(y, x[1:])
    for n in (0, 1, 2, 3, 20):
        with pytest.raises(NotEnoughData):
            ask(y[:n], x[:n])
    still = np.zeros(200)
    still[-1] = 1.0
    with pytest.raises(DataError, match=r"move|exactly"):
        ask(still, np.append(np.zeros(198), [1.0, 1.0]))


def test_size_on_gaussian_pairs() -> None:
    p = np.array([engle_granger(*independent(seed, 500)).p_value for seed in range(500)])
    assert 0.025 <= (p < 0.05).mean() <= 0.08


def test_clustered_volatility_breaks_the_asymptotic_test_and_not_the_bootstrap() -> None:
    asymptotic, by_bootstrap = [], []
    for seed in range(600):
        y, x = clustered(seed, 400)
        asymptotic.append(engle_granger(y, x).p_value)
        found = wild_bootstrap(y, x, replicates=99)
        by_bootstrap.append((found.p_y_on_x, found.p_x_on_y))
    assert (np.array(asymptotic) < 0.05).mean() > 0.08
    # At 99 replicates a p-value of exactly 5% is one of those that a 5% test rejects.
    sizes = (np.array(by_bootstrap) <= 0.05).mean(axis=0)
    assert sizes.min() >= 0.03
    assert sizes.max() <= 0.07


def test_power_on_a_cointegrated_pair() -> None:
    for seed in range(5):
        y, x = cointegrated(seed, 1440, half_life=10.0, vol=5e-4)
        assert engle_granger(y, x).p_value < 1e-6
        assert wild_bootstrap(y, x).p <= 0.01


def test_the_bootstrap_is_what_it_says() -> None:
    """Do it again by hand: one sign a row for both legs, cumulated, tested by statsmodels."""
    y, x = cointegrated(2, 61, half_life=20.0, vol=2e-3)
    found = wild_bootstrap(y, x, replicates=39, seed=3)
    signs = 2.0 * np.random.default_rng(3).integers(0, 2, (39, 60), np.int8) - 1.0
    known = []
    for first, second in ((y, x), (x, y)):
        own = scaled_coint(first, second)[0]
        walks = [(np.cumsum(s * np.diff(first)), np.cumsum(s * np.diff(second))) for s in signs]
        starts = [(np.append(0.0, a), np.append(0.0, b)) for a, b in walks]
        extreme = sum(scaled_coint(a, b)[0] <= own for a, b in starts)
        known.append((1 + extreme) / 40)
    assert [found.p_y_on_x, found.p_x_on_y] == known
    assert found.p == min(1.0, 2.0 * min(known))
    assert (found.n, found.replicates, found.seed) == (61, 39, 3)
    assert 0.05 < min(known)
    assert max(known) < 1.0


def test_the_bootstrap_repeats_itself_and_depends_on_its_seed() -> None:
    y, x = clustered(3, 300)
    assert wild_bootstrap(y, x) == wild_bootstrap(y, x)
    results = {wild_bootstrap(y, x, seed=seed).p_y_on_x for seed in range(4)}
    assert len(results) > 1


def test_the_bootstrap_turns_with_the_legs() -> None:
    y, x = clustered(8, 300)
    one, other = wild_bootstrap(y, x), wild_bootstrap(x, y)
    assert (one.p_y_on_x, one.p_x_on_y, one.p) == (other.p_x_on_y, other.p_y_on_x, other.p)


@pytest.mark.parametrize("n", [1441, 2880, 3001])
def test_long_ranges_are_thinned_and_keep_their_last_row(n: int) -> None:
    y, x = clustered(6, n)
    step = -(-n // 1440)
    rows = np.arange(n - 1, -1, -step)[::-1]
    found = wild_bootstrap(y, x, replicates=19)
    assert found.n == len(rows) <= 1440
    assert found == wild_bootstrap(y[rows], x[rows], replicates=19)


def test_the_bootstrap_refuses_impossible_sizes() -> None:
    y, x = independent(0, 100)
    for given in ({"replicates": 0}, {"max_bars": 0}):
        with pytest.raises(DataError, match="at least 1"):
            wild_bootstrap(y, x, **given)
    with pytest.raises(NotEnoughData):
        wild_bootstrap(y, x, max_bars=20)


@pytest.mark.parametrize("make", MAKERS)
def test_johansen_equals_statsmodels(make: Callable[[int, int], Legs]) -> None:
    for n in (25, 301, 5000):
        for seed in range(3):
            y, x = make(seed, n)
            found = johansen(y, x)
            known = coint_johansen(np.column_stack([y, x]), 0, 1)
            assert found.trace_statistic == pytest.approx(known.lr1, rel=1e-8)
            assert found.max_eig_statistic == pytest.approx(known.lr2, rel=1e-8)
            assert np.array_equal(found.trace_critical, known.cvt)
            assert np.array_equal(found.max_eig_critical, known.cvm)
            vector = known.evec[:, 0]
            assert found.beta == pytest.approx(-vector[1] / vector[0], rel=1e-8)


def test_johansen_finds_the_hedge_ratio() -> None:
    y, x = cointegrated(1, 20_000, beta=0.7, half_life=10.0, sigma=0.003, vol=5e-4)
    found = johansen(y, x)
    assert found.beta == pytest.approx(0.7, rel=0.02)
    assert found.trace_statistic[0] > found.trace_critical[0][2]
