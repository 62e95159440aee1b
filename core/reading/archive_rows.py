"""Rows of the exchange's archives: aggTrades, trades and klines of USDⓈ-M futures.

A block is read with typed columns at once; one in which anything is unusual is read as text,
row by row where it must be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from core.bar_sql import timeframe_seconds
from core.errors import BadFile
from core.feed.checks import ID_LIMIT
from core.models import KLINE_SCHEMA, TICK_SCHEMA, TRADE_SCHEMA
from core.reading.frames import Parsed, Sifted, sifted
from core.reading.prices import bar_checks
from core.reading.table import Layout, Table, check_names, header_names, text_table
from core.reading.text import Block, count_of
from core.reading.ticks import Checks, price_checks, size_checks
from core.reading.times import times
from core.reading.values import flags, numbers, whole_numbers

Columns = dict[str, pl.Series]


@dataclass(frozen=True, slots=True)
class Format:
    """A kind's fields in the order of a file without a header, and those that are read."""

    names: tuple[str, ...]
    types: dict[str, Any]
    spare: int = 0


FORMATS = {
    "aggTrades": Format(
        (
            *("agg_trade_id", "price", "quantity", "first_trade_id", "last_trade_id"),
            *("transact_time", "is_buyer_maker"),
        ),
        {
            "agg_trade_id": pl.Int64,
            "price": pl.Float64,
            "quantity": pl.Float64,
            "transact_time": pl.Int64,
            "is_buyer_maker": pl.Boolean,
        },
    ),
    # The spot market's have one more field at the end; a dataset may hold them.
    "trades": Format(
        ("id", "price", "qty", "quote_qty", "time", "is_buyer_maker"),
        {
            "id": pl.Int64,
            "price": pl.Float64,
            "qty": pl.Float64,
            "time": pl.Int64,
            "is_buyer_maker": pl.Boolean,
        },
        spare=1,
    ),
    "klines": Format(
        (
            *("open_time", "open", "high", "low", "close", "volume", "close_time"),
            *("quote_volume", "count", "taker_buy_volume", "taker_buy_quote_volume", "ignore"),
        ),
        {
            "open_time": pl.Int64,
            **dict.fromkeys(("open", "high", "low", "close", "volume", "quote_volume"), pl.Float64),
            "count": pl.Int64,
            "taker_buy_volume": pl.Float64,
        },
    ),
}
# Other spellings that headers have had.
_ALIASES = {
    "trades": {"quantity": "qty", "quote_quantity": "quote_qty", "trade_id": "id"},
    "aggTrades": {"qty": "quantity", "timestamp": "transact_time", "agg_id": "agg_trade_id"},
    "klines": {
        "trades": "count",
        "number_of_trades": "count",
        "quote_asset_volume": "quote_volume",
        "taker_buy_base_asset_volume": "taker_buy_volume",
    },
}


def archive_layout(kind: str, line: bytes, name: str) -> tuple[Layout, bool]:
    """Return the layout by an archive's first line, and whether that line is a header.

    Raises BadFile for other columns than the kind has.
    """
    format = FORMATS[kind]
    names = header_names(line, ",")
    wanted = tuple(format.types)
    if names and not _is_number(names[0]):
        names = tuple(_ALIASES[kind].get(field, field) for field in names)
        check_names(names, wanted, name)
        return Layout(names, ",", wanted), True
    due = len(format.names)
    if not due <= len(names) <= due + format.spare:
        hint = "; is it of the spot market?" if len(names) == due + 1 else ""
        raise BadFile(f"{name} has {len(names)} fields a line where {kind} have {due}{hint}")
    return Layout((*format.names, *("",) * (len(names) - due)), ",", wanted), False


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class ArchiveRows:
    """Parses blocks of an archive of one kind and symbol; klines have a timeframe."""

    def __init__(
        self, kind: str, symbol: str, timeframe: str | None, layout: Layout, latest_us: int
    ) -> None:
        self._symbol, self._layout, self._latest_us = symbol, layout, latest_us
        self._types = FORMATS[kind].types
        self._seconds = timeframe_seconds(timeframe) if timeframe else 0
        self._check: Callable[[Columns], Sifted] = {
            "aggTrades": self._agg_trades,
            "trades": self._trades,
            "klines": self._klines,
        }[kind]

    def parse(self, block: Block) -> Parsed:
        """Return the rows of a block."""
        count = block.count
        typed = self._typed(block)
        if typed is not None:
            table = Table(typed, np.arange(count, dtype=np.int64))
        else:
            table = text_table(block, self._layout)
        found = self._check(table.columns)
        read = len(table.offsets) + len(table.rejects)
        return Parsed(found.rows, table.rejected(block, found), read)

    def _typed(self, block: Block) -> Columns | None:
        """Return the columns read as what they are; None where a line is unusual."""
        places = dict(zip(self._layout.wanted, self._layout.places(), strict=True))
        names = [str(place) for place in range(len(self._layout.names))]
        types = {str(place): self._types[name] for name, place in places.items()}
        last = names[-1]  # its nulls show a line that was cut; fields too many go unseen
        if count_of(b",", block.data) != block.count * (len(names) - 1):
            return None
        try:
            frame = pl.read_csv(
                block.data,
                has_header=False,
                schema={name: types.get(name, pl.String) for name in names},
                columns=sorted({*places.values(), int(last)}),
            )
        except pl.exceptions.PolarsError:
            return None
        if frame.height != block.count or any(column.null_count() for column in frame):
            return None
        return {name: frame[str(place)] for name, place in places.items()}

    def _names(self, length: int) -> pl.Series:
        return pl.Series([self._symbol], dtype=pl.String).new_from_index(0, length)

    def _agg_trades(self, columns: Columns) -> Sifted:
        checks, values = self._trade_checks(columns, "agg_trade_id", "quantity", "transact_time")
        ids, ts, price, size, maker = values
        source = pl.Series(["archive"], dtype=pl.String).new_from_index(0, len(ts))
        rows = {
            "symbol": self._names(len(ts)),
            "agg_id": ids,
            "ts": (ts // 1000).cast(TRADE_SCHEMA["ts"]),
            "price": price,
            "size": size,
            "buyer_is_maker": maker,
            "source": source,
        }
        return sifted(pl.DataFrame(rows), checks)

    def _trades(self, columns: Columns) -> Sifted:
        checks, values = self._trade_checks(columns, "id", "qty", "time")
        ids, ts, price, size, maker = values
        rows = {
            "symbol": self._names(len(ts)),
            "id": ids,
            "ts": ts.cast(TICK_SCHEMA["ts"]),
            "price": price,
            "size": size,
            "side": maker.replace_strict([True, False], ["sell", "buy"], return_dtype=pl.String),
        }
        return sifted(pl.DataFrame(rows), checks)

    def _trade_checks(
        self, columns: Columns, id_name: str, size_name: str, time_name: str
    ) -> tuple[Checks, tuple[pl.Series, pl.Series, pl.Series, pl.Series, pl.Series]]:
        ids, ts = whole_numbers(columns[id_name]), times(columns[time_name])
        price, size = numbers(columns["price"]), numbers(columns[size_name])
        maker = flags(columns["is_buyer_maker"])
        outside = ((ids.values < 0) | (ids.values >= ID_LIMIT)).fill_null(False).to_numpy()
        checks: Checks = [
            ("no id", ids.missing),
            ("the id is no whole number", ids.unreadable),
            ("the id is negative or too large", outside),
            *price_checks("price", price),
            *size_checks("size", size, price, zero=False),
            *ts.checks(self._latest_us),
            ("no is_buyer_maker", maker.missing),
            ("is_buyer_maker is neither true nor false", maker.unreadable),
        ]
        values = (ids.values, pl.Series(ts.us), pl.Series(price.values), pl.Series(size.values))
        return checks, (*values, maker.values)

    def _klines(self, columns: Columns) -> Sifted:
        checks, values = bar_checks(columns, "open_time", self._seconds, self._latest_us)
        for name in ("quote_volume", "taker_buy_volume"):
            read = numbers(columns[name])
            values[name] = pl.Series(read.values)
            checks.append((f"the {name} is no number", ~np.isfinite(read.values)))
            checks.append((f"the {name} is negative", read.values < 0))
        trades = whole_numbers(columns["count"])
        values["trades"] = trades.values
        negative = (trades.values < 0).fill_null(False).to_numpy()
        checks.append(("the number of trades is none", trades.missing | trades.unreadable))
        checks.append(("the number of trades is negative", negative))
        frame = pl.DataFrame({"symbol": self._names(len(trades.values)), **values})
        return sifted(frame.select(list(KLINE_SCHEMA)), checks)
