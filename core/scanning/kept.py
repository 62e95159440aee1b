"""Scans in the file: written whole, read back, counted over time; and what the worker scans."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from core.errors import DataError
from core.scanning.report import (
    CONFIRMED,
    PAIR_SCHEMA,
    SURVIVED,
    SYMBOL_SCHEMA,
    Noise,
    ScanReport,
    Windows,
)
from core.scanning.settings import ScanSettings, settings_of
from core.store import Connection, Store
from core.trade_writer import bump_versions, utc_now

SCANS, SCHEDULE = "scans", "scan_schedule"
# Scans are kept until there are more; the oldest fall away with their pairs.
KEPT = 500
# "Survived k of the last n scans."
REMEMBERED = 20
LEAST_EVERY_S, MOST_EVERY_S = 300.0, 30 * 86_400.0

_COLUMNS = (
    "id, started_at, seconds, asked_by, settings, asked, timeframe, train_start, train_end, "
    "test_end, symbols, tested, same_asset, direct, noise_tested, noise_bars, noise_passed, "
    "passed, survived, confirmed, note"
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """What the worker scans by itself: how often, what, when last, and what went wrong then."""

    every_s: float
    settings: ScanSettings
    last_at: datetime | None = None
    note: str = ""


def write_scan(store: Store, report: ScanReport) -> None:
    """Keep a scan with its pairs and symbols in one transaction; the oldest beyond 500 go."""
    row = (
        report.id, report.started_at, report.seconds, report.asked_by, report.settings.as_json(),
        report.settings.digest(), report.settings.timeframe, report.windows.train_start,
        report.windows.train_end, report.windows.test_end, report.compared, report.tested,
        report.same_asset, report.direct, report.noise.tested, report.noise.bars,
        report.noise.passed, report.passed, report.survived, report.confirmed, report.note,
    )  # fmt: skip
    marks = ", ".join("?" for _ in row)
    with store.write() as con:
        con.execute(f"insert into scans ({_COLUMNS}) values ({marks})", list(row))  # noqa: S608 - column names
        _insert(con, "scan_pairs", PAIR_SCHEMA, report.pairs, report.id)
        _insert(con, "scan_symbols", SYMBOL_SCHEMA, report.symbols, report.id)
        old = con.execute(
            "select id from scans order by started_at desc, id desc offset $kept", {"kept": KEPT}
        ).fetchall()
        for table, column in (("scans", "id"), ("scan_pairs", "scan_id"),
                              ("scan_symbols", "scan_id")):  # fmt: skip
            con.execute(
                f"delete from {table} where {column} in (select unnest($ids))",  # noqa: S608 - literals
                {"ids": [found for (found,) in old]},
            )
        bump_versions(con, [SCANS])


def _insert(
    con: Connection, table: str, schema: dict[str, pl.DataType], frame: pl.DataFrame, scan_id: str
) -> None:
    names = ", ".join(schema)
    con.register("new_scan_rows", frame.select(list(schema)))
    try:
        con.execute(
            f"insert into {table} (scan_id, {names}) select $id, {names} from new_scan_rows",  # noqa: S608 - literals
            {"id": scan_id},
        )
    finally:
        con.unregister("new_scan_rows")


def load_scans(con: Connection, *, limit: int = 100) -> pl.DataFrame:
    """Return the scans, newest first, one row each: all that the file says but their pairs."""
    found: pl.DataFrame = con.sql(
        f"select {_COLUMNS} from scans order by started_at desc, id desc limit $limit",  # noqa: S608 - column names
        params={"limit": limit},
    ).pl()
    return found.with_columns(pl.col(pl.Datetime("us")).dt.cast_time_unit("ms"))


def load_scan(con: Connection, scan_id: str | None = None) -> ScanReport | None:
    """Return a scan as it was kept, the newest where none is named; None where there is none."""
    rows = con.execute(
        f"select {_COLUMNS} from scans where $id is null or id = $id "  # noqa: S608 - column names
        "order by started_at desc, id desc limit 1",
        {"id": scan_id},
    ).fetchall()
    if not rows:
        return None
    found = dict(zip((name.strip() for name in _COLUMNS.split(",")), rows[0], strict=True))
    return ScanReport(
        id=found["id"],
        settings=settings_of(found["settings"]),
        asked_by=found["asked_by"],
        started_at=found["started_at"],
        windows=Windows(found["train_start"], found["train_end"], found["test_end"]),
        tested=found["tested"],
        same_asset=found["same_asset"],
        direct=found["direct"],
        noise=Noise(found["noise_tested"], found["noise_bars"], found["noise_passed"]),
        pairs=_rows(con, "scan_pairs", PAIR_SCHEMA, found["id"], "place"),
        symbols=_rows(con, "scan_symbols", SYMBOL_SCHEMA, found["id"], "symbol"),
        seconds=found["seconds"],
        passed=found["passed"],
        survived=found["survived"],
        confirmed=found["confirmed"],
        is_final=True,
        note=found["note"],
        history=load_survivals(con, found["asked"], until=found["started_at"]),
    )


def _rows(
    con: Connection, table: str, schema: dict[str, pl.DataType], scan_id: str, order: str
) -> pl.DataFrame:
    frame: pl.DataFrame = con.sql(
        f"select {', '.join(schema)} from {table} where scan_id = $id order by {order}",  # noqa: S608 - literals
        params={"id": scan_id},
    ).pl()
    return frame.cast(pl.Schema(schema))


def load_survivals(
    con: Connection, asked: str, *, until: datetime | None = None
) -> tuple[int, dict[tuple[str, str], int]]:
    """Return of how many of the last 20 scans that asked the same, and how often each pair.

    A pair counts where it survived, whichever way; ``until`` leaves out what came later.
    """
    scans = con.execute(
        "select id from scans where asked = $asked and ($until is null or started_at <= $until) "
        "order by started_at desc, id desc limit $most",
        {"asked": asked, "until": until, "most": REMEMBERED},
    ).fetchall()
    rows = con.execute(
        "select least(y, x), greatest(y, x), count(distinct scan_id) from scan_pairs "
        "where scan_id in (select unnest($ids)) and stage in ($survived, $confirmed) group by all",
        {"ids": [found for (found,) in scans], "survived": SURVIVED, "confirmed": CONFIRMED},
    ).fetchall()
    return len(scans), {(y, x): count for y, x, count in rows}


def load_schedule(con: Connection) -> Schedule | None:
    """Return what the worker scans by itself, None where it scans nothing. Raises DataError."""
    rows = con.execute("select every_s, settings, last_at, note from scan_schedule").fetchall()
    if not rows:
        return None
    every_s, settings, last_at, note = rows[0]
    return Schedule(every_s, settings_of(settings), last_at, note)


def set_schedule(store: Store, every_s: float | None, settings: ScanSettings) -> None:
    """Have the worker scan every so many seconds, or not at all (None). Raises DataError."""
    if every_s is not None and not LEAST_EVERY_S <= every_s <= MOST_EVERY_S:
        raise DataError(
            f"a scan every {every_s:g} s; give {LEAST_EVERY_S:g} to {MOST_EVERY_S:g} seconds"
        )
    with store.write() as con:
        con.execute("delete from scan_schedule")
        if every_s is not None:
            con.execute(
                "insert into scan_schedule values (?, ?, null, '')", [every_s, settings.as_json()]
            )
        bump_versions(con, [SCHEDULE])


def note_scheduled(store: Store, note: str = "") -> None:
    """Write down that the worker's scan was begun now, or what it said of a failure."""
    with store.write() as con:
        con.execute("update scan_schedule set last_at = ?, note = ?", [utc_now(), note])
        bump_versions(con, [SCHEDULE])
