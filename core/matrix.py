"""The closes of many symbols on one grid of bars, and their correlations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import polars as pl

from core.bar_sql import timeframe_seconds
from core.errors import DataError, NotEnoughData
from core.queries import load_closes
from core.stats.arrays import Floats
from core.stats.correlation import CorrelationMatrix, Kind, correlation_matrix, log_returns
from core.store import READ_LIMIT_S, Store

On = Literal["returns", "levels"]

# Closes on the grid: 80 MB. Fifty symbols over a week of minutes are half a million.
MOST_CELLS = 10_000_000
# What one lease reads, rows over all symbols.
ROWS_A_LEASE = 300_000


@dataclass(frozen=True, slots=True)
class Panel:
    """Closes (T, N) of N symbols, a row each bar from ``start`` on, NaN where one has no bar.

    ``turnover`` (N,) is what each turned over, Σ close · volume, quote units, of the bars counted.
    """

    symbols: tuple[str, ...]
    timeframe: str
    start: datetime
    closes: Floats
    turnover: Floats

    @property
    def bars(self) -> tuple[int, ...]:
        """How many bars each symbol has."""
        return tuple(int(n) for n in np.isfinite(self.closes).sum(axis=0))

    @property
    def times(self) -> pl.Series:
        """Return the starts of the rows' bars, UTC."""
        step = timeframe_seconds(self.timeframe) * 1000
        first = int((self.start - datetime(1970, 1, 1)) / timedelta(milliseconds=1))  # noqa: DTZ001
        return pl.Series("ts", first + step * np.arange(len(self.closes)), dtype=pl.Int64).cast(
            pl.Datetime("ms")
        )


def read_panel(
    store: Store,
    symbols: Sequence[str],
    timeframe: str,
    start: datetime,
    end: datetime,
    *,
    min_turnover: float = 0.0,
    most_cells: int = MOST_CELLS,
    limit_s: float = READ_LIMIT_S,
    counted: tuple[datetime, datetime] | None = None,
) -> Panel:
    """Read the closes of [start, end), long ranges in parts, each under a lease of its own.

    Bars that turned over less than ``min_turnover`` (close · volume, quote units) are left out.
    One part may take ``limit_s`` seconds. Turnover is that of the bars in [start, end) of
    ``counted``, without it of all. Raises NotEnoughData below two symbols, DataError where
    the grid is larger than ``most_cells`` closes, and what the store raises.
    """
    seconds = timeframe_seconds(timeframe)
    rows = int((end - start).total_seconds()) // seconds
    if len(symbols) < 2:
        raise NotEnoughData(f"{len(symbols)} symbol; a correlation needs at least 2")
    if rows * len(symbols) > most_cells:
        raise DataError(
            f"{len(symbols)} symbols over {rows:,} bars of {timeframe} are more than "
            f"{most_cells:,} closes; choose a coarser timeframe or a shorter range"
        )
    length = timedelta(seconds=max(1, ROWS_A_LEASE // len(symbols)) * seconds)
    parts, at = [], start
    while at < end:
        with store.read(limit_s=limit_s) as con:
            parts.append(load_closes(con, symbols, timeframe, at, min(at + length, end)))
        at += length
    closes = np.full((rows, len(symbols)), np.nan)
    turnover = np.zeros(len(symbols))
    bar = timedelta(seconds=seconds)
    since, until = counted or (start, end)
    # The first row that begins at or after each.
    counted_rows = -((start - since) // bar), -((start - until) // bar)
    for part in parts:
        turnover += _fill(closes, part, symbols, seconds, start, min_turnover, counted_rows)
    return Panel(tuple(symbols), timeframe, start, closes, turnover)


def _fill(
    closes: Floats,
    part: pl.DataFrame,
    symbols: Sequence[str],
    seconds: int,
    start: datetime,
    min_turnover: float,
    counted: tuple[int, int],
) -> Floats:
    """Put a part's closes, ordered by symbol, in their places.

    Returns what each symbol turned over in the rows from the first up to the second counted.
    """
    places = {symbol: column for column, symbol in enumerate(symbols)}
    runs = part["symbol"].rle().struct.unnest()
    columns = np.repeat(
        [places[symbol] for symbol in runs["value"]], runs["len"].to_numpy()
    ).astype(np.int64)
    first = int((start - datetime(1970, 1, 1)).total_seconds())  # noqa: DTZ001
    rows = (part["ts"].to_physical().to_numpy() // 1000 - first) // seconds
    values = part["close"].to_numpy()
    worth = values * part["volume"].fill_null(0.0).to_numpy()
    kept = worth >= min_turnover
    closes[rows[kept], columns[kept]] = values[kept]
    is_counted = (rows >= counted[0]) & (rows < counted[1])
    found: Floats = np.bincount(
        columns, weights=np.where(is_counted, worth, 0.0), minlength=len(symbols)
    ).astype(np.float64)
    return found


def panel_correlation(
    panel: Panel, *, on: On = "returns", kind: Kind = "pearson"
) -> CorrelationMatrix:
    """Return the panel's correlations: of returns between neighbouring bars, or of log levels."""
    if on == "returns":
        return correlation_matrix(log_returns(panel.closes), panel.symbols, kind=kind)
    return correlation_matrix(np.log(panel.closes), panel.symbols, kind=kind)
