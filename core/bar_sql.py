"""Timeframes, and the SQL that makes their bars: from trades, klines and uploaded bars."""

from __future__ import annotations

from dataclasses import dataclass, replace

from core.errors import DataError
from core.sql import sql

# Seconds a timeframe.
TIMEFRAMES: dict[str, int] = {
    "1s": 1,
    "5s": 5,
    "15s": 15,
    "1min": 60,
    "5min": 300,
    "15min": 900,
    "1h": 3600,
    "4h": 14400,
    "1d": 86400,
}


@dataclass(frozen=True, slots=True)
class Blend:
    """What besides our own trades the bars are made of; a query without it is the faster one.

    ``dataset``: a user's ticks, whose side may be unknown.
    """

    klines: bool = False
    uploaded: bool = False
    dataset: bool = False

    def is_mixed(self, timeframe: str) -> bool:
        """Whether some bars of the timeframe may come from elsewhere."""
        return self.uploaded or (self.klines and timeframe_seconds(timeframe) >= 60)


TRADES_ALONE = Blend()


def timeframe_seconds(timeframe: str) -> int:
    """Return the seconds of a timeframe; raises DataError for one that does not exist."""
    if timeframe not in TIMEFRAMES:
        raise DataError(f"{timeframe!r} is not a timeframe; use one of {', '.join(TIMEFRAMES)}")
    return TIMEFRAMES[timeframe]


def base_seconds(timeframe: str) -> int:
    """Return the seconds of the stored bars that those of a timeframe are made of: 1 or 60."""
    return 1 if timeframe_seconds(timeframe) < 60 else 60


def bars_sql(timeframe: str, blend: Blend = TRADES_ALONE) -> str:
    """Return the SQL that `load_bars` runs for the timeframe, with its ``$name`` parameters.

    Klines know no seconds: below a minute there are only bars from trades, and uploaded ones.
    """
    seconds = timeframe_seconds(timeframe)
    table, origin = "bars_1s" if base_seconds(timeframe) == 1 else "bars_1min", "'trades'"
    if blend.klines and seconds >= 60:
        table, origin = f"{sql('minutes_with_klines')} as minutes", "origin"
    name = "bars_stored" if seconds in (1, 60) else "bars_resampled"
    text = sql(name).replace("{bars}", table).replace("{origin}", origin)
    if blend.uploaded:
        text = sql("bars_with_uploaded").replace("{bars}", text)
    return sql("bars_of_datasets").replace("{bars}", text) if blend.dataset else text


def closes_sql(timeframe: str, blend: Blend = TRADES_ALONE) -> str:
    """Return the SQL that `load_closes` runs for the timeframe, with its ``$name`` parameters."""
    # Which side took is no part of it, and costs a look at the ticks.
    return sql("closes").replace("{bars}", bars_sql(timeframe, replace(blend, dataset=False)))
