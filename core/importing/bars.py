"""Bars that a user gave, for one symbol and timeframe: into the file, and out of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from core.bar_sql import timeframe_seconds
from core.errors import DataError
from core.importing.committing import WAIT_S, Counts, note_file
from core.importing.records import BARS, ImportedFile
from core.reading import BarsRead
from core.sql import sql
from core.store import Connection, Store
from core.trade_writer import bump_versions, utc_now

# The scope in ``versions`` of what uploaded bars there are.
UPLOADED_BARS = "uploaded bars"
_BETWEEN = " … "


@dataclass(frozen=True, slots=True)
class BarSet:
    """Where a stretch of uploaded bars comes from, and its first and last start."""

    origin: str
    content_hash: str
    first_ts: datetime
    last_ts: datetime


def import_bars(
    store: Store, symbol: str, timeframe: str, bars: BarsRead, origin: str
) -> ImportedFile:
    """Keep the bars for the symbol and timeframe, in the place of those that were kept before.

    Raises DataError for an empty symbol or an unknown timeframe, StoreError.
    """
    key = symbol.strip().lower()
    timeframe_seconds(timeframe)
    if not key:
        raise DataError("bars need a symbol; give the one that they are of")
    with store.write(wait_s=WAIT_S) as con:
        duplicate = bars.duplicates
        if _hash_of(con, key, timeframe) == bars.content_hash:
            return ImportedFile(
                origin, bars.content_hash, bars.read, 0, bars.bars.height + duplicate,
                bars.rejects.height,
            )  # fmt: skip
        _clear(con, key, timeframe)
        kept = write_bars(con, key, timeframe, bars.bars).kept
        first, last = bars.bars["ts"][0], bars.bars["ts"][-1]
        note_set(con, key, timeframe, BarSet(origin, bars.content_hash, first, last))
        outcome = ImportedFile(
            origin, bars.content_hash, bars.read, kept, duplicate, bars.rejects.height
        )
        note_file(con, file_kind(key, timeframe), outcome, "")
    return outcome


def delete_bars(store: Store, symbol: str, timeframe: str) -> int:
    """Take the uploaded bars of a symbol and timeframe out of the file; returns how many."""
    with store.write(wait_s=WAIT_S) as con:
        return _clear(con, symbol.strip().lower(), timeframe)


def write_bars(con: Connection, symbol: str, timeframe: str, bars: pl.DataFrame) -> Counts:
    """Put bars (BAR_SCHEMA, each ts once) among the uploaded ones, replacing those of equal ts.

    Those that are stored with the same values are counted as duplicates.
    """
    bump_versions(con, [symbol, UPLOADED_BARS])
    if not bars.height:
        return Counts(0, 0)
    con.register("new_chunk", bars)
    known = {"symbol": symbol, "timeframe": timeframe}
    span = {**known, "low": bars["ts"].min(), "high": bars["ts"].max()}
    same = int(con.execute(sql("import_bars_held"), span).fetchall()[0][0])
    if same < bars.height:
        con.execute(sql("import_bars"), span)
    con.unregister("new_chunk")
    return Counts(bars.height - same, same)


def note_set(con: Connection, symbol: str, timeframe: str, found: BarSet) -> None:
    """Note a stretch of bars, made one with those that it touches.

    Stretches that lie apart stay so: uploaded bars take precedence over the whole of theirs.
    """
    known = {"symbol": symbol, "timeframe": timeframe}
    step = timedelta(seconds=timeframe_seconds(timeframe))
    near = {**known, "low": found.first_ts - step, "high": found.last_ts + step}
    touching = con.execute(sql("import_bar_sets_near"), near).fetchall()
    sets = sorted([*(BarSet(*row) for row in touching), found], key=lambda one: one.first_ts)
    first, last = sets[0].first_ts, max(one.last_ts for one in sets)
    names = [name for one in sets for name in one.origin.split(_BETWEEN)]
    origin = names[0] if len(set(names)) == 1 else f"{names[0]}{_BETWEEN}{names[-1]}"
    con.execute(
        "delete from uploaded_bar_sets where symbol = $symbol and timeframe = $timeframe "
        "and first_ts between $low and $high",
        {**known, "low": first, "high": last},
    )
    con.execute(
        sql("import_bar_set"),
        {
            **known, "origin": origin, "hash": found.content_hash,
            "low": first, "high": last, "now": utc_now(),
        },
    )  # fmt: skip


def file_kind(symbol: str, timeframe: str) -> str:
    """Return the kind that ``imported_files`` names for uploaded bars: it tells whose they are."""
    return f"{BARS} {symbol} {timeframe}"


def _clear(con: Connection, symbol: str, timeframe: str) -> int:
    known = {"symbol": symbol, "timeframe": timeframe}
    where = "where symbol = $symbol and timeframe = $timeframe"
    # What left the file can be imported again.
    con.execute("delete from imported_files where kind = ?", [file_kind(symbol, timeframe)])
    con.execute(f"delete from uploaded_bar_sets {where}", known)  # noqa: S608 - a literal
    rows = con.execute(f"delete from uploaded_bars {where}", known).fetchall()  # noqa: S608
    bump_versions(con, [symbol, UPLOADED_BARS])
    return int(rows[0][0])


def _hash_of(con: Connection, symbol: str, timeframe: str) -> str | None:
    rows = con.execute(
        "select content_hash from uploaded_bar_sets where symbol = ? and timeframe = ?",
        [symbol, timeframe],
    ).fetchall()
    return str(rows[0][0]) if len(rows) == 1 else None
