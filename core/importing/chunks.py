"""Big chunks of trades into the file: what can be computed before the lock is, so it is short.

The outcome equals that of `core.trade_writer.write_trades` to the last digit. A million trades
were measured to hold the file for 0.25 to 0.45 s, against 0.5 to 0.8 s in one go.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from core.importing.partial import NO_BARS, partial_bars
from core.models import FlushResult
from core.sql import sql
from core.store import Connection
from core.trade_writer import (
    bump_versions,
    load_ledgers,
    merge_bars,
    only_new,
    write_ledgers,
    write_trades,
)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Trades (TRADE_SCHEMA's columns) sorted by symbol, ts, id, and what they add to the bars.

    ``seconds`` and ``minutes`` are partial bars with the columns of ``bars_1s``.
    """

    trades: pl.DataFrame
    seconds: pl.DataFrame
    minutes: pl.DataFrame


def prepared(trades: pl.DataFrame) -> Chunk:
    """Return the chunk of trades that are unique by (symbol, id); takes no lock."""
    if not trades.height:
        return Chunk(trades, NO_BARS, NO_BARS)
    ordered = trades if _is_in_order(trades) else trades.sort("symbol", "ts", "agg_id")
    return Chunk(ordered, *partial_bars(ordered))


def write_chunk(con: Connection, chunk: Chunk, *, now_ms: int) -> FlushResult:
    """Store the chunk inside the caller's transaction, as `write_trades` would.

    Where some of it is held by now, after all (the worker filled a gap meanwhile), it is
    `write_trades` that does it.
    """
    by_id = _sorted_by_id(chunk.trades)
    symbols = _symbols(by_id)
    if not symbols:
        return FlushResult(0, 0)
    ledgers = load_ledgers(con, symbols)
    if len(only_new(by_id, ledgers)) < len(by_id):
        return write_trades(con, chunk.trades, now_ms=now_ms)
    _insert(con, chunk.trades, symbols)
    fold_bars(con, chunk.seconds, chunk.minutes)
    write_ledgers(con, by_id, ledgers, (), now_ms)
    bump_versions(con, symbols)
    counts = dict(by_id.group_by("symbol").len().iter_rows())
    return FlushResult(len(by_id), 0, counts)


def _insert(con: Connection, trades: pl.DataFrame, symbols: list[str]) -> None:
    sources = trades["source"].unique().to_list()
    if len(symbols) == len(sources) == 1:
        # Handing over two columns of one text each would cost a fifth of the insert.
        text = sql("import_trades").replace("symbol,", "$symbol,").replace("source", "$source")
        with _registered(con, new_chunk=trades.drop("symbol", "source")):
            con.execute(text, {"symbol": symbols[0], "source": sources[0]})
        return
    with _registered(con, new_chunk=trades):
        con.execute(sql("import_trades"))


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


def _is_in_order(trades: pl.DataFrame) -> bool:
    return trades["ts"].is_sorted() and trades["agg_id"].is_sorted() and len(_symbols(trades)) == 1


def _sorted_by_id(trades: pl.DataFrame) -> pl.DataFrame:
    if trades["symbol"].n_unique() <= 1 and trades["agg_id"].is_sorted():
        return trades
    return trades.sort("symbol", "agg_id")


def _symbols(trades: pl.DataFrame) -> list[str]:
    return sorted(trades["symbol"].unique())
