"""When a rule fires: one value after the other, with hysteresis, hold, cooldown and hours.

Pure: the state before and a value give the state after and perhaps an event, so that however the
values come, in one flush or in many, before or after a restart, the same events follow.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from core.alerts.rules import Rule


@dataclass(frozen=True, slots=True)
class Observation:
    """A rule's value at one bar (its start, UTC), None where it is not known.

    ``is_closed``: the bar will not change any more.
    """

    at: datetime
    value: float | None
    is_closed: bool = True


@dataclass(frozen=True, slots=True)
class State:
    """What a rule remembers; the next closed bar and this give all that follows.

    ``is_armed``: ready to fire. ``held``: closed bars in a row at which the condition held.
    ``last_at``/``last_value``: the newest closed bar seen and its value. ``fired_at``: the bar of
    the last event. ``has_crossed``: since the condition began to hold the rule saw it not hold.
    """

    is_armed: bool = True
    held: int = 0
    last_at: datetime | None = None
    last_value: float | None = None
    fired_at: datetime | None = None
    has_crossed: bool = False


@dataclass(frozen=True, slots=True)
class Firing:
    """An event: the bar it names, the value there, and whether that bar was closed."""

    at: datetime
    value: float
    is_closed: bool


def advance(
    rule: Rule, state: State, seen: Iterable[Observation], *, since: datetime | None = None
) -> tuple[State, list[Firing]]:
    """Return the state after some observations in order of time, and what fired.

    What ended up to ``since`` is taken note of and fires nothing. Closed bars that the state has
    seen are passed over. A forming bar fires rules that are ``live`` and changes nothing but that;
    what it fired it does not fire again when it closes.
    """
    fired: list[Firing] = []
    for one in seen:
        if state.last_at is not None and one.at <= state.last_at:
            continue
        after = _after(rule, state, one)
        if not _is_late(rule, one, since) and _fires(rule, after, one):
            assert one.value is not None
            fired.append(Firing(one.at, one.value, one.is_closed))
            after = replace(after, is_armed=False, fired_at=one.at)
        if one.is_closed:
            state = after
        elif after.fired_at != state.fired_at:
            # The bar itself is still to be seen closed: only that it has fired is remembered.
            state = replace(state, is_armed=False, fired_at=one.at)
    return state, fired


def _is_late(rule: Rule, one: Observation, since: datetime | None) -> bool:
    if since is None:
        return False
    if not rule.bar_s:
        # A moment is named by its second.
        return one.at < since.replace(microsecond=0)
    return one.at + timedelta(seconds=rule.bar_s) <= since


def _after(rule: Rule, state: State, one: Observation) -> State:
    """Return the state with one more bar, before it is asked whether it fires."""
    value = one.value
    if value is None or math.isnan(value):
        # Not known is neither above nor below: what must hold has been interrupted.
        return replace(state, held=0, last_at=one.at, last_value=None, has_crossed=False)
    holds = rule.holds(value)
    armed = state.is_armed or ((one.is_closed or rule.when == "live") and rule.is_back(value))
    before = state.last_value
    began = holds and not state.held
    crossed = state.has_crossed
    if began:
        crossed = before is not None and not rule.holds(before)
    return replace(
        state,
        is_armed=armed,
        held=state.held + 1 if holds else 0,
        last_at=one.at,
        last_value=value,
        has_crossed=crossed and holds,
    )


def _fires(rule: Rule, state: State, one: Observation) -> bool:
    if not state.is_armed or not state.held or (not one.is_closed and rule.when == "close"):
        return False
    if rule.op.startswith("crosses"):
        # At the very bar that makes the hold whole; a crossing outside the hours is gone.
        if state.held != rule.hold_bars or not state.has_crossed:
            return False
    elif state.held < rule.hold_bars:
        return False
    ends = one.at + timedelta(seconds=rule.bar_s)
    if state.fired_at is not None:
        waited = (one.at - state.fired_at).total_seconds()
        if waited <= 0 or waited < rule.cooldown_s:
            return False
    return rule.hours.allow(ends)
