"""Fits that a rule's values stand on for a while: made of a range, held until the next.

They are made at the fixed times at which the Pair page makes its own, on closed bars.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from core.alerts.rules import Rule
from core.errors import DataError, NotEnoughData
from core.pair_series import Origin, aligned, origin_of, pair_hedge
from core.pair_spec import PairSpec
from core.range_tests import held_fit
from core.stats.hedge import HedgeFit, ols, residuals
from core.stats.kalman import KalmanState
from core.stats.reversion import half_life
from core.verdict import ANALYSES_A_RANGE, VERDICTS_A_RANGE, fixed_step_s, plain_spec, verdict

STUDIED = ("coint_p", "half_life")
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the store's times are naive UTC


@dataclass(frozen=True, slots=True)
class Stand:
    """What a held method goes on from: its line or its filter's state, and the bars before.

    ``made_at`` is the end of the range that it was made of.
    """

    made_at: datetime
    origin: Origin
    context: pl.DataFrame
    fit: HedgeFit | None = None
    state: KalmanState | None = None


@dataclass(frozen=True, slots=True)
class Study:
    """A value that a whole range has, known once at its end; the reason where it has none."""

    value: float | None
    inputs: dict[str, float]
    reason: str = ""


def needs_stand(rule: Rule) -> bool:
    """Return whether the rule's values go on from a fit of the range before."""
    if rule.metric not in ("zscore", "spread", "beta_drift"):
        return False
    return rule.method == "kalman" or (
        rule.method in ("ols", "tls") and rule.metric != "beta_drift"
    )


def step_s(rule: Rule) -> int:
    """Return how often the rule's fits or studies are made anew, in seconds."""
    parts = VERDICTS_A_RANGE if rule.metric == "coint_p" else ANALYSES_A_RANGE
    return fixed_step_s(rule.range_s, rule.bar_s, parts)


def last_step(rule: Rule, at: datetime) -> datetime:
    """Return the last fixed time up to a moment."""
    seconds = step_s(rule)
    return _EPOCH + timedelta(seconds=(at - _EPOCH) // timedelta(seconds=seconds) * seconds)


def make_stand(spec: PairSpec, closes: pl.DataFrame, start: datetime, end: datetime) -> Stand:
    """Return the stand of the bars of [start, end); ``closes`` has what came before as well.

    Raises DataError where the range allows no fit.
    """
    frame = aligned(spec, closes).filter(pl.col("ts") < end)
    inside = frame.filter(pl.col("ts") >= start)
    if inside.height < 3:
        raise NotEnoughData(
            f"{spec.y.upper()} and {spec.x.upper()} share {inside.height} {spec.timeframe} bars in "
            f"the range before {end:%H:%M:%S}"
        )
    frame = frame.tail(inside.height + spec.warm_bars)
    origin, context = origin_of(spec, frame), frame.tail(spec.warm_bars)
    if spec.method == "kalman":
        found = pair_hedge(spec, frame, origin).filter
        assert found is not None
        return Stand(end, origin, context, state=found.state)
    return Stand(end, origin, context, fit=held_fit(spec, origin, *origin.legs(inside)))


def make_study(rule: Rule, closes: pl.DataFrame, start: datetime, end: datetime) -> Study:
    """Return the rule's value of the bars of [start, end)."""
    spec = plain_spec(rule.spec)
    frame = aligned(spec, closes).filter(pl.col("ts").is_between(start, end, closed="left"))
    if rule.metric == "coint_p":
        found = verdict(spec, frame, span_s=rule.range_s)
        if found.bootstrap is None:
            return Study(None, {}, found.reason)
        inputs = {
            "bars": float(found.bars),
            "p_y_on_x": found.bootstrap.p_y_on_x,
            "p_x_on_y": found.bootstrap.p_x_on_y,
        }
        return Study(found.bootstrap.p, inputs)
    if frame.is_empty():
        return Study(None, {}, "the legs share no bar in the range")
    try:
        y, x = origin_of(spec, frame).legs(frame)
        fit = ols(y, x)
        reversion = half_life(residuals(y, x, fit.alpha, fit.beta))
    except DataError as error:
        return Study(None, {}, str(error))
    bars = reversion.bars
    if bars is None:
        # As `rolling_half_life` has it: it never comes back, or turns within a bar.
        bars = math.inf if reversion.phi > 0 else 0.0
    return Study(bars, {"bars": float(frame.height), "phi": reversion.phi, "beta": fit.beta})
