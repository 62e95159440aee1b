"""The exchange's own bars and funding rates by REST: what to ask, and the answers' rows.

GET /fapi/v1/klines       weight 1/2/5/10 for < 100 / < 500 / <= 1000 / > 1000 rows, at most 1500
GET /fapi/v1/fundingRate  no weight, 500 requests in 5 minutes, at most 1000 rows
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import polars as pl

from core.errors import BadMessage, ConfigError
from core.feed.checks import FIRST_MS, LAST_MS, NOTIONAL_LIMIT, PRICE_LIMIT, SMALLEST
from core.feed.rest import RestClient
from core.models import KLINE_SCHEMA

_log = logging.getLogger(__name__)

MINUTE_MS = 60_000
KLINES_LIMIT = 1500
FUNDING_LIMIT = 1000
# Of the 500 requests in five minutes some are left to others behind the same address.
FUNDING_REQUESTS, FUNDING_WINDOW_S = 400, 300.0
_LONGEST_MANNERS_S = 30.0
# A minute's sums are stored as DECIMAL(38,8) and DECIMAL(38,16).
_VOLUME_LIMIT = 1e18
# Open time, open, high, low, close, volume, close time, quote volume, trades, taker's volume.
_FIELDS = 10


@dataclass(frozen=True, slots=True)
class KlinePage:
    """Finished minutes with trades, by ts (core.models.KLINE_SCHEMA).

    ``last_ms`` is the newest minute's start among all rows, None on an empty page; ``unusable``
    counts rows that nobody can use.
    """

    klines: pl.DataFrame
    last_ms: int | None
    unusable: int


@dataclass(frozen=True, slots=True)
class FundingRate:
    """One settlement: epoch ms, the rate as a fraction, the mark price where it is told."""

    symbol: str
    ts_ms: int
    rate: float
    mark_price: float | None


class BarsClient:
    """Asks for bars and funding rates over the one REST client and its weight budget."""

    def __init__(
        self,
        rest: RestClient,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rest = rest
        self._clock = clock
        self._sleep = sleep
        self._asked: deque[float] = deque()

    def manners_s(self) -> float:
        """Return how long to leave an exchange alone that took its time to answer.

        History may not take the turn of gaps: of a slow exchange it takes a third.
        """
        return min(_LONGEST_MANNERS_S, max(0.0, 2 * self._rest.answer_s - 1.0))

    async def fetch_exchange_ms(self) -> int:
        """Return the exchange's clock now, epoch in milliseconds."""
        return (await self._rest.fetch_time()).exchange_ms

    async def fetch_minutes(
        self, symbol: str, *, first_ms: int, minutes: int, is_urgent: bool = False
    ) -> KlinePage:
        """Return the 1-minute bars of ``minutes`` minutes from the one that begins at ``first_ms``.

        All of them must have ended by the exchange's clock. Urgent requests go before others.
        """
        if not 1 <= minutes <= KLINES_LIMIT or first_ms % MINUTE_MS:
            raise ConfigError(
                f"{minutes} minutes from {first_ms} ms were asked for; the exchange gives 1 to "
                f"{KLINES_LIMIT} whole minutes"
            )
        end_ms = first_ms + minutes * MINUTE_MS
        query: dict[str, str | int] = {
            "symbol": symbol.upper(),
            "interval": "1m",
            "startTime": first_ms,
            "endTime": end_ms - 1,
            "limit": minutes,
        }
        weight = klines_weight(minutes)
        body = await self._rest.get("/fapi/v1/klines", query, weight=weight, is_urgent=is_urgent)
        return parse_klines(symbol, body, first_ms=first_ms, end_ms=end_ms)

    async def fetch_funding(self, symbol: str, *, start_ms: int, end_ms: int) -> list[FundingRate]:
        """Return the first FUNDING_LIMIT settlements of [start_ms, end_ms), oldest first."""
        await self._wait_for_turn()
        query: dict[str, str | int] = {
            "symbol": symbol.upper(),
            "startTime": start_ms,
            "endTime": end_ms - 1,
            "limit": FUNDING_LIMIT,
        }
        body = await self._rest.get("/fapi/v1/fundingRate", query, weight=0)
        return parse_funding(symbol, body)

    async def _wait_for_turn(self) -> None:
        while True:
            now = self._clock()
            while self._asked and self._asked[0] <= now - FUNDING_WINDOW_S:
                self._asked.popleft()
            if len(self._asked) < FUNDING_REQUESTS:
                self._asked.append(now)
                return
            await self._sleep(max(0.01, self._asked[0] + FUNDING_WINDOW_S - now))


def klines_weight(rows: int) -> int:
    """Return the request weight of a page of bars."""
    return 1 if rows < 100 else 2 if rows < 500 else 5 if rows <= 1000 else 10


def parse_klines(symbol: str, body: bytes, *, first_ms: int, end_ms: int) -> KlinePage:
    """Parse the answer of /fapi/v1/klines; minutes outside [first_ms, end_ms) are left out.

    Raises BadMessage when the body is not a list of bars.
    """
    rows = _rows(body, f"the bars of {symbol}")
    if not all(isinstance(row, list) and len(row) >= _FIELDS for row in rows):
        raise _bad(f"the bars of {symbol}", body)
    read = [_kline(row) for row in rows]
    usable = [row for row in read if row is not None]
    inside = {int(row[0]): row for row in usable if first_ms <= row[0] < end_ms}
    if unusable := len(rows) - len(usable):
        _log.warning("%s: %d bars left out as unusable", symbol, unusable)
    kept = [(symbol, *inside[ts]) for ts in sorted(inside) if inside[ts][7] > 0]
    names = list(KLINE_SCHEMA)
    frame = pl.DataFrame(
        kept, schema={name: KLINE_SCHEMA[name] if name != "ts" else pl.Int64 for name in names},
        orient="row",
    ).with_columns(pl.col("ts").cast(KLINE_SCHEMA["ts"]))  # fmt: skip
    return KlinePage(frame, max(inside, default=None), unusable)


def _kline(row: list[Any]) -> tuple[int | float, ...] | None:
    """Return ts to taker volume of a bar, None where the values cannot be used."""
    try:
        ts, trades = row[0], row[8]
        if type(ts) is not int or type(trades) is not int:
            return None
        prices = [float(value) for value in row[1:5]]
        volume, quote, taker = float(row[5]), float(row[7]), float(row[9])
    except (TypeError, ValueError, OverflowError):
        return None
    opened, high, low, close = prices
    good = (
        FIRST_MS <= ts < LAST_MS
        and ts % MINUTE_MS == 0
        and 0 <= trades < 2**53
        and all(SMALLEST <= price < PRICE_LIMIT for price in prices)
        and low <= min(opened, close) <= max(opened, close) <= high
        and 0 <= taker <= volume < _VOLUME_LIMIT
        and 0 <= quote < _VOLUME_LIMIT
    )
    return (ts, opened, high, low, close, volume, quote, trades, taker) if good else None


def parse_funding(symbol: str, body: bytes) -> list[FundingRate]:
    """Parse the answer of /fapi/v1/fundingRate, oldest first; unusable rows are left out.

    Raises BadMessage when the body is not a list.
    """
    rates = [_funding(symbol, row) for row in _rows(body, f"the funding rates of {symbol}")]
    if unusable := rates.count(None):
        _log.warning("%s: %d funding rates left out as unusable", symbol, unusable)
    by_time = {rate.ts_ms: rate for rate in rates if rate is not None}
    return [by_time[ts_ms] for ts_ms in sorted(by_time)]


def _funding(symbol: str, row: Any) -> FundingRate | None:
    if not isinstance(row, dict) or type(ts_ms := row.get("fundingTime")) is not int:
        return None
    rate, mark = _number(row.get("fundingRate")), _number(row.get("markPrice"))
    if rate is None or abs(rate) > 1 or not FIRST_MS <= ts_ms < LAST_MS:
        return None
    # Old settlements come with an empty mark price.
    usable = mark is not None and 0 < mark < NOTIONAL_LIMIT
    return FundingRate(symbol.lower(), ts_ms, rate, mark if usable else None)


def _number(value: Any) -> float | None:
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _rows(body: bytes, expected: str) -> list[Any]:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _bad(expected, body) from error
    if not isinstance(value, list):
        raise _bad(expected, body)
    return value


def _bad(expected: str, body: bytes) -> BadMessage:
    return BadMessage(
        f"The exchange's answer is not {expected}: {body[:120]!r}. Check --rest-url; if it is "
        "right, try again later"
    )
