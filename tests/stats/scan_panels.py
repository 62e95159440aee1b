"""Seeded panels of levels whose truth is known, and a scan of one pair in plain words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter
from series import Floats, reverting


def walks(seed: int, bars: int, symbols: int, vol: float = 5e-4) -> Floats:
    """Return log prices (bars, symbols) of a market: a common walk and one for each symbol."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(bars, symbols)) + 0.8 * rng.normal(size=(bars, 1))
    return np.asarray(vol * np.cumsum(steps, axis=0) + rng.uniform(-3.0, 9.0, symbols))


def clustered_walks(seed: int, bars: int, symbols: int, vol: float = 5e-4) -> Floats:
    """Return independent walks under one strongly clustered volatility path, as `clustered`."""
    rng = np.random.default_rng(seed)
    path = vol * np.exp(reverting(rng, bars, 200.0, 1.2))
    steps = path[:, None] * rng.standard_normal((bars, symbols))
    return np.asarray(4.0 + np.cumsum(steps, axis=0))


def every_kind(seed: int, bars: int) -> Floats:
    """Return 140 symbols: walks, trends, near unit roots, prices of 1e-8, and near-identical ones.

    Symbols 100 to 139 are lines of symbols 0 to 39, the rest 1 − R² from 0.1 down to 1e-6.
    """
    rng = np.random.default_rng(seed)
    market = walks(seed, bars, 40)
    trend = market[:, :10] + np.linspace(0.0, 2.0, bars)[:, None] * rng.uniform(-1.0, 1.0, 10)
    near = [
        0.9 * market[:, :10] + 5e-4 * lfilter([1.0], [1.0, -phi], rng.normal(size=(bars, 10)), 0)
        for phi in (0.999, 0.95)
    ]
    tiny = 1e-8 * np.exp(market[:, 10:25] - market[0, 10:25])
    raw = np.exp(market[:, 25:40])
    lines = [
        near_line(rng, market[:, k], rest) for k, rest in enumerate(np.geomspace(0.1, 1e-6, 40))
    ]
    return np.concatenate([market, trend, *near, tiny, raw, np.stack(lines, axis=1)], axis=1)


def near_line(rng: np.random.Generator, x: Floats, unexplained: float) -> Floats:
    """Return y = 2 + 1.3·x + rest, a slow AR(1), whose 1 − R² on x is exactly so much."""
    rest = lfilter([1.0], [1.0, -0.9], rng.normal(size=len(x)))
    centred = x - x.mean()
    rest -= rest.mean()
    rest -= centred * (centred @ rest) / (centred @ centred)
    size = np.sqrt(unexplained / (1.0 - unexplained)) * 1.3 * centred.std() / rest.std()
    return np.asarray(2.0 + 1.3 * x + size * rest)


def with_planted(seed: int, panel: Floats, pairs: int, half_life: float) -> Floats:
    """Return the panel with its last symbols made lines of its first, the spread an AR(1)."""
    rng = np.random.default_rng(seed)
    found = panel.copy()
    for k in range(pairs):
        spread = reverting(rng, len(panel), half_life, 2e-3)
        found[:, -1 - k] = 1.0 + rng.uniform(0.5, 1.5) * panel[:, k] + spread
    return found


def with_gaps(seed: int, panel: Floats, share: float, symbols: int) -> Floats:
    """Return the panel with so many of its symbols missing a share of their bars."""
    rng = np.random.default_rng(seed)
    found = panel.copy()
    for column in rng.choice(panel.shape[1], symbols, replace=False):
        found[rng.random(len(panel)) < share, column] = np.nan
    return found


@dataclass(frozen=True)
class OnePair:
    """What a scan should say of one pair."""

    beta: float
    alpha: float
    statistic: float
    lag: int
    n_obs: int
    half_life: float
    deviation: float
    zscore: float
    r_squared: float
    correlation: float
    crossings: int


def one_pair(y: Floats, x: Floats, lag: int, choice: str) -> OnePair:
    """Do one pair bar by bar: a row of the regression has the levels t − lag … t + 1."""
    common = np.isfinite(y) & np.isfinite(x)
    y, x = np.where(common, y, np.nan), np.where(common, x, np.nan)
    mean_y, mean_x = np.nanmean(y), np.nanmean(x)
    beta = np.nansum((y - mean_y) * (x - mean_x)) / np.nansum((x - mean_x) ** 2)
    rest = y - mean_y - beta * (x - mean_x)
    deviation = np.nanstd(rest, ddof=1)
    if choice == "aic":
        rows = regression(rest, lag)
        lag = min(range(lag + 1), key=lambda p: aic(rows, p))
    rows = regression(rest, lag)
    step = np.diff(rest)
    is_step = np.isfinite(step)
    pull = np.polyfit(rest[:-1][is_step], step[is_step], 1)[0]
    signs = np.where(common, rest > 0.0, np.nan)
    return OnePair(
        beta=float(beta),
        alpha=float(mean_y - beta * mean_x),
        statistic=t_value(rows),
        lag=lag,
        n_obs=len(rows),
        half_life=-np.log(2.0) / np.log1p(pull) if -1.0 < pull < 0.0 else np.nan,
        deviation=float(deviation),
        zscore=float(rest[common][-1] / deviation),
        r_squared=float(1.0 - np.nansum(rest**2) / np.nansum((y - mean_y) ** 2)),
        correlation=float(np.corrcoef(np.diff(y)[is_step], np.diff(x)[is_step])[0, 1]),
        crossings=int(np.nansum(np.abs(np.diff(signs)))),
    )


def regression(rest: Floats, lag: int) -> Floats:
    """Return the rows [step t, level t, steps t−1 … t−lag] without a missing value."""
    steps = np.diff(rest)
    rows = [
        [steps[t], rest[t], *(steps[t - k] for k in range(1, lag + 1))]
        for t in range(lag, len(steps))
    ]
    table = np.array(rows)
    return table[np.isfinite(table).all(axis=1)]


def aic(rows: Floats, lag: int) -> float:
    """Return n·ln(sum of squares) + 2·lag of the regression with the first so many lags."""
    used = rows[:, 1 : lag + 2]
    found = np.linalg.lstsq(used, rows[:, 0], rcond=None)[0]
    left = rows[:, 0] - used @ found
    return float(len(rows) * np.log(left @ left) + 2.0 * lag)


def t_value(rows: Floats) -> float:
    """Return the t-value of the level."""
    used = rows[:, 1:]
    found = np.linalg.lstsq(used, rows[:, 0], rcond=None)[0]
    left = rows[:, 0] - used @ found
    variance = left @ left / (len(rows) - used.shape[1])
    return float(found[0] / np.sqrt(variance * np.linalg.inv(used.T @ used)[0, 0]))
