"""The exchange's REST interface: one request, one answer or one error; retries are the caller's.

GET /fapi/v1/time          weight 1
GET /fapi/v1/exchangeInfo  weight 1
GET /fapi/v1/aggTrades     weight 20, at most 1000 rows, times less than an hour apart
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec

from core.errors import ConfigError, FeedError, FeedLost, RateLimited, Refused, Restricted
from core.feed.addresses import is_loopback
from core.feed.rest_messages import (
    RestPage,
    parse_exchange_info,
    parse_practice_venue,
    parse_rest_trades,
    parse_server_time,
    parse_weight_limit,
)
from core.feed.weights import WeightBudget, retry_at_ms, used_weight
from core.models import SymbolInfo

__all__ = ["PAGE_LIMIT", "TRADES_WEIGHT", "RestClient", "RestPage", "ServerTime"]

_log = logging.getLogger(__name__)

TRADES_WEIGHT = 20
PAGE_LIMIT = 1000
LONGEST_SPAN_MS = 3_600_000
_TOO_MANY_REQUESTS = -1003
_CONNECTIONS = 8
# How often a request looks again whether an urgent one has gone before it.
_AFTER_URGENT_S = 0.05


@dataclass(frozen=True, slots=True)
class ServerTime:
    """The exchange's clock at one moment of the client's, both epoch in milliseconds.

    ``local_ms`` is the middle of the request, so it is off by ``round_trip_s`` / 2 at most.
    """

    exchange_ms: int
    local_ms: int
    round_trip_s: float


@dataclass(frozen=True, slots=True)
class _Answer:
    """A good answer's body, and the client's clock before and after, epoch seconds."""

    body: bytes
    asked_s: float
    answered_s: float


class RestClient:
    """Asks the exchange within its weight budget; usable from one event loop.

    ``share`` of ``weight_per_minute``, or of what the exchange says itself, is spent at most, and
    ``spare`` of that by urgent requests alone: those never wait for a long job's next page.
    `answer_s` is how long the last answer took, waiting for weight aside.
    ``clock`` gives epoch seconds; ``transport``, ``clock`` and ``sleep`` are replaced in tests.
    """

    def __init__(
        self,
        rest_url: str,
        *,
        weight_per_minute: int = 2400,
        share: float = 0.8,
        spare: int = 0,
        timeout_s: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._url = rest_url.rstrip("/")
        self._timeout_s = timeout_s
        self._clock = clock
        self._sleep = sleep
        self._share = share
        self._spare = spare
        self._urgent = 0
        self.answer_s = 0.0
        self._budget = WeightBudget(int(weight_per_minute * share))
        self._blocked: RateLimited | None = None
        self._client = httpx.AsyncClient(
            base_url=self._url,
            timeout=timeout_s,
            transport=transport,
            trust_env=not is_loopback(self._url),
            limits=httpx.Limits(max_connections=_CONNECTIONS),
        )

    @property
    def weight_used(self) -> int:
        """The weight that counts against this minute's limit now."""
        return self._budget.used(self._clock())

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def fetch_time(self) -> ServerTime:
        """Return the exchange's clock and the client's, at the same moment."""
        # Taken around the request alone: waiting for weight first can take a minute.
        answer = await self._request("/fapi/v1/time", {}, weight=1)
        middle_s = (answer.asked_s + answer.answered_s) / 2
        return ServerTime(
            exchange_ms=parse_server_time(answer.body),
            local_ms=int(middle_s * 1000),
            # A clock that was set back meanwhile makes the sample as useless as a late answer.
            round_trip_s=abs(answer.answered_s - answer.asked_s),
        )

    async def fetch_exchange_info(self) -> list[SymbolInfo]:
        """Return all contracts, tradable or not; the weight limit told with them is taken up."""
        body = await self.get("/fapi/v1/exchangeInfo", {}, weight=1)
        if (limit := parse_weight_limit(body)) is not None:
            # One page of trades must fit, or nothing would ever be asked again.
            self._budget.limit = max(TRADES_WEIGHT, int(limit * self._share))
        return parse_exchange_info(body)

    async def fetch_identity(self) -> str | None:
        """Return the venue that a practice exchange says it is, None for the real one."""
        return parse_practice_venue(await self.get("/fapi/v1/exchangeInfo", {}, weight=1))

    async def fetch_trades(self, symbol: str, *, from_id: int, limit: int = PAGE_LIMIT) -> RestPage:
        """Return up to ``limit`` trades from the aggregate trade id ``from_id`` on."""
        if from_id < 0:
            raise ConfigError(f"from_id is {from_id}; trade ids start at 0")
        return await self._trades(symbol, limit, {"fromId": from_id})

    async def fetch_trades_between(
        self, symbol: str, *, start_ms: int, end_ms: int, limit: int = PAGE_LIMIT
    ) -> RestPage:
        """Return the first ``limit`` trades from ``start_ms`` to ``end_ms``, both inclusive.

        Raises ConfigError for a span of an hour or more, which the exchange refuses.
        """
        if not 0 <= end_ms - start_ms < LONGEST_SPAN_MS:
            raise ConfigError(
                f"The span from {start_ms} to {end_ms} is {end_ms - start_ms} ms; the exchange "
                f"answers spans from 0 to {LONGEST_SPAN_MS - 1} ms, so ask hour by hour"
            )
        return await self._trades(symbol, limit, {"startTime": start_ms, "endTime": end_ms})

    async def fetch_newest_trades(self, symbol: str, limit: int = PAGE_LIMIT) -> RestPage:
        """Return the newest ``limit`` trades."""
        return await self._trades(symbol, limit, {})

    async def get(
        self, path: str, params: dict[str, str | int], *, weight: int, is_urgent: bool = False
    ) -> bytes:
        """Return the body of one good answer; raises FeedError and its kinds."""
        return (await self._request(path, params, weight=weight, is_urgent=is_urgent)).body

    async def wait_for_weight(self, weight: int, *, is_urgent: bool = True) -> None:
        """Wait until ``weight`` fits into this minute's budget; nothing is set aside.

        While an urgent request waits, others let it go first.

        Raises RateLimited at once while the exchange has asked for a pause, and ConfigError for
        a weight that never fits.
        """
        if weight > self._budget.limit:
            raise ConfigError(
                f"A request of weight {weight} never fits a budget of {self._budget.limit} a "
                "minute; raise the weight per minute"
            )
        self._urgent += is_urgent
        try:
            while True:
                self._check_pause()
                delay_s = self._delay_s(weight, is_urgent)
                if delay_s <= 0:
                    return
                await self._sleep(delay_s)
        finally:
            self._urgent -= is_urgent

    def _delay_s(self, weight: int, is_urgent: bool) -> float:
        if is_urgent or not weight:
            return self._budget.delay_s(weight, self._clock())
        spare = min(self._spare, self._budget.limit - weight)
        delay_s = self._budget.delay_s(weight + spare, self._clock())
        return max(delay_s, _AFTER_URGENT_S) if self._urgent else delay_s

    async def _trades(self, symbol: str, limit: int, params: dict[str, int]) -> RestPage:
        if not 1 <= limit <= PAGE_LIMIT:
            raise ConfigError(f"limit is {limit}; the exchange gives 1 to {PAGE_LIMIT} trades")
        query: dict[str, str | int] = {"symbol": symbol.upper(), "limit": limit, **params}
        body = await self.get("/fapi/v1/aggTrades", query, weight=TRADES_WEIGHT)
        return parse_rest_trades(symbol, body)

    async def _request(
        self, path: str, params: dict[str, str | int], *, weight: int, is_urgent: bool = False
    ) -> _Answer:
        await self.wait_for_weight(weight, is_urgent=is_urgent)
        asked_s = self._clock()
        self._budget.reserve(weight, asked_s)
        told: int | None = None
        try:
            response = await self._client.get(path, params=params)
            told = used_weight(response.headers)
        except httpx.TimeoutException as error:
            raise FeedLost(
                f"{self._url}{path} did not answer within {self._timeout_s:g} s; it is tried "
                "again later"
            ) from error
        except Exception as error:
            # Not every answer that httpx stumbles over ends in an httpx.HTTPError: a redirect
            # to "mailto:a" is an InvalidURL. Whatever it is, there is no answer.
            raise FeedLost(
                f"{self._url}{path} cannot be reached: {error or type(error).__name__}. Check "
                "the connection and --rest-url"
            ) from error
        finally:
            self._budget.settle(weight, self._clock(), told)
        answered_s = self._clock()
        self.answer_s = abs(answered_s - asked_s)
        return _Answer(self._checked(path, response), asked_s, answered_s)

    def _checked(self, path: str, response: httpx.Response) -> bytes:
        """Return the body of a good answer; raise what a bad one means."""
        status, body = response.status_code, response.content
        code, text = _refusal(body)
        if status in (418, 429) or code == _TOO_MANY_REQUESTS:
            self._pause(path, response, text)
        if status in (403, 451):
            raise Restricted(
                f"The exchange does not serve this location or address (HTTP {status} from "
                f"{self._url}); run Perpduck from a place where Binance futures are available, "
                "or with --practice"
            )
        if status >= 500:
            raise FeedLost(f"{self._url}{path} answered HTTP {status}: {text}; try again later")
        refused = f"The exchange refused {response.request.url}"
        if code is not None and 400 <= status < 500:
            raise Refused(f"{refused}: {code} {text}", status=status, code=code)
        if status != 200 or code is not None:
            shown = f"{code} {text}" if code is not None else f"HTTP {status} {text}"
            raise FeedError(f"{refused}: {shown}")
        return body

    def _pause(self, path: str, response: httpx.Response, text: str) -> None:
        now_s = self._clock()
        retry_ms = retry_at_ms(response.headers, text, now_s)
        word = "has banned this address" if response.status_code == 418 else "asks for a pause"
        pause_s = retry_ms / 1000 - now_s
        error = RateLimited(
            f"The exchange {word} (HTTP {response.status_code} for {path}: {text}); nothing is "
            f"asked for {pause_s:.0f} s",
            retry_at_ms=retry_ms,
        )
        if self._blocked is None or retry_ms > self._blocked.retry_at_ms:
            self._blocked = error
        _log.warning("%s", error)
        raise error

    def _check_pause(self) -> None:
        if self._blocked is None:
            return
        if self._clock() * 1000 >= self._blocked.retry_at_ms:
            self._blocked = None
            return
        raise RateLimited(str(self._blocked), retry_at_ms=self._blocked.retry_at_ms)


def _refusal(body: bytes) -> tuple[int | None, str]:
    """Return the code and message of an error body; no code and an excerpt for anything else."""
    excerpt = body[:200].decode(errors="replace")
    if len(body) > 4096 or not body.lstrip().startswith(b"{"):
        return None, excerpt
    try:
        value: Any = msgspec.json.decode(body)
        code, text = value.get("code"), str(value.get("msg"))[:300]
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None, excerpt
    if not isinstance(code, int) or isinstance(code, bool) or "msg" not in value:
        return None, excerpt
    return code, text
