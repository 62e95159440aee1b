"""One function a query: typed arguments in, a Polars frame or a frozen record out.

Every function takes the cursor of `Store.read` first. Times are naive UTC datetimes; frames
carry them as Datetime("ms"). Prices are quote units, volumes base units.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

import polars as pl

from core import lake
from core.bar_sql import TIMEFRAMES as TIMEFRAMES
from core.bar_sql import Blend, bars_sql, closes_sql
from core.bar_sql import timeframe_seconds as timeframe_seconds
from core.feed.gaps import Gap
from core.models import CoverageSummary, WorkerStatus
from core.sql import sql
from core.store import Connection

PairRolling = Literal["rolling_spread", "rolling_hedge", "rolling_correlations"]

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the store's times are naive UTC


def pair_frame_sql(*, carried: bool) -> str:
    """Return the SQL that aligns two legs (table ``legs``: `load_closes`' columns) by bar start."""
    return sql("pair_frame_carried" if carried else "pair_frame")


def pair_frames_sql() -> str:
    """Return the same for many pairs (table ``pairs``: pair, y, x), with a column ``pair``."""
    return sql("pair_frames")


def pair_rolling_sql(name: PairRolling, *, many: bool = False) -> str:
    """Return the SQL of a pair's trailing statistics (table ``pair``: ts, y, x, …).

    ``many``: of every pair in the table by itself, told apart by its column ``pair``.
    """
    by, pair = ("partition by pair ", "pair, ") if many else ("", "")
    return sql(name).replace("{by}", by).replace("{pair}", pair)


def alert_symbols_sql() -> str:
    """Return the SQL of what alerts ask of symbols (table ``legs``: `load_closes`' columns)."""
    return sql("alert_symbols")


def alert_breakdown_sql() -> str:
    """Return the SQL of a correlation's long mean (table ``pair``: pair, ts, corr)."""
    return sql("alert_breakdown")


def load_bars(
    con: Connection, symbols: Sequence[str], timeframe: str, start: datetime, end: datetime
) -> pl.DataFrame:
    """Return the bars that start in [start, end), ordered by symbol and ts.

    Columns: symbol, ts, open, high, low, close, volume, quote_volume, trades,
    taker_buy_volume, origin: ``trades``, ``klines`` (the exchange's own, where our trades are not
    complete), ``mixed`` of both, or ``upload`` (which has only open to volume). A bar exists only
    where trades happened.
    """
    text = bars_sql(timeframe, load_blend(con, symbols, timeframe, start, end))
    return _frame(con, text, _bars_parameters(text, symbols, timeframe, start, end))


def load_blend(
    con: Connection, symbols: Sequence[str], timeframe: str, start: datetime, end: datetime
) -> Blend:
    """Return what besides trades the bars of [start, end) are made of."""
    rows = con.execute(
        sql("bar_blend"),
        {"symbols": list(symbols), "timeframe": timeframe, "start": start, "end": end},
    ).fetchall()
    return Blend(*rows[0])


def _bars_parameters(
    text: str, symbols: Sequence[str], timeframe: str, start: datetime, end: datetime
) -> dict[str, object]:
    seconds = timeframe_seconds(timeframe)
    parameters: dict[str, object] = {
        "symbols": list(symbols),
        "start": _next_bucket(start, seconds),
        "end": _next_bucket(end, seconds),
    }
    extra = {"seconds": seconds, "timeframe": timeframe}
    return parameters | {name: value for name, value in extra.items() if f"${name}" in text}


def load_closes(
    con: Connection, symbols: Sequence[str], timeframe: str, start: datetime, end: datetime
) -> pl.DataFrame:
    """Return symbol, ts, close, volume of the bars that start in [start, end), by symbol and ts.

    What pair statistics need of the bars: a week of two symbols' 1-second bars in 0.15 s.
    """
    text = closes_sql(timeframe, load_blend(con, symbols, timeframe, start, end))
    return _frame(con, text, _bars_parameters(text, symbols, timeframe, start, end))


def load_origins(
    con: Connection, symbols: Sequence[str], timeframe: str, start: datetime, end: datetime
) -> pl.DataFrame:
    """Return symbol, origin, bars, first_ts, last_ts of the bars that start in [start, end)."""
    bars = bars_sql(timeframe, load_blend(con, symbols, timeframe, start, end))
    text = sql("bar_origins").replace("{bars}", bars)
    return _frame(con, text, _bars_parameters(text, symbols, timeframe, start, end))


def load_kline_check(con: Connection, symbols: Sequence[str]) -> pl.DataFrame:
    """Return how our minutes compare with the exchange's where the trades are complete.

    Columns: symbol, compared, different_price, different_volume, worst_bps, first_ts, last_ts.
    """
    return _frame(con, sql("kline_check"), {"symbols": list(symbols)})


def load_spans(con: Connection) -> pl.DataFrame:
    """Return symbol, origin, timeframe, first_ts, last_ts of all bars that there are.

    ``trades`` and ``dataset`` give every timeframe, ``klines`` those from a minute on,
    ``upload`` the one named.
    """
    return _frame(con, sql("bar_spans"))


def load_trades(
    con: Connection, symbol: str, start: datetime, end: datetime, *, limit: int | None = 1_000_000
) -> pl.DataFrame:
    """Return the trades of [start, end) by (ts, agg_id), at most ``limit`` of them.

    Over file and lake. A dataset's symbol (``symbol@dataset``) has id, size and side where its
    file told them, and times in microseconds.
    """
    name, _, dataset = symbol.partition("@")
    if dataset:
        whose: dict[str, object] = {"symbol": name, "dataset": dataset}
        found: pl.DataFrame = con.sql(
            sql("dataset_trades"), params=whose | {"start": start, "end": end, "limit": limit}
        ).pl()
        return found
    return lake.load_trades(con, symbol, start, end, limit=limit)


def load_newest_trades(
    con: Connection, symbol: str, start: datetime, end: datetime, *, limit: int
) -> pl.DataFrame:
    """Return ts and price of the newest ``limit`` trades of [start, end), oldest first."""
    name, _, dataset = symbol.partition("@")
    if dataset:
        whose: dict[str, object] = {"symbol": name, "dataset": dataset}
        between = {"start": start, "end": end, "limit": limit}
        return _frame(con, sql("dataset_newest_trades"), whose | between)
    return lake.load_newest_trades(con, symbol, start, end, limit=limit)


def load_symbols(con: Connection) -> pl.DataFrame:
    """Return the exchange's contracts as the worker last stored them; may be empty."""
    return _frame(
        con,
        "select symbol, status, contract_type, base_asset, quote_asset, tick_size, step_size, "
        "min_notional from symbols order by symbol",
    )


def load_funding(
    con: Connection, symbols: Sequence[str], start: datetime, end: datetime
) -> pl.DataFrame:
    """Return symbol, ts, rate, mark_price of the settlements in [start, end], by symbol and ts."""
    return _frame(
        con,
        "select symbol, ts, rate, mark_price from funding_rates "
        "where symbol in (select unnest($symbols)) and ts between $start and $end "
        "order by symbol, ts",
        {"symbols": list(symbols), "start": start, "end": end},
    )


def load_watchlist(con: Connection) -> pl.DataFrame:
    """Return symbol and added_at of what the worker is asked to follow."""
    return _frame(con, "select symbol, added_at from watchlist order by added_at, symbol")


def load_worker_status(con: Connection) -> WorkerStatus | None:
    """Return the row that the worker keeps of itself, None where none ever ran."""
    rows = con.execute(
        "select pid, host, version, venue, state, started_at, updated_at, buffered_trades, "
        "spilled_trades, flush_s, worst_flush_s, trades_per_s, connections, reconnects, rejected, "
        "weight_used, note from worker_status"
    ).fetchall()
    return WorkerStatus(*rows[0]) if rows else None


def load_symbol_status(con: Connection) -> pl.DataFrame:
    """Return one row a watched symbol, with the fields of `SymbolStatus`."""
    return _frame(
        con,
        "select symbol, state, last_price, last_trade_ts, lag_s, trades_per_s, trades_stored, "
        "reconnects, open_gaps, missing_trades, note from symbol_status order by symbol",
    )


def load_gaps(
    con: Connection, states: Sequence[str] = ("open",), *, limit: int = 500
) -> pl.DataFrame:
    """Return the gaps in the given states (open, filled, void, lost), newest first."""
    return _frame(
        con,
        "select symbol, first_id, last_id, last_id - first_id + 1 as missing, state, opened_at, "
        "closed_at, after_ts, before_ts from gaps where state in (select unnest($states)) "
        "order by before_ts desc, symbol, first_id desc limit $limit",
        {"states": list(states), "limit": limit},
    )


def load_open_gaps(con: Connection, *, limit: int = 2000) -> dict[str, list[Gap]]:
    """Return the newest open gaps by symbol, as the worker fills them."""
    found: dict[str, list[Gap]] = {}
    for symbol, *numbers in con.execute(sql("open_gaps"), {"limit": limit}).fetchall():
        found.setdefault(symbol, []).append(Gap(*numbers))
    return found


def load_last_ids(con: Connection) -> dict[str, int]:
    """Return the highest id held of every symbol."""
    rows = con.execute("select symbol, max(last_id) from coverage group by symbol").fetchall()
    return dict(rows)


def load_coverage(con: Connection, symbol: str, start: datetime, end: datetime) -> CoverageSummary:
    """Return how complete the symbol's trades are in [start, end), to the minute.

    A gap counts whole as soon as the range touches it; void ids count as nothing missing.
    """
    rows = con.execute(
        sql("range_coverage"), {"symbol": symbol, "start": start, "end": end}
    ).fetchall()
    held, missing, since, until = rows[0]
    return CoverageSummary(symbol, held, missing, since, until)


def load_dataset_times(con: Connection) -> list[tuple[str, datetime]]:
    """Return dataset and when it was made, of every one."""
    rows: list[tuple[str, datetime]] = con.execute(
        "select dataset, created_at from datasets"
    ).fetchall()
    return rows


def load_versions(con: Connection) -> dict[str, int]:
    """Return the version of every scope: a symbol, ``watchlist``, ``symbols``."""
    return dict(con.execute("select scope, version from versions").fetchall())


def load_version(con: Connection, scope: str) -> int:
    """Return the version of one scope, 0 where nothing of it was ever written."""
    rows = con.execute("select version from versions where scope = ?", [scope]).fetchall()
    return int(rows[0][0]) if rows else 0


def load_table_counts(con: Connection) -> pl.DataFrame:
    """Return table and rows of the tables that hold data."""
    return _frame(con, sql("table_counts"))


def _next_bucket(ts: datetime, seconds: int) -> datetime:
    """Round up to a bar start, so that a half-open range cuts no bar in two."""
    micros = (ts - _EPOCH) // timedelta(microseconds=1)
    step = seconds * 1_000_000
    return _EPOCH + timedelta(microseconds=-(-micros // step) * step)


def _frame(
    con: Connection, query: str, parameters: dict[str, object] | None = None
) -> pl.DataFrame:
    frame: pl.DataFrame = con.sql(query, params=parameters or {}).pl()
    # Polars turns exact sums into floats in 28 ms where DuckDB takes 100 ms for half a million
    # rows, to the same last digit.
    return frame.with_columns(
        pl.col(pl.Datetime("us")).dt.cast_time_unit("ms"), pl.col(pl.Decimal).cast(pl.Float64)
    )
