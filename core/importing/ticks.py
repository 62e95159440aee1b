"""Ticks and raw trades into a dataset: ``uploaded_trades``, and bars under ``symbol@dataset``."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from core.importing.chunks import fold_bars
from core.importing.committing import READ_S, READ_WAIT_S, Counts
from core.importing.partial import NO_BARS, partial_bars
from core.sql import sql
from core.store import Connection, Store
from core.trade_writer import bump_versions, utc_now

# The scope in ``versions`` of what datasets there are.
DATASETS = "datasets"


def store_key(symbol: str, dataset: str) -> str:
    """Return the name of a dataset's symbol in bars, versions and the app."""
    return f"{symbol}@{dataset}"


@dataclass(frozen=True, slots=True)
class TickChunk:
    """Ticks by (symbol, ts, id), those of them that are new, and what they add to the bars.

    ``version`` is that of the datasets when it was looked which are new.
    """

    ticks: pl.DataFrame
    fresh: pl.DataFrame
    seconds: pl.DataFrame
    minutes: pl.DataFrame
    version: int


class TicksWriter:
    """Chunks of one dataset's ticks; any may hold an id that the one before brought."""

    ahead = False

    def __init__(self, store: Store, dataset: str, kind: str) -> None:
        self._store = store
        self._dataset = dataset
        self.kind = kind

    def check(self) -> None:
        """A dataset takes everything."""

    def ready(self, rows: pl.DataFrame) -> TickChunk:
        """Return the chunk with its new ticks and their bars."""
        ticks = rows.sort("symbol", "ts", "id", maintain_order=True)
        with self._store.read(wait_s=READ_WAIT_S, limit_s=READ_S) as con:
            version = _version(con)
            fresh = self._fresh(con, ticks)
        return self._chunk(ticks, fresh, version)

    def write(self, con: Connection, chunk: TickChunk) -> Counts:
        """Store the new ticks, their bars, and what the dataset holds now."""
        if _version(con) != chunk.version:
            # A dataset was deleted, or written to, since it was looked.
            chunk = self._chunk(chunk.ticks, self._fresh(con, chunk.ticks), chunk.version)
        fresh = chunk.fresh
        con.execute(sql("import_dataset"), {"dataset": self._dataset, "now": utc_now()})
        if fresh.height:
            con.register("new_chunk", fresh)
            con.execute(sql("import_ticks"), {"dataset": self._dataset})
            con.execute(sql("import_dataset_symbols"), {"dataset": self._dataset})
            con.unregister("new_chunk")
            fold_bars(con, chunk.seconds, chunk.minutes)
        keys = [store_key(symbol, self._dataset) for symbol in fresh["symbol"].unique()]
        bump_versions(con, [DATASETS, *keys])
        return Counts(fresh.height, chunk.ticks.height - fresh.height)

    def end(self, con: Connection, content_hash: str) -> None:
        """Nothing is left to do."""

    def _chunk(self, ticks: pl.DataFrame, fresh: pl.DataFrame, version: int) -> TickChunk:
        if not fresh.height:
            return TickChunk(ticks, fresh, NO_BARS, NO_BARS, version)
        trades = fresh.select(
            pl.format("{}@{}", "symbol", pl.lit(self._dataset)).alias("symbol"),
            pl.col("id").fill_null(0).alias("agg_id"),
            "ts",
            "price",
            pl.col("size").fill_null(0.0),
            (pl.col("side") != "buy").fill_null(True).alias("buyer_is_maker"),
        )
        return TickChunk(ticks, fresh, *partial_bars(trades), version)

    def _fresh(self, con: Connection, ticks: pl.DataFrame) -> pl.DataFrame:
        """Return the ticks that the dataset does not hold."""
        if not ticks.height:
            return ticks
        low_id, high_id = ticks["id"].min(), ticks["id"].max()
        con.register("new_chunk", ticks.with_row_index("row"))
        rows = con.execute(
            sql("import_ticks_held"),
            {
                "dataset": self._dataset,
                "low_id": low_id, "high_id": high_id,
                "low": ticks["ts"].min(), "high": ticks["ts"].max(),
            },
        ).fetchnumpy()  # fmt: skip
        con.unregister("new_chunk")
        if not len(rows["row"]):
            return ticks
        held = pl.Series(rows["row"]).cast(pl.UInt32)
        return ticks.with_row_index("row").filter(~pl.col("row").is_in(held.implode())).drop("row")


def _version(con: Connection) -> int:
    rows = con.execute("select version from versions where scope = ?", [DATASETS]).fetchall()
    return int(rows[0][0]) if rows else 0
