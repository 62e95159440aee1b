"""What fired: the history, its deliveries and download, the toast and the badge, Pair's part."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partialmethod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from core.alerts import questions
from core.alerts.events import Event, write_events
from core.alerts.happened import acknowledge_until
from core.alerts.kept import EVENTS, acknowledge, delete_rule, load_events
from core.alerts.machine import Firing
from core.alerts.rules import Rule
from core.live.feeder import feeder
from core.store import Store
from core.trade_writer import bump_versions, utc_now
from pages.shared import alert_history
from tests.pages.alert_pages import ALERTS, HOOK, everything, fire, ruled, table, zscore
from tests.pages.test_pages import words
from tests.pages.test_pair_page import PAIR as PAIR_PAGE
from tests.pages.test_pair_page import pair_store

App = Callable[..., AppTest]
DATA = "pages/operate/data.py"
T0 = datetime(2026, 11, 20, 12)


@pytest.fixture
def pairs(home: Path) -> Store:
    """Two hours of seconds of a pair that comes back; no worker lives."""
    return pair_store(home, 7_200)


def events(store: Store) -> pl.DataFrame:
    with store.read() as con:
        return load_events(con)


def settle(store: Store, state: str, note: str = "") -> None:
    """End all deliveries, as the worker does."""
    with store.write() as con:
        con.execute(
            "update alert_deliveries set state = $state, note = $note, url = '', tries = 3",
            {"state": state, "note": note},
        )
        bump_versions(con, [EVENTS])


def again(page: AppTest, store: Store) -> AppTest:
    """Run the page once the file has been looked at, as its clock does."""
    feeder(store).refresh()
    return page.run()


def links(page: AppTest) -> dict[str, tuple[str, str]]:
    """Return the links by label: page and address parameters."""
    return {
        one.proto.label: (one.proto.page, one.proto.query_string)
        for one in page.get("page_link")
    }  # fmt: skip


def test_without_events_the_history_says_what_it_will_hold(app: App, pairs: Store) -> None:
    assert "Nothing has fired yet" in words(app(ALERTS, alerts="History"))
    assert "Nothing was to be sent yet" in words(app(ALERTS, alerts="Deliveries"))


def test_events_stand_in_the_history_the_newest_first(app: App, pairs: Store) -> None:
    old = ruled(pairs, Rule("price", "btcusdt", threshold=60_000.0), "Old")
    fire(pairs, old, 60_100.5, ago_s=300)
    fire(pairs, ruled(pairs, zscore()), urls=[HOOK, "json://hooks.example.com/k3yk3yk3y"])
    settle(pairs, "sent")
    page = app(ALERTS, alerts="History")
    found = table(page, "noticed")
    assert found["name"].to_list() == ["Stretched", "Old"]
    assert found["subject"].to_list() == ["ARB / OP", "BTC"]
    assert found["value"].to_list() == ["2.31", "60,100.5"]
    assert found["deliveries"].to_list() == ["2/2 sent", "no target"]
    assert found.columns[:4] == ["seen", "subject", "value", "condition"]
    assert found["kind"].to_list() == ["closed", "closed"]
    assert "2 events in 24 h · 2 not acknowledged" in words(page)


def test_times_stand_on_the_chosen_clock(
    app: App, pairs: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "streamlit.runtime.context.ContextProxy.timezone", property(lambda _: "Asia/Tokyo")
    )
    fire(pairs, ruled(pairs, zscore()), urls=[HOOK])
    page = app(ALERTS, alerts="History")
    (before,) = table(page, "noticed")["bar"]
    page.segmented_control(key="zone").set_value("local").run()
    assert table(page, "noticed")["bar"].to_list() == [before + timedelta(hours=9)]
    page.segmented_control(key="alerts").set_value("deliveries").run()
    assert table(page, "tries")["bar"].to_list() == [before + timedelta(hours=9)]


def test_an_event_stays_after_its_rule(app: App, pairs: Store) -> None:
    kept = ruled(pairs, zscore())
    fire(pairs, kept)
    delete_rule(pairs, kept.id)
    assert table(app(ALERTS, alerts="History"), "noticed")["name"].to_list() == ["Stretched"]


def test_all_are_acknowledged(app: App, pairs: Store) -> None:
    kept = ruled(pairs, zscore())
    fire(pairs, kept)
    page = app(ALERTS, alerts="History")
    assert page.button(key="ack-chosen").disabled
    page.button(key="ack-all").click().run()
    assert events(pairs)["acknowledged_at"].null_count() == 0
    assert table(page, "noticed")["seen"].to_list() == ["✓"]
    assert page.button(key="ack-all").disabled
    assert "0 not acknowledged" in words(page)


def test_all_means_all_and_not_the_newest_alone(
    app: App, pairs: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (questions, alert_history):
        monkeypatch.setattr(module, "MOST", 3)
    monkeypatch.setattr(questions.Events, "__init__", partialmethod(questions.Events.__init__, 3))
    kept = ruled(pairs, zscore(), targets=[HOOK])
    for number in range(5):
        fire(pairs, kept, ago_s=600.0 - 60 * number, urls=[HOOK])
        if number == 0:
            settle(pairs, "dead", "answered 404")
    page = app(ALERTS, alerts="History")
    assert table(page, "noticed").height == 3
    assert "5 events, 5 not acknowledged, the newest 3 shown" in words(page)
    page.segmented_control(key="alerts").set_value("deliveries").run()
    # The dead one is no more among the newest, and is offered all the same.
    assert table(page, "tries")["state"].to_list() == ["waiting"] * 3
    assert page.selectbox(key="dead-chosen").label == "1 dead delivery"
    assert len(page.selectbox(key="dead-chosen").options) == 1
    page.button(key="dead-all").click().run()
    assert "dead-all" not in [one.key for one in page.button]
    page.segmented_control(key="alerts").set_value("history").run()
    page.button(key="ack-all").click().run()
    assert events(pairs)["acknowledged_at"].null_count() == 0
    assert "0 not acknowledged" in words(page)


def test_what_came_after_the_look_is_not_acknowledged(pairs: Store) -> None:
    kept = ruled(pairs, zscore())
    fire(pairs, kept, ago_s=120)
    shown = events(pairs)["noticed_at"].max()
    fire(pairs, kept)
    assert isinstance(shown, datetime)
    acknowledge_until(pairs, shown)
    assert events(pairs)["acknowledged_at"].is_null().to_list() == [True, False]


def test_events_of_one_moment_stand_in_the_order_of_their_bars(pairs: Store) -> None:
    kept, now = ruled(pairs, zscore()), utc_now()
    made = [Event(kept, Firing(T0 + timedelta(hours=hours), 2.5, True)) for hours in (1, 400, 3, 2)]
    with pairs.write() as con:
        write_events(con, made, (), now)
    bars = events(pairs)["bar_ts"].to_list()
    assert bars == sorted(bars, reverse=True)


def choose(page: AppTest, monkeypatch: pytest.MonkeyPatch, *rows: int) -> AppTest:
    """Choose rows of the table, which the browserless runner cannot."""
    real = alert_history.held_still

    def chosen(found: pl.DataFrame) -> tuple[pl.DataFrame, list[int], int]:
        shown, _, newer = real(found)
        return shown, list(rows), newer

    monkeypatch.setattr(alert_history, "held_still", chosen)
    return page.run()


def test_one_is_acknowledged_and_opened(
    app: App, pairs: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = ruled(pairs, zscore())
    old, new = fire(pairs, kept, ago_s=600), fire(pairs, kept)
    page = choose(app(ALERTS, alerts="History"), monkeypatch, 1)
    shown = dict(table(page, "input").iter_rows())
    assert shown["β"] == "0.875"
    assert shown["α"] == "−0.0123456789"
    where, query = links(page)["Open in Pair"]
    assert where == "pair"
    for part in ("y=ARBUSDT", "x=OPUSDT", "tf=1m", "hedge=Refit", "scale=raw", "window=120"):
        assert part in query
    page.button(key="ack-chosen").click().run()
    seen = {row["id"]: row["acknowledged_at"] for row in events(pairs).iter_rows(named=True)}
    assert seen[old] is not None
    assert seen[new] is None


def test_new_events_move_no_chosen_row(monkeypatch: pytest.MonkeyPatch) -> None:
    state: dict[str, Any] = {}
    monkeypatch.setattr(alert_history.st, "session_state", state)
    found = pl.DataFrame({"id": ["c", "b", "a"]})
    assert alert_history.held_still(found)[1:] == ([], 0)
    state["events-table"] = SimpleNamespace(selection=SimpleNamespace(rows=[1]))
    more = pl.DataFrame({"id": ["e", "d", "c", "b", "a"]})
    shown, places, newer = alert_history.held_still(more)
    assert (shown["id"].to_list(), places, newer) == (["c", "b", "a"], [1], 2)
    state["events-table"] = SimpleNamespace(selection=SimpleNamespace(rows=[]))
    assert alert_history.held_still(more)[0]["id"].to_list() == ["e", "d", "c", "b", "a"]


def test_the_download_has_the_inputs_and_no_target(
    app: App, pairs: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[str, Callable[[], bytes]] = {}

    def button(label: str, data: Any, *, file_name: str, **_: Any) -> None:
        made[file_name] = data

    monkeypatch.setattr(alert_history.st, "download_button", button)
    fire(pairs, ruled(pairs, zscore(), targets=[HOOK]), urls=[HOOK])
    fire(pairs, ruled(pairs, Rule("price", "btcusdt", threshold=1.0)), 2.0)
    app(ALERTS, alerts="History")
    text = made["perpduck-alerts.csv"]().decode()
    found = pl.read_csv(io.StringIO(text))
    assert found.height == 2
    assert {"input_alpha", "input_method", "value", "condition", "bar_ts"} <= set(found.columns)
    assert found["input_beta"].to_list() == [0.875, 0.875]
    # As text a minus would be taken for the begin of a formula.
    assert found["input_alpha"].to_list() == [-0.0123456789] * 2
    assert found["input_window_bars"].to_list() == [120, 120]
    assert found["input_method"].to_list() == ["refit", "refit"]
    assert "hooks.example.com" not in text
    assert "T0PSECRET" not in text


def test_dead_deliveries_say_why_and_are_tried_again(app: App, pairs: Store) -> None:
    kept = ruled(pairs, zscore(), targets=[HOOK])
    fire(pairs, kept, urls=[HOOK])
    settle(pairs, "dead", "answered 404")
    page = app(ALERTS, alerts="History")
    assert table(page, "noticed")["deliveries"].to_list() == ["0/1 sent · 1 dead: answered 404"]
    assert "1 dead" in words(page)
    page.segmented_control(key="alerts").set_value("deliveries").run()
    found = table(page, "tries")
    assert found["note"].to_list() == ["answered 404"]
    assert found.columns[:3] == ["state", "subject", "value"]
    assert found.row(0)[:3] == ("dead", "ARB / OP", "2.31")
    assert "hooks.example.com" in found["label"][0]
    assert not any(secret in everything(page) for secret in ("T0PSECRET", "k3yk3yk3y"))
    page.button(key="dead-all").click().run()
    assert not page.exception
    assert table(page, "tries")["state"].to_list() == ["waiting"]
    assert "deliveries: 1 waiting" in words(page)


def test_a_delivery_without_its_target_says_so(app: App, pairs: Store) -> None:
    kept = ruled(pairs, zscore(), targets=[HOOK])
    fire(pairs, kept, urls=[HOOK])
    settle(pairs, "dead", "answered 404")
    delete_rule(pairs, kept.id)
    page = app(ALERTS, alerts="Deliveries")
    page.button(key="dead-all").click().run()
    assert not page.exception
    assert [one.value for one in page.warning if "No worker" not in one.value]
    assert table(page, "tries")["state"].to_list() == ["dead"]


def test_the_settings_in_force_are_told_without_a_url(
    app: App, pairs: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERPDUCK_ALERT_URLS", HOOK)
    monkeypatch.setenv("PERPDUCK_ALERT_QUIET", "22:00-07:00 Europe/Berlin")
    monkeypatch.setenv("PERPDUCK_ALERT_PER_MINUTE", "7")
    page = app(ALERTS, alerts="Deliveries")
    text = words(page)
    assert "22:00–07:00 Europe/Berlin" in text
    assert "at most 7 messages a minute" in text
    assert "its network are refused" in text
    assert "T0PSECRET" not in everything(page)


def test_a_toast_tells_of_an_event_once_and_of_no_old_one(app: App, pairs: Store) -> None:
    kept = ruled(pairs, zscore(), "Wide *open*")
    fire(pairs, kept, ago_s=600)
    # The session's very first run: what is told there is not told again.
    page = app()
    assert not page.toast
    fire(pairs, kept, -1.4159)
    again(page, pairs)
    (toast,) = page.toast
    assert toast.value == ("**Wide \\*open\\*** · ARB / OP · z-score crosses above 2: −1.42")
    again(page, pairs)
    assert not page.toast
    page.switch_page(ALERTS).run()
    assert not page.toast


def test_many_at_a_time_are_counted(app: App, pairs: Store) -> None:
    page = app(DATA)
    for number in range(5):
        fire(pairs, ruled(pairs, zscore(), f"Rule {number}"))
    again(page, pairs)
    assert len(page.toast) == 4
    assert "2 more alerts fired" in page.toast[3].value


def test_the_badge_counts_what_nobody_acknowledged(app: App, pairs: Store) -> None:
    page = app(DATA)
    assert not [label for label in links(page) if label.startswith("**")]
    kept = ruled(pairs, zscore())
    ids = [fire(pairs, kept, ago_s=120), fire(pairs, kept)]
    again(page, pairs)
    assert links(page)["**2**"] == ("alerts", "alerts=History")
    acknowledge(pairs, ids[:1])
    again(page, pairs)
    assert "**1**" in links(page)
    acknowledge(pairs, ids)
    again(page, pairs)
    assert not [label for label in links(page) if label.startswith("**")]


def test_pair_leads_to_a_rule_with_its_settings(app: App, pairs: Store) -> None:
    page = app(PAIR_PAGE, tf="1s", span="1h", hedge="Refit", scale="raw", window="90")
    where, query = links(page)["Alert on it"]
    assert where == "alerts"
    for part in ("y=ARBUSDT", "x=OPUSDT", "tf=1s", "span=1h", "hedge=Refit", "scale=raw",
                 "window=90", "rule=new"):  # fmt: skip
        assert part in query


def test_pair_shows_what_fired_last_on_it(app: App, pairs: Store) -> None:
    page = app(PAIR_PAGE, tf="1s", span="1h")
    assert not page.get("dataframe")
    other = ruled(pairs, Rule("zscore", "opusdt", "arbusdt", "above", 2.0), "Swapped")
    kept = ruled(pairs, zscore())
    fire(pairs, other)
    for number in range(7):
        fire(pairs, kept, 2.0 + number, ago_s=600.0 - 60 * number)
    again(page, pairs)
    found = table(page, "condition")
    assert found["timeframe"].to_list() == ["1m"] * 5
    # What a phone shows without scrolling sideways.
    assert found.columns[:3] == ["bar", "timeframe", "value"]
    assert found["value"].to_list() == ["8.00", "7.00", "6.00", "5.00", "4.00"]
    assert set(found["name"]) == {"Stretched"}
    assert links(page)["History"] == ("alerts", "alerts=History")
