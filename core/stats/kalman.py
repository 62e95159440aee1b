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

MIN_BURN_IN = 200
Q_ALPHA = Q_BETA = 1e-9
SD_LIMITS = (0.7, 1.5)
MIN_HALF_LIFE = 5.0


@dataclass(frozen=True, slots=True)
class KalmanState:
    """Where the filter stands: the state after the last update, and what stays fixed."""

    alpha: float
    beta: float
    p_aa: float
    p_ab: float
    p_bb: float
    x_mean: float
    noise: float
    q_alpha: float
    q_beta: float


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
    variance, P₀ its covariance, x̄₀ its mean, frozen. Raises DataError for a burn-in below 200
    bars or a flat one, NotEnoughData where no bar follows it. Chan (2013).
    """
    if burn_in < MIN_BURN_IN:
        raise DataError(f"a burn-in of {burn_in} bars; give at least {MIN_BURN_IN}")
    first, second = demand_pair(y, x, 1)
    if len(first) <= burn_in:
        raise NotEnoughData(
            f"the Kalman filter starts after {burn_in:,} bars and there are {len(first):,}; choose "
            "a longer range or a shorter burn-in"
        )
    state = _start(first[:burn_in], second[:burn_in], bar_s, q_alpha, q_beta)
    after = continue_kalman(state, first[burn_in:], second[burn_in:], bar_s=bar_s)
    unknown = np.full(burn_in, np.nan)
    named = {
        name: np.concatenate([unknown, getattr(after, name)])
        for name in ("alpha", "beta", "se_beta", "spread", "zscore")
    }
    return replace(after, burn_in=burn_in, **named)


def continue_kalman(state: KalmanState, y: ArrayLike, x: ArrayLike, *, bar_s: float) -> KalmanFit:
    """Go on from a state over newer bars: bit for bit what one long run gives.

    ``bar_s`` is what the state was made with.
    """
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
    n = len(y)
    x_mean, y_mean = float(x.mean()), float(y.mean())
    dx, dy = x - x_mean, y - y_mean
    weight = float(dx @ dx)
    beta = float(dx @ dy) / weight
    rest = dy - beta * dx
    noise = float(rest @ rest) / (n - 2)
    if noise <= 1e-24:
        raise DataError(
            "y is a line of x within the burn-in: the Kalman filter has no noise to work with"
        )
    share = bar_s / 60
    return KalmanState(
        y_mean, beta, noise / n, 0.0, noise / weight, x_mean, noise, q_alpha * share, q_beta * share
    )


def _recursion(
    state: KalmanState, ys: list[float], xs: list[float]
) -> tuple[list[tuple[float, float, float, float, float]], KalmanState]:
    """Run the filter; plain floats take 0.6 µs a bar, arrays of two would take 20."""
    a, b, paa, pab, pbb = state.alpha, state.beta, state.p_aa, state.p_ab, state.p_bb
    q_a, q_b, noise = state.q_alpha, state.q_beta, state.noise
    rows = []
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
        shown = "none" if life is None else f"{life:.1f} bars"
        said.append(
            f"the innovations' half-life is {shown}, under 5: the filter absorbs the signal"
        )
    return sd_z, life, "; ".join(said) or None
