"""What is traded: both legs' own bars, the rows that both have, and the funding settlements."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.errors import DataError, NotEnoughData

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Settlements come every 8 hours at most; a longer silence means that rates are missing.
LONGEST_INTERVAL_S = 8 * 3600


@dataclass(frozen=True, slots=True, eq=False)
class Leg:
    """One leg's own bars, arrays (m,): start in epoch seconds, prices in quote units.

    ``has_vwap`` is False where the bars tell no turnover: the mean of open, high, low and close
    stands in.
    """

    start_s: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    vwap: Floats
    has_vwap: bool


@dataclass(frozen=True, slots=True, eq=False)
class Funding:
    """One leg's settlements, arrays (k,): epoch seconds, rate a settlement, mark price or NaN."""

    at_s: Ints
    rate: Floats
    mark: Floats


NO_FUNDING = Funding(np.empty(0, np.int64), np.empty(0), np.empty(0))


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """Both legs over n common rows.

    ``start_s`` (n,) are the rows' bar starts, ``close_y``/``close_x`` (n,) their prices.
    ``fill_y``/``fill_x`` (n,): the own bar in which an order decided at the row's close is filled,
    the number of own bars where there is none. ``held`` (n,): the first row by whose close both
    legs of that order are filled, n where there is none.
    """

    bar_s: int
    start_s: Ints
    close_y: Floats
    close_x: Floats
    y: Leg
    x: Leg
    fill_y: Ints
    fill_x: Ints
    held: Ints
    funding_y: Funding = NO_FUNDING
    funding_x: Funding = NO_FUNDING

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.start_s)


def leg(bars: pl.DataFrame) -> Leg:
    """Return one leg of `core.queries.load_bars`' rows, ordered by ``ts``."""
    columns = {
        name: bars[name].cast(pl.Float64).to_numpy() for name in ("open", "high", "low", "close")
    }
    volume = bars["volume"].cast(pl.Float64).to_numpy()
    worth = bars["quote_volume"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        vwap = worth / volume
    known = np.isfinite(vwap)
    mean = sum(columns.values()) / 4
    # A sum rounded to eight decimals may put a mean a hair outside the bar.
    vwap = np.clip(np.where(known, vwap, mean), columns["low"], columns["high"])
    return Leg(_epoch_s(bars["ts"]), **columns, vwap=vwap, has_vwap=bool(known.all()))


def funding(rates: pl.DataFrame) -> Funding:
    """Return one leg's settlements of rows ``ts``, ``rate``, ``mark_price``, ordered by ``ts``.

    Times are floored to the second: real stamps carry some milliseconds.
    """
    return Funding(
        _epoch_s(rates["ts"]),
        rates["rate"].to_numpy(),
        rates["mark_price"].cast(pl.Float64).fill_null(np.nan).to_numpy(),
    )


def market(
    rows: pl.DataFrame,
    y: Leg,
    x: Leg,
    *,
    bar_s: int,
    funding_y: Funding = NO_FUNDING,
    funding_x: Funding = NO_FUNDING,
) -> Market:
    """Return the market of the common rows ``ts``, ``price_y``, ``price_x``, ordered by ``ts``.

    Raises NotEnoughData under two rows, DataError for prices that are not above 0.
    """
    if rows.height < 2:
        raise NotEnoughData(f"{rows.height} common bars; a backtest needs two at least")
    start_s = _epoch_s(rows["ts"])
    close_y, close_x = (rows[name].cast(pl.Float64).to_numpy() for name in ("price_y", "price_x"))
    if not (np.minimum(close_y, close_x) > 0).all():
        raise DataError("a price is 0 or below; positions cannot be sized by it")
    fill_y, fill_x = (np.searchsorted(one.start_s, start_s + bar_s) for one in (y, x))
    filled_s = np.maximum(_start_of(y, fill_y), _start_of(x, fill_x))
    held = np.searchsorted(start_s, filled_s)
    return Market(
        bar_s, start_s, close_y, close_x, y, x, fill_y, fill_x, held, funding_y, funding_x
    )


def stretch(at: Market, begin: int, end: int) -> Market:
    """Return the rows [begin, end) as a market of their own."""
    rows = slice(begin, end)
    return replace(
        at,
        start_s=at.start_s[rows],
        close_y=at.close_y[rows],
        close_x=at.close_x[rows],
        fill_y=at.fill_y[rows],
        fill_x=at.fill_x[rows],
        held=np.minimum(at.held[rows] - begin, end - begin),
    )


def rates_missing_s(found: Funding, start_s: int, end_s: int) -> int:
    """Return the seconds of [start, end] whose settlements are not known."""
    inside = found.at_s[(found.at_s >= start_s) & (found.at_s <= end_s)]
    edges = np.concatenate(([start_s], inside, [end_s]))
    waits = np.diff(edges)
    return int(waits[waits > LONGEST_INTERVAL_S].sum())


def _start_of(one: Leg, bars: Ints) -> Ints:
    """Return the bars' starts, the end of time for the bar that does not exist."""
    return np.append(one.start_s, np.iinfo(np.int64).max)[bars]


def _epoch_s(times: pl.Series) -> Ints:
    ms: Ints = times.cast(pl.Datetime("ms")).to_physical().to_numpy()
    return ms // 1000
