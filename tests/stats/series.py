"""Seeded pairs of log prices whose truth is known: cointegrated, independent, clustered."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Floats = NDArray[np.float64]
Legs = tuple[Floats, Floats]

# Where the walks begin: ln 100 and ln 20.
START_Y, START_X = 4.605170185988092, 2.995732273553991


def reverting(rng: np.random.Generator, n: int, half_life: float, sigma: float) -> Floats:
    """Return a stationary AR(1) of n bars, its half-life in bars, its deviation ``sigma``."""
    phi = 0.5 ** (1.0 / half_life)
    shocks = rng.normal(0.0, sigma * np.sqrt(1.0 - phi * phi), n)
    shocks[0] = rng.normal(0.0, sigma)
    return np.asarray(lfilter([1.0], [1.0, -phi], shocks))


def cointegrated(
    seed: int,
    n: int,
    beta: float = 0.9,
    half_life: float = 300.0,
    sigma: float = 0.0075,
    vol: float = 1e-4,
) -> Legs:
    """Return y = a + beta · x + spread; x a random walk of ``vol`` a bar, the spread an AR(1)."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(0.0, vol, n))
    x = START_X + walk
    y = START_Y + beta * walk + reverting(rng, n, half_life, sigma)
    return y, x


def independent(seed: int, n: int, vol: float = 5e-4) -> Legs:
    """Return two independent Gaussian random walks."""
    rng = np.random.default_rng(seed)
    y, x = np.cumsum(rng.normal(0.0, vol, (2, n)), axis=1)
    return START_Y + y, START_X + x


def clustered(seed: int, n: int, vol: float = 5e-4) -> Legs:
    """Return two independent walks under one strongly clustered volatility path.

    The log of the volatility is an AR(1) with a half-life of 200 bars and a deviation of 1.2:
    nothing comes back, yet the asymptotic Engle-Granger test rejects far too often.
    """
    rng = np.random.default_rng(seed)
    path = vol * np.exp(reverting(rng, n, 200.0, 1.2))
    y, x = np.cumsum(path * rng.standard_normal((2, n)), axis=1)
    return START_Y + y, START_X + x
