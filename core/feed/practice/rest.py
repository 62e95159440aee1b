"""The practice exchange's REST calls under /fapi/v1: parameters, weights, errors, answers.

Pure of sockets: `RestApi.answer(path, query)` gives status, headers and body.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from core.feed.practice.faults import Faults
from core.feed.practice.limits import Refusal, WeightLimiter
from core.feed.practice.listing import exchange_info
from core.feed.practice.market import DAY_MS, EPOCH_MS, HOUR_MS, MINUTE_MS, Market
from core.feed.practice.parameters import (
    ApiError,
    Query,
    check_times,
    integer,
    limit_of,
    missing,
    symbol_of,
    weight,
)
from core.feed.practice.symbols import SYMBOLS, SymbolSpec
from core.feed.practice.wire import agg_trade_rows, json_bytes, kline_rows, mark_price_payload

INTERVALS_MS: dict[str, int] = {
    **{f"{n}m": n * MINUTE_MS for n in (1, 3, 5, 15, 30)},
    **{f"{n}h": n * HOUR_MS for n in (1, 2, 4, 6, 8, 12)},
    "1d": DAY_MS,
}
_PREFIX = "/fapi/v1/"


class View(Protocol):
    """What the REST side may know of the exchange."""

    market: Market

    def now_ms(self) -> int:
        """The market clock."""

    def end_id(self, symbol: str) -> int:
        """One past the newest id that has happened."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class RestApi:
    """Answers every REST call from the market, as far as the market clock has got.

    `history_hours` is how far aggTrades reach back.  A `fromId` older than that is answered from
    the oldest id kept (so a client sees at once, by the first id, that the rest is lost), and
    times before it begin there too.
    """

    def __init__(
        self, view: View, limiter: WeightLimiter, faults: Faults, history_hours: float
    ) -> None:
        self._view, self._limiter, self._faults = view, limiter, faults
        self._history_ms = int(history_hours * HOUR_MS)
        self._calls: dict[str, Callable[[Query], Any]] = {
            "ping": lambda query: {},
            "time": lambda query: {"serverTime": self._view.now_ms()},
            "exchangeInfo": self._exchange_info,
            "aggTrades": self._agg_trades,
            "klines": self._klines,
            "fundingRate": self._funding_rate,
            "premiumIndex": self._premium_index,
        }

    def answer(self, path: str, query: Query) -> Answer:
        """The answer to one GET."""
        call = self._calls.get(path.removeprefix(_PREFIX)) if path.startswith(_PREFIX) else None
        if call is None:
            return Answer(404, b"<html><body><h2>404 Not found</h2></body></html>")
        name = path.removeprefix(_PREFIX)
        refused = self._limiter.charge(weight(name, query), funding=name == "fundingRate")
        if refused is not None:
            return self._refused(refused)
        try:
            return Answer(200, json_bytes(call(query)), self._weight_header())
        except ApiError as error:
            body = {"code": error.code, "msg": error.text}
            return Answer(error.status, json_bytes(body), self._weight_header())

    def _weight_header(self) -> dict[str, str]:
        return {"X-MBX-USED-WEIGHT-1M": str(self._limiter.used)}

    def _refused(self, refused: Refusal) -> Answer:
        headers = self._weight_header()
        if refused.retry_after_s is not None:
            headers["Retry-After"] = str(refused.retry_after_s)
        return Answer(refused.status, json_bytes(refused.body), headers)

    def failed(self, status: int) -> Answer:
        """The answer of a call that a fault makes fail with `status`."""
        if status in (429, 418):
            return self._refused(self._limiter.refused_now(status))
        texts = {
            451: "Service unavailable from a restricted location according to 'b. Eligibility'.",
            403: "Forbidden",
        }
        text = texts.get(status, "Internal error; unable to process your request.")
        code = 0 if status == 451 else -1001
        return Answer(status, json_bytes({"code": code, "msg": text}), self._weight_header())

    def _exchange_info(self, query: Query) -> Any:
        limit = self._limiter.settings.weight_per_minute
        return exchange_info(self._view.now_ms(), limit, self._view.market.identity)

    def _agg_trades(self, query: Query) -> Any:
        spec = symbol_of(query)
        limit = limit_of(query, 500, 1_000)
        from_id, start, end = (integer(query, k) for k in ("fromId", "startTime", "endTime"))
        if from_id is not None and (start is not None or end is not None):
            raise ApiError(-1128, "Combination of optional parameters invalid.")
        check_times(start, end)
        if start is not None and end is not None and end - start >= HOUR_MS:
            text = "Lookup interval is too big. More than 1 hours between startTime and endTime."
            raise ApiError(-1127, text)
        if spec is None:
            return []
        first, last = self._id_range(spec.symbol, from_id, start, end, limit)
        block = self._view.market.trades(spec.symbol, first, last)
        return agg_trade_rows(block, self._faults.void_ids(spec.symbol))

    def _id_range(
        self, symbol: str, from_id: int | None, start: int | None, end: int | None, limit: int
    ) -> tuple[int, int]:
        market = self._view.market
        oldest = market.first_id(symbol, self._view.now_ms() - self._history_ms)
        newest = self._view.end_id(symbol) - 1
        if end is not None:
            stop = min(end, self._view.now_ms()) + 1
            newest = min(newest, market.first_id(symbol, stop) - 1)
        if from_id is not None:
            first = max(oldest, from_id)
        elif start is not None:
            first = max(oldest, market.first_id(symbol, min(start, self._view.now_ms() + 1)))
        else:
            first = max(oldest, newest - limit + 1)
        return first, min(newest, first + limit - 1)

    def _klines(self, query: Query) -> Any:
        spec = symbol_of(query)
        interval = INTERVALS_MS.get(query.get("interval", ""))
        if not query.get("interval"):
            raise missing("interval")
        if interval is None:
            raise ApiError(-1120, "Invalid interval.")
        limit = limit_of(query, 500, 1_500)
        start, end = integer(query, "startTime"), integer(query, "endTime")
        check_times(start, end)
        if spec is None:
            return []
        until = self._view.now_ms() + 1
        stop = until if end is None else min(until, end + 1)
        span = limit * interval
        # A bar belongs to the answer when its open time lies within [startTime, endTime].
        if start is None:
            begin = -(-stop // interval) * interval - span
        else:
            begin = -(-max(start, EPOCH_MS) // interval) * interval
            stop = min(stop, begin + span)
        if stop <= begin:
            return []
        return kline_rows(self._view.market.klines(spec.symbol, interval, begin, stop, until))

    def _funding_rate(self, query: Query) -> Any:
        limit = limit_of(query, 100, 1_000)
        start, end = integer(query, "startTime"), integer(query, "endTime")
        now = self._view.now_ms()
        end = now if end is None else min(end, now)
        specs = [symbol_of(query)] if query.get("symbol") else list(SYMBOLS.values())
        due: list[tuple[int, SymbolSpec]] = []
        for spec in specs:
            if spec is not None:
                due += [(at, spec) for at in _settlements(spec, start, end, limit)]
        due.sort(key=lambda one: one[0])
        chosen = due[:limit] if start is not None else due[-limit:]
        return [self._funding_row(spec, at) for at, spec in chosen]

    def _funding_row(self, spec: SymbolSpec, at_ms: int) -> dict[str, Any]:
        market = self._view.market
        return {
            "symbol": spec.wire,
            "fundingTime": at_ms,
            "fundingRate": f"{market.funding_rate(spec.symbol, at_ms):.8f}",
            "markPrice": f"{market.settlement_price(spec.symbol, at_ms):.8f}",
        }

    def _premium_index(self, query: Query) -> Any:
        now = self._view.now_ms()
        if not query.get("symbol"):
            return [_premium_row(self._view.market, s, now) for s in SYMBOLS.values()]
        spec = symbol_of(query)
        if spec is None:
            raise ApiError(-1121, "Invalid symbol.")
        return _premium_row(self._view.market, spec, now)


def mark_price_update(market: Market, spec: SymbolSpec, at_ms: int) -> dict[str, Any]:
    """The markPriceUpdate of a moment."""
    step = spec.funding_hours * HOUR_MS
    due = (at_ms // step + 1) * step
    return mark_price_payload(
        spec,
        at_ms,
        market.mark_price(spec.symbol, at_ms),
        market.index_price(spec.symbol, at_ms),
        market.funding_rate(spec.symbol, due),
        due,
    )


def _settlements(spec: SymbolSpec, start: int | None, end: int, limit: int) -> range:
    """The first `limit` settlement times from `start` on, or the last ones up to `end`."""
    step = spec.funding_hours * HOUR_MS
    newest = end // step
    oldest = -(-max(start or 0, EPOCH_MS) // step)
    first = max(oldest, newest - limit + 1) if start is None else oldest
    return range(first * step, min(newest, first + limit - 1) * step + 1, step)


def _premium_row(market: Market, spec: SymbolSpec, now_ms: int) -> dict[str, Any]:
    update = mark_price_update(market, spec, now_ms)
    return {
        "symbol": update["s"],
        "markPrice": update["p"],
        "indexPrice": update["i"],
        "estimatedSettlePrice": update["P"],
        "lastFundingRate": update["r"],
        "interestRate": "0.00010000",
        "nextFundingTime": update["T"],
        "time": update["E"],
    }
