"""Whatever an exchange answers, a caller sees an error of the feed or a usable result."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rest_calls import NOW_S, ROW, always, ask, fetch

from core.errors import FeedError, FeedLost, Refused
from core.feed.rest import RestClient
from core.feed.rest_messages import (
    parse_exchange_info,
    parse_practice_venue,
    parse_rest_trades,
    parse_server_time,
    parse_weight_limit,
)
from core.feed.weights import retry_at_ms

PARSERS: list[Callable[[bytes], object]] = [
    lambda body: parse_rest_trades("btcusdt", body),
    parse_exchange_info,
    parse_weight_limit,
    parse_server_time,
    parse_practice_venue,
]
KEYS = st.sampled_from(
    "a p q T m symbols symbol status filters filterType tickSize stepSize notional rateLimits "
    "rateLimitType interval intervalNum limit serverTime practice venue code msg".split()
)
WORDS = st.sampled_from(
    ["PRICE_FILTER", "LOT_SIZE", "MIN_NOTIONAL", "REQUEST_WEIGHT", "MINUTE", "1e400", "nan", "1"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | WORDS
    | st.sampled_from([1, 10**30, 10**400, -(10**400), 2**53, 2**63]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=6),
    max_leaves=20,
)  # fmt: skip
FILTERS = st.lists(
    st.fixed_dictionaries({"filterType": WORDS}, optional={"stepSize": VALUES, "tickSize": VALUES}),
    max_size=3,
)
CONTRACTS = st.fixed_dictionaries(
    {"symbol": st.text(max_size=3) | VALUES, "status": st.just("TRADING")},
    optional={"filters": FILTERS | VALUES},
)
LIMITS = st.fixed_dictionaries(
    {"rateLimitType": WORDS, "interval": WORDS, "intervalNum": st.just(1), "limit": VALUES}
)
ROWS = st.fixed_dictionaries({"a": VALUES, "p": VALUES, "q": VALUES, "T": VALUES, "m": VALUES})
ANSWERS = (
    VALUES
    | st.lists(ROWS, max_size=3)
    | st.fixed_dictionaries(
        {"symbols": st.lists(CONTRACTS, max_size=3), "rateLimits": st.lists(LIMITS, max_size=3)}
    )
)


def survive(body: bytes) -> None:
    for parse in PARSERS:
        try:
            parse(body)
        except FeedError:
            pass


@given(st.binary(max_size=60))
@example(b"{oops")
@example(b'[{"a":"x"},')
@example(b'{"a":')
@example(b"[1,")
@example(b"[" * 100_000)
@example(b"1" * 5000)
@example(b'{"symbols":[' + b"[" * 900 + b"]" * 900 + b"]}")
@example(b'{"serverTime":"\\ud800","symbols":["\\ud800"]}')
def test_no_bytes_get_past_the_parsers(body: bytes) -> None:
    survive(body)


@given(ANSWERS, st.floats(0, 1))
@example({"symbols": [{"symbol": "a", "status": "", "filters": [
    {"filterType": "LOT_SIZE", "stepSize": 10**400}]}]}, 1.0)  # fmt: skip
def test_no_values_get_past_the_parsers(value: Any, kept: float) -> None:
    body = json.dumps(value).encode(errors="surrogatepass")
    survive(body)
    survive(body[: int(len(body) * kept)])


def call_everything(answer: Callable[[httpx.Request], httpx.Response]) -> None:
    for call in (
        fetch,
        RestClient.fetch_time,
        RestClient.fetch_exchange_info,
        RestClient.fetch_identity,
    ):
        try:
            ask(answer, call)
        except FeedError:
            pass


@given(
    st.sampled_from([200, 204, 302, 304, 400, 404, 418, 429, 451, 500, 599]),
    ANSWERS.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20),
    st.sampled_from(["Retry-After", "Location", "Content-Encoding", "X-MBX-USED-WEIGHT-1M"]),
    st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=20)
    | st.sampled_from(["gzip", "deflate", "mailto:a", "http://[::1"]),
)
def test_no_answer_gets_past_the_client(status: int, body: bytes, name: str, value: str) -> None:
    # A stream, since httpx would otherwise refuse to build the answer and not to read it.
    call_everything(
        lambda request: httpx.Response(status, headers={name: value}, stream=httpx.ByteStream(body))
    )


@pytest.mark.parametrize("location", ["mailto:a", "http://[::1", "http://a:b:c", "\x7f"])
def test_a_redirect_to_nowhere_is_feed_lost(location: str) -> None:
    with pytest.raises(FeedLost, match="cannot be reached"):
        ask(always(302, headers={"Location": location}), fetch)


@pytest.mark.parametrize(
    "failure", [httpx.InvalidURL("odd"), httpx.TooManyRedirects("round"), UnicodeError("odd")]
)
def test_whatever_the_library_raises_is_feed_lost(failure: Exception) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise failure

    with pytest.raises(FeedLost):
        ask(answer, fetch)


def test_a_refusal_nested_too_deep_to_be_written_out_is_told_by_its_status() -> None:
    body = b'{"code":-1,"msg":' + b"[" * 900 + b"]" * 900 + b"}"
    with pytest.raises(FeedError):
        ask(always(400, body), fetch)


@pytest.mark.parametrize(
    "text",
    ["Sun, 03 Nov 99999999999 05:44:00 GMT", "Sun, 03 Nov 0001 05:44:00", "Sun, 03 Nov 2024 0:0:0 "
     "+99999999999"],
)  # fmt: skip
def test_a_pause_until_no_time_is_a_pause(text: str) -> None:
    assert 1000 <= retry_at_ms({"Retry-After": text}, "", NOW_S) - NOW_S * 1000 <= 60_000


def test_a_refusal_carries_its_status_and_code() -> None:
    with pytest.raises(Refused) as caught:
        ask(always(400, {"code": -1121, "msg": "Invalid symbol."}), fetch)
    assert (caught.value.status, caught.value.code) == (400, -1121)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"code": -1128, "msg": "Bad combination"}),
        (404, {"msg": "no code"}),
        (404, {"code": True, "msg": "no number"}),
        (404, "<html>"),
        (500, {"code": -1000, "msg": "broken"}),
    ],
)
def test_what_is_no_refusal_is_none(status: int, body: Any) -> None:
    with pytest.raises(FeedError) as caught:
        ask(always(status, body), fetch)
    assert not isinstance(caught.value, Refused)


@pytest.mark.parametrize(
    ("limit", "budget"),
    [(1, 1920), (19, 1920), (24, 20), (100, 80), (10**400, 1920), (0, 1920), (-1, 1920)],
)
def test_one_page_of_trades_fits_whatever_the_limit(limit: int, budget: int) -> None:
    told = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1}
    info = json.dumps({"symbols": [], "rateLimits": [{**told, "limit": limit}]}).encode()

    def answer(request: httpx.Request) -> httpx.Response:
        is_info = request.url.path.endswith("exchangeInfo")
        return httpx.Response(200, content=info if is_info else json.dumps([ROW]))

    async def call(client: RestClient) -> int:
        await client.fetch_exchange_info()
        assert (await fetch(client)).rows == 1
        return client._budget.limit

    assert ask(answer, call) == budget
