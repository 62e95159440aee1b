"""Alert rules and what fired, as the Alerts page has them; targets are never told."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from core.alerts.metrics import METRICS
from core.api import alerts as alerts_route
from core.errors import StoreBusy
from core.live.feeder import Feeder, feeder
from core.store import Store, open_store
from tests.api.conftest import Api, assert_problem
from tests.pages.alert_pages import HOOK, fire, kept_rules, stand
from tests.pages.test_pair_page import pair_store

RULE = {
    "symbol_x": "opusdt", "symbol_y": "arbusdt", "metric": "zscore", "op": ">", "threshold": 2,
}  # fmt: skip


@pytest.fixture
def store(home: Path) -> Store:
    made = open_store(home / "practice-7.duckdb")
    made.prepare("practice:7")
    return made


def add(api: Api, **more: Any) -> dict[str, Any]:
    answer = api.ask("POST", "/alerts", json=RULE | more)
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/api/alerts/{told['id']}?source=practice"
    return told


def test_a_rule_is_kept_told_and_removed(api: Api, store: Store) -> None:
    told = add(api)
    (kept,) = kept_rules(store)
    rule = kept.rule
    assert (kept.id, rule.y, rule.x, rule.metric) == (told["id"], "arbusdt", "opusdt", "zscore")
    assert (rule.op, rule.threshold, rule.method) == ("above", 2.0, "rolling")
    assert told["name"] == "ARBUSDT / OPUSDT z-score > 2"
    assert (told["symbol_y"], told["symbol_x"]) == ("arbusdt", "opusdt")
    assert told["state"] == {
        "value": None, "value_at": None, "armed": True, "reason": "not looked at yet",
    }  # fmt: skip
    assert api.found("/alerts") == {"alerts": [told]}
    gone = api.ask("DELETE", f"/alerts/{told['id']}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert api.found("/alerts") == {"alerts": []}
    assert kept_rules(store) == []
    assert_problem(api.ask("DELETE", f"/alerts/{told['id']}"), 404)


def test_a_rule_that_is_kept_is_told_even_if_the_file_is_busy_from_then_on(
    api: Api, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure would have the program ask again, and the rule would be there twice."""

    def busy(*_: object) -> object:
        raise StoreBusy("The file is busy; try again")

    assert api.found("/alerts") == {"alerts": []}
    with monkeypatch.context() as patch:
        patch.setattr(Feeder, "refresh", lambda _: patch.setattr(alerts_route, "newest", busy))
        told = add(api)
    assert [one.id for one in kept_rules(store)] == [told["id"]]


def test_every_field_of_a_rule_can_be_given(api: Api, store: Store) -> None:
    told = add(
        api, metric="beta_drift", op="crosses_below", threshold=-2.5, reference=0.9, rearm=-1,
        name=" My  rule ", timeframe="5m", roll_window=120, regression="kalman",
        price_scale="raw", range="6h", hold_bars=3, cooldown_s=600, when="live", paused=True,
        hours={"start": "22:00", "end": "06:30", "days": [4, 0, 4]}, targets=[HOOK],
    )  # fmt: skip
    (kept,) = kept_rules(store)
    rule = kept.rule
    assert (kept.name, kept.is_paused, kept.targets) == ("My rule", True, (HOOK,))
    assert (rule.op, rule.threshold, rule.reference, rule.rearm) == ("crosses_below", -2.5, 0.9, -1)
    assert (rule.timeframe, rule.window_bars, rule.method, rule.is_log) == (
        "5min", 120, "kalman", False,
    )  # fmt: skip
    assert (rule.range_s, rule.hold_bars, rule.cooldown_s, rule.when) == (21_600, 3, 600, "live")
    assert (f"{rule.hours.start:%H:%M}", f"{rule.hours.end:%H:%M}") == ("22:00", "06:30")
    assert rule.hours.days == (0, 4)
    assert told["hours"] == {"start": "22:00", "end": "06:30", "days": [0, 4]}
    assert told["targets"][0].startswith("https://hooks.example.com/…")
    assert "SECRET" not in api.get("/alerts").text


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_can_be_watched(api: Api, store: Store, metric: str) -> None:
    told = add(api, metric=metric, **({"reference": 1.0} if metric == "beta_drift" else {}))
    scope = METRICS[metric].scope
    assert told["symbol_y"] == (None if scope == "system" else "arbusdt")
    assert told["symbol_x"] == ("opusdt" if scope == "pair" else None)


def test_a_rule_may_name_its_one_symbol_as_x(api: Api, store: Store) -> None:
    told = add(api, metric="price", symbol_y=None, symbol_x="OPUSDT")
    assert (told["symbol_y"], told["symbol_x"]) == ("opusdt", None)


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"metric": "magic"}, "metric"), ({"metric": None}, "metric"), ({"op": "~"}, "op"),
        ({"symbol_y": None}, "symbol_y"), ({"symbol_x": None}, "symbol_x"),
        ({"symbol_x": "ARBUSDT"}, "symbol_x"), ({"symbol_x": ""}, "symbol_x"),
        ({"metric": "price", "symbol_x": None, "symbol_y": None}, "symbol_y"),
        ({"metric": "beta_drift"}, "reference"), ({"op": "outside"}, "low"),
        ({"op": "outside", "low": 3}, "low"), ({"rearm": 3}, "rearm"),
        ({"metric": "coint_p", "when": "live"}, "when"),
        ({"timeframe": "1d", "range": "15m"}, "range"), ({"timeframe": "7w"}, "timeframe"),
        ({"threshold": "2"}, "threshold"), ({"threshold": 1e16}, "threshold"),
        ({"threshold": None}, "threshold"), ({"hold_bars": 0}, "hold_bars"),
        ({"hold_bars": 1.5}, "hold_bars"), ({"cooldown_s": -1}, "cooldown_s"),
        ({"roll_window": 2}, "roll_window"), ({"paused": 1}, "paused"),
        ({"hours": {"start": "24:00"}}, "hours"), ({"hours": {"days": []}}, "hours"),
        ({"hours": {"days": [7]}}, "hours"), ({"hours": {"since": "1"}}, "since"),
        ({"name": ""}, "name"), ({"name": "  "}, "name"), ({"name": "a\0"}, "name"),
        ({"name": "x" * 121}, "name"), ({"targets": ["nonsense"]}, "targets"),
        ({"targets": ["http://127.0.0.1/hook"]}, "targets"), ({"targets": [HOOK] * 21}, "targets"),
        ({"value": 1}, "value"),
    ],
)  # fmt: skip
def test_what_cannot_be_watched_is_named(
    api: Api, store: Store, more: dict[str, Any], name: str
) -> None:
    assert_problem(api.ask("POST", "/alerts", json=RULE | more), 400, parameter=name)
    assert kept_rules(store) == []


def test_the_metrics_and_comparisons_there_are_are_told(api: Api, store: Store) -> None:
    told = assert_problem(api.ask("POST", "/alerts", json=RULE | {"metric": "magic"}), 400)
    assert told["allowed"] == list(METRICS)
    told = assert_problem(api.ask("POST", "/alerts", json=RULE | {"op": "~"}), 400)
    assert {">", "<", "crosses_above", "outside"} <= set(told["allowed"])


def test_the_first_rule_makes_the_file(api: Api, home: Path) -> None:
    told = api.ask("POST", "/alerts", json=RULE, params={"source": "practice"})
    assert told.status_code == 201
    assert (home / "practice-7.duckdb").exists()
    assert api.found("/alerts", source="practice")["alerts"][0]["id"] == told.json()["id"]


def test_there_is_an_end_to_the_rules(
    api: Api, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts_route, "MOST_RULES", 1)
    add(api)
    assert_problem(api.ask("POST", "/alerts", json=RULE), 409)


def test_where_a_rule_stands_and_what_fired_are_told(api: Api, store: Store) -> None:
    told = add(api)
    (kept,) = kept_rules(store)
    at = datetime(2026, 11, 1, 12, 0)
    stand(store, kept.id, value=1.25, value_at=at, reason="")
    fire(store, kept, float("inf"), at=at)
    newest = fire(store, kept, 2.5)
    other = add(api, name="other")
    feeder(store).refresh()
    state = next(one for one in api.found("/alerts")["alerts"] if one["id"] == told["id"])["state"]
    assert (state["value"], state["value_at"]) == (1.25, "2026-11-01T12:00:00.000Z")
    events = api.found("/alerts/events")["events"]
    assert events[0]["id"] == newest
    assert [one["value"] for one in events] == [2.5, None]
    assert events[1]["bar_ts"] == "2026-11-01T11:59:00.000Z"
    assert events[0]["inputs"]["beta"] == 0.875
    assert (events[0]["rule_id"], events[0]["deliveries"]) == (told["id"], 0)
    in_ms = api.found("/alerts/events", ts_format="ms", limit=1)["events"]
    assert len(in_ms) == 1
    assert type(in_ms[0]["bar_ts"]) is int
    assert api.found("/alerts/events", rule=told["id"])["events"] == events
    assert api.found("/alerts/events", rule=other["id"])["events"] == []


def test_events_outlive_their_rule_and_stand_with_their_pair(api: Api, home: Path) -> None:
    store = pair_store(home, 300)
    told = add(api)
    fire(store, kept_rules(store)[0], 2.5)
    api.ask("DELETE", f"/alerts/{told['id']}")
    (event,) = api.found("/alerts/events")["events"]
    pair = api.found("/analytics/pair", y="arbusdt", x="opusdt")
    assert pair["alerts"] == [event]
    assert api.found("/analytics/pair", y="opusdt", x="arbusdt")["alerts"] == []
