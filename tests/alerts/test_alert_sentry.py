"""A dead worker cannot say that it is dead: the app and ``--check`` look in its place."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from replay import BEGIN_MS, Replay, at, market_trades, status_row

from core.alerts import sentry
from core.alerts.kept import add_rule, load_events, load_standings, pause_rule
from core.alerts.rules import Rule
from core.alerts.seen import Heard
from core.alerts.sentry import keep_watch
from core.commands import write_worker_status
from core.config import Settings
from core.feed.practice.market import Market
from core.flush import Work, flush
from core.store import Store
from core.supervisor import WorkerLock
from core.trade_writer import utc_now
from core.worker_check import check


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A file whose worker gave its last sign of life just now."""
    store = Replay(tmp_path / "r.duckdb").store
    with store.write() as con:
        write_worker_status(con, status_row(), [])
    return store


def later(seconds: float) -> datetime:
    return utc_now() + timedelta(seconds=seconds)


def fired(store: Store) -> list[tuple[str, float]]:
    with store.read() as con:
        rows = load_events(con).sort("noticed_at").select("metric", "value").iter_rows()
        return [(metric, round(value)) for metric, value in rows]


def test_a_worker_that_is_gone_fires_once_until_it_is_back(store: Store) -> None:
    settings = Settings(db=store.path)
    rule_id = add_rule(store, "gone", Rule("stopped", threshold=60.0))
    assert keep_watch(store, settings, now=later(30)) == 0
    assert keep_watch(store, settings, now=later(90)) == 1
    assert keep_watch(store, settings, now=later(120)) == 0
    assert fired(store) == [("stopped", 90)]
    # A worker that lives is not gone, and makes the rule ready again.
    replay = Replay(store.path)
    replay.bring(market_trades(Market(), BEGIN_MS, BEGIN_MS + 1000), BEGIN_MS + 1000)
    flush(
        store,
        Work(market_trades(Market(), 0, 0), (), status_row(), (), heard=Heard(later(125))),
        now_ms=0, started_at=at(0), watchlist_version=-1, wait_s=5.0, alerts=replay.watch,
    )  # fmt: skip
    with store.read() as con:
        assert load_standings(con)[rule_id].value == 0.0
    assert keep_watch(store, settings, now=later(300)) == 1
    assert len(fired(store)) == 2


def test_a_silent_feed_is_told_of_without_a_worker(store: Store) -> None:
    add_rule(store, "silent", Rule("silent", threshold=100.0))
    paused = add_rule(store, "paused", Rule("silent", threshold=1.0))
    pause_rule(store, paused, is_paused=True)
    assert keep_watch(store, Settings(db=store.path), now=later(99)) == 0
    assert keep_watch(store, Settings(db=store.path), now=later(101)) == 1
    assert fired(store) == [("silent", 101)]


def test_a_worker_that_lives_is_left_to_look_by_itself(store: Store) -> None:
    add_rule(store, "gone", Rule("stopped", threshold=1.0))
    lock = WorkerLock(store.path)
    lock.take()
    try:
        assert keep_watch(store, Settings(db=store.path), now=later(10)) == 0
    finally:
        lock.release()
    assert keep_watch(store, Settings(db=store.path), now=later(90)) == 1


@pytest.fixture
def stuck(store: Store) -> Iterator[Replay]:
    """A worker that holds the lock; it knows the rules, and wrote ten minutes ago."""
    add_rule(store, "gone", Rule("stopped", threshold=60.0))
    add_rule(store, "silent", Rule("silent", threshold=60.0))
    lock = WorkerLock(store.path)
    lock.take()
    replay = Replay(store.path)
    write(replay, utc_now())
    with store.write() as con:
        con.execute("update worker_status set updated_at = ?", [later(-600)])
    try:
        yield replay
    finally:
        lock.release()


def write(worker: Replay, now: datetime, silent_s: float = 0.0) -> None:
    """Let the worker write, with nothing but what it heard."""
    flush(
        worker.store,
        Work(market_trades(Market(), 0, 0), (), status_row(), (),
             heard=Heard(now, silent_s=silent_s)),
        now_ms=0, started_at=at(0), watchlist_version=-1, wait_s=5.0, alerts=worker.watch,
    )  # fmt: skip


def test_a_worker_that_is_stuck_is_told_of_and_doubles_nothing_when_it_comes_back(
    store: Store, stuck: Replay
) -> None:
    settings = Settings(db=store.path)
    assert fired(store) == []
    assert keep_watch(store, settings, now=later(2)) == 2
    assert keep_watch(store, settings, now=later(4)) == 0
    told = [("silent", 602), ("stopped", 602)]
    assert sorted(fired(store)) == told
    # It wakes, and has heard nothing for long either: that is told already.
    write(stuck, later(6), silent_s=606.0)
    assert sorted(fired(store)) == told
    assert keep_watch(store, settings, now=later(8)) == 0
    # Heard again, and silent once more: that is new.
    write(stuck, later(10), silent_s=0.1)
    write(stuck, later(90), silent_s=80.0)
    assert sorted(fired(store)) == [("silent", 80), *told]


def test_what_a_worker_wrote_meanwhile_is_left_to_it(
    store: Store, stuck: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes back between the first question and the write."""
    look = sentry._look

    def late(*args: object) -> int:
        write(stuck, utc_now())
        return look(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(sentry, "_look", late)
    assert keep_watch(store, Settings(db=store.path), now=later(2)) == 0
    assert fired(store) == []


def test_a_file_without_a_worker_yet_says_so(tmp_path: Path) -> None:
    store = Replay(tmp_path / "new.duckdb").store
    rule_id = add_rule(store, "gone", Rule("stopped", threshold=60.0))
    assert keep_watch(store, Settings(db=store.path)) == 0
    with store.read() as con:
        assert load_standings(con)[rule_id].reason == "no worker has run on this file yet"
    assert keep_watch(store, Settings(db=tmp_path / "none.duckdb")) == 0


def test_the_command_looks_too(store: Store) -> None:
    with store.write() as con:
        con.execute("update worker_status set updated_at = ?", [later(-600)])
    add_rule(store, "gone", Rule("stopped", threshold=60.0))
    is_healthy, lines = check(Settings(db=store.path))
    assert not is_healthy
    assert lines[0].startswith("dead: ")
    assert lines[-1] == "1 alert rule fired"
    assert check(Settings(db=store.path))[1][-1] != "1 alert rule fired"
