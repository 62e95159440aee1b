"""Looks at rules on bars: which are due, their closes in as few reads as may be, what is new."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np

from core.alerts.machine import Observation
from core.alerts.maker import Maker
from core.alerts.reach import ROOM, WIDER, known, most_back_ms, reaches
from core.alerts.rows import Values
from core.alerts.seen import (
    Heard,
    Sight,
    Watched,
    closed_until,
    epoch_ms,
    note_begin,
    told_why_not,
    touched_gap,
    unblocked,
    utc,
)
from core.alerts.stands import Stand, last_step, needs_stand, step_s
from core.alerts.values import Asked, bar_values, hedge_spec, warm_bars
from core.errors import DataError
from core.pairs import not_yet
from core.queries import load_closes
from core.stats.arrays import Ints
from core.store import Connection

# Closed bars are looked at as they close; bars that still form so often that it takes at most this
# share of a core. A few rules are looked at in every flush, two hundred every second or two.
FORMING_SHARE = 0.03


class Pace:
    """How often bars that still form are looked at."""

    def __init__(self, share: float = FORMING_SHARE) -> None:
        self.share = share
        self._next_s = 0.0

    def is_due(self) -> bool:
        """Whether they are to be looked at now."""
        return time.monotonic() >= self._next_s

    def took(self, seconds: float) -> None:
        """Take note of what a look at them cost."""
        self._next_s = time.monotonic() + seconds / self.share


@dataclass(frozen=True, slots=True)
class Due:
    """A rule to look at: its bars from ``first_ms`` on, closed before ``until_ms``.

    ``is_forming``: nothing has closed, the newest bar is looked at as it forms.
    """

    watched: Watched
    first_ms: int
    until_ms: int
    stand: Stand | None = None
    is_forming: bool = False

    @property
    def read_from_ms(self) -> int:
        """The start of the bars that its first new value stands on."""
        if self.stand is not None and self.stand.state is not None:
            return epoch_ms(self.stand.context["ts"][-1])
        return self.first_ms - self.back_ms

    @property
    def back_ms(self) -> int:
        """How far before its first new bar is read: as far as the last time."""
        return max(self.watched.back_ms, warm_bars(self.watched.rule) * self.watched.bar_ms)

    def first_row(self, ts_ms: Ints) -> int:
        """Return the first row to look at, below 0 where rows before it are lacking.

        A new rule sees a few bars before it begins, to know where it stands: bars that are there,
        unless they would stand on another fit.
        """
        first = int(np.searchsorted(ts_ms, self.first_ms))
        if self.watched.last_ms is not None or self.stand is not None:
            return first
        bar, lead = self.watched.bar_ms, self.watched.rule.hold_bars + 1
        begin = max(self.first_ms, self.watched.begin_ms // bar * bar)
        return min(first, int(np.searchsorted(ts_ms, begin)) - lead)


def look_at_bars(
    con: Connection, rules: Sequence[Watched], heard: Heard, maker: Maker, pace: Pace
) -> list[Sight]:
    """Return what is new of the rules that are due, and why others cannot be looked at."""
    began = time.perf_counter()
    sights: list[Sight] = []
    due: list[Due] = []
    if not pace.is_due():
        heard = replace(heard, touched=())
    for watched in rules:
        found = _due(watched, heard, maker)
        if isinstance(found, Due):
            due.append(found)
        else:
            sights.append(found)
    forming = sum(one.is_forming for one in due) / max(1, len(due))
    while due:
        again: list[Due] = []
        for group in _groups(due):
            for one, values in zip(group, _computed(con, group), strict=True):
                if isinstance(values, str):
                    one.watched.looked_ms, one.watched.own_reason = one.until_ms, values
                    sights.append(Sight(one.watched, reason=values))
                elif _is_short(one, values):
                    one.watched.back_ms = min(one.back_ms * WIDER, most_back_ms(one.watched.rule))
                    again.append(one)
                else:
                    sights.append(_sight(one, values, heard))
        due = again
    if forming:
        pace.took(forming * (time.perf_counter() - began))
    return sights


def _due(watched: Watched, heard: Heard, maker: Maker) -> Due | Sight:
    rule = watched.rule
    if (blocked := told_why_not(watched, heard)) is not None:
        return blocked
    note_begin(watched, heard)
    until = closed_until(watched, heard)
    is_live = rule.when == "live" and any(symbol in heard.touched for symbol in rule.symbols)
    is_forming = until <= watched.looked_ms
    if is_forming and not is_live:
        return unblocked(watched)
    first = watched.first_new_ms(until)
    if not needs_stand(rule):
        return Due(watched, first, until, None, is_forming)
    made_at = last_step(rule, utc(max(first, watched.looked_ms) + watched.bar_ms))
    stand = maker.stand(rule, made_at)
    # The bars that end at the next fixed time or later have a stand of their own.
    end = epoch_ms(made_at) + step_s(rule) * 1000
    is_newest = until < end
    if not is_newest:
        maker.stand(rule, utc(end))
    until = min(until, end - watched.bar_ms)
    if stand is None:
        waits = watched.standing.value is None
        return unblocked(watched, "the fit of its range is being made" if waits else "")
    if not isinstance(stand, Stand):
        watched.own_reason = stand.reason
        if not is_newest:
            watched.looked_ms = until
        return Sight(watched, reason=stand.reason)
    return Due(watched, first, until, stand, is_forming)


def _groups(due: Sequence[Due]) -> list[list[Due]]:
    """Put together what is read together: one timeframe, and about as many bars."""
    found: dict[tuple[str, int], list[Due]] = {}
    for one in due:
        bars = (one.until_ms - one.read_from_ms) // one.watched.bar_ms
        key = (one.watched.rule.timeframe, bars.bit_length() // 2)
        found.setdefault(key, []).append(one)
    return list(found.values())


def _computed(con: Connection, group: Sequence[Due]) -> Sequence[Values | str]:
    """Return the values of each, or for each why there are none."""
    rules = [one.watched.rule for one in group]
    symbols = sorted({symbol for rule in rules for symbol in rule.symbols})
    start = utc(min(one.read_from_ms for one in group))
    # Bars that still form end after what is closed; no trade is a day ahead.
    end = utc(max(one.until_ms for one in group)) + timedelta(days=1)
    closes = load_closes(con, symbols, rules[0].timeframe, start, end)
    asked = [Asked(one.watched.rule, one.stand) for one in group]
    try:
        made = bar_values(asked, closes)
        return [known(rule, values) for rule, values in zip(rules, made, strict=True)]
    except DataError as error:
        if len(group) == 1:
            return [str(error)]
    return [_computed(con, [one])[0] for one in group]


def _is_short(one: Due, values: Values) -> bool:
    """Return whether a value may be known once more time is read; remembers what sufficed."""
    rule, first = one.watched.rule, one.first_row(values.ts_ms)
    if first >= len(values.ts_ms):
        return False
    reach = -1 if first < 0 else int(reaches(rule, values.ts_ms)[first])
    if reach < 0:
        return one.back_ms < most_back_ms(rule)
    if one.stand is None or one.stand.state is None:
        needed = int((one.first_ms - reach) * ROOM) + one.watched.bar_ms
        one.watched.back_ms = min(needed, most_back_ms(rule))
    return False


def _sight(one: Due, values: Values, heard: Heard) -> Sight:
    watched, rule = one.watched, one.watched.rule
    begin = max(0, one.first_row(values.ts_ms))
    end = int(np.searchsorted(values.ts_ms, one.until_ms))
    observations = [_seen(values, row, is_closed=True) for row in range(begin, end)]
    last = len(values.ts_ms) - 1
    if rule.when == "live" and last >= end and one.until_ms >= closed_until(watched, heard):
        observations.append(_seen(values, last, is_closed=False))
    watched.looked_ms = one.until_ms
    newest = observations[-1] if observations else None
    reason = ""
    if newest is None and watched.standing.value is None:
        reason = _no_bar(watched, has_rows=bool(len(values.ts_ms)))
    elif newest is not None and newest.value is None:
        reason = _not_known(one, values, int(np.searchsorted(values.ts_ms, epoch_ms(newest.at))))
    watched.own_reason = reason
    return Sight(
        watched,
        observations,
        newest.at if newest else watched.standing.value_at,
        newest.value if newest else watched.standing.value,
        reason,
        lambda at: _inputs(one, values, heard, epoch_ms(at)),
        one.until_ms,
    )


def _inputs(one: Due, values: Values, heard: Heard, at_ms: int) -> Mapping[str, object]:
    """Return what the value of a bar was computed from, and how."""
    rule = one.watched.rule
    found: dict[str, object] = dict(values.inputs(int(np.searchsorted(values.ts_ms, at_ms))))
    if rule.measure.scope == "pair":
        found |= {"method": rule.method, "price_scale": "log" if rule.is_log else "raw"}
    found["window_bars"] = rule.window_bars
    if one.stand is not None:
        found["fit_as_of"] = one.stand.made_at.isoformat() + "Z"
    if touched_gap(rule, heard, at_ms):
        found["trades_missing"] = True
    return found


def _seen(values: Values, row: int, *, is_closed: bool) -> Observation:
    value = float(values.values[row])
    at = utc(int(values.ts_ms[row]))
    return Observation(at, None if np.isnan(value) else value, is_closed)


def _no_bar(watched: Watched, *, has_rows: bool) -> str:
    """Return why nothing was seen: no bar at all, or still what its last bar lacked."""
    if watched.standing.state.last_at is not None:
        return watched.own_reason or watched.standing.reason
    rule = watched.rule
    return f"{rule.subject} has {'closed no' if has_rows else 'no'} {rule.timeframe} bar yet"


def _not_known(one: Due, values: Values, row: int) -> str:
    rule = one.watched.rule
    at_ms, most_ms = int(values.ts_ms[row]), most_back_ms(rule)
    held = row + 1 - int(np.searchsorted(values.ts_ms, at_ms - most_ms))
    needed = warm_bars(rule)
    if held < needed:
        within = (
            f" within {most_ms / 3_600_000:,.1f} h" if values.ts_ms[0] < at_ms - most_ms else ""
        )
        return f"too few bars yet: {held:,} of {needed:,}{within}"
    if rule.measure.scope == "pair" and rule.metric in ("zscore", "spread"):
        return not_yet(hedge_spec(rule), rule.metric)
    return f"not known at the newest bar: not all of the {rule.window_bars:,} bars before are there"
