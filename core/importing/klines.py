"""The exchange's bars from archives: minutes to ``klines``, longer ones to ``uploaded_bars``."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from core.importing.bars import BarSet, file_kind, note_set, write_bars
from core.importing.committing import Counts
from core.importing.records import Staged
from core.models import KLINE_SCHEMA
from core.sql import sql
from core.store import Connection
from core.trade_writer import bump_versions


class KlinesWriter:
    """Minutes of one symbol; a later one of the same time takes the place of the stored one."""

    ahead = True

    def __init__(self, staged: Staged) -> None:
        assert staged.symbol is not None
        self._symbol = staged.symbol
        self.kind = staged.kind

    def check(self) -> None:
        """A minute is replaced by a minute: nothing to hold against each other."""

    def ready(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows in the table's order of columns."""
        return rows.select(list(KLINE_SCHEMA))

    def write(self, con: Connection, chunk: pl.DataFrame) -> Counts:
        """Store the minutes; those that are stored with the same values are duplicates."""
        if not chunk.height:
            return Counts(0, 0)
        con.register("new_chunk", chunk)
        span = {"low": chunk["ts"].min(), "high": chunk["ts"].max()}
        same = int(con.execute(sql("import_klines_held"), span).fetchall()[0][0])
        if same < chunk.height:
            con.execute(sql("import_klines"), span)
            bump_versions(con, [self._symbol])
        con.unregister("new_chunk")
        return Counts(chunk.height - same, same)

    def end(self, con: Connection, content_hash: str) -> None:
        """Nothing is left to do."""


class LongKlinesWriter:
    """Bars longer than a minute: kept as uploaded ones, under the archive's name."""

    ahead = True

    def __init__(self, staged: Staged) -> None:
        assert staged.symbol is not None
        assert staged.timeframe is not None
        self._staged = staged
        self._symbol = staged.symbol
        self._timeframe = staged.timeframe
        self.kind = file_kind(staged.symbol, staged.timeframe)

    def check(self) -> None:
        """A bar is replaced by a bar: nothing to hold against each other."""

    def ready(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows with the columns of uploaded bars."""
        return rows.select("ts", "open", "high", "low", "close", "volume")

    def write(self, con: Connection, chunk: pl.DataFrame) -> Counts:
        """Store the bars; those that are stored with the same values are duplicates."""
        return write_bars(con, self._symbol, self._timeframe, chunk)

    def end(self, con: Connection, content_hash: str) -> None:
        """Note the bars as a set, joined with those that it touches."""
        chunks = [chunk for chunk in self._staged.chunks if chunk.rows]
        if chunks:
            low, high = chunks[0].low, chunks[-1].high
            found = BarSet(self._staged.name, content_hash, _at(low), _at(high))
            note_set(con, self._symbol, self._timeframe, found)


def _at(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).replace(tzinfo=None)
