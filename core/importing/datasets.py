"""A dataset out of the file again, in pieces short enough for the worker to write between them."""

from __future__ import annotations

import time

from core.errors import DataError
from core.importing.committing import PAUSE_S, WAIT_S
from core.importing.jobs import ACTIVE, list_jobs
from core.importing.ticks import DATASETS, store_key
from core.sql import sql
from core.store import Connection, Store
from core.trade_writer import bump_versions

# Deleting this many rows was measured to hold the file for 0.1 to 0.2 s.
PIECE_ROWS = 500_000
_TABLES = ("bars_1s", "bars_1min", "uploaded_bars")


def delete_dataset(store: Store, dataset: str) -> int:
    """Take a dataset's trades and bars out of the file; returns how many trades.

    One that was broken off stays listed and can be deleted again. Raises DataError while an
    import into it runs, StoreError.
    """
    for job in list_jobs(store.path):
        if job.dataset == dataset and job.state in ACTIVE:
            raise DataError(f"An import into {dataset!r} is running; cancel it first")
    with store.write(wait_s=WAIT_S) as con:
        for table in ("imported_files", "import_chunks"):
            con.execute(f"delete from {table} where dataset = ?", [dataset])  # noqa: S608
        keys = [store_key(symbol, dataset) for symbol in _symbols(con, dataset)]
        bump_versions(con, [DATASETS, *keys])
    gone = _in_pieces(store, "uploaded_trades", "dataset", [dataset])
    for table in _TABLES:
        _in_pieces(store, table, "symbol", keys)
    with store.write(wait_s=WAIT_S) as con:
        for table in ("dataset_symbols", "datasets"):
            con.execute(f"delete from {table} where dataset = ?", [dataset])  # noqa: S608
        con.execute(
            "delete from uploaded_bar_sets where symbol in (select unnest(?::varchar[]))", [keys]
        )
        bump_versions(con, [DATASETS, *keys])
    return gone


def _symbols(con: Connection, dataset: str) -> list[str]:
    rows = con.execute(
        "select symbol from dataset_symbols where dataset = ? order by symbol", [dataset]
    ).fetchall()
    return [symbol for (symbol,) in rows]


def _in_pieces(store: Store, table: str, column: str, values: list[str]) -> int:
    """Delete the rows whose column has one of the values; names are literals of this module."""
    text = sql("import_delete_piece").replace("{table}", table).replace("{column}", column)
    gone = 0
    while True:
        with store.write(wait_s=WAIT_S) as con:
            known = {"values": values, "rows": PIECE_ROWS}
            piece = int(con.execute(text, known).fetchall()[0][0])
        gone += piece
        if piece < PIECE_ROWS:
            return gone
        time.sleep(PAUSE_S)
