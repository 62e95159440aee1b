"""The WebSocket side against a real websockets client."""

import asyncio
import functools
import json
from collections import defaultdict
from typing import Any
from urllib.parse import quote

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus

from core.feed.practice.market import Market
from core.feed.practice.server import PracticeExchange

START = 1_795_305_600_000  # 2026-11-22 00:00 UTC


# An unbounded queue: a client that stops reading would wait long for the server's close frame.
connect = functools.partial(websocket, max_queue=None, close_timeout=1, compression=None)


async def ask(ws: ClientConnection, request: Any) -> Any:
    """Send a control message and wait for its reply between the frames."""
    await ws.send(request if isinstance(request, str) else json.dumps(request))
    while True:
        message = json.loads(await asyncio.wait_for(ws.recv(), 5))
        if not ({"stream", "e"} & set(message)):
            return message


async def ask_all(ws: ClientConnection, requests: list[Any]) -> list[Any]:
    return [await ask(ws, request) for request in requests]


async def trades(ws: ClientConnection, n: int, wait_s: float = 5.0) -> list[dict[str, Any]]:
    """The next n trade payloads, whichever envelope they have."""
    out: list[dict[str, Any]] = []
    async with asyncio.timeout(wait_s):
        while len(out) < n:
            message = json.loads(await ws.recv())
            payload = message.get("data", message)
            if payload.get("e") == "aggTrade":
                out.append(payload)
    return out


async def silent(ws: ClientConnection, seconds: float = 0.4) -> bool:
    try:
        await asyncio.wait_for(ws.recv(), seconds)
    except TimeoutError:
        return True
    return False


def test_combined_stream_delivers_consecutive_ids_of_the_market() -> None:
    async def run() -> None:
        async with PracticeExchange(rate=600, speed=20, start_ms=START) as ex:
            names = "/".join(f"{quote(s)}@aggTrade" for s in ("btcusdt", "币安人生usdt", "4usdt"))
            async with connect(f"{ex.ws_url}/market/stream?streams={names}") as ws:
                got = defaultdict(list)
                for trade in await trades(ws, 3_000):
                    got[trade["s"]].append(trade)
            assert set(got) == {"BTCUSDT", "币安人生USDT", "4USDT"}
            for wire, seen in got.items():
                ids = [t["a"] for t in seen]
                block = ex.market.trades(wire.lower(), ids[0], ids[-1])
                assert ids == block.agg_id.tolist()
                assert [t["T"] for t in seen] == block.ts_ms.tolist()
                assert [float(t["p"]) for t in seen] == block.price.tolist()
                assert [float(t["q"]) for t in seen] == block.size.tolist()
                assert [t["m"] for t in seen] == block.buyer_is_maker.tolist()

    asyncio.run(run())


def test_raw_path_streams_have_no_envelope_and_mark_prices_beat() -> None:
    async def run() -> None:
        async with PracticeExchange(rate=600, speed=10, start_ms=START) as ex:
            path = "/market/ws/ethusdt@aggTrade/btcusdt@markPrice@1s/ethusdt@markPrice"
            async with connect(ex.ws_url + path) as ws:
                seen = [json.loads(await ws.recv()) for _ in range(200)]
            kinds = {(m["e"], m["s"]) for m in seen}
            assert ("aggTrade", "ETHUSDT") in kinds
            beats = [m["E"] for m in seen if m["e"] == "markPriceUpdate" and m["s"] == "BTCUSDT"]
            slow = [m["E"] for m in seen if m["e"] == "markPriceUpdate" and m["s"] == "ETHUSDT"]
            assert all(t % 1_000 == 0 for t in beats)
            assert len(beats) > len(slow)

    asyncio.run(run())


def test_control_messages_and_their_errors() -> None:
    async def run() -> None:
        async with PracticeExchange(max_streams=5) as ex:
            async with connect(f"{ex.ws_url}/market/stream") as ws:
                subscribe = {"method": "SUBSCRIBE", "params": ["btcusdt@aggTrade", "x@y"], "id": 1}
                assert await ask(ws, subscribe) == {"result": None, "id": 1}
                wanted = {"result": ["btcusdt@aggTrade", "x@y"], "id": 3}
                assert await ask(ws, {"method": "LIST_SUBSCRIPTIONS", "id": 3}) == wanted
                gone = {"method": "UNSUBSCRIBE", "params": ["x@y"], "id": "two"}
                assert await ask(ws, gone) == {"result": None, "id": "two"}
                many = {"method": "SUBSCRIBE", "params": [f"{i}@aggTrade" for i in range(5)]}
                assert (await ask(ws, many))["code"] == 2
                bad = await ask(ws, {"method": "SUBSCRIBE", "params": [1], "id": 4})
                assert (bad["error"]["code"], bad["id"]) == (2, 4)
                assert (await ask(ws, "{nonsense"))["code"] == 3
                assert "unknown variant" in (await ask(ws, {"method": "x"}))["msg"]
                assert "missing field" in (await ask(ws, {"id": 9}))["error"]["msg"]

    asyncio.run(run())


def test_unsubscribing_silences() -> None:
    async def run() -> None:
        async with PracticeExchange(rate=600) as ex:
            async with connect(f"{ex.ws_url}/market/ws/btcusdt@aggTrade") as ws:
                await trades(ws, 1)
                await ask(ws, {"method": "UNSUBSCRIBE", "params": ["btcusdt@aggTrade"], "id": 1})
                assert await silent(ws, 0.3)

    asyncio.run(run())


@pytest.mark.parametrize("path", ["/ws", "/stream", "/public/stream"])
def test_unrouted_paths_acknowledge_and_stay_silent(path: str) -> None:
    async def run() -> None:
        async with PracticeExchange(rate=600) as ex, connect(ex.ws_url + path) as ws:
            params = ["btcusdt@aggTrade", "btcusdt@markPrice@1s"]
            reply = await ask(ws, {"method": "SUBSCRIBE", "params": params, "id": 1})
            assert reply == {"result": None, "id": 1}
            assert await silent(ws)

    asyncio.run(run())


def test_unknown_path_and_too_many_messages_and_streams() -> None:
    async def run() -> None:
        async with PracticeExchange(max_streams=2) as ex:
            with pytest.raises(InvalidStatus, match="404"):
                await connect(f"{ex.ws_url}/market/nothing")
            async with connect(f"{ex.ws_url}/market/ws") as ws:
                requests = [{"method": "LIST_SUBSCRIPTIONS", "id": i} for i in range(12)]
                with pytest.raises(ConnectionClosed) as caught:
                    await ask_all(ws, requests)
                assert caught.value.rcvd is not None
                assert caught.value.rcvd.code == 1008
            async with connect(f"{ex.ws_url}/market/ws/a@b/c@d/e@f") as ws:
                await ws.wait_closed()
                assert ws.close_code == 1008

    asyncio.run(run())


def test_server_pings_and_closes_at_the_end_of_life() -> None:
    async def run() -> None:
        async with PracticeExchange(ping_interval_s=0.1, close_after_s=0.6) as ex:
            async with connect(f"{ex.ws_url}/market/ws", ping_interval=None) as ws:
                pings = 0
                answer = ws.protocol.receive_data

                def counted(data: bytes) -> None:
                    nonlocal pings
                    pings += data[:1] == b"\x89"
                    answer(data)

                ws.protocol.receive_data = counted
                async with asyncio.timeout(3):
                    await ws.wait_closed()
                assert pings >= 2
                assert ws.close_code == 1001

    asyncio.run(run())


def test_a_reader_that_does_not_read_is_disconnected() -> None:
    async def run() -> None:
        options = {"rate": 20_000, "speed": 60, "start_ms": START, "max_buffer": 200_000}
        async with PracticeExchange(**options) as ex:
            async with connect(f"{ex.ws_url}/market/ws/btcusdt@aggTrade") as ws:
                ws.transport.pause_reading()
                async with asyncio.timeout(8):
                    while ex.connections:
                        await asyncio.sleep(0.05)
                ws.transport.abort()

    asyncio.run(run())


def test_restart_continues_the_ids_and_rest_knows_what_was_missed() -> None:
    async def seen(n: int) -> tuple[int, int]:
        async with PracticeExchange(rate=600) as ex:
            async with connect(f"{ex.ws_url}/market/ws/btcusdt@aggTrade") as ws:
                ids = [t["a"] for t in await trades(ws, n)]
        return ids[0], ids[-1]

    first, last = asyncio.run(seen(20))
    again, end = asyncio.run(seen(20))
    assert again > last
    missed = Market(7, 600).trades("btcusdt", first, end)
    assert missed.agg_id.tolist() == list(range(first, end + 1))


def test_midnight_is_an_ordinary_moment() -> None:
    async def run() -> None:
        async with PracticeExchange(rate=600, speed=20, start_ms=START - 8_000) as ex:
            async with connect(f"{ex.ws_url}/market/stream?streams=ethusdt@aggTrade") as ws:
                seen = await trades(ws, 100)
                while seen[-1]["T"] < START + 3_000:
                    seen += await trades(ws, 100)
        assert seen[0]["T"] < START
        assert [t["a"] for t in seen] == list(range(seen[0]["a"], seen[0]["a"] + len(seen)))

    asyncio.run(run())


def test_after_the_machine_slept_connections_are_gone_and_nothing_is_replayed() -> None:
    async def run() -> None:
        async with PracticeExchange(rate=600) as ex:
            async with connect(f"{ex.ws_url}/market/ws/btcusdt@aggTrade") as ws:
                await trades(ws, 1)
                awake = ex.now_ms
                ex.now_ms = lambda: awake() + 3_600_000  # type: ignore[method-assign]
                async with asyncio.timeout(3):
                    await ws.wait_closed()
            sent = ex.sent
            async with connect(f"{ex.ws_url}/market/ws/btcusdt@aggTrade") as ws:
                first = (await trades(ws, 1))[0]
            assert first["T"] > awake() + 3_590_000
            assert ex.sent - sent < 3_000

    asyncio.run(run())


def test_full_speed_sends_exactly_the_preload() -> None:
    async def run() -> None:
        options = {"rate": 500, "speed": None, "start_ms": START, "preload_trades": 5_000}
        async with PracticeExchange(**options, settle_s=0.05) as ex:
            assert ex.now_ms() == START - 1
            names = [f"{s}@aggTrade" for s in ex.market.symbols]
            async with connect(f"{ex.ws_url}/market/stream") as ws:
                await ws.send(json.dumps({"method": "SUBSCRIBE", "params": names[:10], "id": 1}))
                await ws.send(json.dumps({"method": "SUBSCRIBE", "params": names[10:], "id": 2}))
                got = await trades(ws, 5_000)
                assert await silent(ws, 0.3)
            whole = ex.preloaded
            assert whole is not None
            assert ex.sent == whole.frames == 5_000
            assert [t["T"] for t in got] == sorted(t["T"] for t in got)
            assert ex.now_ms() == whole.last_ms == got[-1]["T"]
            for symbol in ex.market.symbols:
                ids = [t["a"] for t in got if t["s"] == symbol.upper()]
                assert ids == list(range(whole.first_ids[symbol], whole.end_ids[symbol]))
                assert whole.first_ids[symbol] == ex.market.first_id(symbol, START)
                assert ex.end_id(symbol) == whole.end_ids[symbol]
            assert ex.reports[0].frames == 5_000
            async with connect(f"{ex.ws_url}/market/ws/ethusdt@aggTrade") as ws:
                raw = await trades(ws, whole.end_ids["ethusdt"] - whole.first_ids["ethusdt"])
                assert raw == [t for t in got if t["s"] == "ETHUSDT"]
                assert await silent(ws, 0.2)

    asyncio.run(run())


def test_full_speed_loops_on_demand() -> None:
    async def run() -> None:
        options = {"speed": None, "start_ms": START, "preload_trades": 300, "settle_s": 0.0}
        async with PracticeExchange(**options, loop_preload=True) as ex:
            names = "/".join(f"{quote(s)}@aggTrade" for s in ex.market.symbols)
            async with connect(f"{ex.ws_url}/market/stream?streams={names}") as ws:
                got = await trades(ws, 900)
            assert got[:300] == got[300:600] == got[600:]

    asyncio.run(run())
