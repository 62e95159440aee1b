"""kill -9 at any moment, then restart: the exact set of trades that the exchange had."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from exchange import SYMBOLS, assert_same_as_exchange
from processes import practice_process, wait_for, worker_process

from core import queries
from core.feed.practice.market import Market
from core.store import Store, open_store

ROUNDS = 20
RATE = 2500.0


def addresses(ready: dict[str, str]) -> tuple[str, ...]:
    return ("--ws-url", ready["ws_url"], "--rest-url", ready["rest_url"])


def held(store: Store) -> dict[str, int]:
    if not store.exists():
        return {}
    with store.read(wait_s=30, limit_s=None) as con:
        return queries.load_last_ids(con)


def caught_up(store: Store, market: Market, since_ms: int) -> bool:
    with store.read(wait_s=30, limit_s=None) as con:
        if queries.load_open_gaps(con):
            return False
        last = queries.load_last_ids(con)
    return all(last.get(s, -1) >= market.first_id(s, since_ms) - 1 for s in SYMBOLS)


@pytest.mark.timeout(600)
def test_twenty_kills_under_load_lose_and_double_nothing(tmp_path: Path) -> None:
    db = tmp_path / "kill.duckdb"
    store = open_store(db)
    chance = random.Random(20)
    with practice_process("--rate", f"{RATE:g}", "--weight-limit", "10000000") as ready:
        market = Market(rate=RATE)
        options = (*addresses(ready), "--symbols", ",".join(SYMBOLS), "--flush-interval", "0.05")
        kills_while_storing = 0
        for _ in range(ROUNDS):
            with worker_process(db, *options) as worker:
                before = held(store)
                # Some rounds die while starting, most in the middle of writing.
                if chance.random() < 0.85:
                    wait_for(lambda: held(store) != before, what=worker.text())  # noqa: B023
                    kills_while_storing += 1
                time.sleep(chance.uniform(0.0, 1.2))
                worker.kill()
        with worker_process(db, *options) as worker:
            since_ms = int(time.time() * 1000)
            wait_for(
                lambda: held(store) != {} and caught_up(store, market, since_ms),
                within_s=90,
                what="all gaps filled after the last restart",
            )
            status, seconds = worker.stop()
        assert status == 0
        assert seconds < 5
    assert kills_while_storing >= 10
    total = assert_same_as_exchange(store, market, SYMBOLS, until_ms=since_ms)
    assert total > 10_000


def test_a_second_worker_is_refused_and_told_the_firsts_pid(tmp_path: Path) -> None:
    db = tmp_path / "one.duckdb"
    with practice_process() as ready, worker_process(db, *addresses(ready)) as first:
        wait_for(lambda: "worker started" in first.text())
        with worker_process(db, *addresses(ready)) as second:
            assert second.process.wait(20) == 1
        assert f"pid {first.process.pid}" in second.text()
        assert first.process.poll() is None


def test_a_worker_for_another_venue_is_refused_and_the_file_is_untouched(tmp_path: Path) -> None:
    db = tmp_path / "venue.duckdb"
    open_store(db).prepare("binance")
    with practice_process() as ready, worker_process(db, *addresses(ready)) as worker:
        assert worker.process.wait(20) == 1
        assert "'binance'" in worker.text()
        assert "Traceback" not in worker.text()
    assert open_store(db).venue() == "binance"
