"""Scans from the command line: all pairs compared, judged, kept in the file and written out.

python -m core.scan --practice
python -m core.scan --timeframe 1min --span 7d --out pairs.csv
python -m core.scan --symbols btcusdt,ethusdt,solusdt --lag 5 --aic --json
python -m core.scan --every 1h          # the worker scans so from now on; --every 0 ends it
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

import msgspec
import polars as pl
from tqdm import tqdm

from core.bar_sql import TIMEFRAMES
from core.cluster import Place
from core.config import load_settings, parse_duration_s
from core.errors import ConfigError, DataError, PerpduckError
from core.exporting.tables import FORMATS, Format, write_parts
from core.scanning import ScanReport, ScanSettings
from core.scanning.kept import load_schedule, note_scheduled, set_schedule
from core.scanning.running import scanned
from core.scanning.settings import SPANS_S
from core.scanning.telling import told
from core.scanning.words import headline, noise_words
from core.store import Store, open_store

MOST_SHOWN = 20
_SHOWN = {
    "y": "y", "x": "x", "stage": "stage", "beta": "beta", "q_value": "q", "half_life_bars": "life",
    "zscore": "z", "bootstrap_p": "boot p", "frozen_q": "frozen q",
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns 0 when done, 1 when it failed, 2 when it cannot be asked so."""
    options = _parser().parse_args(arguments)
    try:
        found = load_settings(db=options.db)
        store = open_store(found.practice_db() if options.practice and not options.db else found.db)
        form = _format(options.out)
        asked = None if options.scheduled else _settings(options)
    except (ConfigError, DataError) as error:
        return _failed(error, 2)
    try:
        if options.every is not None:
            return _every(store, options.every, asked)
        if asked is None:
            return _scheduled(store)
        report = _with_bar(store, asked, options)
        # What is written to standard output is the table alone.
        with contextlib.redirect_stdout(sys.stderr if options.out == "-" else sys.stdout):
            _say(report, as_json=options.json)
        if form is not None:
            write_parts([report.pairs.drop("spark")], options.out, form)
    except (PerpduckError, OSError) as error:
        return _failed(error, 1)
    return 0


def _with_bar(store: Store, asked: ScanSettings, options: argparse.Namespace) -> ScanReport:
    """Scan with a bar of progress on a terminal."""
    with tqdm(total=100, unit="%", leave=False, disable=None if not options.quiet else True) as bar:

        def tell(words: str, share: float) -> None:
            bar.set_description(words)
            bar.update(100 * share - bar.n)

        return _last(store, asked, "command", tell, options.place)


def _last(
    store: Store,
    asked: ScanSettings,
    asked_by: str,
    tell: Callable[[str, float], None],
    place: Place | None = None,
) -> ScanReport:
    *_, report = scanned(store, asked, asked_by=asked_by, place=place, tell=tell)
    return report


def _scheduled(store: Store) -> int:
    """Scan what the worker is asked to; what goes wrong is written beside the schedule."""
    with store.read() as con:
        schedule = load_schedule(con)
    if schedule is None:
        return 0
    note_scheduled(store)
    try:
        report = _last(store, schedule.settings, "schedule", lambda words, share: None)
    except PerpduckError as error:
        note_scheduled(store, str(error))
        raise
    print(headline(report))
    return 0


def _every(store: Store, every: str, asked: ScanSettings | None) -> int:
    seconds = None if every == "0" else parse_duration_s(every)
    set_schedule(store, seconds, asked or ScanSettings())
    print("The worker scans no more." if seconds is None else f"The worker scans every {every}.")
    return 0


def _say(report: ScanReport, *, as_json: bool) -> None:
    if as_json:
        print(msgspec.json.encode(told(report), enc_hook=str).decode())
        return
    print(headline(report))
    print(noise_words(report))
    shown = report.pairs.head(MOST_SHOWN).select(
        pl.col(name).alias(label) for name, label in _SHOWN.items()
    )
    with pl.Config(
        tbl_rows=-1, tbl_cols=-1, tbl_hide_dataframe_shape=True, tbl_width_chars=120,
        tbl_hide_column_data_types=True, float_precision=4,
    ):  # fmt: skip
        print(shown)


def _failed(error: Exception, status: int) -> int:
    print(f"perpduck scan: {error}", file=sys.stderr)
    return status


def _format(out: str | None) -> Format | None:
    if out is None:
        return None
    suffix = Path(out).suffix.lstrip(".").lower()
    if out != "-" and suffix not in FORMATS:
        raise ConfigError(f"--out {out!r} says no format; end it in .csv or .parquet")
    return "parquet" if suffix == "parquet" else "csv"


def _settings(options: argparse.Namespace) -> ScanSettings:
    given = {
        field.name: getattr(options, field.name)
        for field in fields(ScanSettings)
        if getattr(options, field.name, None) is not None
    }
    if options.symbols is not None:
        names = (name.strip().lower() for name in options.symbols.split(","))
        given["symbols"] = tuple(name for name in names if name)
    if options.min_age is not None:
        given["min_age_s"] = parse_duration_s(options.min_age)
    return replace(ScanSettings(), **given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m core.scan",
        description=(__doc__ or "").partition("\n")[0],
        epilog=(__doc__ or "").partition("\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def add(name: str, words: str, **more: Any) -> None:
        parser.add_argument(name, help=words, **more)

    add("--symbols", "with commas between; without it all that are stored")
    add("--timeframe", "the bars (default 1min)", choices=list(TIMEFRAMES))
    add("--span", "training and test window together (default 7d)", choices=list(SPANS_S))
    add("--test-share", "of it the test window (default 0.25)", type=float)
    add("--lag", "lags of the ADF regression (default 1)", type=int)
    add("--aic", "let AIC choose up to --lag", dest="is_aic", action="store_true", default=None)
    add("--carry-bars", "bars that a last price stands in (default 5)", type=int)
    add("--min-coverage", "share of bars with trades (default 0.9)", type=float)
    add("--min-turnover", "quote units a day", type=float)
    add("--min-age", "held for so long, as in 3d", default=None)
    add("--min-correlation", "|ρ| of returns", type=float)
    add("--max-half-life-bars", "slower pairs are left out", type=float)
    add("--min-sigma-per-cost", "the spread's σ in round trips", type=float)
    add("--correction", "of q-values (default by)", choices=("by", "bh"))
    add("--level", "where the lines are drawn (default 0.05)", type=float)
    add("--finalists", "pairs that get the full tests, at most (default 200)", type=int)
    add("--fee-bps", "of one fill (default 5)", type=float)
    add("--slippage-bps", "of one fill (default 1)", type=float)
    add("--place", "where it runs; without it the cluster where one is named, else threads",
        choices=get_args(Place))  # fmt: skip
    add("--every", "have the worker scan so every 1h (0: no more), and do nothing now")
    add("--scheduled", "what the worker runs by itself", action="store_true")
    add("--out", "the table as well: a path ending in .csv or .parquet, or -")
    add("--json", "say it as JSON", action="store_true")
    add("--quiet", "no bar of progress", action="store_true")
    add("--db", "the DuckDB file (default: PERPDUCK_DB, or data/perpduck.duckdb)", type=Path)
    add("--practice", "the practice exchange's own file", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
