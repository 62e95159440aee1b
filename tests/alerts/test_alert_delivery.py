"""Deliveries: each event arrives, once by its key, whatever target and sender go through."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hooks import Hook
from processes import wait_for
from replay import Replay

from core.alerts import delivery, outbox
from core.alerts.delivery import Deliverer, deliver_due
from core.alerts.events import Event, write_events
from core.alerts.kept import KeptRule, add_rule, load_deliveries, load_rules
from core.alerts.machine import Firing
from core.alerts.outbox import claim, enqueue, next_due, redeliver, sent_lately
from core.alerts.rules import Rule
from core.alerts.targets import target_key
from core.config import Settings
from core.errors import DataError
from core.quiet import QuietHours, parse_quiet
from core.store import Store
from core.trade_writer import utc_now

RULE = Rule("zscore", "arbusdt", "opusdt", "outside", 2.0, -2.0)
T0 = datetime(2026, 11, 20, 12)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for seconds waits for a little."""
    monkeypatch.setattr(outbox, "FIRST_WAIT_S", 0.05)
    monkeypatch.setattr(outbox, "LONGEST_WAIT_S", 0.2)
    monkeypatch.setattr(delivery, "LOOK_S", 0.3)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Replay(tmp_path / "r.duckdb").store


@pytest.fixture
def settings(store: Store) -> Settings:
    return Settings(db=store.path, alert_allow_private=True, alert_per_minute=600)


def fire(store: Store, urls: list[str], count: int = 1, first: int = 0) -> list[str]:
    """Have a rule fire on bars in a row; returns the events' keys."""
    kept = KeptRule("rule", "far apart", RULE, tuple(urls), False, T0, T0)
    events = [
        Event(kept, Firing(T0 + timedelta(minutes=first + k), 2.5, True), {"beta": 0.9})
        for k in range(count)
    ]
    with store.write() as con:
        assert write_events(con, events, (), utc_now()) == count
    return [event.id for event in events]


def states(store: Store) -> list[str]:
    with store.read() as con:
        return load_deliveries(con).sort("bar_ts", "label")["state"].to_list()


def notes(store: Store) -> list[str]:
    with store.read() as con:
        return load_deliveries(con)["note"].to_list()


@contextmanager
def delivering(store: Store, settings: Settings) -> Iterator[Callable[[], None]]:
    """A deliverer at work in a loop of its own; yields its `wake`."""
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    found: list[Deliverer] = []

    async def main() -> None:
        found.append(Deliverer(store, settings))
        ready.set()
        await found[0].run()

    def run() -> None:
        task = loop.create_task(main())
        found_tasks.append(task)
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            pass

    found_tasks: list[asyncio.Task[None]] = []
    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(5)
    try:
        yield lambda: loop.call_soon_threadsafe(found[0].wake)  # type: ignore[func-returns-value]
    finally:
        loop.call_soon_threadsafe(found_tasks[0].cancel)
        thread.join(20)
        loop.run_until_complete(end_the_rest())
        loop.close()
        found[0].close()


async def end_the_rest() -> None:
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


def test_an_event_arrives_with_all_that_it_knows(store: Store, settings: Settings) -> None:
    with Hook() as hook, delivering(store, settings) as wake:
        (key,) = fire(store, [hook.url("deep?token=secret")])
        wake()
        wait_for(lambda: states(store) == ["sent"])
        (call,) = hook.calls
        (event,) = call["body"]["events"]
        assert event.pop("noticed_at").endswith("Z")
        assert event == {
            "key": key, "rule": "rule", "name": "far apart", "metric": "zscore",
            "symbols": ["ARBUSDT", "OPUSDT"], "condition": "z-score outside −2 to 2",
            "bar": "2026-11-20T12:00:00Z", "timeframe": "1min", "is_closed": True, "value": 2.5,
            "inputs": {"beta": 0.9},
        }  # fmt: skip
        assert call["headers"]["Idempotency-Key"] == key
        assert call["body"]["title"] == "Perpduck: far apart"
        assert (
            "ARBUSDT / OPUSDT: z-score outside −2 to 2, 2.5 at 2026-11-20 12:00:00 UTC"
            in (call["body"]["body"])
        )
        with store.read() as con:
            # Its secrets do not stay.
            assert con.execute("select url from alert_deliveries").fetchall() == [("",)]


@pytest.mark.parametrize(
    "script",
    [
        [500, 500, 503],
        ["drop", "drop"],
        [(429, {"Retry-After": "0"}), 408, 425],
        [502, "drop", (503, {"Retry-After": "0"})],
    ],
)
def test_a_target_that_fails_and_recovers_gets_each_event_once(
    store: Store, settings: Settings, script: list[Any]
) -> None:
    with Hook(script) as hook, delivering(store, settings) as wake:
        keys = fire(store, [hook.url()], 3)
        wake()
        wait_for(lambda: states(store) == ["sent"] * 3)
        assert sorted(hook.keys) == keys
        assert len(hook.calls) == len(script) + 1
        # A repetition is known by its key.
        assert len({call["headers"]["Idempotency-Key"] for call in hook.calls}) == 1


def test_it_waits_as_long_as_the_target_says(store: Store, settings: Settings) -> None:
    with Hook([(429, {"Retry-After": "2"})]) as hook, delivering(store, settings) as wake:
        fire(store, [hook.url()])
        wake()
        wait_for(lambda: "HTTP 429" in notes(store))
        wait_for(lambda: states(store) == ["sent"])
        first, second = hook.times
        # Without the header it would have been back within a quarter of a second.
        assert second - first >= 1.9


def test_a_target_that_dies_and_comes_back(store: Store, settings: Settings) -> None:
    hook = Hook()
    hook.close()
    with delivering(store, replace(settings, alert_tries=50)) as wake:
        keys = fire(store, [hook.url()], 2)
        wake()
        wait_for(lambda: any("could not be reached" in note for note in notes(store)))
        with Hook(port=hook.port) as back:
            wait_for(lambda: states(store) == ["sent"] * 2)
            assert back.keys == keys


def test_one_that_hangs_holds_up_no_other(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Hook(["hang"]) as stuck, Hook() as hook, delivering(store, settings) as wake:
        fire(store, [stuck.url(), hook.url()])
        wake()
        wait_for(lambda: len(stuck.calls) == 1)
        wait_for(lambda: len(hook.keys) == 1)
        fire(store, [hook.url()], first=1)
        wake()
        wait_for(lambda: len(hook.keys) == 2)
        wait_for(lambda: states(store).count("waiting") == 1)
        assert len(stuck.calls) == 1
        stuck.close()
        wait_for(lambda: any("could not be reached" in n or "RemoteProtocol" in n
                             or "answer" in n for n in notes(store)))  # fmt: skip


def test_it_is_dead_after_so_many_tries_and_says_why(store: Store, settings: Settings) -> None:
    with Hook([500] * 9) as hook:
        with delivering(store, replace(settings, alert_tries=3)) as wake:
            (key,) = fire(store, [hook.url()])
            wake()
            wait_for(lambda: states(store) == ["dead"])
        assert notes(store) == ["HTTP 500"]
        assert len(hook.calls) == 3
        # Its URL is gone with it: it is known again from the rule that has the target.
        with pytest.raises(DataError, match="no rule and no setting"):
            redeliver(store, settings, key, target_key(hook.url()))
        add_rule(store, "far apart", RULE, [hook.url()])
        hook.script = []
        redeliver(store, settings, key, target_key(hook.url()))
        assert deliver_due(store, settings) == 1
        assert hook.keys == [key]
        with pytest.raises(DataError, match="not dead"):
            redeliver(store, settings, key, target_key(hook.url()))


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 410, 422])
def test_what_will_never_be_taken_is_not_tried_again(
    store: Store, settings: Settings, status: int
) -> None:
    with Hook([status]) as hook:
        fire(store, [hook.url()])
        deliver_due(store, settings)
        assert states(store) == ["dead"]
        assert len(hook.calls) == 1


def test_a_target_inside_is_dead_at_once(store: Store, settings: Settings) -> None:
    with Hook() as hook:
        fire(store, [hook.url()])
        deliver_due(store, replace(settings, alert_allow_private=False))
        assert states(store) == ["dead"]
        assert "PERPDUCK_ALERT_ALLOW_PRIVATE=1" in notes(store)[0]
        assert not hook.calls


def test_a_burst_goes_together(store: Store, settings: Settings) -> None:
    with Hook() as hook:
        keys = fire(store, [hook.url()], 50)
        assert deliver_due(store, settings) == 3
        assert [len(call["body"]["events"]) for call in hook.calls] == [20, 20, 10]
        assert hook.keys == keys
        assert hook.calls[0]["body"]["title"] == "Perpduck: 20 alerts"
        assert hook.calls[0]["body"]["body"].count("\n") == 19


def test_so_many_messages_a_minute_and_the_rest_waits(store: Store, settings: Settings) -> None:
    few = replace(settings, alert_per_minute=2)
    with Hook() as hook, Hook() as other:
        for k in range(4):
            fire(store, [hook.url()], first=k)
            deliver_due(store, few)
        fire(store, [other.url()], first=9)
        deliver_due(store, few)
        assert len(hook.calls) == 2
        assert len(other.calls) == 1
        assert sorted(set(notes(store))) == ["", "2 messages a minute went there"]
        with store.write() as con:
            due = next_due(con)
            assert due is not None
            lately = sent_lately(con, utc_now())
            assert [len(times) for times in lately.values()] in ([2, 1], [1, 2])
            assert (
                timedelta(seconds=50)
                < due - lately[target_key(hook.url())][0]
                <= timedelta(seconds=60)
            )
            # A minute later they go in one message.
            later = utc_now() + timedelta(seconds=61)
            (parcel,) = claim(con, few, later, (), sent_lately(con, later))
            assert len(parcel.event_ids) == 2


def test_quiet_hours_hold_back_and_then_all_goes_together(store: Store, settings: Settings) -> None:
    quiet = replace(settings, alert_quiet=parse_quiet("22:00-07:00 Europe/Berlin"))
    with store.write() as con:
        enqueue_at(con, datetime(2026, 11, 20, 23, 30), ["a", "b"])
        # Half past midnight in Berlin.
        assert claim(con, quiet, datetime(2026, 11, 20, 23, 30), (), {}) == []
        assert next_due(con) == datetime(2026, 11, 21, 6, 0)
        row = con.execute("select distinct note, state from alert_deliveries").fetchall()
        assert row == [("quiet hours until 06:00 UTC", "waiting")]
        (parcel,) = claim(con, quiet, datetime(2026, 11, 21, 6, 0), (), {})
        assert parcel.event_ids == ("a", "b")


def enqueue_at(con: Any, now: datetime, ids: list[str]) -> None:
    enqueue(con, ids, ["https://hooks.example.com/x"], now)


@pytest.mark.parametrize(
    ("text", "now", "until"),
    [
        ("22:00-07:00", "2026-11-20T21:59", None),
        ("22:00-07:00", "2026-11-20T22:00", "2026-11-21T07:00"),
        ("22:00-07:00", "2026-11-21T06:59", "2026-11-21T07:00"),
        ("22:00-07:00", "2026-11-21T07:00", None),
        ("12:00-13:30 Asia/Kolkata", "2026-11-20T06:45", "2026-11-20T08:00"),
        # Clocks go forward on 29 March: the night ends an hour earlier by UTC.
        ("22:00-07:00 Europe/Berlin", "2026-03-28T22:00", "2026-03-29T05:00"),
        ("22:00-07:00 Europe/Berlin", "2026-10-24T21:00", "2026-10-25T06:00"),
    ],
)
def test_quiet_hours_by_the_clocks_of_a_place(text: str, now: str, until: str | None) -> None:
    found = parse_quiet(text).until(datetime.fromisoformat(now))
    assert found == (None if until is None else datetime.fromisoformat(until))
    assert isinstance(parse_quiet(text), QuietHours)


def test_a_restart_goes_on_with_what_waits(store: Store, settings: Settings) -> None:
    with Hook([500]) as hook:
        keys = fire(store, [hook.url()], 2)
        with delivering(store, settings) as wake:
            wake()
            wait_for(lambda: len(hook.calls) >= 1)
        with delivering(store, settings):
            wait_for(lambda: set(states(store)) == {"sent"})
        assert set(hook.keys) == set(keys)


def test_killed_between_sending_and_noting_it_is_sent_again_under_the_same_key(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "CLAIM", timedelta(seconds=1))

    def killed(*_: object) -> None:
        raise KeyError("power")

    with Hook() as hook:
        (key,) = fire(store, [hook.url()])
        with monkeypatch.context() as patch:
            patch.setattr(delivery, "settle", killed)
            deliver_due(store, settings, within_s=1.5)
        assert hook.keys[0] == key
        assert states(store) == ["waiting"]
        wait_for(lambda: deliver_due(store, settings) == 1)
        assert set(hook.keys) == {key}
        assert len(hook.keys) >= 2
        assert states(store) == ["sent"]


def test_two_senders_on_one_file_never_both_send(store: Store, settings: Settings) -> None:
    with Hook() as hook:
        keys = fire(store, [hook.url(f"t{k % 5}") for k in range(5)], 40)
        with delivering(store, settings), delivering(store, settings):
            wait_for(lambda: set(states(store)) == {"sent"})
        assert len(hook.keys) == len(keys) * 5
        assert {call["path"] for call in hook.calls} == {f"/t{k}" for k in range(5)}


def test_an_event_is_put_into_the_outbox_once_a_target(store: Store) -> None:
    with store.write() as con:
        enqueue_at(con, T0, ["a"])
        enqueue_at(con, T0, ["a", "b"])
        enqueue(con, ["a"], ["https://hooks.example.com/y"] * 2, T0)
        rows = con.execute("select event_id, count(*) from alert_deliveries group by 1 order by 1")
        assert rows.fetchall() == [("a", 2), ("b", 1)]


def test_failures_wait_longer_and_longer(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "FIRST_WAIT_S", 2.0)
    monkeypatch.setattr(outbox, "LONGEST_WAIT_S", 300.0)
    failed = delivery.Answer(False, "HTTP 500")
    waits = [outbox._wait_s(tries, failed) for tries in range(1, 12)]
    for wait, wanted in zip(waits, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300], strict=True):
        assert wanted * 0.8 <= wait <= wanted * 1.2


def test_no_secret_gets_into_the_log_or_the_notes(
    store: Store, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with Hook([500, 404]) as hook, caplog.at_level(logging.DEBUG):
        fire(store, [f"http://user:hunter2@127.0.0.1:{hook.port}/verysecret?k=topsecret"])
        deliver_due(store, settings)
        wait_for(lambda: bool(deliver_due(store, settings)) or states(store) == ["dead"])
    told = "\n".join(record.getMessage() for record in caplog.records)
    assert "HTTP 500" in told
    with store.read() as con:
        told += str(con.execute("select label, note from alert_deliveries").fetchall())
    for secret in ("hunter2", "verysecret", "topsecret", "user:"):
        assert secret not in told


def test_while_the_file_is_held_by_another_it_waits(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "BUSY_S", 0.1)
    # The first may end with a claim: it lapses.
    monkeypatch.setattr(outbox, "CLAIM", timedelta(seconds=1))
    with Hook() as hook:
        fire(store, [hook.url()])
        with store.write(wait_s=5), delivering(store, settings):
            began = time.monotonic()
            wait_for(lambda: time.monotonic() - began > 1.0)
            assert not hook.calls
        with delivering(store, settings):
            wait_for(lambda: states(store) == ["sent"])
        assert len(hook.keys) == 1


def test_a_rules_own_targets_come_before_the_settings(store: Store) -> None:
    add_rule(store, "own", RULE, ["https://hooks.example.com/own"])
    add_rule(store, "none", RULE)
    with store.write() as con:
        for kept in load_rules(con):
            event = Event(kept, Firing(T0, 2.5, True))
            write_events(con, [event], ["https://hooks.example.com/default"], T0)
        rows = con.execute(
            "select e.name, d.target from alert_deliveries as d inner join alert_events as e "
            "on e.id = d.event_id order by e.name"
        ).fetchall()
    assert rows == [
        ("none", target_key("https://hooks.example.com/default")),
        ("own", target_key("https://hooks.example.com/own")),
    ]
