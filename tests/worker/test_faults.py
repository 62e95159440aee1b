"""Every fault of the exchange, alone and mixed, ends in its exact set of trades."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from exchange import Rig, assert_same_as_exchange, run_rig, until

from core import queries

FAULTS = {
    "frames are skipped": {"skip_prob": 0.3},
    "one frame is skipped": {"skip_next": 1},
    "frames come twice": {"duplicate_prob": 0.5},
    "frames come out of order": {"reorder": True},
    "frames are malformed in every way": {"malformed_prob": 0.3},
    "connections drop": {"drop_every_frames": 400},
    "all connections fall silent": {"stall": True},
    "one connection falls silent": {"stall_next": 1, "drop": True},
    "new connections are refused with 503": {"refuse": "503", "drop": True},
    "new connections are closed at once": {"refuse": "close", "drop": True},
    "the server closes as after 24 h": {"close_after_s": 0.7, "drop": True},
    "REST answers 429 while frames are missing": {"rest_status": 429, "skip_prob": 0.2},
    "REST bans with 418 while frames are missing": {"rest_status": 418, "skip_prob": 0.2},
    "REST is restricted for a while": {"rest_status": 451, "skip_prob": 0.2},
    "REST fails while frames are missing": {"rest_status": 500, "skip_prob": 0.2},
    "REST is slow while frames are missing": {"slow_rest_s": 0.3, "skip_prob": 0.2},
    "everything at once": {
        "skip_prob": 0.1,
        "duplicate_prob": 0.1,
        "reorder": True,
        "malformed_prob": 0.1,
        "drop_every_frames": 900,
        "slow_rest_s": 0.1,
    },
}


async def suffer(rig: Rig, seconds: float, *, trades: int = 0, **faults: object) -> None:
    """Let the faults last, also until so many trades were made: a market has quiet moments."""
    drop = faults.pop("drop", False)
    begin_ms = rig.exchange.now_ms()
    rig.exchange.faults.set(**faults)
    if drop:
        rig.exchange.drop_all()
    await asyncio.sleep(seconds)
    await until(lambda: traded(rig, begin_ms) >= trades)
    rig.exchange.faults.clear()
    rig.clock_skew_s += 61.0  # what a ban would have lasted


def traded(rig: Rig, since_ms: int) -> int:
    now_ms, first_id = rig.exchange.now_ms(), rig.exchange.market.first_id
    return sum(first_id(symbol, now_ms) - first_id(symbol, since_ms) for symbol in rig.symbols)


async def recover(rig: Rig) -> int:
    since_ms = rig.exchange.now_ms()
    await until(lambda: rig.caught_up(since_ms), within_s=150)
    return since_ms


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_in_the_exact_set(name: str, tmp_path: Path) -> None:
    ends: list[tuple[Rig, int]] = []

    async def scenario(rig: Rig) -> None:
        await suffer(rig, 2.5, trades=300, **FAULTS[name])
        ends.append((rig, await recover(rig)))

    run_rig(tmp_path, scenario)
    rig, since_ms = ends[0]
    held = assert_same_as_exchange(rig.store, rig.exchange.market, rig.symbols, until_ms=since_ms)
    assert held > 200


def test_what_cannot_be_read_is_counted_and_logged_once_a_kind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rejected: list[int] = []

    async def scenario(rig: Rig) -> None:
        await suffer(rig, 2.0, malformed_prob=0.5)
        await recover(rig)
        with rig.store.read(wait_s=30, limit_s=None) as con:
            status = queries.load_worker_status(con)
        assert status is not None
        rejected.append(status.rejected)

    run_rig(tmp_path, scenario)
    lines = [r.getMessage() for r in caplog.records if "left out a frame" in r.getMessage()]
    kinds = [line.split("(", 1)[1].split(")", 1)[0] for line in lines]
    assert len(kinds) >= 4
    assert len(kinds) == len(set(kinds))
    assert rejected[0] > 2 * len(kinds)


def test_while_rest_cannot_answer_the_hole_is_shown_as_open(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        rig.exchange.faults.set(rest_status=500)
        await suffer_frames(rig)
        await until(lambda: rig.open_gaps() > 0)
        await asyncio.sleep(1.5)
        with rig.store.read(wait_s=30, limit_s=None) as con:
            gaps = queries.load_gaps(con)
            status = queries.load_symbol_status(con)
        assert gaps["state"].unique().to_list() == ["open"]
        assert status["open_gaps"].sum() > 0
        assert status["missing_trades"].sum() >= gaps["missing"].sum() > 0
        rig.exchange.faults.clear()
        await recover(rig)

    async def suffer_frames(rig: Rig) -> None:
        rig.exchange.faults.set(skip_prob=0.5)
        await asyncio.sleep(0.5)
        rig.exchange.faults.set(skip_prob=0.0)

    run_rig(tmp_path, scenario)


def test_ids_that_the_exchange_cannot_give_are_void_and_not_asked_for_again(
    tmp_path: Path,
) -> None:
    ends: list[tuple[Rig, int, set[int]]] = []

    async def scenario(rig: Rig) -> None:
        market, symbol = rig.exchange.market, "btcusdt"
        first = market.first_id(symbol, rig.exchange.now_ms()) + 200
        bad = set(range(first, first + 4))
        rig.exchange.faults.set(void_ids=tuple(f"{symbol}:{i}" for i in bad), skip_prob=0.9)
        await until(lambda: market.first_id(symbol, rig.exchange.now_ms()) > first + 400)
        rig.exchange.faults.set(skip_prob=0.0)
        since_ms = await recover(rig)
        with rig.store.read(wait_s=30, limit_s=None) as con:
            void = queries.load_gaps(con, ("void",))
        ids = {i for a, b in void.select("first_id", "last_id").rows() for i in range(a, b + 1)}
        assert ids <= bad
        ends.append((rig, since_ms, ids))

    run_rig(tmp_path, scenario)
    rig, since_ms, void = ends[0]
    assert void
    assert_same_as_exchange(
        rig.store, rig.exchange.market, rig.symbols, until_ms=since_ms, without=void
    )


def test_connections_are_recycled_before_24_h_and_nothing_is_missed(tmp_path: Path) -> None:
    """The pool changes connections every 1.5 s here; no gap may ever open."""
    ends: list[tuple[Rig, int]] = []

    async def scenario(rig: Rig) -> None:
        await asyncio.sleep(5.0)
        with rig.store.read(wait_s=30, limit_s=None) as con:
            assert queries.load_gaps(con, ("open", "filled")).is_empty()
        ends.append((rig, await recover(rig)))

    run_rig(tmp_path, scenario, recycle_s=1.5)
    rig, since_ms = ends[0]
    assert_same_as_exchange(rig.store, rig.exchange.market, rig.symbols, until_ms=since_ms)


def test_backfill_brings_the_trades_before_the_start(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        wanted = rig.exchange.now_ms() - 55_000
        await until(
            lambda: (
                rig.caught_up(rig.exchange.now_ms() - 1000)
                and all(
                    rig.exchange.market.first_id(s, wanted) >= first_held(rig, s)
                    for s in rig.symbols
                )
            ),
            within_s=60,
        )

    def first_held(rig: Rig, symbol: str) -> int:
        with rig.store.read(wait_s=30, limit_s=None) as con:
            return con.execute(
                "select min(first_id) from coverage where symbol = ?", [symbol]
            ).fetchall()[0][0]

    run_rig(tmp_path, scenario, backfill_s=60.0, rate=200.0)
