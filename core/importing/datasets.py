"""A dataset out of the file again, in pieces short enough for the worker to write between them."""

from __future__ import annotations

from core.errors import DataError
from core.importing.committing import WAIT_S
from core.importing.jobs import ACTIVE, list_jobs
from core.importing.pieces import delete_in_pieces
from core.importing.targets import taken
from core.importing.ticks import DATASETS, store_key
from core.store import Connection, Store
from core.trade_writer import bump_versions

_TABLES = ("bars_1s", "bars_1min", "uploaded_bars")


def delete_dataset(store: Store, dataset: str) -> int:
    """Take a dataset's trades and bars out of the file; returns how many trades.

    One that was broken off stays listed and can be deleted again. Raises DataError while an
    import into it runs or waits, StoreError.
    """
    for job in list_jobs(store.path):
        if job.dataset == dataset and job.state in ACTIVE:
            raise DataError(f"An import into {dataset!r} is running; cancel it first")
    with taken(store.path, dataset):
        return _delete(store, dataset)


def _delete(store: Store, dataset: str) -> int:
    with store.write(wait_s=WAIT_S) as con:
        for table in ("imported_files", "import_chunks"):
            con.execute(f"delete from {table} where dataset = ?", [dataset])  # noqa: S608
        keys = [store_key(symbol, dataset) for symbol in _symbols(con, dataset)]
        con.execute(
            "delete from uploaded_bar_sets where symbol in (select unnest(?::varchar[]))", [keys]
        )
        bump_versions(con, [DATASETS, *keys])
    gone = delete_in_pieces(store, "uploaded_trades", "dataset = $dataset", {"dataset": dataset})
    for table in _TABLES:
        delete_in_pieces(
            store, table, "symbol in (select unnest($keys::varchar[]))", {"keys": keys}
        )
    with store.write(wait_s=WAIT_S) as con:
        for table in ("dataset_symbols", "datasets"):
            con.execute(f"delete from {table} where dataset = ?", [dataset])  # noqa: S608
        bump_versions(con, [DATASETS, *keys])
    return gone


def _symbols(con: Connection, dataset: str) -> list[str]:
    rows = con.execute(
        "select symbol from dataset_symbols where dataset = ? order by symbol", [dataset]
    ).fetchall()
    return [symbol for (symbol,) in rows]
