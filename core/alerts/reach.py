"""How far back a rule's values reach: pairs that trade seldom share few bars in much time.

What a value stands on is counted in bars that are there, what is read is a stretch of time. So a
read is widened until the rows that the first new value stands on are all in it, up to
`most_back_ms`; a value that stands on more than that, or on rows that are not there, is not known.
Thus neither the size of the flushes nor what is read for other rules changes any value.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from core.alerts.rows import Values
from core.alerts.rules import Rule
from core.alerts.values import BREAK_WINDOWS, hedge_spec, needs_rolling_slope, warm_bars
from core.stats.arrays import Floats, Ints

# A value may stand on so many times the time that its bars would take if each of them were there,
# as long as that is no more than so many bars (those that are asked for are read whatever it is).
MOST_TIMES, LEAST_TIMES, MOST_READ = 256, 4, 100_000
# Each wider read is so many times the one before.
WIDER = 4
# What is remembered of a read that sufficed leaves this much room.
ROOM = 1.25
_NOT_THERE = -1


def most_back_ms(rule: Rule) -> int:
    """Return how far before a bar the rows lie at most that its value may stand on."""
    bars = warm_bars(rule)
    return max(bars * LEAST_TIMES, min(bars * MOST_TIMES, MOST_READ)) * rule.bar_s * 1000


def reaches(rule: Rule, ts_ms: Ints) -> Ints:
    """Return the start of the earliest row that each row's value stands on, −1 where it is absent.

    ``ts_ms`` (n,) are the rows' starts, in order.
    """
    window, rows = rule.window_bars, np.arange(len(ts_ms))
    if rule.metric == "price":
        return ts_ms
    if rule.metric in ("return", "volume"):
        back = ts_ms - window * rule.bar_s * 1000
        return _taken(ts_ms, np.searchsorted(ts_ms, back, "right") - 1)
    if rule.metric == "volatility":
        return _of_steps(rule, ts_ms, BREAK_WINDOWS * window)
    if rule.metric == "corr":
        return _of_steps(rule, ts_ms, window)
    if rule.metric == "corr_break":
        # The mean's first window has a correlation of its own.
        return _taken(_of_steps(rule, ts_ms, window), rows - (BREAK_WINDOWS * window - 1))
    if rule.method == "kalman" or (rule.metric == "spread" and rule.spec.is_in_sample):
        # It goes on from its stand, or is read off the stand's line.
        return ts_ms
    if needs_rolling_slope(rule):
        # The slope's error asks how each residual follows the one before.
        return _taken(ts_ms, rows - window)
    spec = hedge_spec(rule)
    if spec.method != "refit":
        return _taken(ts_ms, rows - (window - 1))
    period = ts_ms // (spec.refit_bars * rule.bar_s * 1000)
    return _taken(ts_ms, np.searchsorted(period, period) - window)


def known(rule: Rule, values: Values) -> Values:
    """Return the values without those that reach too far back."""
    reach = reaches(rule, values.ts_ms)
    is_known = (reach != _NOT_THERE) & (values.ts_ms - reach <= most_back_ms(rule))
    kept: Floats = np.where(is_known, values.values, np.nan)
    return replace(values, values=kept)


def _of_steps(rule: Rule, ts_ms: Ints, steps: int) -> Ints:
    """Return the reach of what stands on so many changes between neighbouring bars."""
    at = np.flatnonzero(np.diff(ts_ms) == rule.bar_s * 1000)
    first = np.searchsorted(at, np.arange(len(ts_ms))) - steps
    return _taken(ts_ms[at] if len(at) else ts_ms, first)


def _taken(ts_ms: Ints, rows: Ints) -> Ints:
    """Return the times of some rows, −1 for those before the first."""
    if not len(ts_ms):
        return ts_ms
    return np.where(rows >= 0, ts_ms[np.maximum(rows, 0)], _NOT_THERE)
