"""The rows of an export, in parts that each take a short lease: the worker gets its turn between.

Every part comes from the very query or function that the pages use.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl

from core.bar_sql import base_seconds, timeframe_seconds
from core.errors import NotEnoughData
from core.exporting.summary import summary_table
from core.matrix import On, panel_correlation, read_panel
from core.pair_spec import PairSpec
from core.pairs import analyse, read_legs
from core.queries import load_bars, load_trades
from core.sql import sql
from core.stats.correlation import CorrelationMatrix, Kind, ranked_pairs
from core.store import Store
from core.verdict import judged_pair

# Rows that a lease reads: stored bars of a dozen columns, of seconds or minutes whatever is made
# of them, and trades of seven.
BARS_A_LEASE = 150_000
TRADES_A_LEASE = 400_000
PATIENCE_S = 30.0
# A lease of so many trades was measured to take 0.1 s; a slow disk may need more.
LIMIT_S = 5.0
_PAIR_COLUMNS = ("ts", "spread", "zscore", "corr", "price_y", "price_x", "beta", "alpha")


def bars_parts(
    store: Store, symbols: Sequence[str], timeframe: str, start: datetime, end: datetime
) -> Iterator[pl.DataFrame]:
    """Yield `core.queries.load_bars`' rows of [start, end), by symbol and time.

    Raises NotEnoughData where there is none.
    """
    length = timedelta(seconds=BARS_A_LEASE * base_seconds(timeframe))
    found = False
    for symbol in symbols:
        at = start
        while at < end:
            with store.read(wait_s=PATIENCE_S, limit_s=LIMIT_S) as con:
                part = load_bars(con, [symbol], timeframe, at, min(at + length, end))
            at += length
            if part.height:
                found = True
                yield part
    if not found:
        raise _nothing(f"{timeframe} bars of {', '.join(symbols)}", start, end)


def newest_bars(
    store: Store, symbol: str, timeframe: str, start: datetime, end: datetime, *, most: int
) -> pl.DataFrame:
    """Return the newest ``most`` bars of [start, end); none where there is none.

    The file is read from the end on back, in longer and longer stretches where trades are rare.
    """
    bar = timedelta(seconds=timeframe_seconds(timeframe))
    a_lease = timedelta(seconds=BARS_A_LEASE * base_seconds(timeframe))
    length, taken, rows = min((most + 1) * bar, a_lease), list[pl.DataFrame](), 0
    while start < end and rows < most:
        begin = max(start, end - length)
        with store.read(limit_s=LIMIT_S) as con:
            taken.append(load_bars(con, [symbol], timeframe, begin, end))
        rows += taken[-1].height
        # What has many bars may have them further back as well.
        is_rare = taken[-1].height * bar * 8 < end - begin
        length = min(4 * length, a_lease * (4 if is_rare else 1))
        end = begin
    return pl.concat(reversed(taken)).tail(most) if taken else pl.DataFrame()


def trades_parts(
    store: Store, symbol: str, start: datetime, end: datetime
) -> Iterator[pl.DataFrame]:
    """Yield the trades of [start, end) by time; of a dataset where the symbol names one.

    Raises NotEnoughData where there is none.
    """
    found = False
    for begin, stop in _stretches(store, symbol, start, end):
        with store.read(wait_s=PATIENCE_S, limit_s=LIMIT_S) as con:
            part = load_trades(con, symbol, begin, stop, limit=None)
        if part.height:
            found = True
            yield part
    if not found:
        raise _nothing(f"trades of {symbol}", start, end)


def first_trades(
    store: Store, symbol: str, start: datetime, end: datetime, *, most: int
) -> pl.DataFrame:
    """Return the first ``most`` trades of [start, end); what a browser can take at once.

    Raises NotEnoughData where there is none.
    """
    taken, rows = [], 0
    for part in trades_parts(store, symbol, start, end):
        taken.append(part.head(most - rows))
        rows += taken[-1].height
        if rows >= most:
            break
    return pl.concat(taken)


def pair_parts(
    store: Store, spec: PairSpec, start: datetime, end: datetime
) -> Iterator[pl.DataFrame]:
    """Yield the pair's rows of [start, end) as the Pair page shows them.

    Raises NotEnoughData where the legs share too few bars.
    """
    yield pair_columns(analyse(spec, read_legs(store, spec, start, end)).series)


def summary_parts(
    store: Store, spec: PairSpec, start: datetime, end: datetime
) -> Iterator[pl.DataFrame]:
    """Yield every number of the pair's analysis of [start, end), the verdict first.

    Raises NotEnoughData where the legs share too few bars.
    """
    legs = read_legs(store, spec, start, end)
    span_s = (end - start).total_seconds()
    verdict = judged_pair(spec, legs.closes, start, end, span_s=span_s)
    yield summary_table(analyse(spec, legs), verdict, (start, end))


def pair_columns(series: pl.DataFrame) -> pl.DataFrame:
    """Return a pair's rows as they are exported: ts, spread, zscore, corr, prices, beta, alpha."""
    return series.select(_PAIR_COLUMNS)


def pairs_parts(
    store: Store,
    symbols: Sequence[str],
    timeframe: str,
    start: datetime,
    end: datetime,
    *,
    on: On = "returns",
    kind: Kind = "pearson",
    min_turnover: float = 0.0,
) -> Iterator[pl.DataFrame]:
    """Yield every pair of the correlation matrix, the highest first.

    Raises NotEnoughData below two symbols.
    """
    panel = read_panel(store, symbols, timeframe, start, end, min_turnover=min_turnover)
    yield pairs_table(panel_correlation(panel, on=on, kind=kind))


def matrix_parts(
    store: Store,
    symbols: Sequence[str],
    timeframe: str,
    start: datetime,
    end: datetime,
    *,
    on: On = "returns",
    kind: Kind = "pearson",
    min_turnover: float = 0.0,
) -> Iterator[pl.DataFrame]:
    """Yield the correlation matrix as a matrix, in the order of the symbols.

    Raises NotEnoughData below two symbols.
    """
    panel = read_panel(store, symbols, timeframe, start, end, min_turnover=min_turnover)
    yield matrix_table(panel_correlation(panel, on=on, kind=kind))


def matrix_table(matrix: CorrelationMatrix, order: Sequence[int] | None = None) -> pl.DataFrame:
    """Return ``symbol`` and a column a symbol, rows and columns in ``order``; null: not known."""
    places = list(range(len(matrix.symbols)) if order is None else order)
    names = [matrix.symbols[place] for place in places]
    columns = [
        pl.Series(name, matrix.values[places, place], pl.Float64).fill_nan(None)
        for name, place in zip(names, places, strict=True)
    ]
    return pl.DataFrame([pl.Series("symbol", names, pl.String), *columns])


def pairs_table(matrix: CorrelationMatrix) -> pl.DataFrame:
    """Return symbol_a, symbol_b, correlation, bars: a row a pair, the highest first."""
    ranked = ranked_pairs(matrix)
    return pl.DataFrame(
        {
            "symbol_a": [one.first for one in ranked],
            "symbol_b": [one.second for one in ranked],
            "correlation": [one.correlation for one in ranked],
            "bars": [one.rows for one in ranked],
        },
        schema={
            "symbol_a": pl.String, "symbol_b": pl.String, "correlation": pl.Float64,
            "bars": pl.Int64,
        },
    )  # fmt: skip


def _stretches(
    store: Store, symbol: str, start: datetime, end: datetime
) -> list[tuple[datetime, datetime]]:
    """Cut [start, end) at minutes, each stretch with about as many trades as a lease reads."""
    with store.read(wait_s=PATIENCE_S, limit_s=LIMIT_S) as con:
        found = con.sql(
            sql("export_minutes"), params={"symbol": symbol, "start": start, "end": end}
        ).pl()
    if found.is_empty():
        return []
    part = (found["trades"].cum_sum() - 1).to_numpy() // TRADES_A_LEASE
    firsts = np.flatnonzero(np.diff(part, prepend=-1))
    cuts = [start, *found["ts"].gather(firsts[1:]).to_list(), end]
    return list(pairwise(cuts))


def _nothing(what: str, start: datetime, end: datetime) -> NotEnoughData:
    return NotEnoughData(
        f"there are no {what} from {start:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} UTC"
    )
