"""Trades over file and lake: days that left the file are read from Parquet, as if they had not.

``lake_files`` says which Parquet files hold which days; a trade is either in the file or in
exactly one of them. Every function takes the cursor of `Store.read`, or one like it, first.

    python -m core.lake --keep-days 30 [--lake PATH] [--db FILE] [--dry-run]
    python -m core.lake --verify [--db FILE]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime

import polars as pl

from core.lake_check import demand_readable, demand_there
from core.lake_places import LakeFile, lake_files
from core.sql import sql
from core.store import Connection


def lake_parts(con: Connection, symbol: str, start: datetime, end: datetime) -> list[LakeFile]:
    """Return the Parquet files with trades of the symbol that may lie in [start, end)."""
    return lake_files(con, start, end, symbol)


def trades_sql(paths: Sequence[str]) -> str:
    """Return the SQL of a symbol's trades in [$start, $end), unordered, from file and lake.

    Parameters: $symbol, $start, $end, and $paths (``paths``) where there are any. Columns: those
    of core.models.TRADE_SCHEMA.
    """
    return sql("lake_trades") if paths else sql("lake_trades_file")


def trades_parameters(
    paths: Sequence[str], symbol: str, start: datetime, end: datetime
) -> dict[str, object]:
    """Return the parameters that `trades_sql` needs for the same paths."""
    found: dict[str, object] = {"symbol": symbol, "start": start, "end": end}
    return found | {"paths": list(paths)} if paths else found


def load_trades(
    con: Connection, symbol: str, start: datetime, end: datetime, *, limit: int | None = 1_000_000
) -> pl.DataFrame:
    """Return the trades of [start, end) by (ts, agg_id), at most ``limit`` of them.

    Columns: those of core.models.TRADE_SCHEMA. Raises LakeMissing, as the other two do, where a
    file of the lake is gone or cannot be read.
    """
    query = "from ({trades}) order by ts, agg_id limit $limit"
    return _frame(con, query, symbol, start, end, limit=limit)


def load_newest_trades(
    con: Connection, symbol: str, start: datetime, end: datetime, *, limit: int
) -> pl.DataFrame:
    """Return ts and price of the newest ``limit`` trades of [start, end), oldest first."""
    return _frame(con, sql("lake_newest_trades"), symbol, start, end, limit=limit)


def load_bars_from_trades(
    con: Connection, symbol: str, seconds: int, start: datetime, end: datetime
) -> pl.DataFrame:
    """Return the bars of [start, end) made anew from the trades, by ts.

    Columns: symbol, ts, open, high, low, close, volume, quote_volume, trades, taker_buy_volume.
    What a stored bar is checked against, and what bars of any length can be made with.
    """
    return _frame(con, sql("lake_bars"), symbol, start, end, seconds=seconds)


def _frame(
    con: Connection, query: str, symbol: str, start: datetime, end: datetime, **more: object
) -> pl.DataFrame:
    parts = lake_parts(con, symbol, start, end)
    demand_there(parts)
    paths = [part.path for part in parts]
    text = query.replace("{trades}", trades_sql(paths))
    parameters = trades_parameters(paths, symbol, start, end) | more
    try:
        frame: pl.DataFrame = con.sql(text, params=parameters).pl()
    except Exception as error:  # DuckDB's own classes are the store's to know
        # What only took too long says nothing of the files, and has no time left to look at them.
        if type(error).__name__ != "InterruptException":
            demand_readable(parts)
        raise
    return frame.with_columns(
        pl.col(pl.Datetime("us")).dt.cast_time_unit("ms"), pl.col(pl.Decimal).cast(pl.Float64)
    )


if __name__ == "__main__":
    from core.lake_command import main

    sys.exit(main())
