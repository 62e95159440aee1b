"""One client's connection state: its route, its streams and its control messages (no socket)."""

import json
from collections import deque
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from core.feed.practice.symbols import SYMBOLS

MAX_STREAMS = 1_024
MAX_MESSAGES_A_SECOND = 10
_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS")


@dataclass(frozen=True)
class Route:
    """Where a client connected: only `market` routes deliver aggTrade and markPrice."""

    live: bool
    combined: bool
    streams: tuple[str, ...]


def route_of(target: str) -> Route | None:
    """The route of a request target, or None where there is nothing.

    `/market/stream?streams=a/b` and `/market/ws/a/b`; the same under `/public`, `/private` and
    with no prefix connect as well, and are silent for our streams.
    """
    parts = urlsplit(target)
    names = [unquote(name) for name in parts.path.strip("/").split("/")]
    prefix = names.pop(0) if names[0] in ("market", "public", "private") else ""
    kind, streams = (names[0], names[1:]) if names else ("", [])
    if kind not in ("ws", "stream") or (kind == "stream" and streams):
        return None
    # Split before decoding: a stream name may itself hold an encoded slash.
    for key, _, value in (item.partition("=") for item in parts.query.split("&")):
        if key == "streams" and kind == "stream":
            streams = [unquote(name) for name in value.split("/")]
    chosen = tuple(name for name in streams if name)
    return Route(prefix == "market", kind == "stream", chosen)


class Session:
    """Subscriptions of one connection and the replies to its control messages."""

    def __init__(self, route: Route, max_streams: int = MAX_STREAMS) -> None:
        self.route = route
        self.stalled = False
        self.frames = 0
        self._max_streams = max_streams
        self._streams: dict[str, None] = {}
        self._recent: deque[float] = deque()
        self.trade_symbols: tuple[str, ...] = ()
        self.mark_streams: tuple[tuple[str, str, int], ...] = ()
        self.overfull = not self._subscribe(list(route.streams))

    def too_fast(self, now_s: float) -> bool:
        """Count a client message; true when more than ten came within a second."""
        self._recent.append(now_s)
        while self._recent[0] <= now_s - 1.0:
            self._recent.popleft()
        return len(self._recent) > MAX_MESSAGES_A_SECOND

    def reply(self, text: str | bytes) -> str:
        """The answer to one control message; errors are nested where the id is known."""
        try:
            request = json.loads(text)
        except ValueError as error:
            return _error(3, f"Invalid JSON: {error}", None)
        if not isinstance(request, dict):
            return _error(2, "Invalid request: expected an object", None)
        number = request.get("id")
        if number is not None and not isinstance(number, int | str):
            return _error(2, "Invalid request: request ID must be an unsigned integer", None)
        method, params = request.get("method"), request.get("params", [])
        if method is None:
            return _error(2, "Invalid request: missing field `method`", number)
        if method not in _METHODS:
            wanted = ", ".join(f"`{name}`" for name in _METHODS)
            text = f"Invalid request: unknown variant `{method}`, expected one of {wanted}"
            return _error(2, text, number)
        if method == "LIST_SUBSCRIPTIONS":
            return _dumped({"result": list(self._streams), "id": number})
        if not isinstance(params, list) or not all(isinstance(p, str) for p in params):
            return _error(2, "Invalid request: params must be an array of strings", number)
        return self._change(method, params, number)

    def _change(self, method: str, params: list[str], number: int | str | None) -> str:
        if method == "UNSUBSCRIBE":
            for name in params:
                self._streams.pop(name, None)
            self._sort_out()
        elif not self._subscribe(params):
            text = f"Invalid request: more than {self._max_streams} streams on one connection"
            return _error(2, text, number)
        return _dumped({"result": None, "id": number})

    def _subscribe(self, names: list[str]) -> bool:
        wanted = self._streams | dict.fromkeys(names)
        if len(wanted) > self._max_streams:
            return False
        self._streams = wanted
        self._sort_out()
        return True

    def _sort_out(self) -> None:
        """What of the streams we serve; unknown names are acknowledged and silent, as there."""
        trades, marks = [], []
        for name in self._streams if self.route.live else ():
            symbol, _, kind = name.partition("@")
            if symbol not in SYMBOLS:
                continue
            if kind == "aggTrade":
                trades.append(symbol)
            elif kind in ("markPrice", "markPrice@1s"):
                marks.append((name, symbol, 1_000 if kind.endswith("@1s") else 3_000))
        self.trade_symbols, self.mark_streams = tuple(trades), tuple(marks)


def _dumped(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _error(code: int, text: str, number: int | str | None) -> str:
    error = {"code": code, "msg": text}
    return _dumped(error if number is None else {"error": error, "id": number})
