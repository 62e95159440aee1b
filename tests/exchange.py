"""The practice exchange and the worker together, and what must be true in the end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl
from made import assert_exact

from core import queries
from core.config import Settings
from core.feed.practice.limits import LimitSettings
from core.feed.practice.market import Market
from core.feed.practice.server import PracticeExchange
from core.feed.rest import RestClient
from core.ingest import Worker
from core.models import TRADE_SCHEMA
from core.store import Store, open_store

SYMBOLS = ["btcusdt", "ethusdt", "币安人生usdt"]
PLENTY = LimitSettings(weight_per_minute=1_000_000, ban_s=2.0)


def truth(market: Market, symbol: str, first_id: int, last_id: int) -> pl.DataFrame:
    """The exchange's own trades of an id range, as the store would hold them."""
    block = market.trades(symbol, first_id, last_id)
    return pl.DataFrame(
        {
            "symbol": [symbol] * len(block.agg_id),
            "agg_id": block.agg_id,
            "ts": block.ts_ms,
            "price": block.price,
            "size": block.size,
            "buyer_is_maker": block.buyer_is_maker,
        }
    ).with_columns(pl.col("ts").cast(pl.Datetime("ms")))


def stored(store: Store, symbol: str) -> pl.DataFrame:
    """What the file holds of a symbol, by id."""
    with store.read(wait_s=30, limit_s=None) as con:
        rows = con.execute(
            "select symbol, agg_id, ts, price, size, buyer_is_maker from trades "
            "where symbol = ? order by agg_id",
            [symbol],
        ).fetchall()
    schema = {name: kind for name, kind in TRADE_SCHEMA.items() if name != "source"}
    return pl.DataFrame(rows, schema=schema, orient="row")


def assert_same_as_exchange(
    store: Store,
    market: Market,
    symbols: list[str],
    *,
    until_ms: int,
    without: set[int] = frozenset(),
) -> int:
    """From the first trade held on, the file has exactly what the exchange had; returns how many.

    ``without`` are ids that the exchange itself answers unusably.
    """
    assert_exact(store)
    total = 0
    for symbol in symbols:
        held = stored(store, symbol)
        first, last = held["agg_id"].min(), held["agg_id"].max()
        assert last >= market.first_id(symbol, until_ms) - 1, f"{symbol} ends early"
        expected = truth(market, symbol, first, last)
        expected = expected.filter(~pl.col("agg_id").is_in(sorted(without)))
        assert held.equals(expected), f"{symbol}: {len(held)} held, {len(expected)} expected"
        total += len(held)
    return total


@dataclass
class Rig:
    """An exchange and a worker in this process, on one file."""

    exchange: PracticeExchange
    store: Store
    settings: Settings
    clock_skew_s: float = 0.0
    symbols: list[str] = field(default_factory=lambda: list(SYMBOLS))
    worker: Worker | None = None

    def open_gaps(self) -> int:
        with self.store.read(wait_s=30, limit_s=None) as con:
            return sum(map(len, queries.load_open_gaps(con).values()))

    def caught_up(self, since_ms: int) -> bool:
        """No open gap, and every symbol holds what was traded before ``since_ms``."""
        with self.store.read(wait_s=30, limit_s=None) as con:
            gaps, last = queries.load_open_gaps(con), queries.load_last_ids(con)
        ahead = all(
            last.get(symbol, -1) >= self.exchange.market.first_id(symbol, since_ms) - 1
            for symbol in self.symbols
        )
        return ahead and not gaps


async def until(condition: Callable[[], bool], *, within_s: float = 120.0) -> None:
    """Wait for something to become true; fails loudly when it does not."""
    deadline = time.monotonic() + within_s
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, f"not within {within_s} s"
        await asyncio.sleep(0.1)


def run_rig(
    folder: Path,
    scenario: Callable[[Rig], Awaitable[None]],
    *,
    rate: float = 1500.0,
    exchange: dict[str, object] | None = None,
    **settings: object,
) -> None:
    """Run a scenario against a live worker, then stop the worker as SIGTERM would."""

    async def main() -> None:
        async with PracticeExchange(rate=rate, limits=PLENTY, **(exchange or {})) as running:
            chosen = replace(
                Settings(db=folder / "rig.duckdb", flush_interval_s=0.1, silence_s=1.0),
                ws_url=running.ws_url,
                rest_url=running.rest_url,
                venue=running.market.identity,
                **settings,
            )
            store = open_store(chosen.db)
            store.prepare(chosen.venue)
            rig = Rig(running, store, chosen)
            rest = RestClient(chosen.rest_url, clock=lambda: time.time() + rig.clock_skew_s)
            rig.worker = Worker(chosen, store, rest)
            working = asyncio.create_task(rig.worker.run(rig.symbols))
            try:
                await until(lambda: len(rig_last(store)) == len(rig.symbols))
                await scenario(rig)
            finally:
                rig.worker.stop()
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait_for(working, 6.0)
                await rest.aclose()

    asyncio.run(main())


def rig_last(store: Store) -> dict[str, int]:
    with store.read(wait_s=30) as con:
        return queries.load_last_ids(con)
