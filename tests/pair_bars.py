"""Bars of pairs made to measure, as `load_closes` returns them."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

START = datetime(2026, 11, 1)


def closes(
    y: NDArray[np.float64],
    x: NDArray[np.float64],
    *,
    bar_s: int = 60,
    without: tuple[tuple[int, ...], tuple[int, ...]] = ((), ()),
    volume: float = 1.0,
) -> pl.DataFrame:
    """Closes of ``yusdt`` and ``xusdt`` from prices; ``without`` names bars that a leg lacks."""
    frames = []
    for symbol, prices, missing in (("xusdt", x, without[1]), ("yusdt", y, without[0])):
        frame = pl.DataFrame(
            {
                "symbol": [symbol] * len(prices),
                "ts": [START + timedelta(seconds=i * bar_s) for i in range(len(prices))],
                "close": np.asarray(prices, dtype=np.float64),
                "volume": [volume] * len(prices),
            }
        ).with_columns(pl.col("ts").cast(pl.Datetime("ms")))
        kept = [i for i in range(len(prices)) if i not in missing]
        frames.append(frame[kept])
    return pl.concat(frames)
