"""The unit-root test against statsmodels' own, and against exact arithmetic where that is off."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from scipy.signal import lfilter
from series import Floats
from statsmodels.tsa.adfvalues import mackinnoncrit, mackinnonp
from statsmodels.tsa.stattools import adfuller

from core.errors import DataError, NotEnoughData
from core.stats import adf as module
from core.stats import lagged
from core.stats.adf import (
    AdfResult,
    adf,
    adf_batch,
    critical_values,
    mackinnon_p,
    mackinnon_p_values,
)


def made(kind: str, seed: int, n: int) -> Floats:
    """Return a seeded series of a kind, about 1 in size."""
    e = np.random.default_rng(seed).normal(size=n)
    t = np.arange(n)
    kinds = {
        "walk": np.cumsum(e),
        "ar": lfilter([1.0], [1.0, -0.9], e),
        "ar2": lfilter([1.0], [1.0, -1.2, 0.5], e),
        "ma": lfilter([1.0, -0.8], [1.0], e),
        "near unit root": lfilter([1.0], [1.0, -0.998], e),
        "noise": e,
        "sine": np.sin(t / 9.0) + 1e-2 * e,
        "trend": 0.5 * t + np.cumsum(e),
        "level": 50.0 + lfilter([1.0], [1.0, -0.97], e),
        "jump": np.append(np.cumsum(e[:-1]), 1e5),
        "ticks": 64_000.0 + np.round(np.cumsum(0.1 * e), 1),
        "coin": (e > 0.0).astype(np.float64),
        "explosive": lfilter([1.0], [1.0, -1.01], e),
    }
    return np.asarray(kinds[kind])


KINDS = [
    "walk", "ar", "ar2", "ma", "near unit root", "noise", "sine", "trend", "level", "jump",
    "explosive", "ticks", "coin",
]  # fmt: skip


def assert_same(
    found: AdfResult, series: Floats, constant: bool, maxlag: int | None = None
) -> None:
    """Compare with statsmodels: the statistic to 1e-8, everything else as it is."""
    regression = "c" if constant else "n"
    if constant:
        # statsmodels loses digits where the level dwarfs the moves; ours is tested on it as it is.
        series = (series - series.mean()) / series.std()
    known = adfuller(series, maxlag=maxlag, regression=regression, result_object=True)
    assert found.statistic == pytest.approx(known.statistic, rel=1e-8)
    assert (found.lag, found.n_obs) == (known.lags, known.nobs)
    assert found.p_value == pytest.approx(known.pvalue, rel=1e-7, abs=1e-300)
    critical = [known.critical_values[level] for level in ("1%", "5%", "10%")]
    assert found.critical_values == pytest.approx(critical, rel=1e-13)


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_statsmodels_on_every_kind_and_size(kind: str, constant: bool) -> None:
    for n in (21, 22, 50, 137, 400):
        for seed in range(3):
            series = made(kind, seed, n)
            assert_same(adf(series, constant=constant), series, constant)


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize(("kind", "n"), [("walk", 5000), ("ma", 2000), ("sine", 2000)])
def test_equals_statsmodels_on_long_series(kind: str, n: int, constant: bool) -> None:
    series = made(kind, 11, n)
    assert_same(adf(series, constant=constant), series, constant)


def test_equals_statsmodels_at_the_shortest_sizes() -> None:
    for n in (4, 5, 6, 7, 8, 10, 20):
        series = made("walk", 5, n)
        assert_same(adf(series), series, True)


@pytest.mark.parametrize("max_lag", [0, 1, 7, 99])
def test_a_given_longest_lag_is_kept(max_lag: int) -> None:
    series = made("ma", 3, 250)
    found = adf(series, max_lag=max_lag)
    assert_same(found, series, True, max_lag)
    assert found.lag <= max_lag


@pytest.mark.parametrize("scale", [1e-150, 1e-8, 1e8, 1e150])
def test_the_unit_of_the_price_changes_nothing(scale: float) -> None:
    series = made("near unit root", 2, 600)
    for constant in (True, False):
        found, known = adf(series * scale, constant=constant), adf(series, constant=constant)
        assert found.lag == known.lag
        assert found.statistic == pytest.approx(known.statistic, rel=1e-11)


def exact_statistic(series: Floats, lag: int) -> float:
    """Return the level's t-value with a constant in rational arithmetic."""
    level = [Fraction(float(value)) for value in series]
    step = [after - before for before, after in pairwise(level)]
    rows = range(lag, len(step))
    columns = [[Fraction(1)] * len(rows)]
    columns += [[step[t - i] for t in rows] for i in range(1, lag + 1)]
    columns += [[level[t] for t in rows], [step[t] for t in rows]]
    # Gram-Schmidt without roots: each column loses its share of those before it.
    for place, column in enumerate(columns):
        power = sum(value * value for value in column)
        for later in columns[place + 1 :]:
            share = sum(a * b for a, b in zip(column, later, strict=True)) / power
            if place == len(columns) - 2:
                slope, norm = share, power
            later[:] = [b - share * a for a, b in zip(column, later, strict=True)]
    rest = sum(value * value for value in columns[-1]) / (len(rows) - lag - 2)
    return math.copysign(math.sqrt(slope * slope * norm / rest), slope)


@pytest.mark.parametrize(("level", "size"), [(64_000.0, 1.0), (1e8, 1e3), (1e-8, 1e-11), (3, 1e-8)])
def test_is_exact_where_the_level_dwarfs_the_moves(level: float, size: float) -> None:
    series = level + size * made("walk", 8, 60)
    found = adf(series)
    assert found.statistic == pytest.approx(exact_statistic(series, found.lag), rel=1e-10)


def test_rows_and_cross_products_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [(made(kind, 1, 300), c) for kind in KINDS for c in (True, False)]
    by_products = [adf(series, constant=constant) for series, constant in cases]
    monkeypatch.setattr(lagged, "LEAST_PIVOT", 2.0)
    monkeypatch.setattr(lagged, "CHUNK_ROWS", 64)
    for (series, constant), known in zip(cases, by_products, strict=True):
        found = adf(series, constant=constant)
        assert found.lag == known.lag
        assert found.statistic == pytest.approx(known.statistic, rel=1e-9)


def test_smooth_series_are_factorised_by_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counting(*given: object) -> Floats:
        asked.append(1)
        return real(*given)  # type: ignore[arg-type]

    real = lagged.direct_factor
    monkeypatch.setattr(module, "direct_factor", counting)
    noise = np.random.default_rng(4).normal(size=800)
    smooth = np.sin(np.arange(800) / 40.0) + 1e-7 * noise
    assert_same(adf(smooth), smooth, True)
    assert asked
    asked.clear()
    adf(made("walk", 4, 800))
    assert not asked


def test_a_batch_is_its_series_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_VALUES", 1000)
    series = np.array([made(kind, seed, 180) for kind in KINDS for seed in range(3)])
    for constant in (True, False):
        batch = adf_batch(series, constant=constant)
        singles = [adf(row, constant=constant) for row in series]
        assert batch.lag.tolist() == [one.lag for one in singles]
        assert batch.n_obs.tolist() == [one.n_obs for one in singles]
        assert batch.statistic == pytest.approx([one.statistic for one in singles], rel=1e-9)


def test_a_batch_marks_what_cannot_be_tested_and_keeps_the_rest() -> None:
    walk = made("walk", 0, 100)
    still, line = np.full(100, 0.1), 5.0 + 0.1 * np.arange(100)
    last = np.append(np.zeros(99), 1.0)
    batch = adf_batch(np.array([still, walk, line, last, walk]))
    assert np.isnan(batch.statistic).tolist() == [True, False, True, True, False]
    assert batch.lag[[0, 2, 3]].tolist() == [-1, -1, -1]
    assert batch.statistic[1] == pytest.approx(adf(walk).statistic, rel=1e-12)
    empty = adf_batch(np.empty((0, 100)))
    assert len(empty.statistic) == len(empty.lag) == 0


@pytest.mark.parametrize(
    "series",
    [
        np.full(100, 0.1),
        0.1 * np.arange(100),
        np.sin(np.arange(200) / 9.0),
        np.append(np.zeros(99), 1.0),
        np.append(np.random.default_rng(0).normal(size=99), np.nan),
        np.append(np.random.default_rng(0).normal(size=99), np.inf),
        np.zeros((10, 10)),
    ],
    ids=["constant", "line", "wave", "one move", "nan", "inf", "table"],
)
@pytest.mark.parametrize("constant", [True, False])
def test_what_cannot_be_tested_says_so(series: Floats, constant: bool) -> None:
    with pytest.raises(DataError, match="series"):
        adf(series, constant=constant)


def test_too_few_bars_and_impossible_lags_say_so() -> None:
    for n in (0, 1, 2, 3):
        with pytest.raises(NotEnoughData):
            adf(np.arange(n) ** 2.0)
    # The largest regression of 20 bars without a constant has as many columns as rows.
    with pytest.raises(NotEnoughData, match="21"):
        adf(made("walk", 0, 20), constant=False)
    for max_lag in (-1, 49):
        with pytest.raises(DataError, match="0 to 48"):
            adf(made("walk", 0, 100), max_lag=max_lag)
    with pytest.raises(DataError, match="row 3"):
        adf_batch(np.array([[1.0, 2.0, 1.0, np.nan, 2.0]]))
    with pytest.raises(DataError, match="dimensions"):
        adf_batch(np.arange(30.0))


def test_p_values_and_critical_values_are_mackinnons() -> None:
    for constant, series in ((False, 1), (True, 1), (True, 2)):
        for statistic in np.linspace(-25.0, 5.0, 1201):
            known = mackinnonp(statistic, "c" if constant else "n", series)
            found = mackinnon_p(float(statistic), constant=constant, series=series)
            assert found == pytest.approx(known, rel=1e-11, abs=1e-300)
    for constant in (True, False):
        for n in (3, 20, 500, 600_000):
            known = mackinnoncrit(1, "c" if constant else "n", n)
            assert critical_values(n, constant=constant) == pytest.approx(known, rel=1e-13)


@pytest.mark.parametrize(
    ("constant", "regression", "series"), [(True, "c", 2), (True, "c", 1), (False, "n", 1)]
)
def test_p_values_of_many_statistics_are_statsmodels(
    constant: bool, regression: str, series: int
) -> None:
    statistics = np.append(np.linspace(-25.0, 4.0, 400), [np.nan, -2.62, -1.61, -1.04])
    found = mackinnon_p_values(statistics.reshape(4, 101), constant=constant, series=series)
    assert found.shape == (4, 101)
    for statistic, p in zip(statistics, found.ravel(), strict=True):
        if np.isnan(statistic):
            assert np.isnan(p)
            continue
        known = mackinnonp(statistic, regression=regression, N=series)
        assert p == pytest.approx(known, rel=1e-12, abs=1e-300)
        assert p == pytest.approx(
            mackinnon_p(statistic, constant=constant, series=series), rel=1e-9, abs=1e-300
        )
