"""When a rule fires: every comparison, hysteresis, hold, cooldown, hours, live against close."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.alerts.machine import Observation, State, advance
from core.alerts.metrics import METRICS
from core.alerts.rules import OPS, Hours, Rule
from core.errors import DataError

BEGIN = datetime(2026, 11, 23, 12)


def rule(**changes: object) -> Rule:
    chosen: dict[str, object] = {"metric": "zscore", "y": "a", "x": "b", "threshold": 2.0}
    return Rule(**(chosen | changes))  # type: ignore[arg-type]


def bars(values: list[float | None], first: int = 0) -> list[Observation]:
    return [
        Observation(BEGIN + timedelta(minutes=first + i), value) for i, value in enumerate(values)
    ]


def fired(one: Rule, values: list[float | None], **more: object) -> list[int]:
    """The numbers of the bars that fire."""
    found = advance(one, State(), bars(values), **more)[1]  # type: ignore[arg-type]
    return [int((event.at - BEGIN) / timedelta(minutes=1)) for event in found]


WAVE = [0, 1.5, 2.5, 3, 1.5, 2.5, 0.5, 2.2, -3, -0.5, -2.5, 0]


def test_above_fires_once_until_the_value_was_back_below_one() -> None:
    assert fired(rule(op="above"), WAVE) == [2, 7]


def test_above_with_the_threshold_as_its_rearm_level_fires_at_every_excursion() -> None:
    assert fired(rule(op="above", rearm=2.0), WAVE) == [2, 5, 7]


def test_below_is_the_mirror_image() -> None:
    mirrored = [-value for value in WAVE]
    assert fired(rule(op="below", threshold=-2.0), mirrored) == [2, 7]
    assert fired(rule(op="below", threshold=-2.0, rearm=-2.0), mirrored) == [2, 5, 7]


def test_a_level_fires_at_the_first_look_a_crossing_only_when_it_is_seen_to_happen() -> None:
    values = [3.0, 3.0, 0.0, 3.0]
    assert fired(rule(op="above"), values) == [0, 3]
    assert fired(rule(op="crosses_above"), values) == [3]
    assert fired(rule(op="crosses_below", threshold=-2.0), [-v for v in values]) == [3]


def test_outside_a_band_fires_on_either_side_after_coming_back_within_one() -> None:
    assert fired(rule(op="outside", low=-2.0), WAVE) == [2, 7, 10]


def test_on_the_level_is_not_beyond_it() -> None:
    assert fired(rule(op="above"), [2.0, 2.0]) == []
    assert fired(rule(op="outside", low=-2.0), [2.0, -2.0]) == []
    assert fired(rule(op="crosses_above"), [2.0, 2.0001]) == [1]


def test_a_metric_without_its_own_rearm_level_is_ready_as_soon_as_it_is_back() -> None:
    assert fired(rule(metric="spread", op="above"), [3, 1.9, 3, 2, 3]) == [0, 2, 4]


def test_it_must_hold_for_so_many_bars_in_a_row() -> None:
    held = rule(op="above", hold_bars=3)
    assert fired(held, [3, 3, 0, 3, 3, 3, 3]) == [5]
    assert fired(rule(op="crosses_above", hold_bars=2), [0, 3, 0, 3, 3, 3]) == [4]


def test_a_bar_whose_value_is_not_known_interrupts_and_is_no_crossing() -> None:
    assert fired(rule(op="above", hold_bars=2), [3, None, 3, 3]) == [3]
    assert fired(rule(op="crosses_above"), [0, None, 3]) == []
    assert fired(rule(op="crosses_above"), [0, float("nan"), 3]) == []


def test_a_cooldown_holds_back_what_would_fire_again() -> None:
    values = [0, 3, 0, 3, 0, 3, 0, 3]
    assert fired(rule(op="crosses_above", cooldown_s=240), values) == [1, 5]
    assert fired(rule(op="above", cooldown_s=180), [3, 0, 3, 3, 3]) == [0, 3]


def test_outside_its_hours_a_crossing_is_gone_and_a_level_waits() -> None:
    hours = Hours(time(12, 5), time(12, 8))
    # A bar counts at its end: the one of 12:04 ends at 12:05.
    assert fired(rule(op="crosses_above", hours=hours), [0, 3, 3, 3, 3, 3]) == []
    assert fired(rule(op="above", hours=hours), [0, 3, 3, 3, 3, 3]) == [4]
    assert fired(rule(op="above", hours=hours), [0] * 7 + [3]) == []


@pytest.mark.parametrize(
    ("hours", "at", "allowed"),
    [
        (Hours(), datetime(2026, 11, 22, 3), True),
        (Hours(time(22), time(6)), datetime(2026, 11, 23, 23), True),
        (Hours(time(22), time(6)), datetime(2026, 11, 23, 5, 59), True),
        (Hours(time(22), time(6)), datetime(2026, 11, 23, 6), False),
        # 2026-11-23 is a Monday: its night begins then and ends on Tuesday.
        (Hours(time(22), time(6), (0,)), datetime(2026, 11, 24, 1), True),
        (Hours(time(22), time(6), (0,)), datetime(2026, 11, 23, 1), False),
        (Hours(days=(5, 6)), datetime(2026, 11, 23, 12), False),
    ],
)
def test_active_hours(hours: Hours, at: datetime, allowed: bool) -> None:
    assert hours.allow(at) is allowed


def test_what_ended_before_the_rule_was_made_fires_nothing_but_is_known() -> None:
    since = BEGIN + timedelta(minutes=2)
    assert fired(rule(op="above"), [0, 3, 3, 3], since=since) == [2]
    assert fired(rule(op="crosses_above"), [0, 3, 3, 3], since=since) == []
    assert fired(rule(op="crosses_above"), [0, 0, 3, 3], since=since) == [2]


def test_live_fires_on_the_forming_bar_once_and_not_again_when_it_closes() -> None:
    live = rule(op="above", when="live")
    forming = [Observation(BEGIN, value, is_closed=False) for value in (1.0, 2.5, 3.0)]
    state, events = advance(live, State(), forming)
    assert [(event.value, event.is_closed) for event in events] == [(2.5, False)]
    state, events = advance(live, state, bars([3.0, 0.5, 2.5]))
    assert [event.at for event in events] == [BEGIN + timedelta(minutes=2)]


def test_on_close_a_forming_bar_says_nothing() -> None:
    forming = [Observation(BEGIN, 3.0, is_closed=False)]
    state, events = advance(rule(op="above"), State(), forming)
    assert not events
    assert state == State()
    assert len(advance(rule(op="above"), state, bars([3.0]))[1]) == 1


def test_a_live_rule_that_must_hold_counts_the_forming_bar_as_the_last_one() -> None:
    live = rule(op="above", when="live", hold_bars=2)
    state, events = advance(live, State(), bars([3.0]))
    assert not events
    now = Observation(BEGIN + timedelta(minutes=1), 2.5, is_closed=False)
    assert len(advance(live, state, [now])[1]) == 1


VALUES = st.lists(
    st.one_of(st.none(), st.floats(-4, 4), st.sampled_from([-2.0, -1.0, 1.0, 2.0])), max_size=40
)
RULES = st.builds(
    lambda op, hold, cooldown, rearm: rule(
        op=op,
        threshold=-2.0 if "below" in op else 2.0,
        low=-2.0 if op == "outside" else None,
        hold_bars=hold,
        cooldown_s=cooldown,
        rearm=None if rearm is None else (-rearm if "below" in op else rearm),
    ),
    st.sampled_from(sorted(OPS)),
    st.integers(1, 4),
    st.sampled_from([0.0, 60.0, 300.0]),
    st.sampled_from([None, 0.5, 2.0]),
)


@given(RULES, VALUES, st.lists(st.integers(0, 40), max_size=5))
def test_however_the_bars_come_the_same_fires(
    one: Rule, values: list[float | None], cuts: list[int]
) -> None:
    whole = advance(one, State(), bars(values))
    state, events = State(), []
    seen = bars(values)
    ends = [*sorted(cut for cut in cuts if cut < len(seen)), len(seen)]
    begin = 0
    for end in ends:
        # What was seen before comes again, as after a restart.
        state, more = advance(one, state, seen[max(0, begin - 3) : end])
        events += more
        begin = end
    assert (state, events) == whole


@given(RULES, VALUES)
def test_between_two_events_the_value_came_back(one: Rule, values: list[float | None]) -> None:
    numbers = fired(one, values)
    for before, after in pairwise(numbers):
        between = [value for value in values[before + 1 : after + 1] if value is not None]
        assert any(one.is_back(value) for value in between)
        assert (after - before) * 60 >= one.cooldown_s
    for number in numbers:
        held = values[number - one.hold_bars + 1 : number + 1]
        assert len(held) == one.hold_bars
        assert all(value is not None and one.holds(value) for value in held)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metric": "nothing"}, "no metric"),
        ({"op": "near"}, "no comparison"),
        ({"y": "b"}, "two different symbols"),
        ({"metric": "price", "y": "", "x": ""}, "needs a symbol"),
        ({"threshold": float("nan")}, "give a number"),
        ({"op": "outside"}, "lower level"),
        ({"op": "outside", "low": 3.0}, "lower level"),
        ({"rearm": 3.0}, "ready again at once"),
        ({"op": "below", "threshold": -2.0, "rearm": -3.0}, "ready again at once"),
        ({"op": "outside", "low": -2.0, "rearm": 5.0}, "inside the band"),
        ({"op": "outside", "metric": "spread", "low": -2.0, "rearm": 1.0}, "the band itself"),
        ({"hold_bars": 0}, "held for 0 bars"),
        ({"cooldown_s": -1.0}, "cooldown"),
        ({"window_bars": 2}, "window of 2"),
        ({"timeframe": "2min"}, "2min"),
        ({"method": "magic"}, "no regression"),
        ({"metric": "coint_p", "when": "live"}, "closed bars only"),
        ({"metric": "beta_drift"}, "measured from"),
        ({"range_s": 1.0}, "a range of 1"),
    ],
)
def test_a_rule_that_contradicts_itself_is_refused_in_plain_words(
    changes: dict[str, object], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        rule(**changes)


def test_hours_need_a_day() -> None:
    with pytest.raises(DataError, match="active days"):
        Hours(days=())
    with pytest.raises(DataError, match="active days"):
        Hours(days=(7,))


def test_conditions_are_said_as_a_person_would() -> None:
    assert rule(op="crosses_above").condition == "z-score crosses above 2"
    assert rule(op="below", threshold=-2.5).condition == "z-score < −2.5"
    assert rule(op="outside", low=-2.0).condition == "z-score outside −2 to 2"
    assert rule(metric="return", threshold=5, op="above").condition == "Return > 5 %"
    assert rule(metric="contract", y="a", x="").condition == "Contract not trading"
    assert rule().subject == "A / B"
    assert Rule("disk", op="below").subject == "Perpduck"


def test_every_metric_says_what_it_is() -> None:
    for metric in METRICS.values():
        assert metric.words.endswith(".")
        assert metric.label
