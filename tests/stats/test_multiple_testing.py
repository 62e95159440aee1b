"""q-values against SciPy and statsmodels, and the counting of what noise lets pass."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import false_discovery_control
from statsmodels.stats.multitest import multipletests

from core.errors import DataError
from core.stats.multiple_testing import Method, q_values

P_VALUES = np.random.default_rng(1).beta(0.3, 1.0, (40, 25))


@pytest.mark.parametrize("method", ["bh", "by"])
def test_q_values_are_scipy_s_and_statsmodels(method: Method) -> None:
    found = q_values(P_VALUES, method)
    assert found.shape == P_VALUES.shape
    known = false_discovery_control(P_VALUES.ravel(), method=method)
    np.testing.assert_allclose(found.ravel(), known, rtol=1e-12)
    name = {"bh": "fdr_bh", "by": "fdr_by"}[method]
    known = multipletests(P_VALUES.ravel(), method=name)[1]
    np.testing.assert_allclose(found.ravel(), known, rtol=1e-12)


@pytest.mark.parametrize("method", ["bh", "by"])
def test_what_was_not_tested_neither_counts_nor_gets_a_value(method: Method) -> None:
    holes = P_VALUES.copy()
    holes[::3] = np.nan
    found = q_values(holes, method)
    assert np.isnan(found[::3]).all()
    kept = ~np.isnan(holes)
    np.testing.assert_array_equal(found[kept], q_values(holes[kept], method))


def test_no_test_at_all_has_no_values() -> None:
    assert q_values(np.array([])).size == 0
    assert np.isnan(q_values(np.full((2, 2), np.nan))).all()


@settings(max_examples=100, deadline=None)
@given(p=arrays(np.float64, st.integers(1, 40), elements=st.floats(0.0, 1.0)))
def test_q_values_keep_the_order_and_never_fall_below_p(p: np.ndarray) -> None:
    for method in ("bh", "by"):
        q = q_values(p, method)  # type: ignore[arg-type]
        assert (q >= p * (1.0 - 1e-12)).all()
        assert (q <= 1.0).all()
        order = np.argsort(p, kind="stable")
        assert (np.diff(q[order]) >= 0.0).all()
    assert (q_values(p, "by") >= q_values(p, "bh")).all()


def test_what_is_no_probability_is_refused_in_words() -> None:
    with pytest.raises(DataError, match=r"1\.5 is no probability"):
        q_values([0.1, 1.5])
    with pytest.raises(DataError, match=r"-0\.1 is no probability"):
        q_values([0.1, -0.1])
