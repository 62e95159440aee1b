"""The REST shell against a transport that answers from memory, and the pure weight budget."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from rest_calls import NOW_S, ROW, Answer, FakeTime, always, ask, fetch

from core.errors import (
    BadMessage,
    ConfigError,
    FeedError,
    FeedLost,
    RateLimited,
    Refused,
    Restricted,
)
from core.feed.addresses import is_loopback
from core.feed.rest import RestClient
from core.feed.weights import WeightBudget, retry_at_ms, used_weight


def test_requests_name_what_the_exchange_expects() -> None:
    urls: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        urls.append(request.url)
        return httpx.Response(200, json=[ROW])

    async def call(client: RestClient) -> None:
        await client.fetch_trades("币安人生usdt", from_id=5, limit=10)
        await client.fetch_trades_between("btcusdt", start_ms=0, end_ms=3_599_999)
        page = await client.fetch_newest_trades("btcusdt", 7)
        assert (page.first_id, page.last_id, page.rows) == (5, 5, 1)

    ask(answer, call)
    assert dict(urls[0].params) == {"symbol": "币安人生USDT", "limit": "10", "fromId": "5"}
    assert b"%E5%B8%81" in urls[0].raw_path
    assert dict(urls[1].params) == {
        "symbol": "BTCUSDT",
        "limit": "1000",
        "startTime": "0",
        "endTime": "3599999",
    }
    assert dict(urls[2].params) == {"symbol": "BTCUSDT", "limit": "7"}
    assert {url.path for url in urls} == {"/fapi/v1/aggTrades"}


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.fetch_trades("x", from_id=-1),
        lambda client: client.fetch_trades("x", from_id=0, limit=1001),
        lambda client: client.fetch_newest_trades("x", 0),
        lambda client: client.fetch_trades_between("x", start_ms=0, end_ms=3_600_000),
        lambda client: client.fetch_trades_between("x", start_ms=1, end_ms=0),
        lambda client: client.wait_for_weight(1921),
    ],
)
def test_questions_that_the_exchange_refuses_are_not_asked(call: Any) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise AssertionError("nothing is sent")

    with pytest.raises(ConfigError):
        ask(answer, call)


def test_info_and_identity() -> None:
    info = {"symbols": [], "practice": {"venue": "practice:7"}}
    assert ask(always(body=info), RestClient.fetch_exchange_info) == []
    assert ask(always(body=info), RestClient.fetch_identity) == "practice:7"
    assert ask(always(body={"symbols": []}), RestClient.fetch_identity) is None


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (always(451, {"code": 0, "msg": "restricted"}), Restricted, "does not serve this location"),
        (always(403, b"<html>"), Restricted, "HTTP 403"),
        (always(500, b"oops"), FeedLost, "HTTP 500"),
        (always(503, {"code": -1001, "msg": "busy"}), FeedLost, "busy"),
        (always(400, {"code": -1121, "msg": "Invalid symbol."}), Refused, "-1121 Invalid symbol"),
        (always(200, {"code": -1128, "msg": "Bad combination"}), FeedError, "-1128"),
        (always(404, b"<html>not here"), FeedError, "HTTP 404 <html>not here"),
        (always(302, b""), FeedError, "HTTP 302"),
        (always(200, b"<html>log in to the hotel"), BadMessage, "not the trades"),
        (always(200, {"symbols": 1}), BadMessage, "not the trades"),
    ],
)
def test_answers_that_are_none_say_what_they_mean(answer: Answer, error: Any, words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        ask(answer, fetch)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    "failure",
    [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("cut")],
)
def test_a_lost_exchange_is_feed_lost(failure: Exception) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise failure

    with pytest.raises(FeedLost):
        ask(answer, fetch)


BANNED = {"code": -1003, "msg": f"Way too many requests; banned until {int(NOW_S + 120) * 1000}."}


@pytest.mark.parametrize(
    ("status", "headers", "body", "pause_s"),
    [
        (429, {"Retry-After": "7"}, BANNED, 7),
        (429, {}, BANNED, 120),
        (418, {}, BANNED, 120),
        (429, {}, {"code": -1003, "msg": "Too many requests"}, 60),
        (429, {}, b"<html>", 60),
        (400, {}, BANNED, 120),
        (429, {"Retry-After": "0"}, BANNED, 1),
        (418, {"Retry-After": "Sun, 03 Nov 2024 05:44:00 GMT"}, b"", 300),
    ],
)
def test_a_pause_is_kept_by_every_later_request(
    status: int, headers: dict[str, str], body: Any, pause_s: int
) -> None:
    asked = 0
    refuse = always(status, body, headers)

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        return refuse(request) if asked == 1 else httpx.Response(200, json=[ROW])

    fake = FakeTime()

    async def call(client: RestClient) -> None:
        for _ in range(3):
            with pytest.raises(RateLimited) as caught:
                await fetch(client)
            assert caught.value.retry_at_ms == int((NOW_S + pause_s) * 1000)
        assert asked == 1
        fake.now_s = NOW_S + pause_s
        await fetch(client)
        assert asked == 2

    ask(answer, call, time=fake)


def test_the_budget_holds_callers_back_until_the_next_minute() -> None:
    fake = FakeTime()
    sent: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(fake.now_s)
        return httpx.Response(200, json=[ROW])

    async def call(client: RestClient) -> None:
        await asyncio.gather(*(fetch(client) for _ in range(9)))
        assert client.weight_used == 20

    ask(answer, call, time=fake, weight_per_minute=200, share=0.4)
    # 80 weight a minute are four requests of 20.
    assert len(sent) == 9
    assert all(sum(start <= at < start + 60 for at in sent) <= 4 for start in sent)


def test_the_header_counts_what_others_spend() -> None:
    fake = FakeTime()
    answer = always(200, [ROW], {"X-MBX-USED-WEIGHT-1M": "1915"})

    async def call(client: RestClient) -> None:
        fake.now_s += 10
        await fetch(client)
        assert client.weight_used == 1915
        await client.wait_for_weight(5)
        assert fake.slept == []
        await fetch(client)
        assert fake.slept == [50.0]

    ask(answer, call, time=fake)


def test_budget_never_passes_its_limit_in_any_minute() -> None:
    budget = WeightBudget(100)
    now_s, sent = NOW_S + 30.0, []
    for step in range(60):
        while (delay_s := budget.delay_s(20, now_s)) > 0:
            now_s += delay_s
        budget.reserve(20, now_s)
        sent.append(now_s)
        budget.settle(20, now_s, None if step % 3 else 20)
        now_s += 0.7
    assert max(sum(start <= at < start + 60 for at in sent) for start in sent) == 5
    assert now_s - NOW_S < 12 * 60 + 31


def test_budget_forgets_the_header_when_the_minute_ends() -> None:
    budget = WeightBudget(100)
    budget.reserve(20, NOW_S)
    budget.settle(20, NOW_S, 100)
    assert budget.delay_s(20, NOW_S + 15) == 45.0
    assert budget.used(NOW_S + 60) == 0
    assert budget.delay_s(20, NOW_S + 60) == 0


def test_requests_under_way_count() -> None:
    budget = WeightBudget(100)
    budget.settle(0, NOW_S, 90)
    budget.reserve(10, NOW_S)
    assert budget.used(NOW_S) == 100
    assert budget.delay_s(1, NOW_S) > 0


@pytest.mark.parametrize("text", ["", "x", "-3", "1.5", "9" * 40])
def test_headers_that_make_no_sense_are_ignored(text: str) -> None:
    assert used_weight({"X-MBX-USED-WEIGHT-1M": text}) is None
    pause_ms = retry_at_ms({"Retry-After": text}, "", NOW_S) - int(NOW_S * 1000)
    assert 1000 <= pause_ms <= 7 * 86_400_000


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:1", True),
        ("ws://localhost:80", True),
        ("http://[::1]:1", True),
        ("https://fapi.binance.com", False),
        ("https://10.0.0.1", False),
    ],
)
def test_loopback(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected
