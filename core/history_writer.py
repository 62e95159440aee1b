"""The exchange's own bars and funding rates into the file, and what was asked for already.

Minutes without trades leave no row, so the rows cannot tell what was fetched: the spans that
were asked for are kept in ``meta``, written with the rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

import polars as pl

from core.feed.rest_bars import MINUTE_MS, FundingRate
from core.sql import sql
from core.store import Connection, Store
from core.trade_writer import bump_versions

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the store's times are naive UTC
# What was asked for, as the beginnings of keys in ``meta``.
KLINES, FUNDING = "klines asked: ", "funding asked: "


class Span(NamedTuple):
    """Minutes from ``first`` to before ``end``, both epoch minutes."""

    first: int
    end: int

    @property
    def minutes(self) -> int:
        """How many minutes it has."""
        return self.end - self.first


@dataclass(frozen=True, slots=True)
class Fetched:
    """One answer: the minutes of ``span`` that had trades (core.models.KLINE_SCHEMA)."""

    symbol: str
    span: Span
    klines: pl.DataFrame = field(compare=False)


def joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return the spans in order, those that touch made one."""
    result: list[Span] = []
    for span in sorted(spans):
        if result and span.first <= result[-1].end:
            result[-1] = Span(result[-1].first, max(result[-1].end, span.end))
        elif span.minutes > 0:
            result.append(span)
    return tuple(result)


def missing(asked: Sequence[Span], wanted: Span) -> list[Span]:
    """Return the parts of ``wanted`` that no span of ``asked`` (joined) holds, oldest first."""
    parts, at = [], wanted.first
    for span in asked:
        if span.first > at:
            parts.append(Span(at, min(span.first, wanted.end)))
        at = max(at, span.end)
    parts.append(Span(at, wanted.end))
    return [part for part in parts if part.minutes > 0]


def load_asked_of(
    store: Store, what: str, symbols: Sequence[str], *, wait_s: float
) -> dict[str, tuple[Span, ...]]:
    """Return the minutes of each symbol whose ``what`` was asked for. Raises StoreError."""
    with store.read(wait_s=wait_s) as con:
        return load_asked(con, what, symbols)


def load_asked(con: Connection, what: str, symbols: Sequence[str]) -> dict[str, tuple[Span, ...]]:
    """Return the minutes of each symbol whose ``what`` (KLINES or FUNDING) was asked for."""
    keys = {what + symbol: symbol for symbol in symbols}
    rows = con.execute(
        "select key, value from meta where key in (select unnest($keys))", {"keys": list(keys)}
    ).fetchall()
    found: dict[str, tuple[Span, ...]] = dict.fromkeys(symbols, ())
    for key, value in rows:
        found[keys[key]] = joined(Span(*span) for span in json.loads(value))
    return found


def write_klines(con: Connection, pages: Sequence[Fetched]) -> None:
    """Store the pages' minutes inside the caller's transaction; the exchange's newest word wins."""
    rows = pl.concat([page.klines for page in pages]) if pages else pl.DataFrame()
    if len(rows):
        con.register("new_klines", rows)
        try:
            for page in pages:
                where = {"symbol": page.symbol, "low": _at(page.span.first)}
                where["high"] = _at(page.span.end)
                con.execute(sql("history_klines_delete"), where)
            con.execute(sql("history_klines_insert"))
        finally:
            con.unregister("new_klines")
    for symbol in sorted({page.symbol for page in pages}):
        _note_asked(con, KLINES, symbol, [p.span for p in pages if p.symbol == symbol])
    bump_versions(con, {page.symbol for page in pages if len(page.klines)})


def write_funding(con: Connection, symbol: str, span: Span, rates: Sequence[FundingRate]) -> None:
    """Store the settlements of ``span`` that are new, inside the caller's transaction."""
    _note_asked(con, FUNDING, symbol, [span])
    if not rates:
        return
    con.execute(
        sql("history_funding"),
        {
            "symbols": [rate.symbol for rate in rates],
            "times": [rate.ts_ms for rate in rates],
            "rates": [rate.rate for rate in rates],
            "marks": [rate.mark_price for rate in rates],
        },
    )
    bump_versions(con, [symbol])


def _note_asked(con: Connection, what: str, symbol: str, spans: Sequence[Span]) -> None:
    text = json.dumps(joined([*load_asked(con, what, [symbol])[symbol], *spans]))
    con.execute("delete from meta where key = ?", [what + symbol])
    con.execute("insert into meta values (?, ?)", [what + symbol, text])


def _at(minute: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=minute * MINUTE_MS)
