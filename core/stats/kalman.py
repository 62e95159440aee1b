"""A hedge ratio that follows the market: α and β as a random walk, seen through each bar.

Legs come as logs, or as prices divided by their first value: the noises are of that size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from core.errors import DataError, NotEnoughData
from core.stats.arrays import Floats, demand_movement, demand_pair
from core.stats.hedge import SAME_ASSET

MIN_BURN_IN = 200
Q_ALPHA = Q_BETA = 1e-9
SD_LIMITS = (0.7, 1.5)
MIN_HALF_LIFE = 5.0


@dataclass(frozen=True, slots=True)
class KalmanState:
    """Where the filter stands: the state after the last update, and what stays fixed.

    ``alpha`` belongs to x − x_mean. ``noise`` is R; ``q_alpha`` and ``q_beta`` are a bar's, of
    ``bar_s`` seconds.
    """

    alpha: float
    beta: float
    p_aa: float
    p_ab: float
    p_bb: float
    x_mean: float
    noise: float
    q_alpha: float
    q_beta: float
    bar_s: float


@dataclass(frozen=True, slots=True)
class KalmanFit:
    """The filter's rows, each array (n,), NaN within the burn-in; never in-sample after it.

    A row holds the state before the update by its own bar: spread = y − alpha − beta·x is the
    innovation e, zscore e / √S. ``sd_z`` and ``innovation_half_life`` (bars, None where there is
    none) say whether the filter signals at all; ``warning`` says it in words.
    """

    alpha: Floats
    beta: Floats
    se_beta: Floats
    spread: Floats
    zscore: Floats
    burn_in: int
    sd_z: float | None
    innovation_half_life: float | None
    warning: str | None
    state: KalmanState
    is_in_sample: bool = False


def kalman(
    y: ArrayLike,
    x: ArrayLike,
    *,
    bar_s: float,
    burn_in: int = 1440,
    q_alpha: float = Q_ALPHA,
    q_beta: float = Q_BETA,
) -> KalmanFit:
    """Filter α and β with observation [1, x − x̄₀]; the burn-in's OLS is where it starts.

    State noise diag(q_alpha, q_beta) · bar_s / 60, observation noise the burn-in's residual
    variance (n − 2), P₀ its covariance, x̄₀ its mean, frozen. Raises DataError for a burn-in
    below 200 bars, one in which a leg is constant or both are one asset, NotEnoughData where no
    bar follows it. Chan (2013).
    """
    if burn_in < MIN_BURN_IN:
        raise DataError(f"a burn-in of {burn_in} bars; give at least {MIN_BURN_IN}")
    if not bar_s > 0:
        raise DataError(f"bars of {bar_s} s; give the timeframe's seconds")
    first, second = demand_pair(y, x, 1)
    if len(first) <= burn_in:
        raise NotEnoughData(
            f"the Kalman filter starts after {burn_in:,} bars and there are {len(first):,}; choose "
            "a longer range or a shorter burn-in"
        )
    state = _start(first[:burn_in], second[:burn_in], bar_s, q_alpha, q_beta)
    after = continue_kalman(state, first[burn_in:], second[burn_in:], bar_s=bar_s)
    unknown = np.full(burn_in, np.nan)
    return replace(
        after,
        burn_in=burn_in,
        alpha=np.concatenate([unknown, after.alpha]),
        beta=np.concatenate([unknown, after.beta]),
        se_beta=np.concatenate([unknown, after.se_beta]),
        spread=np.concatenate([unknown, after.spread]),
        zscore=np.concatenate([unknown, after.zscore]),
    )


def continue_kalman(state: KalmanState, y: ArrayLike, x: ArrayLike, *, bar_s: float) -> KalmanFit:
    """Go on from a state over newer bars: bit for bit what one long run gives.

    ``bar_s`` is what the state was made with, DataError otherwise. ``sd_z``, the innovations'
    half-life and the warning are those of the newer bars alone, None below 30 of them.
    """
    if bar_s != state.bar_s:
        raise DataError(f"bars of {bar_s} s for a filter of {state.bar_s} s bars; run it anew")
    first, second = demand_pair(y, x, 0)
    rows, last = _recursion(state, first.tolist(), (second - state.x_mean).tolist())
    table = np.array(rows, dtype=np.float64).reshape(len(first), 5)
    centred, beta, variance, spread, size = table.T
    with np.errstate(divide="ignore", invalid="ignore"):
        zscore = spread / np.sqrt(size)
    sd_z, life, warning = _health(spread, zscore)
    return KalmanFit(
        alpha=centred - beta * state.x_mean,
        beta=beta.copy(),
        se_beta=np.sqrt(variance),
        spread=spread.copy(),
        zscore=zscore,
        burn_in=0,
        sd_z=sd_z,
        innovation_half_life=life,
        warning=warning,
        state=last,
    )


def _start(y: Floats, x: Floats, bar_s: float, q_alpha: float, q_beta: float) -> KalmanState:
    demand_movement(x, "x within the burn-in")
    demand_movement(y, "y within the burn-in")
    n = len(y)
    x_mean, y_mean = float(x.mean()), float(y.mean())
    dx, dy = x - x_mean, y - y_mean
    weight = float(dx @ dx)
    beta = float(dx @ dy) / weight
    rest = dy - beta * dx
    unexplained = float(rest @ rest) / float(dy @ dy)
    if unexplained <= SAME_ASSET:
        raise DataError(
            f"y is a line of x within the burn-in: 1 − R² is {unexplained:.1e}, and "
            f"{SAME_ASSET:.1e} or less is the same asset; choose another pair"
        )
    noise = float(rest @ rest) / (n - 2)
    share = bar_s / 60
    return KalmanState(
        alpha=y_mean,
        beta=beta,
        p_aa=noise / n,
        p_ab=0.0,
        p_bb=noise / weight,
        x_mean=x_mean,
        noise=noise,
        q_alpha=q_alpha * share,
        q_beta=q_beta * share,
        bar_s=bar_s,
    )


def _recursion(
    state: KalmanState, ys: list[float], xs: list[float]
) -> tuple[list[tuple[float, float, float, float, float]], KalmanState]:
    """Run the filter; plain floats take 0.6 µs a bar, arrays of two would take 20."""
    a, b, paa, pab, pbb = state.alpha, state.beta, state.p_aa, state.p_ab, state.p_bb
    q_a, q_b, noise = state.q_alpha, state.q_beta, state.noise
    rows: list[tuple[float, float, float, float, float]] = []
    keep = rows.append
    for y, x in zip(ys, xs, strict=True):
        paa += q_a
        pbb += q_b
        e = y - a - b * x
        h_a = paa + pab * x
        h_b = pab + pbb * x
        s = h_a + h_b * x + noise
        keep((a, b, pbb, e, s))
        k_a, k_b = h_a / s, h_b / s
        a += k_a * e
        b += k_b * e
        paa -= k_a * h_a
        pab -= k_a * h_b
        pbb -= k_b * h_b
    return rows, replace(state, alpha=a, beta=b, p_aa=paa, p_ab=pab, p_bb=pbb)


def _health(spread: Floats, zscore: Floats) -> tuple[float | None, float | None, str | None]:
    """Return sd(z), the innovations' half-life, and a warning where either is out of order."""
    if len(zscore) < 30:
        return None, None, None
    sd_z = float(np.std(zscore, ddof=1))
    before, after = spread[:-1] - spread[:-1].mean(), spread[1:] - spread[1:].mean()
    phi = float(before @ after / (before @ before)) if before.any() else 0.0
    life = -math.log(2) / math.log(phi) if 0 < phi < 1 else None
    said = []
    if not SD_LIMITS[0] <= sd_z <= SD_LIMITS[1]:
        said.append(f"sd(z) is {sd_z:.2f}, outside {SD_LIMITS[0]} to {SD_LIMITS[1]}")
    if phi <= 0 or (life is not None and life < MIN_HALF_LIFE):
        shown = "under one bar" if life is None else f"{life:.1f} bars, under 5"
        said.append(f"the innovations' half-life is {shown}: the filter absorbs the signal")
    return sd_z, life, "; ".join(said) or None
