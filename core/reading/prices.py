"""What makes a bar a bar, wherever it comes from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from core.models import BAR_SCHEMA
from core.reading.ticks import Checks, price_checks
from core.reading.times import times
from core.reading.values import numbers

# A bar's volume is DECIMAL(38,8).
VOLUME_LIMIT = 1e18


def bar_checks(
    columns: Mapping[str, pl.Series], ts_name: str, seconds: int, latest_us: int
) -> tuple[Checks, dict[str, pl.Series]]:
    """Return why rows are no bars of ``seconds``, and the columns of core.models.BAR_SCHEMA."""
    ts = times(columns[ts_name])
    checks: Checks = ts.checks(latest_us)
    checks.append(
        (f"the time is no start of a bar of {seconds} s", ts.us % (seconds * 1_000_000) != 0)
    )
    read = {name: numbers(columns[name]) for name in ("open", "high", "low", "close")}
    for name, price in read.items():
        checks += price_checks(name, price)
    volume = numbers(columns["volume"])
    opened, high, low, close = (price.values for price in read.values())
    with np.errstate(invalid="ignore"):
        checks += [
            ("the high is below another price", high < np.fmax(np.fmax(opened, close), low)),
            ("the low is above another price", low > np.fmin(opened, close)),
        ]
    checks += [
        ("no volume", volume.missing),
        ("the volume is no number", volume.unreadable),
        ("the volume is not finite", ~np.isfinite(volume.values)),
        ("the volume is negative", volume.values < 0),
        (f"the volume is {VOLUME_LIMIT:.0e} or more", volume.values >= VOLUME_LIMIT),
    ]
    values = {"ts": pl.Series(ts.us // 1000).cast(BAR_SCHEMA["ts"])}
    values |= {name: pl.Series(price.values) for name, price in read.items()}
    return checks, values | {"volume": pl.Series(volume.values)}
