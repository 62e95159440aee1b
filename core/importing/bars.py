"""Bars that a user gave, for one symbol and timeframe: into the file, and out of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from core.bar_sql import timeframe_seconds
from core.errors import DataError
from core.importing.committing import PAUSE_S, WAIT_S, Counts, note_file
from core.importing.pieces import PIECE_ROWS, delete_in_pieces
from core.importing.records import BARS, ImportedFile
from core.importing.targets import BARS as BARS_TARGET
from core.importing.targets import taken
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
    """Keep the bars; within their stretch they take the place of those that were kept before.

    Raises DataError for an empty symbol, an unknown timeframe, or while an import of bars runs;
    StoreError.
    """
    with taken(store.path, BARS_TARGET):
        return replace_bars(store, symbol, timeframe, bars, origin)


def replace_bars(
    store: Store, symbol: str, timeframe: str, bars: BarsRead, origin: str
) -> ImportedFile:
    """Do what `import_bars` says, for a caller that holds the target.

    At any time, also when it is broken off, each bar is an old or a new one: none is missing.
    """
    key = symbol.strip().lower()
    timeframe_seconds(timeframe)
    if not key:
        raise DataError("bars need a symbol; give the one that they are of")
    count, times = bars.bars.height, bars.bars["ts"]
    found = BarSet(origin, bars.content_hash, times[0], times[-1])
    same = gone = 0
    for at in range(0, count, PIECE_ROWS):
        piece, is_last = bars.bars.slice(at, PIECE_ROWS), at + PIECE_ROWS >= count
        with store.write(wait_s=WAIT_S) as con:
            gone += _drop_others(con, key, timeframe, piece, times[at - 1] if at else None)
            same += write_bars(con, key, timeframe, piece).duplicate
            outcome = ImportedFile(
                origin, bars.content_hash, bars.read, count - same, bars.duplicates + same,
                bars.rejects.height,
            )  # fmt: skip
            # Without a set, what is there so far is not looked at.
            if is_last and (same < count or gone or not _is_in_set(con, key, timeframe, found)):
                note_set(con, key, timeframe, found)
                note_file(con, file_kind(key, timeframe), outcome, "")
        time.sleep(0.0 if is_last else PAUSE_S)
    return outcome


def _drop_others(
    con: Connection, symbol: str, timeframe: str, piece: pl.DataFrame, after: datetime | None
) -> int:
    """Delete the bars since ``after``, or since the piece's first, that the piece does not have."""
    low = piece["ts"][0] if after is None else after + timedelta(microseconds=1)
    known = {"symbol": symbol, "timeframe": timeframe, "low": low, "high": piece["ts"][-1]}
    con.register("new_chunk", piece)
    gone = int(con.execute(sql("import_bars_gone"), known).fetchall()[0][0])
    con.unregister("new_chunk")
    return gone


def delete_bars(store: Store, symbol: str, timeframe: str) -> int:
    """Take the uploaded bars of a symbol and timeframe out of the file; returns how many.

    Raises DataError while an import of bars runs, StoreError.
    """
    known: dict[str, object] = {"symbol": symbol.strip().lower(), "timeframe": timeframe}
    where = "symbol = $symbol and timeframe = $timeframe"
    scopes = [str(known["symbol"]), UPLOADED_BARS]
    with taken(store.path, BARS_TARGET):
        with store.write(wait_s=WAIT_S) as con:
            # What left the file can be imported again.
            con.execute(
                "delete from imported_files where kind = ?", [file_kind(scopes[0], timeframe)]
            )
            con.execute(f"delete from uploaded_bar_sets where {where}", known)  # noqa: S608
            bump_versions(con, scopes)
        return delete_in_pieces(store, "uploaded_bars", where, known)


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


def _is_in_set(con: Connection, symbol: str, timeframe: str, found: BarSet) -> bool:
    """Whether one of the sets that are noted holds the whole stretch."""
    rows = con.execute(
        "select 1 from uploaded_bar_sets where symbol = ? and timeframe = ? "
        "and first_ts <= ? and last_ts >= ?",
        [symbol, timeframe, found.first_ts, found.last_ts],
    ).fetchall()
    return bool(rows)
