"""Correlations against NumPy and SciPy, pair by pair on the rows that both have."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from core.errors import DataError, NotEnoughData
from core.stats.correlation import (
    clustered_order,
    correlation_matrix,
    log_returns,
    pearson,
    ranked_pairs,
    rolling_correlation,
    spearman,
)


def pair(seed: int = 1, n: int = 500, rho: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=n)
    return a, rho * a + np.sqrt(1 - rho**2) * rng.normal(size=n)


def panel(seed: int = 1, rows: int = 300, columns: int = 7, missing: float = 0.1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(rows, columns)) + 2 * rng.normal(size=(rows, 1))
    table[rng.random((rows, columns)) < missing] = np.nan
    return table


@pytest.mark.parametrize("scale", [1.0, 1e-8, 1e8])
def test_pearson_is_numpy_s_at_any_scale(scale: float) -> None:
    a, b = pair()
    assert pearson(a * scale + 3 * scale, b) == pytest.approx(np.corrcoef(a, b)[0, 1], rel=1e-12)


def test_spearman_is_scipy_s_also_with_ties() -> None:
    a, b = pair()
    assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic, rel=1e-12)
    a, b = np.round(a), np.round(b)
    assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic, rel=1e-12)


@pytest.mark.parametrize("question", [pearson, spearman])
def test_what_has_no_correlation_is_refused_in_words(question: object) -> None:
    ask = question  # type: ignore[assignment]
    with pytest.raises(NotEnoughData, match="2 bars"):
        ask([1.0, 2.0], [2.0, 1.0])  # type: ignore[operator]
    with pytest.raises(DataError, match="constant"):
        ask([1.0, 1.0, 1.0], [1.0, 2.0, 3.0])  # type: ignore[operator]
    with pytest.raises(DataError, match="row 1"):
        ask([1.0, np.nan, 1.0], [1.0, 2.0, 3.0])  # type: ignore[operator]


def test_a_series_with_itself_is_one_and_with_its_mirror_minus_one() -> None:
    a, _ = pair()
    assert pearson(a, a) == 1.0
    assert pearson(a, -a) == -1.0


@pytest.mark.parametrize("window", [3, 20, 250])
def test_rolling_is_a_correlation_of_each_window(window: int) -> None:
    a, b = pair(n=400)
    found = rolling_correlation(a, b, window)
    assert np.isnan(found[: window - 1]).all()
    for end in range(window - 1, 400, 37):
        part = slice(end - window + 1, end + 1)
        assert found[end] == pytest.approx(np.corrcoef(a[part], b[part])[0, 1], abs=1e-12)


def test_rolling_knows_nothing_of_the_future_bit_for_bit() -> None:
    a, b = pair(n=900)
    whole = rolling_correlation(a, b, 50)
    for cut in (50, 333, 899):
        assert np.array_equal(
            rolling_correlation(a[:cut], b[:cut], 50), whole[:cut], equal_nan=True
        )


def test_rolling_over_a_standing_leg_is_not_known() -> None:
    a, b = pair(n=200)
    a[80:150] = 5.0
    found = rolling_correlation(a, b, 30)
    assert np.isnan(found[110:150]).all()
    assert np.isfinite(found[30:80]).all()


@pytest.mark.parametrize("missing", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_the_matrix_is_each_pair_on_its_common_rows(missing: float, kind: str) -> None:
    table = panel(missing=missing)
    found = correlation_matrix(table, tuple("abcdefg"), kind=kind)  # type: ignore[arg-type]
    for i in range(7):
        for j in range(7):
            both = np.isfinite(table[:, i]) & np.isfinite(table[:, j])
            assert found.counts[i, j] == both.sum()
            x, y = table[both, i], table[both, j]
            want = np.corrcoef(x, y)[0, 1] if kind == "pearson" else spearmanr(x, y).statistic
            assert found.values[i, j] == pytest.approx(want, abs=1e-12)


def test_the_matrix_keeps_its_digits_on_prices_far_from_zero() -> None:
    table = 1e8 + 1e-2 * panel(missing=0.05)
    found = correlation_matrix(table, tuple("abcdefg"))
    both = np.isfinite(table[:, 0]) & np.isfinite(table[:, 1])
    want = np.corrcoef(table[both, 0] - 1e8, table[both, 1] - 1e8)[0, 1]
    assert found.values[0, 1] == pytest.approx(want, abs=1e-9)


def test_unknown_cells_have_a_reason() -> None:
    table = panel(missing=0.0)
    table[:, 1] = 3.0
    table[2:, 2] = np.nan
    table[::2, 3] = np.nan
    table[1::2, 4] = np.nan
    found = correlation_matrix(table, tuple("abcdefg"))
    assert np.isnan(found.values[0, 1])
    assert found.reason(0, 1) == "one of the two never moves"
    assert found.reason(0, 2) == "2 common rows; 3 are needed"
    assert found.reason(3, 4) == "0 common rows; 3 are needed"
    assert found.reason(0, 5) == ""
    assert np.isfinite(found.values[0, 5])


def test_a_return_across_a_missing_bar_does_not_exist() -> None:
    closes = np.array([[1.0, 1.0], [np.nan, 2.0], [2.0, 3.0], [4.0, 4.0]])
    returns = log_returns(closes)
    assert np.isnan(returns[:2, 0]).all()
    assert returns[2, 0] == pytest.approx(np.log(2))
    assert np.isfinite(returns[:, 1]).all()
    across = log_returns(closes[[0, 2, 3]], np.array([False, True]))
    assert np.isnan(across[0]).all()


def test_the_order_puts_what_moves_together_side_by_side() -> None:
    rng = np.random.default_rng(3)
    groups = rng.normal(size=(2, 400))
    table = np.column_stack([groups[i % 2] + 0.3 * rng.normal(size=400) for i in range(8)])
    order = clustered_order(correlation_matrix(table, tuple("abcdefgh")).values)
    assert sorted(order) == list(range(8))
    sides = [at % 2 for at in order]
    assert sides in ([0] * 4 + [1] * 4, [1] * 4 + [0] * 4)


def test_the_order_survives_unknown_cells_and_few_symbols() -> None:
    values = np.full((5, 5), np.nan)
    assert sorted(clustered_order(values)) == list(range(5))
    assert clustered_order(np.eye(2)) == (0, 1)


def test_pairs_come_strongest_first_without_the_unknown() -> None:
    table = panel(missing=0.0)
    table[:, 1] = 3.0
    found = correlation_matrix(table, tuple("abcdefg"))
    pairs = ranked_pairs(found)
    assert len(pairs) == 15
    values = [one.correlation for one in pairs]
    assert values == sorted(values, reverse=True)
    assert all("b" not in (one.first, one.second) for one in pairs)


def test_a_panel_that_is_not_its_symbols_is_refused() -> None:
    with pytest.raises(DataError, match="3 symbols"):
        correlation_matrix(panel(), ("a", "b", "c"))
