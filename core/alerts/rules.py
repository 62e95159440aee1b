"""One alert rule: what is watched, when it fires, and when it may fire again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, time
from typing import Literal

from core.alerts.metrics import METRICS, Metric
from core.bar_sql import timeframe_seconds
from core.errors import DataError
from core.pair_spec import MAX_WINDOW, METHODS, Method, PairSpec

Op = Literal["above", "below", "crosses_above", "crosses_below", "outside"]
OPS: dict[Op, str] = {
    "above": ">",
    "below": "<",
    "crosses_above": "crosses above",
    "crosses_below": "crosses below",
    "outside": "outside",
}
When = Literal["close", "live"]
LONGEST_COOLDOWN_S = 30 * 86_400.0
MOST_HOLD = 1_000
LONGEST_RANGE_S = 30 * 86_400.0


def signed(value: float | None) -> str:
    """Return a number as a person writes it, with a true minus sign."""
    return "–" if value is None else f"{value:g}".replace("-", "−")


@dataclass(frozen=True, slots=True)
class Hours:
    """When a rule may fire: from ``start`` to ``end`` (UTC, may pass midnight) on ``days``.

    ``days`` counts Monday as 0; a stretch that passes midnight belongs to the day it began on.
    """

    start: time = time(0, 0)
    end: time = time(0, 0)
    days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)

    def __post_init__(self) -> None:
        if not self.days or not all(0 <= day <= 6 for day in self.days):
            raise DataError(f"active days {self.days}: give some of 0 (Monday) to 6 (Sunday)")

    def allow(self, at: datetime) -> bool:
        """Return whether that moment (UTC) is inside; equal ends mean the whole day."""
        clock, day = at.time(), at.weekday()
        if self.start == self.end:
            return day in self.days
        if self.start < self.end:
            return self.start <= clock < self.end and day in self.days
        if clock >= self.start:
            return day in self.days
        return clock < self.end and (day - 1) % 7 in self.days


@dataclass(frozen=True, slots=True)
class Rule:
    """What is watched and when it fires; times are UTC, durations in seconds or bars.

    ``threshold`` is the level, for ``outside`` the upper one and ``low`` the lower. ``rearm``:
    having fired, the rule waits until the value has come back beyond this level (``outside``:
    until |value| is below it); None for the metric's own. ``reference`` is the hedge ratio that
    drift is measured from. It fires once the condition has held for ``hold_bars`` bars, at most
    once a ``cooldown_s``, inside ``hours``. On ``close`` only closed bars count, ``live`` the
    forming one too. ``range_s``: what fits and tests stand on, where the metric needs one.
    Raises DataError for what contradicts itself.
    """

    metric: str
    y: str = ""
    x: str = ""
    op: Op = "above"
    threshold: float = 0.0
    low: float | None = None
    timeframe: str = "1min"
    window_bars: int = 60
    method: Method = "rolling"
    is_log: bool = True
    range_s: float = 86_400.0
    reference: float | None = None
    rearm: float | None = None
    hold_bars: int = 1
    cooldown_s: float = 0.0
    hours: Hours = Hours()
    when: When = "close"

    def __post_init__(self) -> None:
        self._check_subject()
        if self.op not in OPS:
            raise DataError(f"{self.op!r} is no comparison; use one of {', '.join(OPS)}")
        for name, level in (
            ("threshold", self.threshold),
            ("low", self.low),
            ("re-arm", self.rearm),
            ("reference", self.reference),
        ):
            if level is not None and not math.isfinite(level):
                raise DataError(f"{name} of {level}: give a number")
        if self.op == "outside" and not (self.low is not None and self.low < self.threshold):
            raise DataError(
                f"outside {self.low} to {self.threshold}: give a lower level below the upper one"
            )
        if not 1 <= self.hold_bars <= MOST_HOLD:
            raise DataError(f"held for {self.hold_bars} bars: give 1 to {MOST_HOLD:,}")
        if not 0 <= self.cooldown_s <= LONGEST_COOLDOWN_S:
            raise DataError(
                f"a cooldown of {self.cooldown_s} s: give 0 to {LONGEST_COOLDOWN_S:,.0f}"
            )
        if self.when == "live" and METRICS[self.metric].on_close_only:
            raise DataError(f"{METRICS[self.metric].label} is known on closed bars only")
        self._check_rearm()

    def _check_subject(self) -> None:
        if self.metric not in METRICS:
            raise DataError(f"{self.metric!r} is no metric; use one of {', '.join(METRICS)}")
        timeframe_seconds(self.timeframe)
        if self.method not in METHODS:
            raise DataError(f"{self.method!r} is no regression; use one of {', '.join(METHODS)}")
        if not 3 <= self.window_bars <= MAX_WINDOW:
            raise DataError(f"a window of {self.window_bars} bars: give 3 to {MAX_WINDOW:,}")
        scope = METRICS[self.metric].scope
        if scope == "pair" and not (self.y and self.x and self.y != self.x):
            raise DataError(f"{METRICS[self.metric].label} needs two different symbols")
        if scope == "symbol" and not self.y:
            raise DataError(f"{METRICS[self.metric].label} needs a symbol")
        if self.metric == "beta_drift" and self.reference is None:
            raise DataError("hedge drift needs the hedge ratio that it is measured from")
        if not self.bar_s <= self.range_s <= LONGEST_RANGE_S:
            raise DataError(
                f"a range of {self.range_s:g} s: give {self.bar_s} (a bar) to {LONGEST_RANGE_S:g}"
            )

    def _check_rearm(self) -> None:
        level = self.rearm
        if level is None:
            return
        if self.is_two_sided:
            if self.measure.rearm is None:
                raise DataError("outside a band: the band itself is where it is ready again")
            if not 0 < level <= min(abs(self.threshold), abs(self.low or 0.0)):
                raise DataError(f"re-arm at |{level:g}|: it must lie inside the band, above 0")
        elif (level > self.threshold) if self.is_rising else (level < self.threshold):
            raise DataError(
                f"re-arm at {level:g} lies beyond the threshold {self.threshold:g}: it would be "
                "ready again at once"
            )

    def holds(self, value: float) -> bool:
        """Return whether the condition holds at a value."""
        if self.is_rising:
            return value > self.threshold
        if self.is_falling:
            return value < self.threshold
        assert self.low is not None
        return not self.low <= value <= self.threshold

    def is_back(self, value: float) -> bool:
        """Return whether a rule that fired is ready again at a value."""
        if self.holds(value):
            return False
        if self.is_two_sided:
            return self.measure.rearm is None or abs(value) < self._band_rearm()
        level = self.rearm
        if level is None and self.measure.rearm is not None:
            own = self.measure.rearm if self.is_rising else -self.measure.rearm
            # A threshold inside the metric's own level is ready again as soon as it is passed.
            level = min(own, self.threshold) if self.is_rising else max(own, self.threshold)
        if level is None or level == self.threshold:
            return True
        return value < level if self.is_rising else value > level

    def _band_rearm(self) -> float:
        inner = min(abs(self.threshold), abs(self.low or 0.0))
        own = self.measure.rearm if self.rearm is None else self.rearm
        assert own is not None
        return min(own, inner)

    @property
    def measure(self) -> Metric:
        """What is watched."""
        return METRICS[self.metric]

    @property
    def unit(self) -> str:
        """What stands behind its values and levels; a spread of logs is in bps, as on Pair."""
        return "bps" if self.is_in_bps else self.measure.unit

    @property
    def is_in_bps(self) -> bool:
        """Whether its values are logs that are told in basis points."""
        return self.metric == "spread" and self.is_log

    @property
    def spec(self) -> PairSpec:
        """The pair as the Pair page would look at it."""
        return self.spec_by(self.method)

    def spec_by(self, method: Method) -> PairSpec:
        """Return the same with another regression."""
        return PairSpec(self.y, self.x, self.timeframe, self.is_log, method, self.window_bars)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols that have to be watched for it."""
        return tuple(symbol for symbol in (self.y, self.x) if symbol)

    @property
    def bar_s(self) -> int:
        """Seconds a bar, 0 where it watches moments: settlements, contracts, Perpduck itself."""
        is_of_moments = self.measure.basis in ("now", "settled")
        return 0 if is_of_moments else timeframe_seconds(self.timeframe)

    @property
    def is_rising(self) -> bool:
        """Whether it fires above its threshold."""
        return self.op in ("above", "crosses_above")

    @property
    def is_falling(self) -> bool:
        """Whether it fires below its threshold."""
        return self.op in ("below", "crosses_below")

    @property
    def is_two_sided(self) -> bool:
        """Whether it fires on either side."""
        return self.op == "outside"

    @property
    def subject(self) -> str:
        """What is watched, as a person writes it: ETHUSDT / BTCUSDT, or the feed."""
        return " / ".join(symbol.upper() for symbol in self.symbols) or "Perpduck"

    @property
    def condition(self) -> str:
        """When it fires, as a person writes it: z-score crosses above 2."""
        if self.measure.is_state:
            return self.measure.label
        unit = f" {self.unit}" if self.unit else ""
        if self.is_two_sided:
            return (
                f"{self.measure.label} outside {signed(self.low)} to {signed(self.threshold)}{unit}"
            )
        return f"{self.measure.label} {OPS[self.op]} {signed(self.threshold)}{unit}"
