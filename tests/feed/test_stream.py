"""The live feed against small exchanges on loopback, each with one way to misbehave."""

from __future__ import annotations

import asyncio

import pytest
from small_exchange import Exchange, Feed, play, trade, until

from core.errors import ConfigError
from core.feed import line
from core.feed.session import FrameConnection
from core.feed.stream import StreamPool


def test_frames_arrive_for_every_symbol_and_follow_the_set() -> None:
    async def scene(exchange: Exchange, feed: Feed) -> None:
        assert feed.pool.status() == []
        feed.pool.set_symbols(["BTCUSDT", "币安人生usdt"])
        await until(lambda: feed.ids("btcusdt") and feed.ids("币安人生usdt"))
        assert exchange.paths == ["/market/stream"]
        status = feed.first
        assert (status.name, status.state, status.streams) == ("market-1", "live", 4)
        assert status.frames == len(feed.frames)
        assert status.last_frame_age_s is not None
        assert status.last_frame_age_s < 0.4
        assert (status.reconnects, status.last_error, status.restricted) == (0, "", False)
        feed.pool.set_symbols(["币安人生usdt", "ethusdt"])
        await until(lambda: feed.ids("ethusdt"))
        (streams,) = exchange.streams.values()
        await until(lambda: "btcusdt@aggTrade" not in streams)
        assert streams == {
            "币安人生usdt@aggTrade",
            "币安人生usdt@markPrice@1s",
            "ethusdt@aggTrade",
            "ethusdt@markPrice@1s",
        }
        assert len(exchange.clients) == 1
        ids = feed.ids("币安人生usdt")
        assert ids == set(range(min(ids), max(ids) + 1))
        feed.pool.set_symbols([])
        await until(lambda: not exchange.streams)
        assert feed.pool.status() == []

    play(scene)


def test_symbols_spread_over_connections_within_the_limit_of_streams() -> None:
    async def scene(exchange: Exchange, feed: Feed) -> None:
        feed.pool.set_symbols([f"s{number}usdt" for number in range(7)])
        await until(lambda: all(feed.ids(f"s{number}usdt") for number in range(7)))
        assert [status.streams for status in feed.pool.status()] == [6, 4, 4]
        assert max(len(streams) for streams in exchange.streams.values()) <= 6
        feed.pool.set_symbols(["s0usdt"])
        await until(lambda: len(exchange.streams) == 1)
        assert [status.streams for status in feed.pool.status()] == [2]

    play(scene, streams_per_connection=6)


def test_control_messages_keep_their_rate() -> None:
    async def scene(exchange: Exchange, feed: Feed) -> None:
        feed.pool.set_symbols(["x0usdt"])
        await until(lambda: exchange.messages)
        for number in range(1, 30):
            feed.pool.set_symbols([f"x{number}usdt"])
            await asyncio.sleep(0.05)
        await until(lambda: feed.ids("x29usdt"))
        times = [at for at, _ in exchange.messages]
        # The pool spaces by sending times, the exchange sees arrivals: a tenth of slack.
        assert max(sum(at <= other < at + 0.9 for other in times) for at in times) <= 6
        assert len(times) >= 10

    play(scene, control_per_s=6)


def test_a_silent_connection_is_replaced_although_it_acknowledged() -> None:
    async def scene(exchange: Exchange, feed: Feed) -> None:
        feed.pool.set_symbols(["ausdt", "busdt"])
        await until(lambda: feed.ids("ausdt") and feed.ids("busdt"))
        exchange.silent_clients.add(exchange.clients[0])
        await until(lambda: feed.first.state == "stalled")
        assert feed.pool.status()[1].state == "live"
        assert "no data for 0.4 s" in feed.first.last_error
        await until(lambda: feed.first.state == "live")
        assert [status.reconnects for status in feed.pool.status()] == [1, 0]
        before = max(feed.ids("ausdt"))
        await until(lambda: max(feed.ids("ausdt")) > before)

    play(scene, streams_per_connection=2)


def test_silence_everywhere_is_said_and_survived() -> None:
    async def scene(exchange: Exchange, feed: Feed) -> None:
        exchange.is_silent = True
        feed.pool.set_symbols(["ausdt", "busdt"])
        await until(lambda: {status.state for status in feed.pool.status()} == {"silent"})
        await until(lambda: feed.first.reconnects >= 2)
        exchange.is_silent = False
        await until(lambda: {status.state for status in feed.pool.status()} == {"live"})

    play(scene, streams_per_connection=2)


def test_a_lost_connection_comes_back() -> None:
    async def scene(exchange: Exchange, feed: Feed) -> None:
        feed.pool.set_symbols(["ausdt"])
        await until(lambda: feed.ids("ausdt"))
        await exchange.clients[0].close(1012, "restart")
        await until(lambda: feed.first.reconnects == 1 and feed.first.state == "live")
        assert feed.first.last_error == "the exchange closed the connection: 1012 restart"
        exchange.clients[1].transport.abort()
        await until(lambda: feed.first.reconnects == 2 and feed.first.state == "live")
        assert "broke off" in feed.first.last_error

    play(scene)


def test_the_end_is_polite_and_loses_no_frame() -> None:
    seen: list[Exchange] = []
    feeds: list[Feed] = []

    async def scene(exchange: Exchange, feed: Feed) -> None:
        seen.append(exchange)
        feeds.append(feed)
        feed.pool.set_symbols(["ausdt"])
        await until(lambda: exchange.streams and all(exchange.streams.values()))
        await asyncio.sleep(0.1)
        assert feed.frames == []  # they wait for the clock, which is far away

    play(scene, batch_s=30.0)
    assert seen[0].clients[0].close_code == 1000
    assert len(feeds[0].ids("ausdt")) > 3


def test_an_exchange_that_is_not_there_is_waited_for() -> None:
    async def run() -> None:
        exchange = Exchange()
        exchange.url = "ws://127.0.0.1:9"  # the discard port, where nobody listens
        feed = Feed(exchange)
        feed.pool.set_symbols(["ausdt"])
        task = asyncio.create_task(feed.pool.run())
        await until(lambda: feed.pool.status() and feed.first.last_error)
        assert feed.first.state in ("backing_off", "connecting")
        assert "cannot connect" in feed.first.last_error
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


@pytest.mark.parametrize("code", [451, 403])
def test_a_restricted_location_is_said_plainly_and_not_hammered(code: int) -> None:
    async def scene(exchange: Exchange, feed: Feed) -> None:
        exchange.status = code
        feed.pool.set_symbols(["ausdt"])
        await until(lambda: feed.pool.status() and feed.first.state == "restricted")
        assert feed.first.restricted
        assert "does not serve this location" in feed.first.last_error
        await asyncio.sleep(0.3)
        assert len(exchange.paths) == 1

    play(scene)


def test_a_refused_handshake_is_tried_again() -> None:
    async def scene(exchange: Exchange, feed: Feed) -> None:
        exchange.status = 503
        feed.pool.set_symbols(["ausdt"])
        await until(lambda: len(exchange.paths) >= 3)
        assert feed.first.state in ("refused", "connecting")
        assert "HTTP 503 not you" in feed.first.last_error
        exchange.status = None
        await until(lambda: feed.ids("ausdt"))
        assert feed.first.reconnects == 0

    play(scene)


def test_a_refused_subscription_is_said_and_tried_again() -> None:
    async def scene(exchange: Exchange, feed: Feed) -> None:
        exchange.refused_names = {"badusdt@aggTrade"}
        feed.pool.set_symbols(["badusdt", "goodusdt"])
        await until(lambda: feed.ids("goodusdt"))
        assert "the exchange refused SUBSCRIBE" in feed.first.last_error
        exchange.refused_names = set()
        await until(lambda: feed.ids("badusdt"))

    play(scene, control_per_s=10)


def test_recycling_overlaps_and_misses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "_OVERLAP_S", 0.1)

    async def scene(exchange: Exchange, feed: Feed) -> None:
        feed.pool.set_symbols(["ausdt"])
        await until(lambda: feed.pool.status() and feed.first.state == "recycling")
        await until(lambda: len(exchange.clients) >= 3)
        await until(lambda: feed.first.state == "live")
        ids = feed.ids("ausdt")
        assert ids == set(range(min(ids), max(ids) + 1))
        assert len(feed.frames) > len(ids)  # the overlap came twice
        assert feed.first.reconnects == 0

    play(scene, recycle_s=0.5)


def test_an_old_connection_stays_until_its_replacement_delivers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(line, "_READY_S", 0.2)

    async def scene(exchange: Exchange, feed: Feed) -> None:
        feed.pool.set_symbols(["ausdt"])
        await until(lambda: feed.ids("ausdt"))
        exchange.status = 500  # refused at first
        await until(lambda: "HTTP 500" in feed.first.last_error)
        assert feed.first.state == "live"
        exchange.status = None
        while len(exchange.clients) < 3:  # then admitted, but silent
            exchange.silent_clients.update(exchange.clients[1:])
            await asyncio.sleep(0)
        assert "delivered nothing" in feed.first.last_error
        ids = feed.ids("ausdt")
        assert ids == set(range(min(ids), max(ids) + 1))
        assert feed.first.reconnects == 0

    play(scene, recycle_s=0.4, silence_s=2.0)


def test_fragments_and_floods_are_read_like_everything_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("core.feed.session.BATCH_FRAMES", 100)

    async def scene(exchange: Exchange, feed: Feed) -> None:
        exchange.is_silent = True
        feed.pool.set_symbols(["ausdt"])
        await until(lambda: exchange.streams and all(exchange.streams.values()))
        whole = trade("ausdt@aggTrade", 5)
        client = exchange.clients[0]
        # One message in fragments before, one after the frames have been taken for the first time.
        await client.send([whole[:40].decode(), whole[40:].decode()])
        await until(lambda: 5 in feed.ids("ausdt"))
        whole = trade("ausdt@aggTrade", 6)
        await client.send([whole[:40].decode(), whole[40:].decode()])
        await until(lambda: 6 in feed.ids("ausdt"))
        for agg_id in range(10_000, 11_000):
            client.protocol.send_text(trade("ausdt@aggTrade", agg_id))
        client.send_data()
        await until(lambda: len(feed.ids("ausdt")) == 1002)
        assert feed.batches >= 4

    play(scene, batch_s=0.5, silence_s=5.0)


def test_what_fails_behind_the_feed_does_not_stop_it(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(exchange: Exchange, feed: Feed) -> None:
        pool = StreamPool(exchange.url, failing, batch_s=0.02)
        pool.set_symbols(["ausdt"])
        task = asyncio.create_task(pool.run())
        await until(lambda: calls > 2)
        assert pool.status()[0].state == "live"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    calls = 0

    def failing(frames: list[bytes]) -> None:
        nonlocal calls
        calls += 1
        raise RuntimeError("the buffer is broken")

    play(scene)
    assert "lost behind the feed" in caplog.text


def test_the_short_way_past_the_queue_still_exists() -> None:
    """websockets may change; then frames take the long way, and this test says so."""

    async def scene(exchange: Exchange, feed: Feed) -> None:
        seen: list[bytes] = []

        async def recv(self: FrameConnection, decode: bool | None = None) -> bytes:
            seen.append(await original(self, decode))
            return seen[-1]

        original = FrameConnection.recv
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FrameConnection, "recv", recv)
            feed.pool.set_symbols(["ausdt"])
            await until(lambda: len(feed.ids("ausdt")) > 5)
        assert seen == []

    play(scene)


@pytest.mark.parametrize("options", [{"streams_per_connection": 1}, {"control_per_s": 11}])
def test_settings_that_cannot_work_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        StreamPool("ws://127.0.0.1:1", lambda frames: None, **options)
