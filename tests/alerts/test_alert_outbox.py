"""The outbox by the clock: whose tries count, how a message is named, how long a target rests."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hooks import Hook
from processes import ROOT, wait_for
from replay import Replay

from core.alerts import outbox
from core.alerts.delivery import deliver_due
from core.alerts.events import Event, write_events
from core.alerts.kept import KeptRule
from core.alerts.machine import Firing
from core.alerts.outbox import claim, settle
from core.alerts.parcels import NOT_JSON, Parcel, message_key
from core.alerts.rules import Rule
from core.alerts.seen import epoch_ms
from core.alerts.sending import FINAL, Answer, Message, send
from core.config import Settings
from core.store import Store
from core.trade_writer import utc_now

T0 = datetime(2026, 11, 20, 12)
URL = "https://hooks.example.com/x"
RULE = Rule("half_life", "arbusdt", "opusdt", "above", 30.0, range_s=3_600.0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Replay(tmp_path / "r.duckdb").store


@pytest.fixture
def settings(store: Store) -> Settings:
    return Settings(db=store.path, alert_allow_private=True, alert_per_minute=600, alert_tries=3)


def fire(store: Store, minute: int, at: datetime, url: str = URL, value: float = 40.5) -> str:
    kept = KeptRule("rule", "slow", RULE, (url,), False, T0, T0)
    event = Event(kept, Firing(T0 + timedelta(minutes=minute), value, True))
    with store.write() as con:
        assert write_events(con, [event], (), at) == 1
    return event.id


def due(store: Store, settings: Settings, at: datetime) -> list[Parcel]:
    with store.write() as con:
        return claim(con, settings, at, (), {})


def answered(
    store: Store, settings: Settings, parcel: Parcel, answer: Answer, at: datetime
) -> None:
    with store.write() as con:
        settle(con, parcel, answer, settings, at)


def deliveries(store: Store) -> dict[str, tuple[str, int, str]]:
    with store.read() as con:
        rows = con.execute("select event_id, state, tries, note from alert_deliveries").fetchall()
    return {row[0]: row[1:] for row in rows}


def test_an_endless_half_life_is_delivered_as_null(store: Store, settings: Settings) -> None:
    with Hook() as hook:
        endless = fire(store, 0, utc_now(), hook.url(), math.inf)
        other = fire(store, 1, utc_now(), hook.url())
        assert deliver_due(store, settings) == 1
        assert hook.keys == [endless, other]
        (call,) = hook.calls
        assert [event["value"] for event in call["body"]["events"]] == [None, 40.5]
        assert "Half-life > 30 bars, ∞ at 2026-11-20 12:00:00" in call["body"]["body"]
        assert call["headers"]["Content-Type"] == "application/json"


def test_the_readme_shows_what_a_webhook_gets(store: Store, settings: Settings) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    alerts = readme.partition("\n## Alerts\n")[2]
    shown = json.loads(alerts.partition("```json\n")[2].partition("```")[0])
    told = alerts.partition("will not change: ")[2].partition(";")[0].replace(" and", ",")
    assert {int(status) for status in told.split(",")} == {one for one in FINAL if one >= 400}
    with Hook() as hook:
        fire(store, 0, utc_now(), hook.url())
        deliver_due(store, settings)
        (call,) = hook.calls
    assert list(shown) == list(call["body"])
    (event,), (got,) = shown["events"], call["body"]["events"]
    assert {name: type(one) for name, one in event.items()} == {
        name: type(one) for name, one in got.items()
    }
    assert event["key"].split("-") == [event["rule"], f"{epoch_ms(T0)}"]


def test_what_json_cannot_hold_is_given_up_alone_and_at_once(
    store: Store, settings: Settings
) -> None:
    with Hook() as hook:
        bad, good = fire(store, 0, utc_now(), hook.url()), fire(store, 1, utc_now(), hook.url())
        with store.write() as con:
            con.execute("update alert_events set inputs = '{' where id = ?", [bad])
        assert deliver_due(store, settings) == 1
        assert hook.keys == [good]
    assert deliveries(store) == {bad: ("dead", 1, NOT_JSON), good: ("sent", 1, "")}


def test_a_message_that_json_cannot_hold_is_final(settings: Settings) -> None:
    answer = send(URL, Message("k", "t", "b", [{"value": math.inf}]), settings)
    assert answer.is_final
    assert "JSON" in answer.note


def test_a_new_event_does_not_die_with_old_ones(store: Store, settings: Settings) -> None:
    now, failed = T0, Answer(False, "HTTP 500")
    old = fire(store, 0, now)
    for _ in range(2):
        (parcel,) = due(store, settings, now)
        answered(store, settings, parcel, failed, now)
        now += timedelta(minutes=5)
    new = fire(store, 1, now)
    (parcel,) = due(store, settings, now)
    assert set(parcel.event_ids) == {old, new}
    answered(store, settings, parcel, failed, now)
    assert deliveries(store) == {old: ("dead", 3, "HTTP 500"), new: ("waiting", 1, "HTTP 500")}


def test_a_key_is_never_reused_for_another_message(store: Store, settings: Settings) -> None:
    first = fire(store, 0, T0)
    (parcel,) = due(store, settings, T0)
    assert parcel.message.key == first
    answered(store, settings, parcel, Answer(False, "HTTP 500"), T0)
    second = fire(store, 1, T0)
    later = T0 + timedelta(minutes=5)
    (both,) = due(store, settings, later)
    assert both.message.key not in (first, second)
    answered(store, settings, both, Answer(False, "HTTP 500"), later)
    (again,) = due(store, settings, later + timedelta(minutes=5))
    # The same message has the same key, whatever the order.
    assert again.message.key == both.message.key == message_key([second, first])
    assert [event["key"] for event in again.message.events] == [first, second]


@pytest.mark.parametrize(
    ("answer", "held_s"),
    [(Answer(False, "HTTP 429", retry_after_s=30.0), 29.9), (Answer(False, "HTTP 500"), 1.5)],
)
def test_a_target_that_failed_is_left_alone_also_by_new_events(
    store: Store, settings: Settings, answer: Answer, held_s: float
) -> None:
    first = fire(store, 0, T0)
    (parcel,) = due(store, settings, T0)
    answered(store, settings, parcel, answer, T0)
    second = fire(store, 1, T0)
    other = fire(store, 2, T0, "https://hooks.example.com/other")
    soon = T0 + timedelta(seconds=held_s)
    assert [one.event_ids for one in due(store, settings, soon)] == [(other,)]
    assert deliveries(store)[second][2] == "its target rests after a failure"
    assert deliveries(store)[first][2] == answer.note
    (parcel,) = [one for one in due(store, settings, T0 + timedelta(seconds=31)) if one.url == URL]
    assert set(parcel.event_ids) == {first, second}


def test_what_dies_of_429_leaves_the_wish_behind(store: Store, settings: Settings) -> None:
    once = replace(settings, alert_tries=1)
    fire(store, 0, T0)
    (parcel,) = due(store, once, T0)
    answered(store, once, parcel, Answer(False, "HTTP 429", retry_after_s=30.0), T0)
    second = fire(store, 1, T0)
    assert due(store, once, T0 + timedelta(seconds=29)) == []
    (parcel,) = due(store, once, T0 + timedelta(seconds=31))
    assert parcel.event_ids == (second,)


def test_the_end_of_quiet_hours_is_no_wish_of_the_target(store: Store, settings: Settings) -> None:
    first = fire(store, 0, T0)
    with store.write() as con:
        con.execute(
            "update alert_deliveries set tries = 1, next_at = $at where event_id = $id",
            {"at": T0 + timedelta(hours=7), "id": first},
        )
    second = fire(store, 1, T0)
    (parcel,) = due(store, settings, T0)
    assert parcel.event_ids == (second,)


SENDS = """
import logging, sys
{begin}
logging.getLogger().setLevel(logging.DEBUG)
from core.alerts.sending import Message, send
from core.config import Settings
settings = Settings(alert_allow_private=True)
for url in sys.argv[1:]:
    logging.getLogger("test").info("it logs")
    print(send(url, Message("key", "title", "body"), settings))
"""


@pytest.mark.parametrize(
    "begin",
    [
        "import ingest_worker; ingest_worker._set_up_logging(True)",
        "import streamlit_app; logging.basicConfig(stream=sys.stderr)",
    ],
    ids=["worker", "app"],
)
def test_no_library_logs_a_secret(begin: str, tmp_path: Path) -> None:
    with Hook() as hook:
        urls = [
            f"http://user:hunter2@127.0.0.1:{hook.port}/verysecret?k=topsecret",
            f"form://127.0.0.1:{hook.port}/verysecret?k=topsecret",
        ]
        done = subprocess.run(
            [sys.executable, "-c", SENDS.format(begin=begin), *urls],
            cwd=ROOT, env=os.environ | {"PERPDUCK_DB": str(tmp_path / "p.duckdb")},
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        assert len(hook.calls) == 2
    told = done.stdout + done.stderr
    assert told.count("it logs") == 2
    assert told.count("is_taken=True") == 2
    for secret in ("hunter2", "verysecret", "topsecret", "user:"):
        assert secret not in told


def test_over_the_wire_nothing_is_posted_before_its_time(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "FIRST_WAIT_S", 0.05)
    with Hook([(429, {"Retry-After": "1"})]) as hook:
        fire(store, 0, utc_now(), hook.url())
        deliver_due(store, settings)
        fire(store, 1, utc_now(), hook.url())
        wait_for(lambda: deliver_due(store, settings) == 1)
        first, second = hook.times
        assert second - first >= 0.95
        assert len(hook.keys) == 2
