"""The stretch that a backtest trades: closed bars of both legs, up to the newest."""

from __future__ import annotations

import math
from datetime import datetime

from core.errors import NotEnoughData
from core.live.pulse import WRITING, Pulse
from core.live.window import RANGES, epoch_ms, utc
from core.pair_spec import PairSpec
from core.verdict import SETTLE_S

DAY_S = 86_400.0
# What Pair has, and what a backtest is for.
SPANS: dict[str, float] = {
    **{name: length for name, length in RANGES.items() if name != "all"},
    "30d": 30 * DAY_S,
    "90d": 90 * DAY_S,
    "1y": 365 * DAY_S,
    "all": RANGES["all"],
}
# A year of 1-minute bars, and twice that.
MOST_BARS = 1_100_000


def traded_range(pulse: Pulse, spec: PairSpec, range_name: str) -> tuple[datetime, datetime]:
    """Return the closed bars' range that is traded, UTC.

    Raises NotEnoughData where a leg has no bars of the timeframe, or there are too many.
    """
    found = [pulse.bounds(symbol, spec.timeframe) for symbol in (spec.y, spec.x)]
    for symbol, bound in zip((spec.y, spec.x), found, strict=True):
        if bound is None:
            raise NotEnoughData(f"{symbol.upper()} has no {spec.timeframe} bars yet")
    firsts, lasts = zip(*(bound for bound in found if bound), strict=True)
    bar_ms = spec.bar_s * 1000
    settle_ms = SETTLE_S * 1000 if pulse.health.state in WRITING else 0.0
    first = math.ceil(epoch_ms(max(firsts)) / bar_ms) * bar_ms
    end = math.floor((epoch_ms(min(lasts)) - settle_ms) / bar_ms) * bar_ms
    start = max(end - SPANS[range_name] * 1000, first)
    if end - start < 2 * bar_ms:
        raise NotEnoughData(
            f"{spec.y.upper()} and {spec.x.upper()} have no two closed {spec.timeframe} bars "
            "together yet; choose a shorter timeframe, or wait"
        )
    if (bars := (end - start) / bar_ms) > MOST_BARS:
        raise NotEnoughData(
            f"{bars:,.0f} bars of {spec.timeframe} are more than {MOST_BARS:,}; choose a longer "
            "timeframe or a shorter range"
        )
    return utc(start), utc(end)
