"""An archive of aggTrades into ``trades``, its coverage and bars with it."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl

from core.errors import BadFile
from core.feed.gaps import Interval, held_mask
from core.importing.chunks import Chunk, prepared, write_chunk
from core.importing.committing import READ_S, READ_WAIT_S, Counts
from core.importing.records import Staged
from core.sql import sql
from core.store import Connection, Store
from core.trade_writer import load_ledgers

SAMPLE = 64
_APART = timedelta(hours=1)
# Times of neighbouring ids may run against their order by a little.
_SLACK_MS = 60_000
_OTHER = "the archive is of another exchange; import it into a file of its own with --db"


class AggTradesWriter:
    """Chunks of one symbol's trades: those that coverage holds already are duplicates."""

    # No id is in two chunks of a file.
    ahead = True

    def __init__(self, store: Store, staged: Staged, folder: Path) -> None:
        assert staged.symbol is not None
        self._store = store
        self._staged = staged
        self._folder = folder
        self._symbol = staged.symbol
        self._held: list[Interval] = []
        self._looked = False
        self.kind = staged.kind

    def check(self) -> None:
        """Hold what the file and the store both have against each other, by a sample a chunk."""
        self._look()
        for chunk in self._staged.chunks:
            around = [i for i in self._held if i.first_id <= chunk.high and chunk.low <= i.last_id]
            if not around:
                continue
            rows = pl.read_parquet(
                self._folder / chunk.name, columns=["agg_id", "ts", "price"], memory_map=False
            )
            both = rows.filter(pl.Series(held_mask(rows["agg_id"].to_numpy(), around)))
            places = np.unique(np.linspace(0, both.height - 1, SAMPLE).astype(np.int64))
            if both.height:
                sample = both[places.tolist()]
                self._compare_times(sample, around)
                self._compare(sample)

    def _look(self) -> None:
        """Learn what is held, once a file: a read would wait for the chunk before to be stored.

        What the worker stores meanwhile is seen when a chunk is written.
        """
        with self._store.read(wait_s=READ_WAIT_S, limit_s=READ_S) as con:
            self._held = load_ledgers(con, [self._symbol])[self._symbol].intervals
        self._looked = True

    def _compare_times(self, sample: pl.DataFrame, around: list[Interval]) -> None:
        """Prices may have left the file for the lake; coverage tells when an id was traded."""
        for agg_id, ts in sample.select("agg_id", pl.col("ts").dt.epoch("ms")).iter_rows():
            home = next(i for i in around if i.first_id <= agg_id <= i.last_id)
            if not home.first_ms - _SLACK_MS <= ts <= home.last_ms + _SLACK_MS:
                raise BadFile(
                    f"{self._staged.name} has trade {agg_id} of {self._symbol} at another time "
                    f"than the file: {_OTHER}"
                )

    def _compare(self, sample: pl.DataFrame) -> None:
        first, last = sample["ts"].min(), sample["ts"].max()
        with self._store.read(wait_s=READ_WAIT_S, limit_s=READ_S) as con:
            # Others may have moved to the lake, or their times lie elsewhere: not found then.
            rows = con.execute(
                sql("import_prices"),
                {
                    "symbol": self._symbol,
                    "ids": sample["agg_id"].to_list(),
                    "low": first - _APART,  # type: ignore[operator]
                    "high": last + _APART,  # type: ignore[operator]
                },
            ).fetchall()
        stored = dict(rows)
        for agg_id, price in sample.select("agg_id", "price").iter_rows():
            if stored.get(agg_id, price) != price:
                raise BadFile(
                    f"{self._staged.name} has price {price:g} for trade {agg_id} of "
                    f"{self._symbol}, the file holds {stored[agg_id]:g}: {_OTHER}"
                )

    def ready(self, rows: pl.DataFrame) -> tuple[Chunk, int]:
        """Return the chunk of the trades that are not held, and how many are."""
        if not self._looked:  # resumed: it was checked before
            self._look()
        held = held_mask(rows["agg_id"].to_numpy(), self._held)
        fresh = rows.filter(pl.Series(~held)) if held.any() else rows
        return prepared(self._symbol, "archive", fresh), rows.height - fresh.height

    def write(self, con: Connection, chunk: tuple[Chunk, int]) -> Counts:
        """Store trades, coverage, gaps, bars and versions."""
        trades, held = chunk
        result = write_chunk(con, trades, now_ms=int(time.time() * 1000))
        return Counts(result.stored, held + result.duplicates)

    def end(self, con: Connection, content_hash: str) -> None:
        """Nothing is left to do."""
