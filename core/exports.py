"""Tables out of the file: what to write, in which form, streamed; the command is below.

python -m core.exports bars btcusdt ethusdt --timeframe 1min --from 7d --out bars.parquet
python -m core.exports trades btcusdt --from 2026-11-01 --out trades.parquet
python -m core.exports pair arbusdt opusdt --timeframe 1min --method refit --out pair.csv
python -m core.exports summary arbusdt opusdt --timeframe 1min --from 7d --out statistics.csv
python -m core.exports correlation btcusdt ethusdt solusdt --from 7d --out -
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from core.bar_sql import TIMEFRAMES, timeframe_seconds
from core.config import load_settings, parse_duration_s
from core.errors import ConfigError, DataError, NotEnoughData, PerpduckError
from core.exporting import bars_parts, pair_parts, pairs_parts, summary_parts, trades_parts
from core.exporting.parts import LIMIT_S, PATIENCE_S
from core.exporting.tables import FORMATS, Format, write_parts
from core.pair_spec import METHODS, PairSpec
from core.queries import load_spans
from core.store import Store, open_store


@dataclass(frozen=True, slots=True)
class Request:
    """What one command asks for; times UTC, [start, end)."""

    symbols: tuple[str, ...]
    timeframe: str
    start: datetime
    end: datetime
    options: argparse.Namespace


def _bars(store: Store, asked: Request) -> Iterable[pl.DataFrame]:
    return bars_parts(store, asked.symbols, asked.timeframe, asked.start, asked.end)


def _trades(store: Store, asked: Request) -> Iterable[pl.DataFrame]:
    if len(asked.symbols) != 1:
        raise ConfigError(f"{len(asked.symbols)} symbols; trades are exported of one at a time")
    return trades_parts(store, asked.symbols[0], asked.start, asked.end)


def _pair(store: Store, asked: Request) -> Iterable[pl.DataFrame]:
    return pair_parts(store, _spec(asked), asked.start, asked.end)


def _summary(store: Store, asked: Request) -> Iterable[pl.DataFrame]:
    return summary_parts(store, _spec(asked), asked.start, asked.end)


def _spec(asked: Request) -> PairSpec:
    if len(asked.symbols) != 2:
        raise ConfigError(f"{len(asked.symbols)} symbols; a pair has two: y, then x")
    y, x = asked.symbols
    given = asked.options
    return PairSpec(
        y, x, asked.timeframe, not given.raw, given.method,
        window_bars=given.window, min_turnover=given.min_turnover, carry_bars=given.carry,
        refit_bars=given.hold, burn_in_bars=given.burn_in,
    )  # fmt: skip


def _correlation(store: Store, asked: Request) -> Iterable[pl.DataFrame]:
    return pairs_parts(
        store, asked.symbols, asked.timeframe, asked.start, asked.end,
        on=asked.options.on, kind=asked.options.kind, min_turnover=asked.options.min_turnover,
    )  # fmt: skip


# What can be exported: the name on the command line, and what makes its rows.
KINDS: Mapping[str, Callable[[Store, Request], Iterable[pl.DataFrame]]] = {
    "bars": _bars,
    "trades": _trades,
    "pair": _pair,
    "summary": _summary,
    "correlation": _correlation,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns 0 when written, 1 when it failed, 2 when it cannot be asked so."""
    options = _parser().parse_args(arguments)
    try:
        form = _format(options)
        settings = load_settings(db=options.db)
        path = settings.practice_db() if options.practice and options.db is None else settings.db
        store = open_store(path)
        parts = KINDS[options.what](store, _request(store, options))
    except (ConfigError, DataError) as error:
        return _failed(error, 2)
    except PerpduckError as error:
        return _failed(error, 1)
    try:
        rows = write_parts(parts, options.out, form)
    except (PerpduckError, OSError) as error:
        return _failed(error, 1)
    if options.out != "-":
        print(f"{options.out}: {rows:,} rows", file=sys.stderr)
    return 0


def _failed(error: Exception, status: int) -> int:
    print(f"perpduck exports: {error}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m core.exports", description="Writes what the file holds as CSV or Parquet."
    )
    add = parser.add_argument
    add("what", choices=sorted(KINDS))
    add("symbols", nargs="+", help="btcusdt, or btcusdt@dataset; a pair is y, then x")
    add("--timeframe", default="1min", choices=list(TIMEFRAMES))
    add(
        "--from", dest="begin", default=None, help="2026-11-01, 2026-11-01T12:00, or 7d before --to"
    )
    add("--to", default=None, help="the same; without it up to the newest")
    add("--out", required=True, help="a path ending in .csv or .parquet, or - for the screen")
    add("--format", choices=FORMATS, help="where --out does not say it")
    add("--db", type=Path, help="the DuckDB file (default: PERPDUCK_DB, or data/perpduck.duckdb)")
    add("--practice", action="store_true", help="the practice exchange's own file")
    add("--method", default="ols", choices=METHODS, help="pair: the regression")
    add("--window", type=int, default=60, help="pair: bars of the rolling statistics")
    add("--raw", action="store_true", help="pair: prices, not their logs")
    add("--carry", type=int, default=0, help="pair: carry a last price up to so many bars")
    add("--hold", type=int, default=60, help="pair: bars that a refit holds")
    add("--burn-in", type=int, default=1440, help="pair: bars that the Kalman filter starts from")
    add("--min-turnover", type=float, default=0.0, help="quote units that a bar needs to count")
    add("--on", default="returns", choices=("returns", "levels"), help="correlation: of what")
    add("--kind", default="pearson", choices=("pearson", "spearman"), help="correlation: which")
    return parser


def _format(options: argparse.Namespace) -> Format:
    by_suffix = Path(options.out).suffix.lstrip(".").lower()
    found = options.format or ("csv" if options.out == "-" else by_suffix)
    if found not in FORMATS:
        raise ConfigError(
            f"--out {options.out!r} says no format; end it in .csv or .parquet, or give --format"
        )
    return "csv" if found == "csv" else "parquet"


def _request(store: Store, options: argparse.Namespace) -> Request:
    symbols = tuple(symbol.strip().lower() for symbol in options.symbols)
    with store.read(wait_s=PATIENCE_S, limit_s=LIMIT_S) as con:
        spans = load_spans(con)
    held = spans.filter(pl.col("symbol").is_in(list(symbols)))
    if unknown := sorted(set(symbols) - set(held["symbol"])):
        names = ", ".join(sorted(set(spans["symbol"]))[:20]) or "nothing"
        raise NotEnoughData(f"nothing is held of {', '.join(unknown)}; there is {names}")
    first, last = held["first_ts"].min(), held["last_ts"].max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    step = timedelta(seconds=timeframe_seconds(options.timeframe))
    end = last + step if options.to is None else _time(options.to, last)
    # The bar in which the first trade falls begins before it.
    start = first - step if options.begin is None else _time(options.begin, end)
    if start >= end:
        raise ConfigError(f"from {start:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} is no range")
    return Request(symbols, options.timeframe, start, end, options)


def _time(text: str, before: datetime) -> datetime:
    """Return a time as written, naive UTC; a length of time counts back from ``before``."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return before - timedelta(seconds=parse_duration_s(text))
    return found if found.tzinfo is None else found.astimezone(UTC).replace(tzinfo=None)


if __name__ == "__main__":
    sys.exit(main())
