"""Big chunks of trades into the file: what can be computed before the lock is, so it is short.

The outcome equals that of `core.trade_writer.write_trades` to the last digit. A million trades
were measured to hold the file for 0.25 to 0.45 s, against 0.5 to 0.8 s in one go.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from core.feed.gaps import Interval, overlap
from core.importing.partial import NO_BARS, partial_bars
from core.models import FlushResult
from core.sql import sql
from core.store import Connection
from core.trade_writer import (
    bump_versions,
    load_ledgers,
    merge_bars,
    runs_of,
    write_ledgers,
    write_trades,
)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Trades (TRADE_SCHEMA's columns) sorted by symbol, ts, id, and what they add to the file.

    ``seconds`` and ``minutes`` are partial bars with the columns of ``bars_1s``; ``runs`` are the
    ids by symbol, ``counts`` the trades; ``source`` is that of all of them, None where they differ.
    """

    trades: pl.DataFrame
    seconds: pl.DataFrame
    minutes: pl.DataFrame
    runs: dict[str, list[Interval]]
    counts: dict[str, int]
    source: str | None


def prepared(trades: pl.DataFrame) -> Chunk:
    """Return the chunk of trades that are unique by (symbol, id); takes no lock."""
    if not trades.height:
        return Chunk(trades, NO_BARS, NO_BARS, {}, {}, None)
    counts = dict(trades.group_by("symbol").len().sort("symbol").iter_rows())
    one = len(counts) == 1
    by_id = trades if one and trades["agg_id"].is_sorted() else trades.sort("symbol", "agg_id")
    ordered = by_id if one and by_id["ts"].is_sorted() else trades.sort("symbol", "ts", "agg_id")
    sources = trades["source"].unique().to_list()
    source = sources[0] if len(sources) == 1 else None
    return Chunk(ordered, *partial_bars(ordered), runs_of(by_id), counts, source)


def write_chunk(con: Connection, chunk: Chunk, *, now_ms: int) -> FlushResult:
    """Store the chunk inside the caller's transaction, as `write_trades` would.

    Where some of it is held by now, after all (the worker filled a gap meanwhile), it is
    `write_trades` that does it.
    """
    symbols = list(chunk.counts)
    if not symbols:
        return FlushResult(0, 0)
    ledgers = load_ledgers(con, symbols)
    if any(overlap(chunk.runs[symbol], ledgers[symbol].intervals) for symbol in symbols):
        return write_trades(con, chunk.trades, now_ms=now_ms)
    _insert(con, chunk)
    fold_bars(con, chunk.seconds, chunk.minutes)
    write_ledgers(con, chunk.runs, ledgers, (), now_ms)
    bump_versions(con, symbols)
    return FlushResult(chunk.trades.height, 0, chunk.counts)


def _insert(con: Connection, chunk: Chunk) -> None:
    if chunk.source is None or len(chunk.counts) > 1:
        with _registered(con, new_chunk=chunk.trades):
            con.execute(sql("import_trades"))
        return
    # Handing over two columns of one text each would cost a fifth of the insert.
    text = sql("import_trades").replace("symbol,", "$symbol,").replace("source", "$source")
    with _registered(con, new_chunk=chunk.trades.drop("symbol", "source")):
        con.execute(text, {"symbol": next(iter(chunk.counts)), "source": chunk.source})


def fold_bars(con: Connection, seconds: pl.DataFrame, minutes: pl.DataFrame) -> None:
    """Fold partial bars into the stored ones."""
    with _registered(con, partial_1s=seconds, partial_1min=minutes):
        merge_bars(con, seconds["ts"])


@contextlib.contextmanager
def _registered(con: Connection, **frames: pl.DataFrame) -> Iterator[None]:
    for name, frame in frames.items():
        con.register(name, frame)
    try:
        yield
    finally:
        for name in frames:
            con.unregister(name)
