"""Tables out of the file: what to write, in which form, streamed; the command is below.

python -m core.exports bars btcusdt ethusdt --timeframe 1min --from 7d --out bars.parquet
python -m core.exports trades btcusdt --from 2026-11-01 --out trades.parquet
python -m core.exports pair arbusdt opusdt --timeframe 1min --method refit --out pair.csv
python -m core.exports summary arbusdt opusdt --timeframe 1min --from 7d --out statistics.csv
python -m core.exports correlation btcusdt ethusdt solusdt --from 7d --out -
python -m core.exports correlation btcusdt ethusdt solusdt --from 7d --matrix --out matrix.csv
python -m core.exports bundle arbusdt opusdt --timeframe 1min --from 1d --out pair.zip
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
from core.bundle import Times, write_bundle
from core.config import load_settings, parse_duration_s
from core.errors import ConfigError, DataError, NotEnoughData, PerpduckError
from core.exporting import (
    bars_parts,
    matrix_parts,
    pair_parts,
    pairs_parts,
    summary_parts,
    trades_parts,
    writing,
)
from core.exporting.parts import LIMIT_S, PATIENCE_S
from core.exporting.tables import FORMATS, Format, write_parts
from core.pair_spec import METHODS, PairSpec
from core.queries import load_spans, load_symbols
from core.store import Store, open_store
from core.verdict import span_words

BUNDLE = "bundle"
# What stands in the columns; times are starts of bars, UTC.
COLUMNS = """\
columns:
  bars         symbol, ts, open, high, low, close, volume (base units), quote_volume, trades,
               taker_buy_volume, origin. origin is trades (ours), klines (the exchange's, where ours
               are not complete), mixed or upload. trades counts aggregate trades in bars from
               trades, and the exchange's raw trades, which are more, in bars from klines; mixed
               adds up both. Uploaded bars have prices and volume only; taker_buy_volume is of no
               dataset whose ticks have no side. What is not known is empty.
  trades       symbol, agg_id, ts, price, size (base units), buyer_is_maker, source; of a dataset:
               dataset, symbol, id, ts, price, size, side.
  pair         ts, spread, zscore, corr, price_y, price_x, beta, alpha.
  summary      name, value or text, and what the number stands on.
  correlation  symbol_a, symbol_b, correlation, bars (common ones); with --matrix: symbol, and a
               column a symbol.
  bundle       a ZIP that shows the Pair page's view again (Data page, open a bundle)."""


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
    parts = matrix_parts if asked.options.matrix else pairs_parts
    symbols = list(dict.fromkeys(asked.symbols))
    return parts(
        store, symbols, asked.timeframe, asked.start, asked.end,
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
        write = _writer(store, _request(store, options), form)
    except (ConfigError, DataError) as error:
        return _failed(error, 2)
    except PerpduckError as error:
        return _failed(error, 1)
    try:
        written = write()
    except (PerpduckError, OSError) as error:
        return _failed(error, 1)
    if options.out != "-":
        print(f"{options.out}: {written}", file=sys.stderr)
    return 0


def _writer(store: Store, asked: Request, form: Format | None) -> Callable[[], str]:
    """Return what writes it, and says then how much it was."""
    out = asked.options.out
    if form is None:
        return _bundle(store, asked)
    parts = KINDS[asked.options.what](store, asked)
    return lambda: f"{write_parts(parts, out, form):,} rows"


def _bundle(store: Store, asked: Request) -> Callable[[], str]:
    spec, given = _spec(asked), asked.options
    begin = _time(given.judged_from, asked.end) if given.judged_from else asked.start
    end = _time(given.judged_to, asked.end) if given.judged_to else asked.end
    if not begin < end <= asked.end:
        raise ConfigError(f"judged from {begin} to {end}: give a range that ends by {asked.end}")
    span_s = (end - begin).total_seconds()
    times = Times(asked.start, asked.end, begin, end, span_s)

    def write() -> str:
        with store.read(wait_s=PATIENCE_S, limit_s=LIMIT_S) as con:
            ticks = dict(load_symbols(con).select("symbol", "tick_size").iter_rows())
        of_both = (ticks.get(spec.y), ticks.get(spec.x))
        shown_s = (asked.end - asked.start).total_seconds()
        data = write_bundle(store, spec, span_words(shown_s), times, of_both)
        with writing(given.out) as stream:
            stream.write(data)
        return f"{len(data):,} bytes"

    return write


def _failed(error: Exception, status: int) -> int:
    print(f"perpduck exports: {error}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m core.exports",
        description="Writes what the file holds as CSV or Parquet, or a pair's view as a bundle.",
        epilog=COLUMNS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("what", choices=sorted([*KINDS, BUNDLE]))
    add("symbols", nargs="+", help="btcusdt, or btcusdt@dataset; a pair is y, then x")
    add("--timeframe", default="1min", choices=list(TIMEFRAMES))
    add(
        "--from", dest="begin", default=None, help="2026-11-01, 2026-11-01T12:00, or 7d before --to"
    )
    add("--to", default=None, help="the same; without it up to the newest")
    add("--out", required=True, help="a path ending in .csv or .parquet (bundle: .zip), or -")
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
    add("--matrix", action="store_true", help="correlation: a column a symbol, not a row a pair")
    add("--judged-from", help="bundle: what the verdict stands on (default: --from)")
    add("--judged-to", help="bundle: the same (default: --to)")
    return parser


def _format(options: argparse.Namespace) -> Format | None:
    """Return the tables' format, None for a bundle."""
    by_suffix = Path(options.out).suffix.lstrip(".").lower()
    if options.matrix and options.what != "correlation":
        raise ConfigError(f"--matrix is of correlation, not of {options.what}; leave it out")
    if options.what == BUNDLE:
        if options.format or (options.out != "-" and by_suffix != "zip"):
            raise ConfigError(f"--out {options.out!r}: a bundle is a ZIP; end it in .zip")
        return None
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
