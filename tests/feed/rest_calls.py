"""Calls of a REST client whose requests are answered by a function, on a clock that only sleeps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from core.feed.rest import RestClient

NOW_S = 1_730_612_340.0  # a whole minute
ROW = {"a": 5, "p": "1.5", "q": "2", "T": 1_730_612_345_120, "m": False, "f": 1, "l": 1}


class FakeTime:
    def __init__(self) -> None:
        self.now_s = NOW_S
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now_s

    async def sleep(self, delay_s: float) -> None:
        self.slept.append(delay_s)
        self.now_s += delay_s


Answer = Callable[[httpx.Request], httpx.Response]


def ask(
    answer: Answer,
    call: Callable[[RestClient], Awaitable[Any]],
    *,
    time: FakeTime | None = None,
    **options: Any,
) -> Any:
    """Run one call of a client whose requests are answered by a function."""
    fake = time or FakeTime()

    async def run() -> Any:
        client = RestClient(
            "https://rest.test",
            transport=httpx.MockTransport(answer),
            clock=fake.clock,
            sleep=fake.sleep,
            **options,
        )
        try:
            return await call(client)
        finally:
            await client.aclose()

    return asyncio.run(run())


def always(status: int = 200, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda request: httpx.Response(status, content=content, headers=headers)


def fetch(client: RestClient) -> Awaitable[Any]:
    return client.fetch_trades("btcusdt", from_id=5)
