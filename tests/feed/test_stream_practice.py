"""The feed from its sockets inwards against the practice exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl
import pytest

from core.errors import FeedLost, RateLimited, Refused, Restricted
from core.feed import line
from core.feed.messages import Parsed, parse_frames
from core.feed.practice.server import PracticeExchange
from core.feed.rest import RestClient
from core.feed.stream import StreamPool

START_MS = 1_790_000_000_000
SYMBOLS = ("btcusdt", "ethusdt", "币安人生usdt")


def quick() -> Iterator[float]:
    while True:
        yield 0.05


class Feed:
    def __init__(self, exchange: PracticeExchange, **options: Any) -> None:
        self.parts: list[Parsed] = []
        given: dict[str, Any] = {"delays": quick, "batch_s": 0.02, "silence_s": 3.0, **options}
        self.pool = StreamPool(exchange.ws_url, self.take, **given)
        self.pool.set_symbols(SYMBOLS)

    def take(self, frames: list[bytes]) -> None:
        self.parts.append(parse_frames(frames, set(SYMBOLS)))

    def trades(self, symbol: str) -> pl.DataFrame:
        frames = [part.trades for part in self.parts]
        every = pl.concat(frames) if frames else parse_frames([], None).trades
        return every.filter(pl.col("symbol") == symbol).unique("agg_id").sort("agg_id")

    def held(self) -> int:
        return sum(part.trades.height for part in self.parts)

    def rejects(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for part in self.parts:
            for kind, count in part.rejects.items():
                counts[kind] = counts.get(kind, 0) + count
        return counts


async def until(condition: Callable[[], object], within_s: float = 8.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.02)


async def missing(feed: Feed, client: RestClient, symbol: str) -> int:
    """Compare what came with what the exchange has for the same ids; return how much lacks."""
    came = feed.trades(symbol)
    first, last = came["agg_id"].min(), came["agg_id"].max()
    assert isinstance(first, int)
    assert isinstance(last, int)
    page = await client.fetch_trades(symbol, from_id=first, limit=min(1000, last - first + 1))
    truth = page.trades.drop("source")
    both = came.drop("source").filter(pl.col("agg_id") <= page.last_id)
    assert both.equals(truth.filter(pl.col("agg_id").is_in(both["agg_id"].implode())))
    return truth.height - both.height


def play(
    scene: Callable[[PracticeExchange, Feed, RestClient], Any],
    settings: dict[str, Any] | None = None,
    **options: Any,
) -> None:
    async def run() -> None:
        given: dict[str, Any] = {"rate": 300.0, "start_ms": START_MS, **(settings or {})}
        async with PracticeExchange(**given) as exchange:
            feed = Feed(exchange, **options)
            client = RestClient(exchange.rest_url)
            task = asyncio.create_task(feed.pool.run())
            try:
                await scene(exchange, feed, client)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await client.aclose()

    asyncio.run(run())


def test_every_trade_comes_once_and_equals_the_exchange_s_history() -> None:
    async def scene(exchange: PracticeExchange, feed: Feed, client: RestClient) -> None:
        await until(lambda: all(feed.trades(symbol).height > 20 for symbol in SYMBOLS[:2]))
        await until(lambda: sum(len(part.marks) for part in feed.parts) >= 3)
        assert feed.rejects() == {}
        assert sum(len(part.replies) for part in feed.parts) == 1
        for symbol in SYMBOLS[:2]:
            assert await missing(feed, client, symbol) == 0
        events = [part.event_ms for part in feed.parts if part.event_ms]
        assert abs(max(events[-1].values()) - exchange.now_ms()) < 2000

    play(scene)


def test_malformed_frames_are_counted_and_never_fatal() -> None:
    async def scene(exchange: PracticeExchange, feed: Feed, client: RestClient) -> None:
        exchange.faults.set(malformed_prob=0.5)
        await until(lambda: len(feed.rejects()) >= 5)
        exchange.faults.clear()
        before = feed.held()
        await until(lambda: feed.held() > before + 20)
        (status,) = feed.pool.status()
        assert (status.state, status.reconnects) == ("live", 0)
        assert await missing(feed, client, "btcusdt") > 0
        assert feed.trades("btcusdt")["price"].min() > 0  # type: ignore[operator]

    play(scene)


def test_duplicates_and_disorder_change_nothing() -> None:
    async def scene(exchange: PracticeExchange, feed: Feed, client: RestClient) -> None:
        exchange.faults.set(duplicate_prob=0.3, reorder=True)
        await until(lambda: feed.held() > 200)
        # A batch may still be out of order at its end: let it come whole.
        exchange.faults.clear()
        before = feed.held()
        await until(lambda: feed.held() > before + 20)
        assert feed.held() > sum(feed.trades(symbol).height for symbol in SYMBOLS)
        assert await missing(feed, client, "btcusdt") == 0

    play(scene)


def test_dropped_and_refused_connections_come_back() -> None:
    async def scene(exchange: PracticeExchange, feed: Feed, client: RestClient) -> None:
        exchange.faults.set(drop_every_frames=40)
        await until(lambda: feed.held() > 0)
        await until(lambda: feed.pool.status()[0].reconnects >= 2)
        exchange.faults.set(refuse="503", drop_every_frames=1)
        await until(lambda: "HTTP 503" in feed.pool.status()[0].last_error)
        exchange.faults.clear()
        before = feed.held()
        await until(lambda: feed.held() > before)
        assert feed.rejects() == {}

    play(scene)


def test_a_stalled_connection_is_replaced() -> None:
    async def scene(exchange: PracticeExchange, feed: Feed, client: RestClient) -> None:
        await until(lambda: feed.held() > 0)
        exchange.faults.set(stall=True)
        await until(lambda: feed.pool.status()[0].state == "silent")
        exchange.faults.clear()
        await until(lambda: feed.pool.status()[0].state == "live")
        assert feed.pool.status()[0].reconnects >= 1

    play(scene, silence_s=1.5)


def test_recycling_before_the_server_closes_misses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(line, "_OVERLAP_S", 0.3)

    async def scene(exchange: PracticeExchange, feed: Feed, client: RestClient) -> None:
        await asyncio.sleep(2.6)
        (status,) = feed.pool.status()
        assert (status.reconnects, status.last_error) == (0, "")
        assert status.connected_age_s is not None
        assert status.connected_age_s < 2.0
        assert await missing(feed, client, "btcusdt") == 0
        assert await missing(feed, client, "ethusdt") == 0

    play(scene, {"close_after_s": 2.0}, recycle_s=0.6)


def test_rest_tells_contracts_times_pages_and_voids() -> None:
    async def scene(exchange: PracticeExchange, feed: Feed, client: RestClient) -> None:
        infos = await client.fetch_exchange_info()
        tradable = {info.symbol for info in infos if info.is_tradable}
        assert tradable >= set(SYMBOLS)
        assert len(tradable) < len(infos)
        assert all(info.tick_size > 0 and info.step_size > 0 for info in infos)
        assert abs((await client.fetch_time()).exchange_ms - exchange.now_ms()) < 5000
        page = await client.fetch_trades_between(
            "btcusdt", start_ms=START_MS - 60_000, end_ms=START_MS - 1
        )
        assert page.rows > 0
        assert page.first_id == exchange.market.first_id("btcusdt", START_MS - 60_000)
        void = page.trades["agg_id"][1]
        exchange.faults.set(void_ids=(f"btcusdt:{void}",))
        again = await client.fetch_trades("btcusdt", from_id=page.trades["agg_id"][0], limit=3)
        assert (again.unusable, again.rows, again.trades.height) == ([void], 3, 2)
        newest = await client.fetch_newest_trades("btcusdt", 5)
        assert newest.rows == 5
        assert client.weight_used >= 60

    play(scene)


def test_rest_failures_are_told_apart() -> None:
    async def scene(exchange: PracticeExchange, feed: Feed, client: RestClient) -> None:
        with pytest.raises(Refused, match="-1121"):
            await client.fetch_newest_trades("nosuchusdt", 1)
        exchange.faults.set(rest_status=451)
        with pytest.raises(Restricted):
            await client.fetch_time()
        exchange.faults.set(rest_status=500)
        with pytest.raises(FeedLost):
            await client.fetch_time()
        exchange.faults.set(rest_status=0, slow_rest_s=0.8)
        slow = RestClient(exchange.rest_url, timeout_s=0.2)
        with pytest.raises(FeedLost, match=r"within 0\.2 s"):
            await slow.fetch_time()
        await slow.aclose()
        exchange.faults.set(slow_rest_s=0.0, rest_status=429)
        for _ in range(2):
            with pytest.raises(RateLimited):
                await client.fetch_time()

    play(scene)
