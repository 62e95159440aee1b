"""Ticks: columns of any form to core.models.TICK_SCHEMA, and NDJSON, CSV, Parquet to columns."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from core.feed.checks import NOTIONAL_LIMIT, PRICE_LIMIT, SIZE_LIMIT, SMALLEST
from core.models import TICK_SCHEMA
from core.reading.frames import Mask, Parsed, Sifted, sifted
from core.reading.table import Layout, text_table
from core.reading.text import Block
from core.reading.times import times
from core.reading.values import Numbers, numbers, sides, symbols, whole_numbers

REQUIRED = ("symbol", "ts", "price")
OPTIONAL = ("size", "id", "side")
Checks = list[tuple[str, Mask]]


def checked_ticks(columns: Mapping[str, pl.Series], latest_us: int) -> Sifted:
    """Return the ticks that can be kept, TICK_SCHEMA; optional columns may be absent.

    ``columns`` holds symbol, ts, price and any of size, id, side, of one length;
    ``latest_us`` is the last time accepted, in µs.
    """
    length = len(columns["price"])
    symbol, ts = symbols(columns["symbol"]), times(columns["ts"])
    price = numbers(columns["price"])
    checks: Checks = [
        ("no symbol", symbol.missing),
        ("the symbol is no name: text of up to 64 letters without @ and /", symbol.unreadable),
        *ts.checks(latest_us),
        *price_checks("price", price),
    ]
    nothing = pl.Series([None], dtype=pl.Null).new_from_index(0, length)
    size = numbers(columns.get("size", nothing))
    ids = whole_numbers(columns.get("id", nothing))
    side = sides(columns.get("side", nothing))
    checks += size_checks("size", size, price, zero=True)
    checks.append(("the id is no whole number", ids.unreadable))
    checks.append(("the id is negative", ((ids.values < 0).fill_null(False)).to_numpy()))
    checks.append(("the side is neither buy nor sell", side.unreadable))
    frame = pl.DataFrame(
        {
            "symbol": symbol.values,
            "id": ids.values,
            "ts": pl.Series(ts.us).cast(TICK_SCHEMA["ts"]),
            "price": price.values,
            "size": pl.Series(size.values).fill_nan(None) if "size" in columns else nothing,
            "side": side.values,
        },
        schema_overrides=TICK_SCHEMA,
    )
    return sifted(frame, checks)


def price_checks(name: str, price: Numbers) -> Checks:
    """Return the reasons for which a price is not accepted, with the rows they hit."""
    known = ~(price.missing | price.unreadable)
    values = price.values
    return [
        (f"no {name}", price.missing),
        (f"the {name} is no number", price.unreadable),
        (f"the {name} is not finite", known & ~np.isfinite(values)),
        (f"the {name} is not above zero", values <= 0),
        (f"the {name} is below {SMALLEST:.8f}", values < SMALLEST),
        (f"the {name} is {PRICE_LIMIT:.0e} or more", values >= PRICE_LIMIT),
    ]


def size_checks(name: str, size: Numbers, price: Numbers, *, zero: bool) -> Checks:
    """Return the same for a size; where ``zero`` is true it may be missing or zero."""
    known = ~(size.missing | size.unreadable)
    values = size.values
    checks = [
        (f"the {name} is no number", size.unreadable),
        (f"the {name} is not finite", known & ~np.isfinite(values)),
        (f"the {name} is negative", values < 0),
        (f"the {name} is below {SMALLEST:.8f}", (values < SMALLEST) & (values > 0)),
        (f"the {name} is {SIZE_LIMIT:.0e} or more", values >= SIZE_LIMIT),
    ]
    with np.errstate(over="ignore", invalid="ignore"):
        checks.append(("price times size is too large", price.values * values >= NOTIONAL_LIMIT))
    if not zero:
        checks = [(f"no {name}", size.missing), *checks, (f"the {name} is zero", values == 0)]
    return checks


class CsvTicks:
    """Parses blocks of CSV lines below the header that gave the layout."""

    def __init__(self, layout: Layout, symbol: str | None, latest_us: int) -> None:
        self._layout, self._symbol, self._latest_us = layout, symbol, latest_us

    def parse(self, block: Block) -> Parsed:
        """Return the ticks of a block."""
        table = text_table(block, self._layout)
        length = len(table.offsets)
        columns = dict(table.columns)
        if "symbol" not in columns:
            columns["symbol"] = pl.Series([self._symbol], dtype=pl.String).new_from_index(0, length)
        found = checked_ticks(columns, self._latest_us)
        return Parsed(found.rows, table.rejected(block, found), length + len(table.rejects))
