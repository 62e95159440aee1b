"""Rules, what they remember, their events and deliveries: rows in the file.

The app writes rules, the worker follows them: ``versions`` has a scope for the rules and one for
what came of them.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from datetime import datetime
from typing import Any

import polars as pl

from core.alerts.machine import State
from core.alerts.rules import Hours, Rule
from core.errors import DataError
from core.store import Connection, Store
from core.trade_writer import bump_versions, utc_now

RULES, EVENTS = "alert_rules", "alert_events"
# Somebody else than the worker looked: what it remembers of the standings is old.
LOOKED = "alert_looks"
LONGEST_NAME = 120

_COLUMNS = (
    "id, name, metric, y, x, op, threshold, low, timeframe, window_bars, method, is_log, range_s, "
    "reference, rearm, hold_bars, cooldown_s, hours_start, hours_end, days, fires_on, targets, "
    "is_paused, created_at, since"
)


@dataclass(frozen=True, slots=True)
class KeptRule:
    """A rule in the file; ``targets`` are URLs with their secrets, times UTC.

    What ended before ``since`` fires nothing.
    """

    id: str
    name: str
    rule: Rule
    targets: tuple[str, ...]
    is_paused: bool
    created_at: datetime
    since: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a rule stands: its state, its newest value and bar, or the reason why it has none.

    ``since``: what ended before fires nothing; None until it was looked at.
    """

    state: State = field(default_factory=State)
    value_at: datetime | None = None
    value: float | None = None
    reason: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """All events, those since a moment, those not acknowledged; deliveries waiting and dead."""

    recent: int = 0
    unseen: int = 0
    waiting: int = 0
    dead: int = 0
    events: int = 0


def load_rules(con: Connection) -> list[KeptRule]:
    """Return all rules, oldest first."""
    rows = con.execute(f"select {_COLUMNS} from alert_rules order by created_at, id").fetchall()  # noqa: S608 - column names
    return [_kept(row) for row in rows]


def load_standings(con: Connection) -> dict[str, Standing]:
    """Return where each rule stands, by its id; a rule that was never looked at has none."""
    rows = con.execute(
        "select rule_id, is_armed, held, last_at, last_value, fired_at, has_crossed, value_at, "
        "value, reason, since from alert_states"
    ).fetchall()
    return {row[0]: Standing(State(*row[1:7]), *row[7:]) for row in rows}


def add_rule(
    store: Store, name: str, rule: Rule, targets: Sequence[str] = (), *, is_paused: bool = False
) -> str:
    """Keep a new rule, which looks at what comes from now on; returns its id."""
    return keep_rule(store, name, rule, targets, is_paused=is_paused).id


def keep_rule(
    store: Store, name: str, rule: Rule, targets: Sequence[str] = (), *, is_paused: bool = False
) -> KeptRule:
    """The same; returns the rule as it is kept."""
    now = utc_now()
    kept = KeptRule(uuid.uuid4().hex, _name(name), rule, tuple(targets), is_paused, now, now)
    with store.write() as con:
        _insert(con, kept)
        bump_versions(con, [RULES])
    return kept


def edit_rule(
    store: Store, rule_id: str, name: str, rule: Rule, targets: Sequence[str] = ()
) -> None:
    """Replace a rule; where what it watches has changed it begins anew. Raises DataError."""
    with store.write() as con:
        before = _one(con, rule_id)
        after = replace(before, name=_name(name), rule=rule, targets=tuple(targets))
        if rule != before.rule:
            after = replace(after, since=utc_now())
        _replace(con, after, is_new=rule != before.rule)


def pause_rule(store: Store, rule_id: str, *, is_paused: bool) -> None:
    """Pause a rule, or let it go on from now. Raises DataError where there is no such rule.

    It begins anew, but for its last event: the cooldown goes on through a pause.
    """
    with store.write() as con:
        before = _one(con, rule_id)
        if before.is_paused != is_paused:
            after = replace(before, is_paused=is_paused, since=utc_now())
            standing = load_standings(con).get(rule_id, Standing())
            _replace(con, after, is_new=True)
            if standing.state.fired_at is not None:
                carried = Standing(State(fired_at=standing.state.fired_at))
                write_standings(con, {rule_id: carried})


def duplicate_rule(store: Store, rule_id: str) -> str:
    """Keep the same rule once more, paused, under a new name; returns its id."""
    with store.read() as con:
        found = _one(con, rule_id)
    name = f"{found.name[: LONGEST_NAME - 8]} (copy)"
    return add_rule(store, name, found.rule, found.targets, is_paused=True)


def delete_rule(store: Store, rule_id: str) -> None:
    """Remove a rule; its events and their deliveries stay."""
    with store.write() as con:
        con.execute("delete from alert_rules where id = ?", [rule_id])
        con.execute("delete from alert_states where rule_id = ?", [rule_id])
        bump_versions(con, [RULES])


def acknowledge(store: Store, event_ids: Sequence[str]) -> None:
    """Mark events as seen; those that are already stay as they are."""
    with store.write() as con:
        con.execute(
            "update alert_events set acknowledged_at = $now "
            "where id in (select unnest($ids)) and acknowledged_at is null",
            {"now": utc_now(), "ids": list(event_ids)},
        )
        bump_versions(con, [EVENTS])


def load_events(
    con: Connection, *, limit: int = 500, rule_id: str | None = None, y: str | None = None,
    x: str | None = None, since: datetime | None = None,
) -> pl.DataFrame:  # fmt: skip
    """Return events, newest first: the columns of ``alert_events`` and how its deliveries fare.

    Of one rule or one pair, where it is named; noticed at ``since`` or later. ``deliveries``,
    ``delivered`` and ``dead`` count them; ``inputs`` is a JSON object.
    """
    frame: pl.DataFrame = con.sql(
        "select e.id, e.rule_id, e.name, e.metric, e.y, e.x, e.condition, e.bar_ts, e.timeframe, "
        "e.is_closed, e.value, e.inputs, e.noticed_at, e.acknowledged_at, "
        "count(d.event_id) as deliveries, count(*) filter (where d.state = 'sent') as delivered, "
        "count(*) filter (where d.state = 'dead') as dead "
        "from alert_events as e left join alert_deliveries as d on d.event_id = e.id "
        "where ($rule is null or e.rule_id = $rule) "
        "and ($y is null or (e.y = $y and e.x = $x)) "
        "and ($since::timestamp is null or e.noticed_at >= $since::timestamp) "
        "group by all order by e.noticed_at desc, e.bar_ts desc, e.id desc limit $limit",
        params={"rule": rule_id, "limit": limit, "y": y, "x": x, "since": since},
    ).pl()
    return frame.with_columns(pl.col(pl.Datetime("us")).dt.cast_time_unit("ms"))


def load_deliveries(con: Connection, *, limit: int = 500) -> pl.DataFrame:
    """Return deliveries, newest first, with their event's name; URLs stay in the file."""
    frame: pl.DataFrame = con.sql(
        "select d.event_id, d.target, e.name, e.metric, e.y, e.x, e.condition, e.bar_ts, e.value, "
        "d.label, d.state, d.tries, d.created_at, d.next_at, d.sent_at, d.note "
        "from alert_deliveries as d "
        "inner join alert_events as e on e.id = d.event_id "
        "order by d.created_at desc, d.event_id desc, d.label limit $limit",
        params={"limit": limit},
    ).pl()
    return frame.with_columns(pl.col(pl.Datetime("us")).dt.cast_time_unit("ms"))


def load_counts(con: Connection, since: datetime) -> Counts:
    """Return how many events and deliveries there are; ``since`` (UTC) bounds the recent ones."""
    rows = con.execute(
        "select (select count(*) from alert_events where noticed_at >= $since), "
        "(select count(*) from alert_events where acknowledged_at is null), "
        "(select count(*) from alert_deliveries where state = 'waiting'), "
        "(select count(*) from alert_deliveries where state = 'dead'), "
        "(select count(*) from alert_events)",
        {"since": since},
    ).fetchall()
    return Counts(*rows[0])


def write_standings(con: Connection, standings: Mapping[str, Standing]) -> None:
    """Replace what the given rules remember; a rule that was deleted meanwhile gets none."""
    if not standings:
        return
    rows = [
        {
            "rule_id": rule_id,
            "since": one.since,
            **dict(zip(_STATE_NAMES, astuple(one.state), strict=True)),
            "value_at": one.value_at,
            "value": one.value,
            "reason": one.reason,
        }
        for rule_id, one in standings.items()
    ]
    frame = pl.DataFrame(rows, schema=_STATES)
    con.register("new_states", frame)
    try:
        con.execute("delete from alert_states where rule_id in (select rule_id from new_states)")
        con.execute(
            "insert into alert_states select * from new_states "
            "where rule_id in (select id from alert_rules)"
        )
    finally:
        con.unregister("new_states")


_STATE_NAMES = ("is_armed", "held", "last_at", "last_value", "fired_at", "has_crossed")
_STATES: dict[str, Any] = {
    "rule_id": pl.String,
    "since": pl.Datetime("us"),
    "is_armed": pl.Boolean,
    "held": pl.Int64,
    "last_at": pl.Datetime("us"),
    "last_value": pl.Float64,
    "fired_at": pl.Datetime("us"),
    "has_crossed": pl.Boolean,
    "value_at": pl.Datetime("us"),
    "value": pl.Float64,
    "reason": pl.String,
}


def _one(con: Connection, rule_id: str) -> KeptRule:
    rows = con.execute(f"select {_COLUMNS} from alert_rules where id = ?", [rule_id]).fetchall()  # noqa: S608 - column names
    if not rows:
        raise DataError(f"there is no rule {rule_id}; it may have been deleted meanwhile")
    return _kept(rows[0])


def _replace(con: Connection, kept: KeptRule, *, is_new: bool) -> None:
    con.execute("delete from alert_rules where id = ?", [kept.id])
    _insert(con, kept)
    if is_new:
        con.execute("delete from alert_states where rule_id = ?", [kept.id])
    bump_versions(con, [RULES])


def _insert(con: Connection, kept: KeptRule) -> None:
    rule = kept.rule
    values: Iterable[object] = (
        kept.id, kept.name, rule.metric, rule.y, rule.x, rule.op, rule.threshold, rule.low,
        rule.timeframe, rule.window_bars, rule.method, rule.is_log, rule.range_s, rule.reference,
        rule.rearm, rule.hold_bars, rule.cooldown_s, rule.hours.start, rule.hours.end,
        list(rule.hours.days), rule.when, list(kept.targets), kept.is_paused, kept.created_at,
        kept.since,
    )  # fmt: skip
    marks = ", ".join("?" for _ in _COLUMNS.split(","))
    con.execute(f"insert into alert_rules ({_COLUMNS}) values ({marks})", list(values))  # noqa: S608 - column names


def _kept(row: Sequence[object]) -> KeptRule:
    rule_id, name, *spec = row[:17]
    start, end, days, when, targets, is_paused, created_at, since = row[17:]
    hours = Hours(start, end, tuple(days))  # type: ignore[arg-type]
    rule = Rule(*spec, hours, when)  # type: ignore[arg-type, call-arg]
    return KeptRule(rule_id, name, rule, tuple(targets), is_paused, created_at, since)  # type: ignore[arg-type]


def _name(name: str) -> str:
    cleaned = " ".join(name.split())
    if not 0 < len(cleaned) <= LONGEST_NAME:
        raise DataError(f"a name of {len(cleaned)} characters; give 1 to {LONGEST_NAME}")
    return cleaned
