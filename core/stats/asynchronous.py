"""Correlation of two symbols that trade at different moments.

On short bars it reads too low, because the bars miss moves that the other leg has already made
(Epps 1979). Hayashi & Yoshida (2005) use every trade as it is: the reference to which a
signature plot compares the bar sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from core.errors import DataError, NotEnoughData
from core.stats.arrays import Floats, Ints, demand_pair, demand_series
from core.stats.correlation import LEAST_ROWS, pearson

BARS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600)
# A bar size is good enough where it reads this share of the reference.
ENOUGH = 0.95
# Where an interval is all that speaks for a bar size, it has to read at least this share.
FAIR = 0.8
# Fewer returns than this make a bar size a guess.
LEAST_RETURNS = 30
# Grids of one step, each a tenth of it later than the one before.
_GRIDS = 10
# The longest bars that have so many returns say what long bars read.
_LONG_RETURNS, _LONG_SIZES = 100, 3
_NORMAL_95 = 1.959963984540054
_NORMAL_999 = 3.290526731491926


@dataclass(frozen=True, slots=True)
class HayashiYoshida:
    """Correlation and covariance of two tick series over their common span.

    ``correlation`` = Σ Δa·Δb over all overlapping intervals / √(RV_a·RV_b), RV the sum of
    squared tick returns, as defined. ``noise_corrected`` divides by variances that bid-ask bounce
    does not inflate: realised over a minute (a twentieth of shorter spans), the mean of ten
    shifted grids (Zhang, Mykland & Aït-Sahalia 2005); None where one is 0. ``n_a``, ``n_b``:
    ticks, trades of one millisecond counting as one.
    """

    correlation: float
    covariance: float
    noise_corrected: float | None
    n_a: int
    n_b: int

    @property
    def reference(self) -> float:
        """The noise-corrected correlation where there is one, within ±1."""
        best = self.correlation if self.noise_corrected is None else self.noise_corrected
        return float(np.clip(best, -1.0, 1.0))


@dataclass(frozen=True, slots=True)
class Signature:
    """Correlation of log returns against bar size, arrays (k,), NaN where there are too few.

    ``low``, ``high``: 95% interval (Fisher). ``target``: what a good bar reads, the reference or,
    where the long bars surely read more, those: then one leg follows the other by longer than a
    trade, which ``is_late`` says.
    ``recommended_s``: the shortest bar from which on every bar reads the target; None with the
    ``reason``.
    """

    bars_s: tuple[int, ...]
    correlation: Floats
    low: Floats
    high: Floats
    counts: Ints
    reference: HayashiYoshida
    target: float
    recommended_s: int | None
    reason: str

    @property
    def is_late(self) -> bool:
        """Whether one leg follows the other by longer than its trades are apart."""
        return self.target != self.reference.reference


def ticks(ts_ms: ArrayLike, price: ArrayLike) -> tuple[Ints, Floats]:
    """Return times and prices with trades of one millisecond collapsed to the last.

    ``ts_ms`` in order. Raises NotEnoughData without a trade, DataError for times out of order or
    prices that are not above 0.
    """
    prices = demand_series(price, 1, "price")
    times = np.asarray(ts_ms, dtype=np.int64)
    if times.shape != prices.shape:
        raise DataError(f"{times.size:,} times for {prices.size:,} prices; give one each")
    if (np.diff(times) < 0).any():
        raise DataError("trades are not in order of time; sort them first")
    if (prices <= 0).any():
        raise DataError(f"a price of {prices.min():g}; prices are above 0")
    last = np.r_[times[1:] != times[:-1], True]
    return times[last], prices[last]


def hayashi_yoshida(
    ts_a: ArrayLike, price_a: ArrayLike, ts_b: ArrayLike, price_b: ArrayLike
) -> HayashiYoshida:
    """Return the correlation of two tick series, each increment with all that overlap it.

    Times are epoch milliseconds in order. Raises NotEnoughData where a leg has fewer than three
    ticks or the two do not overlap, DataError where a leg never moves.
    """
    times_a, prices_a = ticks(ts_a, price_a)
    times_b, prices_b = ticks(ts_b, price_b)
    if min(len(times_a), len(times_b)) < LEAST_ROWS:
        raise NotEnoughData(
            f"{len(times_a)} and {len(times_b)} ticks; {LEAST_ROWS} of each are needed"
        )
    logs_a, logs_b = np.log(prices_a / prices_a[0]), np.log(prices_b / prices_b[0])
    steps_a, steps_b = np.diff(logs_a), np.diff(logs_b)
    # The intervals of b that overlap (s, e] run from the tick at or before s to the one at or
    # after e: their increments add up to one difference.
    low = np.searchsorted(times_b, times_a[:-1], side="right") - 1
    high = np.searchsorted(times_b, times_a[1:], side="left")
    overlap = logs_b[np.clip(high, 0, len(logs_b) - 1)] - logs_b[np.clip(low, 0, None)]
    if not ((high > 0) & (low < len(times_b) - 1)).any():
        raise NotEnoughData("the two legs' trades do not overlap in time; choose another range")
    covariance = float(steps_a @ overlap)
    variance_a, variance_b = float(steps_a @ steps_a), float(steps_b @ steps_b)
    if variance_a == 0.0 or variance_b == 0.0:
        raise DataError("a leg's price never moves; choose a range in which it does")
    quiet_a, quiet_b = _quiet_variance(times_a, logs_a), _quiet_variance(times_b, logs_b)
    corrected = None
    if quiet_a > 0 and quiet_b > 0:
        corrected = covariance / np.sqrt(quiet_a) / np.sqrt(quiet_b)
    return HayashiYoshida(
        correlation=float(covariance / np.sqrt(variance_a) / np.sqrt(variance_b)),
        covariance=covariance,
        noise_corrected=None if corrected is None else float(corrected),
        n_a=len(times_a),
        n_b=len(times_b),
    )


def _quiet_variance(times: Ints, logs: Floats) -> float:
    """Return the realised variance over long steps, the mean of shifted grids, of all the span."""
    span = float(times[-1] - times[0])
    step = _quiet_step(span)
    if step < 1:
        return 0.0
    found = []
    for shift in np.arange(_GRIDS) * step / _GRIDS:
        grid = np.arange(times[0] + shift, times[-1] + 1, step)
        seen = logs[np.searchsorted(times, grid, side="right") - 1]
        moves = np.diff(seen)
        found.append(float(moves @ moves) * span / (grid[-1] - grid[0]))
    return float(np.mean(found))


def signature(
    ts_a: ArrayLike,
    price_a: ArrayLike,
    ts_b: ArrayLike,
    price_b: ArrayLike,
    bars_s: Sequence[int] = BARS_S,
) -> Signature:
    """Return the correlation of bar returns for each bar size, and which size to use.

    Bars are as everywhere: one where trades happened, both legs' joined on their start, returns
    across a missing bar left out. A size reads the target where it has 95% of it, or 80% and an
    interval at 99.9% that contains it. Raises what `hayashi_yoshida` does.
    """
    reference = hayashi_yoshida(ts_a, price_a, ts_b, price_b)
    legs = ticks(ts_a, price_a), ticks(ts_b, price_b)
    sizes = tuple(sorted(set(bars_s)))
    found = [_bar_correlation(*legs[0], *legs[1], size) for size in sizes]
    values = np.array([value for value, _ in found])
    counts = np.array([count for _, count in found], dtype=np.int64)
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = np.arctanh(np.clip(values, -1 + 1e-15, 1 - 1e-15))
        width = _NORMAL_95 / np.sqrt(np.maximum(counts - 3, 0))
    low, high = np.tanh(middle - width), np.tanh(middle + width)
    error = _reference_error(legs[0][0], legs[1][0], reference.reference)
    target = _target(values, counts, reference.reference, error)
    best, reason = _recommended(sizes, values, middle, width, target)
    return Signature(sizes, values, low, high, counts, reference, target, best, reason)


def _bar_correlation(
    times_a: Ints, prices_a: Floats, times_b: Ints, prices_b: Floats, size: int
) -> tuple[float, int]:
    """Return the correlation of the legs' bar returns and how many there are; NaN for too few."""
    bars_a, closes_a = _closes(times_a, prices_a, size)
    bars_b, closes_b = _closes(times_b, prices_b, size)
    bars, at_a, at_b = np.intersect1d(bars_a, bars_b, assume_unique=True, return_indices=True)
    near = np.diff(bars) == 1
    returns_a = np.diff(np.log(closes_a[at_a]))[near]
    returns_b = np.diff(np.log(closes_b[at_b]))[near]
    if len(returns_a) < LEAST_RETURNS:
        return float("nan"), len(returns_a)
    try:
        demand_pair(returns_a, returns_b, LEAST_RETURNS)
        return pearson(returns_a, returns_b), len(returns_a)
    except DataError:
        return float("nan"), len(returns_a)


def _closes(times: Ints, prices: Floats, size: int) -> tuple[Ints, Floats]:
    bars = times // (size * 1000)
    last = np.r_[bars[1:] != bars[:-1], True]
    return bars[last], prices[last]


def _target(values: Floats, counts: Ints, reference: float, error: float) -> float:
    """Return the reference, or what the long bars read where that is surely farther from 0.

    Surely: by more than both errors allow at 99.9%. Without them, the long bars read more than
    the trades for two pairs in five of which neither leg is late [120 seeded pairs].
    """
    long = np.flatnonzero(np.isfinite(values) & (counts >= _LONG_RETURNS))[-_LONG_SIZES:]
    if not len(long):
        return reference
    errors = np.hypot((1.0 - values[long] ** 2) / np.sqrt(counts[long] - 3), error)
    if float(np.median(np.abs(values[long]) - _NORMAL_999 * errors)) <= abs(reference):
        return reference
    return float(np.median(values[long]))


def _reference_error(times_a: Ints, times_b: Ints, reference: float) -> float:
    """Return about what the reference may be off by: one standard error.

    Its variances stand on few long steps, n: each is off by √(2/n), by √(4/3n) as the mean of
    shifted grids (Zhang, Mykland & Aït-Sahalia 2005), and the legs' errors go together with ρ².
    """
    span = float(min(times_a[-1] - times_a[0], times_b[-1] - times_b[0]))
    steps = span / _quiet_step(span)
    return abs(reference) * float(np.sqrt(2.0 / 3.0 * (1.0 + reference**2) / steps))


def _quiet_step(span: float) -> float:
    return min(60_000.0, span / 20)


def _recommended(
    sizes: tuple[int, ...], values: Floats, middle: Floats, width: Floats, target: float
) -> tuple[int | None, str]:
    """Return the shortest size from which on all sizes read the target, or why there is none."""
    known = np.isfinite(values)
    if not known.any():
        return None, (
            f"no bar size has {LEAST_RETURNS} returns of both legs; choose a longer range"
        )
    sign = 1.0 if target >= 0 else -1.0
    enough = sign * values >= ENOUGH * abs(target)
    # Ten sizes are asked at once: an interval at 95% would leave out one of them too often.
    far = np.abs(middle - np.arctanh(np.clip(target, -1 + 1e-15, 1 - 1e-15)))
    enough |= far <= width * _NORMAL_999 / _NORMAL_95
    places = np.flatnonzero(known)
    # A wide interval excuses a longer bar, but does not make a poor reading worth using.
    good = [
        at
        for i, at in enumerate(places)
        if enough[places[i:]].all() and sign * values[at] >= FAIR * abs(target)
    ]
    if not good:
        longest = sizes[places[-1]]
        return None, (
            f"even {longest} s bars read {values[places[-1]]:.2f} against "
            f"{target:.2f}; use longer bars or the trades themselves"
        )
    return sizes[good[0]], ""
