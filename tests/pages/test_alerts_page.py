"""Alerts in the browserless runner: the form, the list of rules, targets, the way from Pair."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time, timedelta
from pathlib import Path

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from core.alerts.kept import KeptRule, Standing, add_rule
from core.alerts.machine import State
from core.alerts.preview import Preview, preview
from core.alerts.rules import Hours, Rule
from core.live.feeder import feeder
from core.pair_spec import PairSpec
from core.pairs import analyse_pair
from core.store import Store
from core.supervisor import Health
from core.trade_writer import utc_now
from pages.shared import sources
from pages.shared.alert_preview import covered_words, preview_of
from pages.shared.alert_words import seen_stage
from tests.pages.alert_pages import (
    ALERTS,
    HOOK,
    everything,
    fire,
    kept_rules,
    ruled,
    stand,
    zscore,
)
from tests.pages.test_pages import words
from tests.pages.test_pair_page import PAIR as PAIR_PAGE
from tests.pages.test_pair_page import pair_store

App = Callable[..., AppTest]
SECRETS = ("T0PSECRET", "k3yk3yk3y")


@pytest.fixture
def pairs(home: Path) -> Store:
    """Two hours of seconds of a pair that comes back; no worker lives."""
    return pair_store(home, 7_200)


def fields(page: AppTest) -> set[str]:
    """Return the labels of all that can be filled in."""
    kinds = (page.selectbox, page.number_input, page.text_input, page.time_input)
    return {one.label for kind in kinds for one in kind} | {
        one.proto.label for one in page.get("button_group")
    }


def act(page: AppTest, rule_id: str, action: str) -> AppTest:
    return page.menu_button(key=f"rule-menu-{rule_id}").click(action).run()


def test_a_newcomer_adds_the_example_with_one_click(app: App, pairs: Store) -> None:
    page = app(ALERTS)
    assert "No rules yet" in words(page)
    assert "ARB / OP" in words(page)
    page.button(key="add-example").click().run()
    assert not page.exception
    (kept,) = kept_rules(pairs)
    assert kept.rule == zscore()
    assert kept.name == "ARB / OP z-score crosses above 2"
    assert "No rules yet" not in words(page)
    assert "Added" in page.success[0].value


def test_without_a_worker_the_page_says_who_looks(app: App, pairs: Store) -> None:
    assert any("No worker is running" in one.value for one in app(ALERTS).warning)


def test_what_the_form_says_is_kept(app: App, pairs: Store) -> None:
    page = app(ALERTS, alerts="New rule")
    page.selectbox(key="rule_op").set_value("outside").run()
    page.number_input(key="rule_threshold").set_value(2.5)
    page.number_input(key="rule_low").set_value(-3.0)
    page.number_input(key="rule_rearm").set_value(0.5)
    page.selectbox(key="rule_tf").set_value("5s")
    page.number_input(key="rule_window").set_value(90)
    page.selectbox(key="rule_hedge").set_value("kalman").run()
    page.selectbox(key="rule_span").set_value("1h")
    page.number_input(key="rule_hold").set_value(2)
    page.number_input(key="rule_cooldown").set_value(15.0)
    page.time_input(key="rule_start").set_value(time(22, 0))
    page.time_input(key="rule_end").set_value(time(6, 30))
    page.text_input(key="rule_name").set_value("Mine *own*")
    page.pills(key="rule_days").set_value([0, 4])
    page.segmented_control(key="rule_scale").set_value("raw")
    page.segmented_control(key="rule_when").set_value("live").run()
    assert "past midnight" in words(page)
    page.button(key="save-rule").click().run()
    assert not page.exception
    (kept,) = kept_rules(pairs)
    assert kept.name == "Mine *own*"
    assert kept.rule == zscore(
        op="outside", threshold=2.5, low=-3.0, rearm=0.5, timeframe="5s", window_bars=90,
        method="kalman", range_s=3_600.0, hold_bars=2, cooldown_s=900.0, is_log=False, when="live",
        hours=Hours(time(22), time(6, 30), (0, 4)),
    )  # fmt: skip


def test_only_what_the_metric_uses_is_asked_for(app: App, pairs: Store) -> None:
    page = app(ALERTS, alerts="New rule")
    asked = fields(page)
    assert {"y", "x", "Window, bars", "Regression", "Prices", "Timeframe", "Judged"} <= asked
    assert "Range" not in asked
    page.selectbox(key="rule_metric").set_value("coint_p").run()
    asked = fields(page)
    assert {"Range", "Prices", "Timeframe"} <= asked
    assert not {"Window, bars", "Regression", "Judged"} & asked
    page.segmented_control(key="rule_scope").set_value("symbol").run()
    assert page.selectbox(key="rule_metric").value == "price"
    page.selectbox(key="rule_metric").set_value("contract").run()
    asked = fields(page)
    assert "Symbol" in asked
    assert not {"x", "Threshold", "Timeframe", "Fires when it"} & asked
    page.segmented_control(key="rule_scope").set_value("system").run()
    assert not {"Symbol", "y", "x", "Timeframe"} & fields(page)
    assert "Threshold (s)" in fields(page)


def test_a_field_that_is_not_shown_leaves_no_trace(app: App, pairs: Store) -> None:
    page = app(ALERTS, alerts="New rule")
    page.segmented_control(key="rule_when").set_value("live")
    page.number_input(key="rule_window").set_value(90)
    page.selectbox(key="rule_tf").set_value("5s").run()
    page.segmented_control(key="rule_scope").set_value("system").run()
    page.button(key="save-rule").click().run()
    assert kept_rules(pairs)[0].rule == Rule("silent", op="above", threshold=60.0)


def test_a_metric_brings_its_own_first_levels(app: App, pairs: Store) -> None:
    page = app(ALERTS, alerts="New rule")
    page.selectbox(key="rule_metric").set_value("corr").run()
    state = page.session_state
    assert (state["rule_op"], state["rule_threshold"]) == ("crosses_below", 0.5)
    page.button(key="save-rule").click().run()
    assert kept_rules(pairs)[0].rule == Rule(
        "corr", "arbusdt", "opusdt", op="crosses_below", threshold=0.5
    )


def test_the_form_tells_where_a_rule_is_ready_again(app: App, pairs: Store) -> None:
    page = app(ALERTS, alerts="New rule")

    def told() -> str:
        return str(page.number_input(key="rule_rearm").proto.placeholder)

    assert told() == "< 1"
    page.selectbox(key="rule_op").set_value("crosses_below")
    page.number_input(key="rule_threshold").set_value(-2.0).run()
    assert told() == "> −1"
    page.number_input(key="rule_threshold").set_value(-0.5).run()
    assert told() == "≥ −0.5"
    page.segmented_control(key="rule_scope").set_value("system").run()
    assert told() == "≤ 60"
    assert {"Ready again at (s)"} <= fields(page)


def test_what_contradicts_itself_is_said_at_once(app: App, pairs: Store) -> None:
    page = app(ALERTS, alerts="New rule")
    page.number_input(key="rule_rearm").set_value(3.0).run()
    assert any("lies beyond the threshold" in one.value for one in page.warning)
    assert page.button(key="save-rule").disabled
    page.number_input(key="rule_rearm").set_value(None)
    page.number_input(key="rule_threshold").set_value(None).run()
    assert any("threshold is empty" in one.value for one in page.warning)
    page.number_input(key="rule_threshold").set_value(2.0).run()
    page.selectbox(key="rule_x").set_value("arbusdt").run()
    assert any("needs two different symbols" in one.value for one in page.warning)
    assert page.button(key="save-rule").disabled
    assert kept_rules(pairs) == []


def test_legs_are_swapped(app: App, pairs: Store) -> None:
    page = app(ALERTS, alerts="New rule")
    page.button(key="rule-swap").click().run()
    page.button(key="save-rule").click().run()
    assert kept_rules(pairs)[0].rule.symbols == ("opusdt", "arbusdt")


def test_drift_is_measured_from_the_present_hedge_ratio(app: App, pairs: Store) -> None:
    page = app(ALERTS, alerts="New rule", tf="1s")
    page.selectbox(key="rule_tf").set_value("1s")
    page.selectbox(key="rule_metric").set_value("beta_drift").run()
    page.button(key="take-reference").click().run()
    found = page.session_state["rule_reference"]
    end = utc_now()
    spec = PairSpec("arbusdt", "opusdt", "1s", method="rolling")
    series = analyse_pair(pairs, spec, end - timedelta(minutes=5), end).series
    assert found == pytest.approx(series["beta"][-1], rel=1e-5)
    page.button(key="save-rule").click().run()
    assert kept_rules(pairs)[0].rule.reference == found


def test_the_preview_counts_what_the_machine_counts(app: App, pairs: Store) -> None:
    page = app(ALERTS, alerts="New rule")
    page.selectbox(key="rule_tf").set_value("1s")
    page.number_input(key="rule_threshold").set_value(1.5).run()
    rule = zscore(timeframe="1s", threshold=1.5)
    shown = preview_of(sources.named("practice"), rule)
    count = len(shown.firings)
    assert count == len(preview(pairs, rule, end=shown.end).firings) > 5
    assert f"Would have fired {count} times in the last 2 h" in words(page)
    assert "closed bars only" in words(page)
    assert any("Raise the threshold" in one.value for one in page.warning)
    page.number_input(key="rule_threshold").set_value(50.0).run()
    assert "Would have fired not once in the last 2 h" in words(page)


def test_a_preview_covers_what_has_values() -> None:
    end = datetime(2026, 11, 27, 12)
    times = [end - timedelta(minutes=left) for left in range(20, 0, -1)]
    values = [None] * 5 + [1.0] * 15
    series = pl.DataFrame({"ts": times, "value": values})
    assert covered_words(Preview(end - timedelta(days=1), end, [], series)) == "15 min"


def test_a_system_rule_says_why_it_has_no_preview(app: App, pairs: Store) -> None:
    page = app(ALERTS, alerts="New rule")
    page.segmented_control(key="rule_scope").set_value("system").run()
    assert "Nothing can be said of the past" in words(page)
    assert "known at the moment only" in words(page)


def test_a_rule_is_changed(app: App, pairs: Store) -> None:
    kept = ruled(pairs, zscore(timeframe="5min", threshold=3.0, range_s=7_200.0, method="ols"))
    page = act(app(ALERTS), kept.id, "edit")
    assert page.session_state["alerts"] == "form"
    assert page.selectbox(key="rule_tf").value == "5min"
    assert page.selectbox(key="rule_span").value == "2 h"
    assert "Change “Stretched”" in words(page)
    page.number_input(key="rule_threshold").set_value(2.75).run()
    page.button(key="save-rule").click().run()
    (after,) = kept_rules(pairs)
    assert (after.id, after.rule.threshold) == (kept.id, 2.75)
    assert after.rule.range_s == 7_200.0
    # The form is a new rule's again.
    page.segmented_control(key="alerts").set_value("form").run()
    assert page.button(key="save-rule").label == "Add rule"


def test_a_rule_is_paused_and_goes_on(app: App, pairs: Store) -> None:
    kept = ruled(pairs, zscore())
    page = act(app(ALERTS), kept.id, "pause")
    assert kept_rules(pairs)[0].is_paused
    assert "Paused" in words(page)
    assert "**0 rules on** · 1 paused" in words(page)
    act(page, kept.id, "pause")
    assert not kept_rules(pairs)[0].is_paused


def test_a_rule_is_duplicated_paused(app: App, pairs: Store) -> None:
    kept = ruled(pairs, zscore(), targets=[HOOK])
    act(app(ALERTS), kept.id, "duplicate")
    copy = next(one for one in kept_rules(pairs) if one.id != kept.id)
    assert (copy.name, copy.rule, copy.is_paused) == ("Stretched (copy)", kept.rule, True)
    assert copy.targets == (HOOK,)


def test_a_rule_is_deleted_once_that_is_confirmed(app: App, pairs: Store) -> None:
    kept, other = ruled(pairs, zscore(), "One"), ruled(pairs, zscore(), "Other")
    page = act(app(ALERTS), kept.id, "delete")
    assert len(kept_rules(pairs)) == 2
    page.button(key="delete-rule-not").click().run()
    assert len(kept_rules(pairs)) == 2
    page = act(page, kept.id, "delete")
    page.button(key="delete-rule-sure").click().run()
    assert [one.id for one in kept_rules(pairs)] == [other.id]
    assert "One" not in words(page)


def test_a_rule_always_says_why_it_cannot_be_evaluated(app: App, pairs: Store) -> None:
    kept = ruled(pairs, zscore(), "Lame")
    ruled(pairs, zscore(), "Well")
    stand(pairs, kept.id, reason="DOGEUSDT is not watched: add it to the watchlist on Data")
    page = app(ALERTS)
    assert "DOGEUSDT is not watched" in words(page)
    assert "1 cannot be evaluated" in words(page)
    page.segmented_control(key="rules-kind").set_value("trouble").run()
    assert "Lame" in words(page)
    assert "Well" not in words(page)


def test_a_rule_shows_its_value_its_stage_and_when_it_fired(app: App, pairs: Store) -> None:
    kept = ruled(pairs, zscore())
    now = utc_now()
    stand(pairs, kept.id, state=State(is_armed=False, fired_at=now), value_at=now, value=1.42)
    text = words(app(ALERTS))
    assert "z 1.42 → 2" in text
    assert "Fired, waits for z \\< 1" in text
    assert "never fired" in text
    fire(pairs, kept, at=datetime(2026, 11, 20, 12, 1))
    bar = datetime(2026, 11, 20, 12)
    feeder(pairs).refresh()
    page = app(ALERTS)
    assert f"last fired {bar:%d %b %H:%M:%S}" in words(page)
    # What it remembers goes with a pause or a change; what it did does not.
    act(page, kept.id, "pause")
    assert f"last fired {bar:%d %b %H:%M:%S}" in words(page)


def lived(store: Store, ago: timedelta) -> None:
    """Have the worker's last sign of life be so long ago."""
    with store.write() as con:
        con.execute("update worker_status set updated_at = ?", [utc_now() - ago])


def test_while_nobody_looks_no_rule_looks_alive(
    app: App, pairs: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = ruled(pairs, zscore())
    system = ruled(pairs, Rule("stopped", op="above", threshold=60.0), "Own eye")
    now = utc_now()
    for one in (kept, system):
        stand(pairs, one.id, value_at=now - timedelta(hours=3), value=1.42)
    lived(pairs, timedelta(hours=3))
    page = app(ALERTS)
    since = now - timedelta(hours=3)
    form = "%H:%M" if since.date() == now.date() else "%d %b %H:%M"
    assert f"not looked at since {since:{form}} UTC]" in words(page)
    (shown,) = [one.value for one in page.markdown if "visibility_off" in one.value]
    assert f"Not looked at since {since:{form}} UTC; then: Armed".replace(":", "\\:") in shown
    assert "as of" in words(page)
    # The app itself looks at this one.
    assert ":green[" in words(page)
    assert len(page.get("progress")) == 1


@pytest.mark.parametrize(
    ("state", "told"),
    [("stuck", "The worker is stuck"), ("dead", "has died"), ("stopped", "No worker is running")],
)
def test_the_page_says_why_nobody_looks(
    app: App, pairs: Store, monkeypatch: pytest.MonkeyPatch, state: str, told: str
) -> None:
    ruled(pairs, zscore())
    health = Health(state, "another program may hold it.", "Close it.", 600.0)
    monkeypatch.setattr("core.live.pulse.worker_health", lambda *_, **__: health)
    monkeypatch.setattr("core.live.feeder.worker_health", lambda *_, **__: health, raising=False)
    (warning,) = [one.value for one in app(ALERTS).warning]
    assert told in warning
    assert ("another program may hold it" in warning) == (state != "stopped")


@pytest.mark.parametrize("state", ["stuck", "dead", "stopped"])
def test_the_app_looks_at_rules_on_the_worker_itself(state: str) -> None:
    now, health = utc_now(), Health(state, "", "", 600.0)
    for rule, kind in (
        (Rule("stopped", op="above", threshold=60.0), "armed"),
        (Rule("disk", op="below", threshold=5.0), "unwatched"),
        (zscore(), "unwatched"),
    ):
        kept = KeptRule("r", "r", rule, (), False, now, now)
        assert seen_stage(kept, Standing(), now, health).kind == kind
        assert seen_stage(kept, Standing(), now, Health("live", "", "")).kind == "armed"


def test_many_rules_stand_on_pages_and_are_filtered(app: App, pairs: Store) -> None:
    for number in range(23):
        add_rule(pairs, f"Rule {number:02}", zscore())
    page = app(ALERTS)
    assert len(page.menu_button) == 10
    assert "Rule 22" in words(page)
    assert "Page 1 of 3 · 23 rules" in words(page)
    page.button(key="rules-page-Older").click().run()
    assert "Rule 12" in words(page)
    assert "Rule 22" not in words(page)
    page.text_input(key="rules-filter").set_value("arb 07").run()
    assert "Rule 07" in words(page)
    assert len(page.menu_button) == 1
    page.text_input(key="rules-filter").set_value("doge").run()
    assert "No rule fits the filter" in words(page)


def test_a_target_is_added_tested_and_never_shown(
    app: App, pairs: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = "https://hooks.example.com/default/T0PSECRET"
    monkeypatch.setenv("PERPDUCK_ALERT_URLS", default)
    sent: list[str] = []
    monkeypatch.setattr(
        "pages.shared.alert_targets.send_test", lambda url, _: sent.append(url) or "answered 404"
    )
    page = app(ALERTS, alerts="New rule")
    assert "the settings' targets: `https://hooks.example.com" in words(page)
    page.text_input(key="rule_new_target").set_value(HOOK)
    page.button(key="add-target").click().run()
    assert page.text_input(key="rule_new_target").value == ""
    assert "hooks.example.com" in everything(page)
    assert "Ready again at" in everything(page)
    assert not any(secret in everything(page) for secret in SECRETS)
    page.button(key="save-rule").click().run()
    (kept,) = kept_rules(pairs)
    assert kept.targets == (HOOK,)
    assert "`https://hooks.example.com" in words(page)
    act(page, kept.id, "test")
    assert sent == [HOOK]
    assert any("answered 404" in one.value for one in page.warning)
    assert not any(secret in everything(page) for secret in SECRETS)
    page.segmented_control(key="alerts").set_value("deliveries").run()
    page.button(key="test-settings").click().run()
    assert sent == [HOOK, default]
    assert not any(secret in everything(page) for secret in SECRETS)


def test_a_target_that_cannot_be_used_is_refused_without_its_secret(app: App, pairs: Store) -> None:
    page = app(ALERTS, alerts="New rule")
    page.text_input(key="rule_new_target").set_value("nosuch://T0PSECRET/k3yk3yk3y")
    page.button(key="add-target").click().run()
    assert any("no service" in one.value for one in page.warning)
    assert not any(secret in one.value for one in page.warning for secret in SECRETS)
    page.text_input(key="rule_new_target").set_value(HOOK)
    page.button(key="add-target").click().run()
    page.button(key="drop-target-0").click().run()
    page.button(key="save-rule").click().run()
    assert kept_rules(pairs)[0].targets == ()


@pytest.mark.parametrize("button", ["save-rule", "add-example"])
def test_a_target_that_was_only_typed_is_taken_with_the_rule(
    app: App, pairs: Store, button: str
) -> None:
    page = app(ALERTS)
    page.text_input(key="rule_new_target").set_value(f" {HOOK}")
    page.button(key=button).click().run()
    (kept,) = kept_rules(pairs)
    assert kept.targets == (HOOK,)
    assert not any(secret in everything(page) for secret in SECRETS)
    page.segmented_control(key="alerts").set_value("form").run()
    assert page.text_input(key="rule_new_target").value == ""


def test_a_typed_target_that_cannot_be_used_keeps_the_rule_back(app: App, pairs: Store) -> None:
    page = app(ALERTS, alerts="New rule")
    page.text_input(key="rule_new_target").set_value("http://127.0.0.1:9/T0PSECRET")
    page.button(key="save-rule").click().run()
    assert kept_rules(pairs) == []
    (told,) = [one.value for one in page.error]
    assert "private network" in told
    assert "T0PSECRET" not in told
    # What was typed is still there to be mended.
    assert page.text_input(key="rule_new_target").value
    page.button(key="leave-rule").click().run()
    assert not page.text_input(key="rule_new_target").value


def test_while_a_rule_is_changed_a_new_one_can_be_begun(app: App, pairs: Store) -> None:
    kept = ruled(pairs, zscore(threshold=3.0))
    page = act(app(ALERTS), kept.id, "edit")
    page.button(key="new-instead").click().run()
    assert not page.exception
    assert "Change “" not in words(page)
    assert page.button(key="save-rule").label == "Add rule"
    assert page.number_input(key="rule_threshold").value == 2.0


def test_a_link_fills_the_form(app: App, pairs: Store) -> None:
    query = {"y": "OPUSDT", "x": "BTCUSDT", "tf": "5m", "span": "6h", "scale": "raw",
             "hedge": "Kalman", "window": "120"}  # fmt: skip
    page = app(ALERTS, alerts="New rule", rule="new", **query)
    assert "rule" not in page.query_params
    page.button(key="save-rule").click().run()
    assert kept_rules(pairs)[0].rule == Rule(
        "zscore", "opusdt", "btcusdt", "crosses_above", 2.0, timeframe="5min", window_bars=120,
        method="kalman", is_log=False, range_s=21_600.0,
    )  # fmt: skip


def test_nonsense_in_a_link_falls_back(app: App, pairs: Store) -> None:
    page = app(ALERTS, alerts="New rule", rule="new", tf="7w", span="-1", hedge="x", window="1e9")
    page.button(key="save-rule").click().run()
    assert kept_rules(pairs)[0].rule == zscore()


def test_the_form_keeps_what_was_typed_while_one_looks_elsewhere(app: App, pairs: Store) -> None:
    page = app(ALERTS, alerts="New rule")
    page.number_input(key="rule_threshold").set_value(2.5).run()
    page.segmented_control(key="alerts").set_value("history").run()
    page.switch_page(PAIR_PAGE).run()
    page.switch_page(ALERTS).run()
    page.segmented_control(key="alerts").set_value("form").run()
    assert page.number_input(key="rule_threshold").value == 2.5
    assert not page.exception
