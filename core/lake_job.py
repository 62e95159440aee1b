"""Retention: finished days move from the file to the lake, verified before they leave.

A part (some hours of a symbol's day) is copied in one short read, written to Parquet, read back,
and compared with the rows in the very transaction that deletes them: by count, ids, times, and a
checksum of DuckDB's that means nothing beyond this run. The file's sha256 is kept for later
(`core.lake_check`). Whatever ends the job in
between, each trade is in the file or in a registered part, and in one of them only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl
from filelock import FileLock, Timeout

from core.errors import StoreBusy
from core.lake_check import file_sha256
from core.lake_files import (
    Facts,
    Pending,
    demand_lake,
    facts,
    facts_of,
    part_path,
    read_part,
    remove_part,
    write_part,
)
from core.lake_places import kept_names
from core.sql import sql
from core.store import Connection, Store
from core.trade_writer import bump_versions, utc_now

logger = logging.getLogger(__name__)

LAKE = "lake"
# Trades of a part at first, and at least and at most: it follows from how long writes take.
PART_TRADES, LEAST_TRADES, MOST_TRADES = 80_000, 10_000, 400_000
# A write that held the file for longer makes the next parts smaller, a much shorter one larger.
HELD_S = 0.2
PAUSE_S = 0.12
WAIT_S, WRITE_WAIT_S = 10.0, 60.0
READ_S = 5.0
# Bars of so many days are counted in one read.
COUNTED_DAYS = 30


@dataclass(frozen=True, slots=True)
class Day:
    """A finished day of a symbol with ``trades`` in the file."""

    symbol: str
    day: date
    trades: int


@dataclass(frozen=True, slots=True)
class Part:
    """Some of a day's minutes: [start, end)."""

    symbol: str
    day: date
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did: trades moved, files written, parts whose verification failed."""

    moved: int
    files: int
    failed: int


# Called after every part: the day, trades moved so far, trades to move.
Told = Callable[[Day, int, int], None]


def days_to_move(store: Store, before: date) -> list[Day]:
    """Return the days before ``before`` that have trades in the file, oldest first."""
    end = datetime.combine(before, datetime.min.time())
    with _reading(store) as con:
        first = con.execute("select min(ts) from bars_1min").fetchall()[0][0]
    found: list[Day] = []
    start = first and first.replace(hour=0, minute=0, second=0, microsecond=0)
    while start is not None and start < end:
        until = min(end, start + timedelta(days=COUNTED_DAYS))
        with _reading(store) as con:
            rows = con.execute(sql("lake_candidates"), {"start": start, "end": until}).fetchall()
        found += [Day(*row) for row in rows]
        start = until
        time.sleep(PAUSE_S)
    return found


def move_days(store: Store, lake: str, before: date, *, told: Told | None = None) -> Outcome:
    """Move every finished day before ``before`` to the lake.

    Raises ConfigError where the lake cannot be written, StoreBusy where another run is at work,
    StoreError; what was moved until then stays moved.
    """
    demand_lake(lake)
    lock = FileLock(f"{store.path}.lake.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StoreBusy(
            f"Trades of {store.path.name} are being moved to a lake already; wait for that run"
        ) from None
    try:
        return _Move(store, lake).run(days_to_move(store, before), told)
    finally:
        lock.release()


class _Move:
    """One run over the days."""

    def __init__(self, store: Store, lake: str) -> None:
        self._store = store
        self._lake = lake
        self._pending = Pending(store.path)
        self._part_trades = PART_TRADES

    def run(self, days: list[Day], told: Told | None) -> Outcome:
        self._clean_up()
        total, moved, files, failed = sum(day.trades for day in days), 0, 0, 0
        for day in days:
            for part in self._parts(day):
                count = self._move(part)
                moved += count or 0
                files += bool(count)
                failed += count is None
                if told is not None:
                    told(day, moved, total)
        return Outcome(moved, files, failed)

    def _clean_up(self) -> None:
        """Remove what a killed run had written but not registered."""
        path = self._pending.left_over()
        if path is None:
            return
        with _reading(self._store) as con:
            # By the end of its path, whatever the folders above it are called now.
            known = con.execute(
                "select 1 from lake_files where ends_with($path, path)", {"path": path}
            ).fetchall()
        if not known:
            logger.info("removing %s, which a run that was ended left unregistered", path)
            remove_part(path)
        self._pending.end()

    def _parts(self, day: Day) -> Iterator[Part]:
        """Cut a day at minutes, into parts that a short write can move."""
        start = datetime.combine(day.day, datetime.min.time())
        end = start + timedelta(days=1)
        with _reading(self._store) as con:
            minutes = con.execute(
                "select ts, trades from bars_1min where symbol = $symbol and ts >= $start "
                "and ts < $end order by ts",
                {"symbol": day.symbol, "start": start, "end": end},
            ).fetchall()
        trades = 0
        for ts, count in minutes:
            if trades and trades + count > self._part_trades:
                yield Part(day.symbol, day.day, start, ts)
                start, trades = ts, 0
            trades += count
        yield Part(day.symbol, day.day, start, end)

    def _move(self, part: Part) -> int | None:
        """Move what the file has of a part; returns how many trades, None where it stays."""
        rows = _copied(self._store, part)
        if not len(rows):
            return 0
        path = part_path(self._lake, part.symbol, part.day, int(rows["agg_id"][0]))
        self._pending.begin(path)
        write_part(path, rows)
        written, ids = read_part(path)
        is_whole = written == facts_of(rows)
        if written and is_whole and self._registered(part, path, written, ids):
            self._pending.end()
            return written.trades
        logger.error("%s does not hold what the file has; its trades stay there", path)
        remove_part(path)
        self._pending.end()
        return None

    def _registered(self, part: Part, path: str, written: Facts, ids: pl.DataFrame) -> bool:
        is_equal, held_s = _register(self._store, part, self._lake, path, written, ids)
        if held_s > HELD_S:
            self._part_trades = max(LEAST_TRADES, min(self._part_trades, written.trades) // 2)
        elif held_s < HELD_S / 3 and written.trades > self._part_trades // 2:
            self._part_trades = min(MOST_TRADES, self._part_trades * 3 // 2)
        return is_equal


def _copied(store: Store, part: Part) -> pl.DataFrame:
    with _reading(store) as con:
        rows: pl.DataFrame = con.sql(
            sql("lake_trades_file"),
            params={"symbol": part.symbol, "start": part.start, "end": part.end},
        ).pl()
    time.sleep(PAUSE_S)
    return rows.sort("ts", "agg_id")


def _register(
    store: Store, part: Part, lake: str, path: str, written: Facts, ids: pl.DataFrame
) -> tuple[bool, float]:
    """Delete exactly the rows that the file ``path`` was seen to hold, and register it.

    Returns whether that was done, and the seconds that the file was held; it is not, and nothing
    is changed, where these rows are not to the last digit those of the store.
    """
    where: dict[str, object] = {
        "symbol": part.symbol, "first": written.first_ts, "last": written.last_ts,
    }  # fmt: skip
    kept, root = kept_names(store.path, lake, path)
    sha256, is_equal = file_sha256(path), False
    with store.write(wait_s=WRITE_WAIT_S) as con:
        began = time.monotonic()
        con.register("moved", ids)
        found = facts(con, sql("lake_rows_in_file"), where)
        is_equal = found == written and ids["agg_id"].n_unique() == len(ids)
        if is_equal:
            con.execute(sql("lake_delete"), where)
            con.execute(
                "insert into lake_files values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [part.symbol, part.day, kept, written.trades, written.first_id, written.last_id,
                 written.first_ts, written.last_ts, written.checksum, utc_now(), root, sha256],
            )  # fmt: skip
            bump_versions(con, [LAKE])
        con.unregister("moved")
    held_s = time.monotonic() - began
    time.sleep(PAUSE_S)
    return is_equal, held_s


def _reading(store: Store) -> AbstractContextManager[Connection]:
    return store.read(wait_s=WAIT_S, limit_s=READ_S)
