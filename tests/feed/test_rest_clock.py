"""The exchange's clock, measured around the request and not around the waiting for it."""

from __future__ import annotations

import httpx
import pytest
from rest_calls import NOW_S, FakeTime, always, ask

from core.errors import BadMessage
from core.feed.rest import RestClient, ServerTime

NOW_MS = int(NOW_S * 1000)


def test_the_middle_of_the_request_is_measured() -> None:
    fake = FakeTime()

    def answer(request: httpx.Request) -> httpx.Response:
        fake.now_s += 0.5
        told_ms = int(fake.now_s * 1000) + 7000
        fake.now_s += 0.5
        return httpx.Response(200, json={"serverTime": told_ms})

    told = ask(answer, RestClient.fetch_time, time=fake)
    assert told == ServerTime(NOW_MS + 7500, NOW_MS + 500, 1.0)


def test_waiting_for_weight_is_no_part_of_it() -> None:
    fake = FakeTime()

    def answer(request: httpx.Request) -> httpx.Response:
        body = {"serverTime": int(fake.now_s * 1000) + 7000}
        return httpx.Response(200, json=body, headers={"X-MBX-USED-WEIGHT-1M": "2400"})

    async def call(client: RestClient) -> ServerTime:
        await client.fetch_time()
        return await client.fetch_time()

    told = ask(answer, call, time=fake)
    assert fake.slept == [60.0]
    assert told == ServerTime(NOW_MS + 67_000, NOW_MS + 60_000, 0.0)


def test_a_clock_set_back_meanwhile_shows_as_a_slow_answer() -> None:
    fake = FakeTime()

    def answer(request: httpx.Request) -> httpx.Response:
        fake.now_s -= 3600
        return httpx.Response(200, json={"serverTime": NOW_MS})

    assert ask(answer, RestClient.fetch_time, time=fake).round_trip_s == 3600


@pytest.mark.parametrize("odd", [7, -1, 2**62, 1_420_070_399_999, 4_102_444_800_000, True, "now"])
def test_a_time_outside_of_this_century_is_none(odd: object) -> None:
    with pytest.raises(BadMessage, match="time"):
        ask(always(body={"serverTime": odd}), RestClient.fetch_time)
