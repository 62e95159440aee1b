"""Trades into the file: trades, coverage, gaps, bars and versions in one transaction.

A trade is new iff no coverage interval holds its id. Bars are kept by merging what the new
trades add into the touched buckets, so the cost of a write does not depend on how many trades
are stored. Every sum is DECIMAL: the result is the same to the last digit whatever the order
of arrival.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from core.feed import gaps
from core.feed.gaps import Gap, Interval
from core.models import TRADE_SCHEMA, FlushResult
from core.sql import sql
from core.store import Connection

# Buckets further apart than this never share one range scan: a range from now back to a trade
# two hours late was measured to cost half a second.
CLUSTER_S = 600
MAX_CLUSTERS = 32

_BARS = (("bars_1s", "partial_1s", 1), ("bars_1min", "partial_1min", 60))
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the store's times are naive UTC


@dataclass(frozen=True, slots=True)
class Missing:
    """Ids that will not come: void (the exchange has nothing usable) or lost (too old)."""

    symbol: str
    first_id: int
    last_id: int
    state: str


@dataclass(slots=True)
class SymbolLedger:
    """What is held and what is missing of one symbol; intervals sorted by id."""

    intervals: list[Interval] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)


def write_trades(
    con: Connection,
    trades: pl.DataFrame,
    *,
    now_ms: int,
    missing: Sequence[Missing] = (),
) -> FlushResult:
    """Store the trades that are new, inside the caller's transaction.

    ``trades`` has TRADE_SCHEMA's columns, in any order of rows, duplicates welcome; symbols are
    lower-case keys. Returns how many were new, in all and by symbol.
    """
    batch = _unique(trades)
    symbols = sorted({*batch["symbol"].unique(), *(m.symbol for m in missing)})
    if not symbols:
        return FlushResult(0, len(trades))
    ledgers = load_ledgers(con, symbols)
    fresh = only_new(batch, ledgers)
    counts: dict[str, int] = {}
    if len(fresh):
        _insert(con, fresh)
        counts = dict(fresh.group_by("symbol").len().iter_rows())
    write_ledgers(con, _runs_of(fresh), ledgers, missing, now_ms)
    bump_versions(con, {*counts, *(m.symbol for m in missing)})
    return FlushResult(len(fresh), len(trades) - len(fresh), counts)


def bump_versions(con: Connection, scopes: Iterable[str]) -> None:
    """Raise the version of each scope by one: what caches and ETags are keyed by."""
    if names := sorted(scopes):
        con.execute(sql("bump_versions"), {"names": names})


def _unique(trades: pl.DataFrame) -> pl.DataFrame:
    """Sort by (symbol, id) and keep one row an id; the first that arrived wins."""
    ordered = trades.select(list(TRADE_SCHEMA)).sort("symbol", "agg_id", maintain_order=True)
    repeated = (pl.col("agg_id") == pl.col("agg_id").shift()) & (
        pl.col("symbol") == pl.col("symbol").shift()
    )
    return ordered.filter(~repeated.fill_null(False))


def load_ledgers(con: Connection, symbols: list[str]) -> dict[str, SymbolLedger]:
    """Return the ledger of each symbol, empty where nothing is known of it."""
    ledgers = {symbol: SymbolLedger() for symbol in symbols}
    held = con.execute(sql("ledger_coverage"), {"symbols": symbols}).fetchall()
    for symbol, *numbers in held:
        ledgers[symbol].intervals.append(Interval(*numbers))
    known = con.execute(sql("ledger_gaps"), {"symbols": symbols}).fetchall()
    for symbol, first_id, last_id, after_ms, before_ms, state, opened_ms in known:
        ledgers[symbol].gaps.append(Gap(first_id, last_id, after_ms, before_ms, state, opened_ms))
    return ledgers


def only_new(batch: pl.DataFrame, ledgers: dict[str, SymbolLedger]) -> pl.DataFrame:
    """Leave out what coverage already holds; the batch is sorted by symbol and id."""
    masks = [
        ~gaps.held_mask(part["agg_id"].to_numpy(), ledgers[symbol].intervals)
        for symbol, part in _by_symbol(batch)
    ]
    return batch.filter(pl.Series(np.concatenate(masks))) if masks else batch


def _runs_of(batch: pl.DataFrame) -> dict[str, list[Interval]]:
    """Return the runs of ids of each symbol; the batch is sorted by symbol and id."""
    return {
        symbol: gaps.runs(part["agg_id"].to_numpy(), part["ts"].to_physical().to_numpy())
        for symbol, part in _by_symbol(batch)
    }


def _by_symbol(batch: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """Split a frame sorted by symbol into slices, without copying."""
    lengths = batch["symbol"].rle().struct.unnest() if len(batch) else None
    if lengths is None:
        return []
    parts, at = [], 0
    for length, symbol in lengths.iter_rows():
        parts.append((symbol, batch.slice(at, length)))
        at += length
    return parts


def _insert(con: Connection, fresh: pl.DataFrame) -> None:
    ordered = fresh.sort("symbol", "ts", "agg_id").with_row_index("ord")
    con.register("new_trades", ordered)
    try:
        con.execute(
            "insert into trades select symbol, agg_id, ts, price, size, buyer_is_maker, source "
            "from new_trades order by ord"
        )
        con.execute(sql("partial_bars_1s"))
        con.execute(sql("partial_bars_1min"))
    finally:
        con.unregister("new_trades")
    merge_bars(con, fresh["ts"])


def merge_bars(con: Connection, times: pl.Series) -> None:
    """Fold the connection's ``partial_1s`` and ``partial_1min`` into the stored bars.

    ``times`` (UTC, any unit) are those of the trades behind them.
    """
    touched = _clusters(times.dt.epoch("s").to_numpy())
    for bars, partial, seconds in _BARS:
        merge = sql("merge_bars").replace("{bars}", bars).replace("{partial}", partial)
        for low_s, high_s in touched:
            low = low_s // seconds * seconds
            con.execute(merge, {"low": _at(low * 1000), "high": _at(high_s * 1000)})


def _clusters(times_s: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Group times into (first, last) ranges of whole seconds that lie well apart."""
    times = np.unique(times_s)
    steps = np.diff(times)
    breaks = np.flatnonzero(steps > CLUSTER_S)
    if len(breaks) >= MAX_CLUSTERS:
        # A trade now and then over years: a statement for each would take longer than any scan.
        breaks = np.sort(breaks[np.argsort(steps[breaks])[-(MAX_CLUSTERS - 1) :]])
    starts, ends = np.concatenate(([0], breaks + 1)), np.concatenate((breaks, [len(times) - 1]))
    return [(int(times[i]), int(times[j])) for i, j in zip(starts, ends, strict=True)]


def write_ledgers(
    con: Connection,
    fresh: dict[str, list[Interval]],
    ledgers: dict[str, SymbolLedger],
    missing: Sequence[Missing],
    now_ms: int,
) -> None:
    """Bring coverage and gaps up to date; only rows that changed are touched.

    ``fresh`` has the runs of ids that were stored now; its symbols and those of ``missing`` are
    all in ``ledgers``.
    """
    dropped: list[tuple[str, Interval]] = []
    added: list[tuple[str, Interval]] = []
    structure: set[str] = {m.symbol for m in missing}
    for symbol, runs in fresh.items():
        old = ledgers[symbol].intervals
        new = gaps.merged([*old, *runs])
        before, after = set(old), set(new)
        dropped += [(symbol, interval) for interval in before - after]
        added += [(symbol, interval) for interval in after - before]
        ledgers[symbol].intervals = new
        if gaps.holes(old) != gaps.holes(new):
            structure.add(symbol)
    _replace_coverage(con, dropped, added)
    for symbol in sorted(structure):
        _write_gaps(con, symbol, ledgers[symbol], missing, now_ms)


def _replace_coverage(
    con: Connection,
    dropped: list[tuple[str, Interval]],
    added: list[tuple[str, Interval]],
) -> None:
    kept = {(symbol, interval.first_id) for symbol, interval in added}
    gone = [(symbol, i.first_id) for symbol, i in dropped if (symbol, i.first_id) not in kept]
    if gone:
        con.executemany("delete from coverage where symbol = ? and first_id = ?", gone)
    if added:
        con.execute(
            sql("merge_coverage"),
            {
                "symbols": [symbol for symbol, _ in added],
                "first_ids": [interval.first_id for _, interval in added],
                "last_ids": [interval.last_id for _, interval in added],
                "first_ms": [interval.first_ms for _, interval in added],
                "last_ms": [interval.last_ms for _, interval in added],
            },
        )


def _write_gaps(
    con: Connection,
    symbol: str,
    ledger: SymbolLedger,
    missing: Sequence[Missing],
    now_ms: int,
) -> None:
    known = ledger.gaps
    outcome = gaps.reconcile(known, ledger.intervals, now_ms)
    remaining = outcome.remaining
    for item in missing:
        if item.symbol == symbol:
            remaining = gaps.marked(remaining, item.first_id, item.last_id, item.state, now_ms)
    added = [gap for gap in remaining if gap not in set(known)]
    dropped = [(symbol, gap.first_id) for gap in known if gap not in set(remaining)]
    if dropped:
        con.executemany(
            "delete from gaps where symbol = ? and first_id = ? and state <> 'filled'", dropped
        )
    filled = _with_neighbours(con, symbol, outcome.filled)
    _insert_gaps(con, symbol, added, closed_ms=None)
    _insert_gaps(con, symbol, filled, closed_ms=now_ms)


def _with_neighbours(con: Connection, symbol: str, filled: list[Gap]) -> list[Gap]:
    """Join what was filled now with touching records: a gap filled page by page is one record."""
    result = list(filled)
    for part in filled:
        touching = {"symbol": symbol, "before": part.first_id - 1, "after": part.last_id + 1}
        rows = con.execute(sql("touching_filled"), touching).fetchall()
        for first_id, *rest in rows:
            result.append(Gap(first_id, *rest))
            con.execute(
                "delete from gaps where symbol = ? and first_id = ? and state = 'filled'",
                [symbol, first_id],
            )
    return gaps.joined(result)


def _insert_gaps(con: Connection, symbol: str, rows: list[Gap], *, closed_ms: int | None) -> None:
    if rows:
        columns = [list(column) for column in zip(*rows, strict=True)]
        names = ("first_ids", "last_ids", "after_ms", "before_ms", "states", "opened_ms")
        con.execute(
            sql("insert_gaps"),
            dict(zip(names, columns, strict=True)) | {"symbol": symbol, "closed_ms": closed_ms},
        )


def _at(epoch_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=epoch_ms)


def utc_now() -> datetime:
    """Return the present as the store keeps it: naive UTC."""
    return datetime.now(UTC).replace(tzinfo=None)
