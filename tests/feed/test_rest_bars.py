"""The answers of klines and fundingRate, and the requests behind them."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime

import httpx
import pytest
from rest_calls import FakeTime, always, ask

from core.errors import BadMessage, ConfigError, Refused
from core.feed.rest import RestClient
from core.feed.rest_bars import (
    FUNDING_REQUESTS,
    MINUTE_MS,
    BarsClient,
    klines_weight,
    parse_funding,
    parse_klines,
)
from core.models import KLINE_SCHEMA

FIRST_MS = 1_790_000_040_000


def row(minute: int, **changes: object) -> list[object]:
    """One bar as the exchange writes it; every field has a value of its own."""
    ts = FIRST_MS + minute * MINUTE_MS
    fields: dict[str, object] = {
        "t": ts, "o": "10.5", "h": "12", "l": "9", "c": "11", "v": "7", "T": ts + MINUTE_MS - 1,
        "q": "75.25", "n": 4, "V": "3", "Q": "33.5", "B": "0",
    }  # fmt: skip
    return list((fields | changes).values())


def parsed(*rows: object, minutes: int = 10):
    body = json.dumps(rows).encode()
    return parse_klines("btcusdt", body, first_ms=FIRST_MS, end_ms=FIRST_MS + minutes * MINUTE_MS)


def test_a_bar_is_read_field_by_field() -> None:
    page = parsed(row(0), row(1))
    assert dict(page.klines.schema) == KLINE_SCHEMA
    assert page.klines.row(0) == (
        "btcusdt", datetime(2026, 9, 21, 14, 14), 10.5, 12.0, 9.0, 11.0, 7.0, 75.25, 4, 3.0,
    )  # fmt: skip
    assert (page.last_ms, page.unusable) == (FIRST_MS + MINUTE_MS, 0)


def test_minutes_without_trades_are_dropped_but_count_as_answered() -> None:
    page = parsed(row(0), row(1, n=0, v="0", q="0", V="0", Q="0"))
    assert len(page.klines) == 1
    assert page.last_ms == FIRST_MS + MINUTE_MS


def test_minutes_outside_of_what_was_asked_are_left_out() -> None:
    """The unfinished minute above all: it begins where the span ends."""
    page = parsed(row(-1), row(0), row(2), minutes=2)
    assert page.klines["ts"].dt.epoch("ms").to_list() == [FIRST_MS]
    assert page.last_ms == FIRST_MS


def test_rows_come_sorted_and_once() -> None:
    page = parsed(row(3), row(1), row(1, c="10"))
    assert page.klines["close"].to_list() == [10.0, 11.0]


@pytest.mark.parametrize(
    "changes",
    [
        {"t": "1790000040000"}, {"t": FIRST_MS + 1}, {"t": 5}, {"n": -1}, {"n": "4"}, {"n": True},
        {"o": "0"}, {"h": "nan"}, {"l": "-1"}, {"c": "1e12"}, {"c": None}, {"h": "10"},
        {"l": "10.75"}, {"v": "-7"}, {"v": "inf"}, {"q": "nan"}, {"V": "8"}, {"V": "x"},
    ],
)  # fmt: skip
def test_a_bar_that_cannot_be_right_is_left_out_and_counted(changes: dict[str, object]) -> None:
    page = parsed(row(0, **changes), row(1))
    assert page.unusable == 1
    assert page.klines["ts"].dt.epoch("ms").to_list() == [FIRST_MS + MINUTE_MS]


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b"[[1,2]]", b'{"code":1}', b"<html>"])
def test_a_body_that_holds_no_bars_is_told_of(body: bytes) -> None:
    with pytest.raises(BadMessage, match="bars of btcusdt"):
        parse_klines("btcusdt", body, first_ms=0, end_ms=1)


def test_funding_rates_are_read_oldest_first_and_once() -> None:
    good = {"fundingTime": FIRST_MS, "fundingRate": "0.0003", "markPrice": "9.5"}
    rows = [
        {"fundingTime": FIRST_MS + 8, "fundingRate": "-0.0001", "markPrice": ""},
        good,
        good,
        good | {"fundingTime": "x"},
        good | {"fundingTime": FIRST_MS + 9, "fundingRate": "nan"},
        good | {"fundingTime": FIRST_MS + 9, "fundingRate": "7"},
        [],
    ]
    found = parse_funding("BTCUSDT", json.dumps(rows).encode())
    assert [(r.symbol, r.ts_ms, r.rate, r.mark_price) for r in found] == [
        ("btcusdt", FIRST_MS, 0.0003, 9.5),
        ("btcusdt", FIRST_MS + 8, -0.0001, None),
    ]
    with pytest.raises(BadMessage, match="funding rates of btcusdt"):
        parse_funding("btcusdt", b"{}")


# -- requests ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "weight"), [(1, 1), (99, 1), (100, 2), (499, 2), (500, 5), (1000, 5), (1500, 10)]
)
def test_a_page_weighs_what_the_exchange_says(rows: int, weight: int) -> None:
    assert klines_weight(rows) == weight


def test_requests_name_what_the_exchange_expects() -> None:
    urls: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        urls.append(request.url)
        return httpx.Response(200, json=[])

    async def call(client: RestClient) -> int:
        bars = BarsClient(client)
        await bars.fetch_minutes("币安人生usdt", first_ms=FIRST_MS, minutes=1500)
        used = client.weight_used
        await bars.fetch_funding("btcusdt", start_ms=FIRST_MS, end_ms=FIRST_MS + 9)
        assert client.weight_used == used
        return used

    assert ask(answer, call) == 10
    assert dict(urls[0].params) == {
        "symbol": "币安人生USDT",
        "interval": "1m",
        "startTime": str(FIRST_MS),
        "endTime": str(FIRST_MS + 1500 * MINUTE_MS - 1),
        "limit": "1500",
    }
    assert dict(urls[1].params) == {
        "symbol": "BTCUSDT",
        "startTime": str(FIRST_MS),
        "endTime": str(FIRST_MS + 8),
        "limit": "1000",
    }
    assert [url.path for url in urls] == ["/fapi/v1/klines", "/fapi/v1/fundingRate"]


@pytest.mark.parametrize(("first_ms", "minutes"), [(FIRST_MS, 0), (FIRST_MS, 1501), (1, 5)])
def test_what_the_exchange_would_not_answer_is_not_asked(first_ms: int, minutes: int) -> None:
    with pytest.raises(ConfigError, match="whole minutes"):
        ask(
            always(200, []),
            lambda c: BarsClient(c).fetch_minutes("x", first_ms=first_ms, minutes=minutes),
        )


def test_a_refusal_is_told_as_one() -> None:
    with pytest.raises(Refused):
        ask(
            always(400, {"code": -1121, "msg": "Invalid symbol."}),
            lambda c: BarsClient(c).fetch_minutes("x", first_ms=FIRST_MS, minutes=1),
        )


def test_funding_keeps_its_own_limit_of_requests() -> None:
    fake = FakeTime()

    async def call(client: RestClient) -> None:
        bars = BarsClient(client, clock=fake.clock, sleep=fake.sleep)
        for _ in range(FUNDING_REQUESTS + 1):
            await bars.fetch_funding("btcusdt", start_ms=0, end_ms=1)

    ask(always(200, []), call, time=fake)
    assert fake.slept == [300.0]


def test_urgent_bars_find_room_that_a_long_backfill_has_left_them() -> None:
    fake = FakeTime()

    async def call(client: RestClient) -> None:
        for _ in range(3):
            await client.fetch_trades("btcusdt", from_id=5)
        before = list(fake.slept)
        await BarsClient(client).fetch_minutes(
            "btcusdt", first_ms=FIRST_MS, minutes=1500, is_urgent=True
        )
        assert fake.slept == before == []
        await client.fetch_trades("btcusdt", from_id=5)
        assert fake.slept == [60.0]

    ask(always(200, []), call, time=fake, weight_per_minute=100, spare=20)


def test_others_let_an_urgent_request_go_first() -> None:
    fake, order = FakeTime(), []

    def answer(request: httpx.Request) -> httpx.Response:
        order.append(request.url.path.rpartition("/")[2])
        return httpx.Response(200, json=[])

    async def call(client: RestClient) -> None:
        bars = BarsClient(client)
        for _ in range(4):
            await client.fetch_trades("btcusdt", from_id=5)
        waiting = asyncio.create_task(
            bars.fetch_minutes("x", first_ms=FIRST_MS, minutes=1500, is_urgent=True)
        )
        await asyncio.sleep(0)
        await asyncio.gather(waiting, client.fetch_trades("btcusdt", from_id=5))

    async def sleep(delay_s: float) -> None:
        await fake.sleep(delay_s)
        await asyncio.sleep(0)

    ask_with(answer, call, fake, sleep)
    assert order == ["aggTrades"] * 4 + ["klines", "aggTrades"]


def ask_with(answer, call, fake: FakeTime, sleep) -> None:
    async def main() -> None:
        client = RestClient(
            "https://rest.test",
            transport=httpx.MockTransport(answer),
            clock=fake.clock,
            sleep=sleep,
            weight_per_minute=100,
        )
        await call(client)
        await client.aclose()

    asyncio.run(main())


def test_a_slow_exchange_is_left_alone_for_a_while() -> None:
    fake, took_s = FakeTime(), [0.2]

    def answer(request: httpx.Request) -> httpx.Response:
        fake.now_s += took_s[0]
        return httpx.Response(200, json=[])

    async def call(client: RestClient) -> list[float]:
        bars, found = BarsClient(client), []
        for took_s[0] in (0.2, 4.0, 1000.0):
            await bars.fetch_minutes("btcusdt", first_ms=FIRST_MS, minutes=1)
            found.append(round(bars.manners_s(), 3))
        return found

    assert ask(answer, call, time=fake) == [0.0, 7.0, 30.0]
