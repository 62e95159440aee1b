"""What a user brought and the worker fetched beside the trades: one function a list.

Every function takes the cursor of `Store.read` first; times are naive UTC, as Datetime("ms").
"""

from __future__ import annotations

import polars as pl

from core.lake_places import database_path, found_path
from core.sql import sql
from core.store import Connection


def load_datasets(con: Connection) -> pl.DataFrame:
    """Return dataset, symbol, trades, first_ts, last_ts, created_at; symbol None where empty."""
    return _frame(con, "own_datasets")


def load_bar_sets(con: Connection) -> pl.DataFrame:
    """Return symbol, timeframe, rows, first_ts, last_ts, origin, uploaded_at of uploaded bars."""
    return _frame(con, "own_bar_sets")


def load_klines_held(con: Connection) -> pl.DataFrame:
    """Return symbol, rows, first_ts, last_ts of the exchange's own minutes."""
    return _frame(con, "own_klines")


def load_funding(con: Connection) -> pl.DataFrame:
    """Return symbol, rates, first_ts, last_ts, rate, mean_rate (fractions), next_ts.

    ``next_ts`` repeats the last interval; None after a first settlement.
    """
    return _frame(con, "own_funding")


def load_lake(con: Connection) -> pl.DataFrame:
    """Return symbol, days, files, trades, first_day, last_day, paths of what left the file."""
    frame = _frame(con, "own_lake")
    db = database_path(con)
    paths = [
        [found_path(db, one["path"], one["lake"])[0] for one in kept]
        for kept in frame["files_kept"].to_list()
    ]
    return frame.drop("files_kept").with_columns(paths=pl.Series(paths, dtype=pl.List(pl.String)))


def load_imported_files(con: Connection, *, limit: int = 500) -> pl.DataFrame:
    """Return the newest imported files with their counts, the newest first.

    Columns: name, kind, dataset, rows_read, rows_kept, rows_duplicate, rows_rejected,
    imported_at, content_hash.
    """
    return _frame(con, "own_files", {"limit": limit})


def _frame(
    con: Connection, query: str, parameters: dict[str, object] | None = None
) -> pl.DataFrame:
    frame: pl.DataFrame = con.sql(sql(query), params=parameters or {}).pl()
    return frame.with_columns(pl.col(pl.Datetime("us")).dt.cast_time_unit("ms"))
