"""Every fault can be seen by a client, and what was skipped is still in the REST history."""

import asyncio
import functools
import json
import time
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from core.feed.practice.faults import MALFORMED_KINDS, Faults, FaultSettings, parsed
from core.feed.practice.market import Market
from core.feed.practice.server import PracticeExchange
from core.feed.practice.wire import agg_trade_frames, payload_of

# An unbounded queue: a client that stops reading would wait long for the server's close frame.
connect = functools.partial(websocket, max_queue=None, close_timeout=1, compression=None)
START = 1_795_305_600_000
PATH = "/market/ws/btcusdt@aggTrade"


def exchange(**faults: Any) -> PracticeExchange:
    settings = FaultSettings(**faults)
    return PracticeExchange(rate=600, speed=10, start_ms=START, fault_settings=settings)


async def ids(ws: ClientConnection, n: int) -> list[int]:
    async with asyncio.timeout(5):
        return [json.loads(await ws.recv())["a"] for _ in range(n)]


async def falls_silent(ws: ClientConnection) -> bool:
    """Whether, after what is still buffered, nothing comes for 0.3 s."""
    for _ in range(10_000):
        try:
            await asyncio.wait_for(ws.recv(), 0.3)
        except TimeoutError:
            return True
    return False


def test_skipped_frames_leave_a_hole_that_rest_can_fill() -> None:
    async def run() -> None:
        async with exchange() as ex, connect(ex.ws_url + PATH) as ws:
            before = await ids(ws, 5)
            ex.faults.set(skip_next=7)
            seen = before + await ids(ws, 400)
            holes = sorted(set(range(seen[0], seen[-1] + 1)) - set(seen))
            assert len(holes) == 7
            assert holes == list(range(holes[0], holes[0] + 7))
            assert ex.faults.settings.skip_next == 0
            async with httpx.AsyncClient(base_url=ex.rest_url) as client:
                query = {"symbol": "BTCUSDT", "fromId": holes[0], "limit": 7}
                rows = (await client.get("/fapi/v1/aggTrades", params=query)).json()
            assert [row["a"] for row in rows] == holes

    asyncio.run(run())


def test_duplicates_and_reordering_change_no_set() -> None:
    async def run() -> None:
        async with exchange(duplicate_prob=0.3, reorder=True) as ex:
            async with connect(ex.ws_url + PATH) as ws:
                seen = await ids(ws, 1_000)
            assert len(set(seen)) < len(seen)
            assert seen != sorted(seen)

    asyncio.run(run())


FRAMES = agg_trade_frames(Market(7).trades_between("btcusdt", START, START + 20_000), combined=True)


@pytest.mark.parametrize("kind", MALFORMED_KINDS)
def test_malformed_frames_are_what_they_say(kind: str) -> None:
    faults = Faults(FaultSettings(malformed_next=1, malformed_kinds=(kind,)))
    out = faults.applied(FRAMES[:3])
    assert out[1:] == FRAMES[1:3]
    assert out[0] != FRAMES[0]
    payload = payload_of(out[0])
    if kind in ("cut", "utf8", "binary"):
        assert (out[0][0] == 0x82) == (kind == "binary")
        with pytest.raises(ValueError, match=r"."):
            json.loads(payload.decode())
        return
    message = json.loads(payload)
    if kind == "array":
        assert isinstance(message, list)
        return
    good = json.loads(payload_of(FRAMES[0]))["data"]
    assert any(message["data"][k] != good[k] for k in good)


def test_probabilities_skip_and_malform_about_that_share() -> None:
    faults = Faults(FaultSettings(skip_prob=0.5, seed=3))
    many = FRAMES * 10
    assert 0.4 < len(faults.applied(many)) / len(many) < 0.6
    faults.set(skip_prob=0.0, malformed_prob=0.5)
    assert 0.4 < sum(a != b for a, b in zip(faults.applied(many), many, strict=True)) / len(many)
    faults.clear()
    assert not faults.on_frames()


def test_malformed_text_reaches_the_client() -> None:
    async def run() -> None:
        async with exchange(malformed_next=1, malformed_kinds=("nan",)) as ex:
            async with connect(ex.ws_url + PATH) as ws:
                assert json.loads(await ws.recv())["p"] == "NaN"
        async with exchange(malformed_next=1, malformed_kinds=("utf8",)) as ex:
            async with connect(ex.ws_url + PATH) as ws:
                with pytest.raises(ConnectionClosed):
                    await ws.recv()

    asyncio.run(run())


def test_drops_after_n_frames_and_at_once() -> None:
    async def run() -> None:
        async with exchange(drop_every_frames=50) as ex:
            async with connect(ex.ws_url + PATH) as ws:
                assert len(await ids(ws, 50)) == 50
                with pytest.raises(ConnectionClosed):
                    await ws.recv()
            ex.faults.clear()
            async with connect(ex.ws_url + PATH) as ws:
                await ids(ws, 1)
                assert ex.drop_all() == 1
                with pytest.raises(ConnectionClosed):
                    await ids(ws, 1_000_000)
                assert ws.close_code == 1006

    asyncio.run(run())


def test_faults_act_at_full_speed_too() -> None:
    async def run() -> None:
        options = {"speed": None, "start_ms": START, "preload_trades": 4_000, "settle_s": 0.0}
        faults = FaultSettings(skip_next=10, drop_every_frames=500)
        async with PracticeExchange(rate=600, **options, fault_settings=faults) as ex:
            async with connect(ex.ws_url + PATH) as ws:
                seen = await ids(ws, 500)
                with pytest.raises(ConnectionClosed):
                    await ws.recv()
            first = ex.market.first_id("btcusdt", START)
            assert seen == list(range(first + 10, first + 510))

    asyncio.run(run())


def test_stalls_are_silent_but_alive() -> None:
    async def run() -> None:
        async with exchange(stall_next=1) as ex:
            async with connect(ex.ws_url + PATH) as first:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(first.recv(), 0.3)
                await asyncio.wait_for(await first.ping(), 2)
                async with connect(ex.ws_url + PATH) as second:
                    await ids(second, 3)
                    ex.faults.set(stall=True)
                    await asyncio.sleep(0.1)
                    assert await falls_silent(second)
                    ex.faults.set(stall=False)
                    await ids(second, 3)

    asyncio.run(run())


def test_refusals_and_early_close() -> None:
    async def run() -> None:
        async with exchange(refuse="503") as ex:
            with pytest.raises(InvalidStatus, match="503"):
                await connect(ex.ws_url + PATH)
            ex.faults.set(refuse="close")
            with pytest.raises((InvalidHandshake, OSError, EOFError)):
                await connect(ex.ws_url + PATH)
            ex.faults.set(refuse="", close_after_s=0.2)
            async with connect(ex.ws_url + "/market/ws") as ws, asyncio.timeout(3):
                await ws.wait_closed()
                assert ws.close_code == 1001

    asyncio.run(run())


def test_rest_failures_slowness_and_unusable_rows() -> None:
    async def run() -> None:
        async with exchange(rest_status=451, rest_fail_next=1) as ex:
            first = ex.market.first_id("btcusdt", START - 60_000)
            async with httpx.AsyncClient(base_url=ex.rest_url) as client:
                assert (await client.get("/fapi/v1/ping")).status_code == 451
                assert (await client.get("/fapi/v1/ping")).status_code == 200
                for status in (429, 418, 500):
                    ex.faults.set(rest_status=status, rest_fail_next=1)
                    answer = await client.get("/fapi/v1/time")
                    assert answer.status_code == status
                    assert ("banned until" in answer.json()["msg"]) == (status != 500)
                ex.faults.set(slow_rest_s=0.3)
                begin = time.monotonic()
                await client.get("/fapi/v1/ping")
                assert time.monotonic() - begin >= 0.29
                ex.faults.set(slow_rest_s=0.0, void_ids=(f"btcusdt:{first + 1}",))
                query = {"symbol": "BTCUSDT", "fromId": first, "limit": 3}
                rows = (await client.get("/fapi/v1/aggTrades", params=query)).json()
                assert [float(row["p"]) > 0 for row in rows] == [True, False, True]
                assert rows[1]["a"] == first + 1

    asyncio.run(run())


def test_faults_are_set_over_http_for_another_process() -> None:
    async def run() -> None:
        async with exchange() as ex, httpx.AsyncClient(base_url=ex.rest_url) as client:
            query = {"skip_prob": "0.25", "reorder": "1", "malformed_kinds": "nan,cut"}
            state = (await client.get("/practice/faults", params=query)).json()
            assert state["skip_prob"] == 0.25
            assert ex.faults.settings.reorder
            assert ex.faults.settings.malformed_kinds == ("nan", "cut")
            assert (await client.get("/practice/faults?nonsense=1")).status_code == 400
            async with connect(ex.ws_url + PATH) as ws:
                state = (await client.get("/practice/faults?clear=1&drop=now")).json()
                assert state["dropped"] == 1
                await ws.wait_closed()
            assert ex.faults.settings == FaultSettings()

    asyncio.run(run())


def test_bad_settings_say_what_there_is() -> None:
    with pytest.raises(ValueError, match="unknown fault"):
        parsed({"x": "1"})
    with pytest.raises(ValueError, match="malformed_kinds"):
        FaultSettings(malformed_kinds=("x",))
    with pytest.raises(ValueError, match="refuse"):
        FaultSettings(refuse="x")
    with pytest.raises(ValueError, match="rest_status"):
        FaultSettings(rest_status=200)
