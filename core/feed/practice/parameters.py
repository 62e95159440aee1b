"""Reading the parameters of a REST call: the exchange's rules, its errors, and the weights."""

import re
from collections.abc import Mapping

from core.feed.practice.symbols import LISTED_ONLY, SYMBOLS, SymbolSpec

_BY_WIRE = {spec.wire: spec for spec in SYMBOLS.values()}
_LISTED = {listed.wire for listed in LISTED_ONLY}


class ApiError(Exception):
    """An error answer of the exchange: HTTP status, code and message."""

    def __init__(self, code: int, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.code, self.text, self.status = code, text, status


Query = Mapping[str, str]


def weight(name: str, query: Query) -> int:
    """The weight of a call."""
    if name == "aggTrades":
        return 20
    if name == "premiumIndex":
        return 1 if query.get("symbol") else 10
    if name == "fundingRate":
        return 0  # has a limit of its own
    if name != "klines":
        return 1
    text = query.get("limit", "500")
    rows = int(text) if text.isascii() and text.isdigit() else 500
    return 1 if rows < 100 else 2 if rows < 500 else 5 if rows <= 1_000 else 10


def symbol_of(query: Query) -> SymbolSpec | None:
    """The symbol asked for; None where it is listed but has no trades."""
    wire = query.get("symbol", "")
    if not wire:
        raise missing("symbol")
    if wire not in _BY_WIRE and wire not in _LISTED:
        raise ApiError(-1121, "Invalid symbol.")
    return _BY_WIRE.get(wire)


def missing(name: str) -> ApiError:
    """The error of a parameter that must be there."""
    text = f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    return ApiError(-1102, text)


def integer(query: Query, name: str) -> int | None:
    """A whole number, None where absent; -1100 for anything else."""
    text = query.get(name)
    if text is None:
        return None
    if not re.fullmatch("[0-9]{1,20}", text):
        raise ApiError(
            -1100,
            f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.",
        )
    return int(text)


def check_times(start: int | None, end: int | None) -> None:
    """-1128 where the window ends before it starts."""
    if start is not None and end is not None and end < start:
        raise ApiError(-1128, "Combination of optional parameters invalid.")


def limit_of(query: Query, default: int, most: int) -> int:
    """The number of rows asked for; -1130 beyond the most."""
    limit = integer(query, "limit")
    if limit is None:
        return default
    if not 1 <= limit <= most:
        raise ApiError(-1130, "Data sent for parameter 'limit' is not valid.")
    return limit
