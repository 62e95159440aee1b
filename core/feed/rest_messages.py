"""The bodies of REST answers, from bytes to records; pure."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any

import msgspec
import polars as pl

from core.errors import BadMessage
from core.feed.checks import FIRST_MS, ID_LIMIT, LAST_MS, Int64, checked_trades
from core.models import SymbolInfo

_log = logging.getLogger(__name__)
_DECODE_ERRORS = (msgspec.MsgspecError, ValueError, RecursionError)
# Below, not even one page of trades would fit; above, it is no limit. Neither can be meant.
_LOWEST_LIMIT, _HIGHEST_LIMIT = 20, 10**9


@dataclass(frozen=True, slots=True)
class RestPage:
    """One page of trades, by id.

    ``trades`` has core.models.TRADE_SCHEMA; ``unusable`` are ids that the exchange returned with
    values nobody can use; ``first_id`` and ``last_id`` span all rows, None on an empty page.
    """

    trades: pl.DataFrame
    unusable: list[int]
    first_id: int | None
    last_id: int | None
    rows: int


class _Row(msgspec.Struct, gc=False):
    a: Int64
    p: str
    q: str
    T: Int64
    m: bool


_decode_rows = msgspec.json.Decoder(list[_Row]).decode


def parse_rest_trades(symbol: str, body: bytes) -> RestPage:
    """Parse the answer of /fapi/v1/aggTrades; ``symbol`` is what was asked for.

    Raises BadMessage when the body is not a list of trades that carry an id.
    """
    unusable: list[int] = []
    try:
        rows = _decode_rows(body)
    except msgspec.ValidationError:
        rows, unusable = _salvaged_rows(symbol, body)
    except _DECODE_ERRORS as error:
        raise _bad(f"the trades of {symbol}", body) from error
    ids = [row.a for row in rows]
    every_id = ids + unusable
    if every_id and not 0 <= min(every_id) <= max(every_id) < ID_LIMIT:
        raise _bad(f"the trades of {symbol} with ids", body)
    checked = checked_trades(
        [symbol.lower()] * len(rows),
        ids,
        [row.T for row in rows],
        [row.p for row in rows],
        [row.q for row in rows],
        [row.m for row in rows],
        "rest",
    )
    unusable += [ids[row] for row in checked.kinds]
    return RestPage(
        checked.trades.sort("agg_id"),
        sorted(unusable),
        min(every_id, default=None),
        max(every_id, default=None),
        len(every_id),
    )


def _salvaged_rows(symbol: str, body: bytes) -> tuple[list[_Row], list[int]]:
    """Return the rows that can be read, and the ids of those that cannot."""
    rows: list[_Row] = []
    unusable: list[int] = []
    try:
        # The typed decoder stops at the first value of a wrong type: what follows may be cut off.
        values = msgspec.json.decode(body)
    except _DECODE_ERRORS as error:
        raise _bad(f"the trades of {symbol}", body) from error
    if not isinstance(values, list):
        raise _bad(f"the trades of {symbol}", body)
    for value in values:
        try:
            rows.append(msgspec.convert(value, _Row))
        except _DECODE_ERRORS as error:
            agg_id = value.get("a") if isinstance(value, dict) else None
            if not isinstance(agg_id, int) or isinstance(agg_id, bool):
                raise _bad(f"the trades of {symbol}", body) from error
            unusable.append(agg_id)
    return rows, unusable


class _Contract(msgspec.Struct):
    symbol: str
    status: str
    contractType: str = ""
    baseAsset: str = ""
    quoteAsset: str = ""
    filters: list[dict[str, Any]] = []


class _RateLimit(msgspec.Struct):
    rateLimitType: str
    interval: str
    intervalNum: int
    limit: int


def parse_exchange_info(body: bytes) -> list[SymbolInfo]:
    """Parse the contracts of /fapi/v1/exchangeInfo, tradable or not.

    A contract that cannot be read is logged and left out. Raises BadMessage when the body holds
    no list of contracts.
    """
    contracts = _member(body, "symbols")
    if not isinstance(contracts, list):
        raise _bad("the list of contracts", body)
    infos: list[SymbolInfo] = []
    odd: list[str] = []
    for contract in contracts:
        try:
            infos.append(_symbol_info(msgspec.convert(contract, _Contract)))
        except _DECODE_ERRORS:
            # Its name at most: the rest may be nested deeper than can be written out.
            name = contract.get("symbol") if isinstance(contract, dict) else None
            odd.append(name if isinstance(name, str) else f"a {type(contract).__name__}")
    if odd:
        _log.warning("%d contracts left out as unreadable, such as %.60s", len(odd), odd[0])
    return infos


def _symbol_info(contract: _Contract) -> SymbolInfo:
    if not contract.symbol:
        raise ValueError("a contract without a name")
    filters = {str(entry.get("filterType")): entry for entry in contract.filters}
    return SymbolInfo(
        symbol=contract.symbol.lower(),
        status=contract.status,
        contract_type=contract.contractType,
        base_asset=contract.baseAsset,
        quote_asset=contract.quoteAsset,
        tick_size=_step(filters, "PRICE_FILTER", "tickSize"),
        step_size=_step(filters, "LOT_SIZE", "stepSize"),
        min_notional=_step(filters, "MIN_NOTIONAL", "notional"),
    )


def _step(filters: dict[str, dict[str, Any]], name: str, field: str) -> float:
    """Return a filter's value, 0 where the contract has no such filter."""
    value = filters[name].get(field) if name in filters else 0
    try:
        step = float(value) if isinstance(value, str | int | float) else math.nan
    except OverflowError:
        step = math.inf
    if not 0 <= step < math.inf:
        raise ValueError(f"{name} has {field} {value!r:.60}, which is no step")
    return step


def parse_server_time(body: bytes) -> int:
    """Parse /fapi/v1/time: the exchange's clock, epoch in milliseconds.

    Raises BadMessage for anything that is not a time between 2015 and 2100.
    """
    value = _member(body, "serverTime")
    if not isinstance(value, int) or isinstance(value, bool) or not FIRST_MS <= value < LAST_MS:
        raise _bad("the exchange's time", body)
    return value


def parse_practice_venue(body: bytes) -> str | None:
    """Return what a practice exchange calls itself in exchangeInfo, None for a real one."""
    practice = _member(body, "practice")
    venue = practice.get("venue") if isinstance(practice, dict) else None
    return venue if isinstance(venue, str) and venue else None


def parse_weight_limit(body: bytes) -> int | None:
    """Return the request weight a minute that exchangeInfo allows.

    None where it does not say, or says what cannot be meant.
    """
    limits = _member(body, "rateLimits")
    for limit in limits if isinstance(limits, list) else []:
        try:
            found = msgspec.convert(limit, _RateLimit)
        except _DECODE_ERRORS:
            continue
        if (found.rateLimitType, found.interval, found.intervalNum) == (
            "REQUEST_WEIGHT",
            "MINUTE",
            1,
        ):
            return found.limit if _LOWEST_LIMIT <= found.limit <= _HIGHEST_LIMIT else None
    return None


def _member(body: bytes, name: str) -> Any:
    try:
        value = msgspec.json.decode(body)
    except _DECODE_ERRORS as error:
        raise _bad(f"an object with {name!r}", body) from error
    if not isinstance(value, dict):
        raise _bad(f"an object with {name!r}", body)
    return value.get(name)


def _bad(expected: str, body: bytes) -> BadMessage:
    return BadMessage(
        f"The exchange's answer is not {expected}: {body[:120]!r}. Check --rest-url; if it is "
        "right, try again later"
    )
