"""What is said of a rule agrees with what the machine does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, time

import pytest

from core.alerts.kept import KeptRule, Standing
from core.alerts.machine import State
from core.alerts.metrics import METRICS
from core.alerts.rules import OPS, Hours, Rule
from pages.shared.alert_draft import FIRST, SPANS, span_name, span_s
from pages.shared.alert_fields import _OPS
from pages.shared.alert_words import (
    SHORT,
    against_words,
    at_zone,
    basis_words,
    closeness,
    further_words,
    number_words,
    rearm_level,
    rearm_words,
    stage,
)
from tests.pages.alert_pages import PAIR, zscore

NOW = datetime(2026, 3, 29, 12, 0)


def kept(rule: Rule, *, is_paused: bool = False) -> KeptRule:
    return KeptRule("1", "Stretched", rule, (), is_paused, NOW, NOW)


def rules_with_levels() -> Iterator[Rule]:
    for op in OPS:
        for threshold in (-3.0, -0.5, 0.5, 3.0):
            low = threshold - 2.0 if op == "outside" else None
            yield zscore(op=op, threshold=threshold, low=low)
            yield Rule("price", "btcusdt", op=op, threshold=threshold, low=low)
    yield zscore(threshold=3.0, rearm=2.0)
    yield zscore(op="below", threshold=-3.0, rearm=0.5)
    yield zscore(op="outside", threshold=3.0, low=-3.0, rearm=2.0)


@pytest.mark.parametrize("rule", list(rules_with_levels()), ids=lambda rule: rule.condition)
def test_the_rearm_level_told_is_the_machines(rule: Rule) -> None:
    level = rearm_level(rule)
    if level is None:
        edge = rule.threshold
        inside = edge - 0.01 if rule.is_rising or rule.is_two_sided else edge + 0.01
        assert rule.is_back(inside)
        assert not rule.is_back(edge + (edge - inside))
        return
    step = -0.01 if rule.is_rising or rule.is_two_sided else 0.01
    if rule.is_two_sided and not (rule.low or 0.0) < 0 < rule.threshold:
        return
    assert rule.is_back(level + step)
    assert not rule.is_back(level - step)


def test_the_rearm_level_in_words() -> None:
    assert rearm_words(zscore()) == "z < 1"
    assert rearm_words(zscore(op="below", threshold=-2.0)) == "z > −1"
    assert rearm_words(zscore(op="outside", threshold=2.0, low=-2.0)) == "|z| < 1"
    assert rearm_words(Rule("price", "btcusdt", threshold=100.0)) == "price ≤ 100"
    assert rearm_words(zscore(threshold=0.5)) == "z ≤ 0.5"


def test_every_metric_has_its_words_and_first_values() -> None:
    assert set(FIRST) == set(SHORT) == set(METRICS)
    assert set(_OPS) == set(OPS)
    for name, (op, threshold, low) in FIRST.items():
        scope = METRICS[name].scope
        y, x = ("", "") if scope == "system" else ("ethusdt", "btcusdt" if scope == "pair" else "")
        rule = Rule(
            name, y, x, op=op, threshold=threshold, low=low if op == "outside" else None,  # type: ignore[arg-type]
            reference=1.0 if name == "beta_drift" else None,
        )  # fmt: skip
        assert basis_words(rule)
        assert SHORT[name] in against_words(rule, 1.0)


def test_values_have_the_metrics_decimals() -> None:
    assert number_words("zscore", -1.4159) == "−1.42"
    assert number_words("half_life", float("inf")) == "∞"
    assert number_words("corr", None) == "–"
    assert number_words("contract", 1.0) == "not trading"
    assert number_words("price", 64_210.1) == "64,210.1"
    assert against_words(zscore(), 1.42) == "z 1.42 → 2"
    assert against_words(Rule("price", "btcusdt", threshold=64_210.15), None) == (
        "price – → 64,210.15"
    )


@pytest.mark.parametrize(
    ("rule", "value", "share"),
    [
        (zscore(), 1.0, 0.5),
        (zscore(), 5.0, 1.0),
        (zscore(), -3.0, 0.0),
        (zscore(op="below", threshold=-2.0), -1.0, 0.5),
        (zscore(op="outside", threshold=2.0, low=-4.0), -3.0, 0.75),
        (zscore(), None, None),
        (Rule("contract", "btcusdt"), 0.0, None),
        (Rule("spread", *PAIR, threshold=0.0), -1.0, None),
    ],
)
def test_how_close_a_value_is(rule: Rule, value: float | None, share: float | None) -> None:
    assert closeness(rule, value) == share


@pytest.mark.parametrize(
    ("rule", "standing", "kind", "words"),
    [
        (zscore(), None, "new", "Not looked at yet"),
        (zscore(), Standing(), "armed", "Armed"),
        (zscore(), Standing(State(is_armed=False, fired_at=NOW)), "fired", "waits for z < 1"),
        (zscore(cooldown_s=3600.0), Standing(State(fired_at=NOW)), "cooling", "until 13:00 UTC"),
        (zscore(cooldown_s=60.0), Standing(State(fired_at=NOW.replace(hour=11))), "armed", "Armed"),
        (zscore(hold_bars=3), Standing(State(held=2)), "armed", "Holds for 2 of 3 bars"),
        (zscore(), Standing(reason="too few bars"), "trouble", "evaluated: too few bars"),
        (zscore(hours=Hours(time(1), time(2))), Standing(), "outside", "Outside its hours"),
        (zscore(hours=Hours(days=(0, 1))), Standing(), "outside", "Outside its hours"),
    ],
)
def test_where_a_rule_stands(rule: Rule, standing: Standing | None, kind: str, words: str) -> None:
    found = stage(kept(rule), standing, NOW)
    assert found.kind == kind
    assert words in found.words


def test_a_paused_rule_says_so_before_anything_else() -> None:
    assert stage(kept(zscore(), is_paused=True), Standing(reason="x"), NOW).kind == "paused"


def test_what_holds_a_rule_back_is_told() -> None:
    rule = zscore(
        hold_bars=3, cooldown_s=900.0, when="live",
        hours=Hours(time(22), time(6, 30), (0, 4)),
    )  # fmt: skip
    assert further_words(rule) == (
        "held 3 bars · cooldown 15 min · 22:00–06:30 UTC · Mon Fri · live"
    )
    assert further_words(zscore()) == ""


def test_a_clock_follows_daylight_saving_and_unknown_zones_stay_utc() -> None:
    assert at_zone(NOW, "local", "Europe/Berlin").hour == 14
    assert at_zone(NOW.replace(month=1), "local", "Europe/Berlin").hour == 13
    assert at_zone(NOW, "utc", "Europe/Berlin") == NOW
    assert at_zone(NOW, "local", "Mars/Olympus") == NOW
    assert at_zone(NOW, "local", None) == NOW


@pytest.mark.parametrize("seconds", [*SPANS.values(), 7_200.0, 5_400.0, 45.0])
def test_a_range_is_named_and_found_again(seconds: float) -> None:
    assert span_s(span_name(seconds)) == seconds
