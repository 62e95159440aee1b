"""Which trades can be stored: one rule for what comes by WebSocket and what comes by REST."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
import polars as pl
from msgspec import Meta

from core.models import TRADE_SCHEMA

# The store sums prices as DECIMAL(19,8) and sizes as DECIMAL(18,8): what does not fit, or
# would be rounded to nothing, cannot be kept.
SMALLEST = 1e-8
PRICE_LIMIT = 1e11
SIZE_LIMIT = 1e10
# A bar's quote volume is DECIMAL(38,16): without this a handful of absurd trades would overflow
# the sum, and with it every write that follows.
NOTIONAL_LIMIT = 1e13
# Exact in a float too; at a million trades a second it lasts for 285 years.
ID_LIMIT = 2**53
FIRST_MS = 1_420_070_400_000  # 2015-01-01
LAST_MS = 4_102_444_800_000  # 2100-01-01

# A column holds 64 bits; JSON integers have no end.
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


@dataclass(frozen=True, slots=True)
class CheckedTrades:
    """``trades`` (core.models.TRADE_SCHEMA) without the rows that cannot be stored.

    ``kinds`` names the reason for each row that was left out, by its place among those given.
    """

    trades: pl.DataFrame
    kinds: dict[int, str]


def checked_trades(
    symbols: Sequence[str | None],
    ids: Sequence[int],
    times_ms: Sequence[int],
    prices: Sequence[str],
    sizes: Sequence[str],
    makers: Sequence[bool],
    source: str,
) -> CheckedTrades:
    """Build the frame of trades from columns of equal length and leave out what is unusable.

    Prices and sizes are decimal strings as the exchange writes them; a null symbol is one that
    was not asked for. Kinds: unknown_symbol, bad_id, bad_time, bad_price, bad_size, bad_notional.
    """
    # Checked in NumPy: Polars expressions, and most methods of a Series, go through its query
    # engine, which cost 0.8 ms a batch however small, and a second thread's CPU (measured).
    names = pl.Series("symbol", symbols, dtype=pl.String)
    agg_id = np.array(ids, dtype=np.int64)
    ts = np.array(times_ms, dtype=np.int64)
    price, size = _floats(prices), _floats(sizes)
    good = {"unknown_symbol": _named(names, symbols), **_passed(agg_id, ts, price, size)}
    frame = pl.DataFrame(
        [
            names,
            pl.Series("agg_id", agg_id),
            pl.Series("ts", ts).cast(TRADE_SCHEMA["ts"]),
            pl.Series("price", price),
            pl.Series("size", size),
            pl.Series("buyer_is_maker", makers, dtype=pl.Boolean),
            pl.Series("source", [source], dtype=pl.String).new_from_index(0, len(ids)),
        ]
    )
    kept: npt.NDArray[np.bool_] = np.logical_and.reduce(list(good.values()))
    if kept.all():
        return CheckedTrades(frame, {})
    kinds = {int(row): _failed(good, int(row)) for row in np.flatnonzero(~kept)}
    return CheckedTrades(frame.filter(pl.Series(kept)), kinds)


def plausible_ids(
    frame: pl.DataFrame, last_ids: Mapping[str, int], *, jump: int = 1_000_000_000
) -> tuple[pl.DataFrame, int]:
    """Leave out trades whose id is more than ``jump`` beyond the highest known of their symbol.

    One absurd id would open a gap of as many ids, and filling it would eat the REST budget. A
    symbol that ``last_ids`` does not hold, or holds with a negative id, passes. Returns the
    trades kept and how many were left out.
    """
    if not last_ids or frame.is_empty():
        return frame, 0
    ids = frame["agg_id"].to_numpy()
    if int(ids.max()) <= min(last_ids.values()) + jump:
        return frame, 0
    # Arrow numbers the symbols in 14 ns a row; looking each up in a dict took 70 (measured).
    coded = frame["symbol"].to_arrow().dictionary_encode(null_encoding="encode")
    known = np.array([last_ids.get(name, -1) for name in coded.dictionary.to_pylist()])
    highest = known[coded.indices.to_numpy()]
    kept = (highest < 0) | (ids <= highest + jump)
    left_out = len(ids) - int(np.count_nonzero(kept))
    return (frame.filter(pl.Series(kept)), left_out) if left_out else (frame, 0)


def _named(names: pl.Series, symbols: Sequence[str | None]) -> npt.NDArray[np.bool_]:
    if not names.null_count():
        return np.ones(len(symbols), dtype=np.bool_)
    return np.array([symbol is not None for symbol in symbols], dtype=np.bool_)


def _passed(
    agg_id: npt.NDArray[np.int64],
    ts: npt.NDArray[np.int64],
    price: npt.NDArray[np.float64],
    size: npt.NDArray[np.float64],
) -> dict[str, npt.NDArray[np.bool_]]:
    """Return which rows pass each check, by the kind that a failure is counted as."""
    with np.errstate(over="ignore", invalid="ignore"):
        notional = price * size
    return {
        "bad_id": (agg_id >= 0) & (agg_id < ID_LIMIT),
        "bad_time": (ts >= FIRST_MS) & (ts < LAST_MS),
        "bad_price": (price >= SMALLEST) & (price < PRICE_LIMIT),
        "bad_size": (size >= SMALLEST) & (size < SIZE_LIMIT),
        "bad_notional": ~(notional >= NOTIONAL_LIMIT),
    }


def _failed(passed: Mapping[str, npt.NDArray[np.bool_]], row: int) -> str:
    return next(kind for kind, rows in passed.items() if not rows[row])


def _floats(texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return the numbers, correctly rounded; NaN for what is none."""
    return pl.Series(texts, dtype=pl.String).cast(pl.Float64, strict=False).to_numpy()
