"""Looks at rules that stand on no bar: studies of a range, settlements, the feed and the worker."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from core.alerts.machine import Observation
from core.alerts.maker import Maker
from core.alerts.seen import (
    Heard,
    Sight,
    Watched,
    closed_until,
    epoch_ms,
    note_begin,
    told_why_not,
    unblocked,
    utc,
)
from core.alerts.stands import Study, last_step, step_s
from core.alerts.values import BPS
from core.queries import load_funding, load_symbols
from core.store import Connection

# A study that was missed for longer than this is not made up for.
MOST_LATE_STEPS = 48
SETTLED_BACK = timedelta(days=3)


def look_at_ranges(rules: Sequence[Watched], heard: Heard, maker: Maker) -> list[Sight]:
    """Return the next study of each rule on a whole range that is known by now."""
    return [sight for one in rules if (sight := _study(one, heard, maker)) is not None]


def _study(watched: Watched, heard: Heard, maker: Maker) -> Sight | None:
    rule, bar = watched.rule, timedelta(seconds=watched.rule.bar_s)
    if (blocked := told_why_not(watched, heard)) is not None:
        return blocked
    note_begin(watched, heard)
    newest = last_step(rule, utc(closed_until(watched, heard)))
    step = timedelta(seconds=step_s(rule))
    last = watched.standing.state.last_at
    at = last_step(rule, last + bar) + step if last else last_step(rule, utc(watched.begin_ms))
    at = max(at, newest - MOST_LATE_STEPS * step)
    if at > newest:
        return unblocked(watched)
    found = maker.study(rule, at)
    if at < newest:
        maker.study(rule, at + step)
    if not isinstance(found, Study):
        return None
    seen = Observation(at - bar, found.value)
    inputs: dict[str, object] = {**found.inputs, "as_of": at.isoformat() + "Z"}
    inputs |= {"range_s": rule.range_s, "price_scale": "log" if rule.is_log else "raw"}
    watched.own_reason = found.reason
    if found.value is None and at == newest:
        # The bars may still come: it is asked for again until the next is due.
        return Sight(watched, reason=found.reason)
    return Sight(
        watched, [seen], seen.at, seen.value, found.reason, lambda _: inputs, epoch_ms(newest)
    )


def look_at_settlements(con: Connection, rules: Sequence[Watched], heard: Heard) -> list[Sight]:
    """Return the settlements that each rule has not seen, oldest first."""
    minute = epoch_ms(heard.now) // 60_000
    due = [one for one in rules if one.looked_ms != minute]
    if not due:
        return []
    symbols = sorted({symbol for one in due for symbol in one.rule.symbols})
    since = min(one.standing.state.last_at or heard.now for one in due) - SETTLED_BACK
    rates = load_funding(con, symbols, since, heard.now + SETTLED_BACK)
    known: dict[str, list[tuple[datetime, float]]] = {}
    for symbol, at, rate, _ in rates.iter_rows():
        # Times of settlements are off by some milliseconds.
        known.setdefault(symbol, []).append((utc(round(epoch_ms(at), -3)), rate * BPS))
    for one in due:
        one.looked_ms = minute
    return [_settled(one, known) for one in due]


def _settled(watched: Watched, known: dict[str, list[tuple[datetime, float]]]) -> Sight:
    rule, last = watched.rule, watched.standing.state.last_at
    absent = [symbol.upper() for symbol in rule.symbols if symbol not in known]
    if absent:
        return Sight(watched, reason=f"no funding rate of {' and '.join(absent)} yet")
    legs = [dict(known[symbol]) for symbol in rule.symbols]
    times = sorted({at for leg in legs for at in leg})
    rates: list[float | None] = [None] * len(legs)
    seen: list[Observation] = []
    inputs: dict[datetime, dict[str, object]] = {}
    for at in times:
        rates = [leg.get(at, rate) for leg, rate in zip(legs, rates, strict=True)]
        told = [rate for rate in rates if rate is not None]
        if len(told) < len(legs) or (last is not None and at <= last):
            continue
        seen.append(Observation(at, told[0] - (told[1] if len(told) > 1 else 0.0)))
        names = (f"rate_bps_{symbol}" for symbol in rule.symbols)
        inputs[at] = dict(zip(names, told, strict=True))
    if last is None:
        seen = seen[-(rule.hold_bars + 1) :]
    if not seen:
        return Sight(watched, (), watched.standing.value_at, watched.standing.value)
    return Sight(watched, seen, seen[-1].at, seen[-1].value, "", lambda at: inputs.get(at, {}))


def look_at_contracts(con: Connection, rules: Sequence[Watched], heard: Heard) -> list[Sight]:
    """Return whether each contract still trades, once a minute."""
    minute = epoch_ms(heard.now) // 60_000
    due = [one for one in rules if one.looked_ms != minute]
    if not due:
        return []
    status = dict(load_symbols(con).select("symbol", "status").iter_rows())
    sights = []
    for one in due:
        one.looked_ms = minute
        if not status:
            sights.append(Sight(one, reason="the exchange's list of contracts is not known yet"))
            continue
        told = status.get(one.rule.y, "not listed")
        sights.append(_now(one, heard.now, float(told != "TRADING"), {"status": told}))
    return sights


def look_at_system(rules: Sequence[Watched], now: datetime, known: dict[str, float]) -> list[Sight]:
    """Return what is known of the feed, the file and the worker, by metric; once a second."""
    second = epoch_ms(now) // 1000
    sights = []
    for one in rules:
        if one.rule.metric in known and one.looked_ms != second:
            one.looked_ms = second
            sights.append(_now(one, now, known[one.rule.metric], {}))
    return sights


def _now(watched: Watched, now: datetime, value: float, inputs: dict[str, object]) -> Sight:
    at = now.replace(microsecond=0)
    return Sight(watched, [Observation(at, value)], at, value, "", lambda _: inputs)
