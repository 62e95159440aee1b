"""What sorted trades add to the bars, computed beside the file.

The same bars as `core/sql/partial_bars_1s.sql` gives, to the last digit: the sums are DuckDB's, and
first, last, highest and lowest of rows that lie in order take a tenth of what it needs for them.
"""

from __future__ import annotations

import contextlib
import functools

import numpy as np
import numpy.typing as npt
import polars as pl

from core.sql import sql
from core.store_file import Connection, instance

Places = npt.NDArray[np.int64]
_COLUMNS = (
    "symbol", "ts", "open", "high", "low", "close", "volume", "quote_volume", "trades",
    "taker_buy_volume", "first_ts", "first_id", "last_ts", "last_id",
)  # fmt: skip

NO_BARS = pl.DataFrame()


def partial_bars(trades: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return seconds and minutes, with the columns of ``bars_1s``.

    ``trades`` has TRADE_SCHEMA's columns but the source (ts in any unit) and at least one row; it
    is sorted by symbol, ts and what tells the order within equal times.
    """
    starts = _starts(trades)
    with contextlib.closing(_workshop().cursor()) as con:
        seconds = _seconds(trades, starts, _sums(con, trades, starts))
        con.register("partial_1s", seconds)
        con.execute(sql("partial_bars_1min"))
        minutes = con.sql("select * from partial_1min order by ts, symbol").pl()
    # Stored in the order of time, as the worker's are; those of one symbol lie so.
    is_in_order = seconds["ts"].is_sorted()
    return seconds if is_in_order else seconds.sort("ts", "symbol"), minutes


@functools.cache
def _workshop() -> Connection:
    """An instance in memory; making one took a third of the time of a chunk's bars."""
    return instance()


def _starts(trades: pl.DataFrame) -> Places:
    """Return where another symbol or another second begins."""
    seconds = trades["ts"].dt.epoch("s").to_numpy()
    begins = np.ones(trades.height, dtype=np.bool_)
    begins[1:] = seconds[1:] != seconds[:-1]
    lengths = trades["symbol"].rle().struct.field("len").to_numpy()
    begins[np.cumsum(lengths)[:-1]] = True
    return np.flatnonzero(begins)


def _sums(con: Connection, trades: pl.DataFrame, starts: Places) -> pl.DataFrame:
    """Return volume, quote_volume and taker_buy_volume of each group, as DECIMAL."""
    lengths = np.diff(starts, append=trades.height)
    numbered = trades.select("price", "size", "buyer_is_maker").with_columns(
        bar=pl.Series(np.repeat(np.arange(len(starts), dtype=np.uint32), lengths))
    )
    con.register("numbered", numbered)
    sums: pl.DataFrame = con.sql(sql("import_sums")).pl()
    return sums


def _seconds(trades: pl.DataFrame, starts: Places, sums: pl.DataFrame) -> pl.DataFrame:
    ends = np.append(starts[1:], trades.height) - 1
    first, last = trades[starts], trades[ends]
    price = trades["price"].to_numpy()
    return pl.DataFrame(
        {
            "symbol": first["symbol"],
            "ts": first["ts"].dt.truncate("1s"),
            "open": first["price"],
            "high": np.maximum.reduceat(price, starts),
            "low": np.minimum.reduceat(price, starts),
            "close": last["price"],
            "trades": ends - starts + 1,
            "first_ts": first["ts"],
            "first_id": first["agg_id"],
            "last_ts": last["ts"],
            "last_id": last["agg_id"],
        }
    ).hstack(sums)[list(_COLUMNS)]
