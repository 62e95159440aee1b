"""Which connection carries a symbol, and whether it does."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from small_exchange import Exchange, Feed, play, until

from core.feed import line
from core.feed.stream import ConnectionStatus

STATUS = ConnectionStatus("market-1", "live", 2, 1.0, 5, 0.1, 0, "", False)
OTHERS = ("connecting", "stalled", "silent", "backing_off", "refused", "restricted")


@pytest.mark.parametrize("state", ["live", "recycling", *OTHERS])
def test_live_and_recycling_connections_carry(state: str) -> None:
    assert replace(STATUS, state=state).is_carrying == (state in ("live", "recycling"))


def test_each_symbol_is_told_with_its_own_connection() -> None:
    async def scene(exchange: Exchange, feed: Feed) -> None:
        assert feed.pool.lines() == {}
        feed.pool.set_symbols(["AUSDT", "busdt", "cusdt"])
        await until(feed.pool.lines)
        assert set(feed.pool.lines()) == {"ausdt", "busdt", "cusdt"}
        assert not any(status.is_carrying for status in feed.pool.lines().values())
        await until(lambda: all(status.is_carrying for status in feed.pool.lines().values()))
        names = {symbol: status.name for symbol, status in feed.pool.lines().items()}
        assert len(set(names.values())) == 2
        lost = next(
            client for client, streams in exchange.streams.items() if "ausdt@aggTrade" in streams
        )
        await lost.close()
        await until(lambda: feed.pool.lines()["ausdt"].reconnects == 1)
        assert {
            symbol: status.reconnects for symbol, status in feed.pool.lines().items()
        } == {symbol: int(names[symbol] == names["ausdt"]) for symbol in names}  # fmt: skip
        feed.pool.set_symbols(["ausdt"])
        assert set(feed.pool.lines()) == {"ausdt"}

    play(scene, streams_per_connection=4)


def test_recycling_carries_only_while_one_of_the_two_delivers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(line, "_READY_S", 3.0)

    async def scene(exchange: Exchange, feed: Feed) -> None:
        feed.pool.set_symbols(["ausdt"])
        await until(lambda: feed.ids("ausdt"))
        while len(exchange.clients) < 2:
            await asyncio.sleep(0)
        exchange.silent_clients.add(exchange.clients[1])
        await until(lambda: feed.first.state == "recycling")
        assert feed.first.is_carrying
        await exchange.clients[0].close()
        await until(lambda: not feed.first.is_carrying)
        assert feed.first.state == "connecting"
        exchange.silent_clients.clear()
        await until(lambda: feed.first.is_carrying)

    play(scene, recycle_s=0.4, silence_s=2.0)
