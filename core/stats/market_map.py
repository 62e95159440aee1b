"""A market on one plane: symbols that move together lie together, and form clusters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from core.stats.arrays import Floats
from core.stats.correlation import distances

# Clusters whose mean distance is at most that of this correlation are one.
CLUSTER_CORRELATION = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class MarketMap:
    """Places (N, 2) and clusters (N,) of symbols; cluster 0 are those that have none.

    Clusters are numbered from 1, the largest first.
    """

    places: Floats
    clusters: np.ndarray


def market_map(correlations: Floats) -> MarketMap:
    """Return the map of a correlation matrix (N, N); what is not known counts as none.

    Classical scaling (Torgerson 1952) of the distances √(2(1 − ρ)), in which the symbols would be
    unit vectors; clusters by average linkage, cut at ρ = 0.5.
    """
    n = len(correlations)
    if n < 3:
        places = np.zeros((n, 2))
        places[:, 0] = np.arange(n)
        return MarketMap(places, np.zeros(n, np.int64))
    apart = distances(correlations)
    squared = apart**2
    means = squared.mean(axis=0)
    inner = -0.5 * (squared - means[:, None] - means[None, :] + means.mean())
    values, vectors = np.linalg.eigh(inner)
    kept = np.clip(values[-2:][::-1], 0.0, None)
    places = vectors[:, -2:][:, ::-1] * np.sqrt(kept)
    # An axis may point either way: the first symbol lies on its positive side.
    places *= np.where(places[0] < 0, -1.0, 1.0)
    # The best order of the leaves, which a picture of the matrix needs, takes twenty times as long.
    tree = linkage(squareform(apart, checks=False), "average")
    labels = fcluster(tree, np.sqrt(2.0 * (1.0 - CLUSTER_CORRELATION)), "distance")
    return MarketMap(places, _numbered(labels))


def _numbered(labels: np.ndarray) -> np.ndarray:
    """Return the labels as numbers from 1, the largest cluster first; singles get 0."""
    found, sizes = np.unique(labels, return_counts=True)
    numbers = np.zeros(labels.max() + 1, np.int64)
    order = sorted(
        range(len(found)), key=lambda at: (-sizes[at], int(np.argmax(labels == found[at])))
    )
    for number, at in enumerate(order, start=1):
        numbers[found[at]] = number if sizes[at] > 1 else 0
    return np.asarray(numbers[labels])
