"""A market on one plane: distances are those of the correlations, clusters what moves together."""

from __future__ import annotations

import numpy as np
import pytest

from core.stats.market_map import market_map

# Two groups, and one symbol that goes with nobody.
GROUPS = np.array([0, 0, 0, 1, 1, 2])
RHO = np.where(GROUPS[:, None] == GROUPS, 0.9, 0.1)
np.fill_diagonal(RHO, 1.0)


def test_what_moves_together_is_one_cluster_the_largest_first() -> None:
    assert market_map(RHO).clusters.tolist() == [1, 1, 1, 2, 2, 0]
    order = [5, 3, 0, 4, 1, 2]
    assert market_map(RHO[np.ix_(order, order)]).clusters.tolist() == [0, 2, 1, 2, 1, 1]


def test_a_plane_keeps_the_distances_that_fit_into_one() -> None:
    # Three symbols always do.
    rho = np.array([[1.0, 0.8, 0.2], [0.8, 1.0, -0.3], [0.2, -0.3, 1.0]])
    places = market_map(rho).places
    apart = np.linalg.norm(places[:, None] - places, axis=2)
    np.testing.assert_allclose(apart, np.sqrt(2.0 * (1.0 - rho)), atol=1e-12)


def test_neighbours_on_the_map_are_of_the_same_group() -> None:
    places = market_map(RHO).places
    apart = np.linalg.norm(places[:, None] - places, axis=2) + 9.0 * np.eye(6)
    nearest = np.argmin(apart[:5], axis=1)
    assert (GROUPS[nearest] == GROUPS[:5]).all()


@pytest.mark.parametrize("count", [1, 2])
def test_few_symbols_lie_side_by_side(count: int) -> None:
    found = market_map(np.eye(count))
    assert found.places[:, 0].tolist() == list(range(count))
    assert found.clusters.tolist() == [0] * count


def test_an_unknown_correlation_counts_as_none() -> None:
    rho = RHO.copy()
    rho[0, 1:] = rho[1:, 0] = np.nan
    found = market_map(rho)
    assert np.isfinite(found.places).all()
    assert found.clusters[0] == 0
