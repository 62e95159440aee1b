"""Which bars a view needs: pure, in milliseconds since the epoch, UTC."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.bar_sql import TIMEFRAMES

RANGES: dict[str, float] = {
    "15m": 900,
    "1h": 3600,
    "6h": 21600,
    "1d": 86400,
    "7d": 604800,
    "all": math.inf,
}
# More candles than this in view are narrower than a pixel on most screens.
MAX_CANDLES = 1500
TIMEFRAME_LABELS = {"1min": "1m", "5min": "5m", "15min": "15m"}
# Loaded on either side of what is seen, as a share of it, so that panning meets candles.
MARGIN = 0.5

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive UTC, as the store keeps it


@dataclass(frozen=True, slots=True)
class Window:
    """The bars to load, [start, end), and the part of them that is seen.

    ``end`` is None while the view follows the newest bar.
    """

    timeframe: str
    start: datetime
    end: datetime | None
    seen_from_ms: float
    seen_to_ms: float
    is_coarser: bool

    @property
    def timeframe_label(self) -> str:
        """The timeframe as traders write it."""
        return timeframe_label(self.timeframe)


def timeframe_for(chosen: str, span_s: float) -> str:
    """Return the finest timeframe, no finer than the chosen, that fits the span in the limit."""
    for name, seconds in TIMEFRAMES.items():
        if seconds >= TIMEFRAMES[chosen] and span_s / seconds <= MAX_CANDLES:
            return name
    return list(TIMEFRAMES)[-1]


def window(chosen: str, from_ms: float, to_ms: float, *, follow: bool) -> Window:
    """Return what to load for a view of [from, to): snapped, so that small moves load nothing.

    The snapped edges are the same for all sessions that look at nearly the same stretch.
    """
    span_ms = max(to_ms - from_ms, 1000.0)
    timeframe = timeframe_for(chosen, span_ms / 1000)
    bar_ms = TIMEFRAMES[timeframe] * 1000
    # A quarter of the span, rounded to a power of two of bars: the grid for both edges.
    grid = bar_ms * 2 ** max(0, round(math.log2(max(1.0, span_ms / 4 / bar_ms))))
    start = math.floor((from_ms - MARGIN * span_ms) / grid) * grid
    end = None if follow else math.ceil((to_ms + MARGIN * span_ms) / grid) * grid
    return Window(
        timeframe=timeframe,
        start=utc(max(0.0, start)),
        end=None if end is None else utc(end),
        seen_from_ms=from_ms,
        seen_to_ms=to_ms,
        is_coarser=timeframe != chosen,
    )


def utc(epoch_ms: float) -> datetime:
    """Return the naive UTC time of an epoch in milliseconds."""
    return _EPOCH + timedelta(milliseconds=epoch_ms)


def epoch_ms(at: datetime) -> float:
    """Return the epoch in milliseconds of a naive UTC time."""
    return (at - _EPOCH) / timedelta(milliseconds=1)


def timeframe_label(name: str) -> str:
    """Return a timeframe as traders write it: 1s, 1m, 1h, 1d."""
    return TIMEFRAME_LABELS.get(name, name)
