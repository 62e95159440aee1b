"""`python -m core.lake`: moves finished days, by hand or by the worker, and checks the lake."""

from __future__ import annotations

import argparse
import sys
from datetime import date, timedelta
from pathlib import Path

from core.config import load_settings, parse_keep_days
from core.errors import ConfigError, PerpduckError
from core.lake_check import verify_lake
from core.lake_job import Day, days_to_move, move_days
from core.store import Store, open_store
from core.trade_writer import utc_now


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status: 0 done, 1 failed, 2 not understood."""
    options = _parser().parse_args(arguments)
    try:
        given = options.keep_days
        settings = load_settings(
            db=options.db,
            lake=options.lake,
            retention_days=given and parse_keep_days("--keep-days", given),
        )
        if settings.retention_days is None and not options.verify:
            raise ConfigError("Say how many days stay in the file: --keep-days 30")
        before = utc_now().date() - timedelta(days=settings.retention_days or 0)
    except ConfigError as error:
        print(f"perpduck lake: {error}", file=sys.stderr)
        return 2
    try:
        if options.verify:
            return _verify(open_store(settings.db), settings.lake)
        return _run(open_store(settings.db), settings.lake, before, is_dry=options.dry_run)
    except PerpduckError as error:
        print(f"\nperpduck lake: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m core.lake",
        description="Moves the trades of finished days from the database file to Parquet files, "
        "verified before they leave it. Bars stay; every query goes on reading both.",
    )
    add = parser.add_argument
    add("--keep-days", help="days that stay in the file (default: PERPDUCK_KEEP_DAYS)")
    add("--lake", help="folder (default: PERPDUCK_LAKE, or <database>-lake beside the file)")
    add("--db", type=Path, help="the DuckDB file (default: PERPDUCK_DB, or data/perpduck.duckdb)")
    add("--dry-run", action="store_true", help="say what would move; change nothing")
    add("--verify", action="store_true", help="check every file of the lake; move nothing")
    return parser


def _verify(store: Store, lake: str) -> int:
    check = verify_lake(store, lake, _show_check)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    for file, words in check.broken:
        print(f"{file.day} {file.symbol}: {file.path} {words}")
    total = check.whole + check.readable + len(check.broken)
    unknown = f"; {check.readable:,} without a sha256 can be read whole" if check.readable else ""
    print(f"{check.whole:,} of {total:,} files are as they were written{unknown}")
    if check.broken:
        print(
            f"{len(check.broken):,} are gone or broken. Bring them back from a copy, or say with "
            "--lake (or PERPDUCK_LAKE) where the lake is now",
            file=sys.stderr,
        )
    return 1 if check.broken else 0


def _show_check(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done:,} of {total:,} files", end="", file=sys.stderr, flush=True)


def _run(store: Store, lake: str, before: date, *, is_dry: bool) -> int:
    if is_dry:
        days = days_to_move(store, before)
        for day in days:
            print(f"{day.day} {day.symbol}: {day.trades:,} trades")
        print(f"{sum(day.trades for day in days):,} trades before {before} would move to {lake}")
        return 0
    outcome = move_days(store, lake, before, told=_show)
    if outcome.files and sys.stderr.isatty():
        print(file=sys.stderr)
    print(f"{outcome.moved:,} trades moved to {outcome.files} files in {lake}")
    if outcome.failed:
        print(
            f"{outcome.failed} files did not read back as written; their trades stay in "
            f"{store.path.name}. Check the disk of {lake}, then run this again",
            file=sys.stderr,
        )
    return 1 if outcome.failed else 0


def _show(day: Day, moved: int, total: int) -> None:
    if not sys.stderr.isatty():
        return
    share = moved / total if total else 1.0
    line = f"{share:4.0%} {'#' * round(20 * share):<20} {moved:,} trades, {day.day} {day.symbol}"
    print(f"\r{line:<78}", end="", file=sys.stderr, flush=True)
