"""What fired, written into the file: the event, what it was computed from, its deliveries."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from core.alerts.kept import EVENTS, KeptRule
from core.alerts.machine import Firing
from core.alerts.outbox import enqueue
from core.alerts.seen import epoch_ms
from core.store import Connection
from core.trade_writer import bump_versions


@dataclass(frozen=True, slots=True)
class Event:
    """A rule that fired: at which bar and value, and the value's inputs as they were then."""

    kept: KeptRule
    firing: Firing
    inputs: Mapping[str, object] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The idempotency key: a rule fires at most once a bar, until it is edited.

        An edited rule looks anew from its new ``since`` on, and may fire within the same bar.
        """
        return f"{self.kept.id}-{epoch_ms(self.firing.at)}.{epoch_ms(self.kept.since)}"


def write_events(
    con: Connection, events: Sequence[Event], default_urls: Sequence[str], now: datetime
) -> int:
    """Write the events and their deliveries in the caller's transaction; returns how many.

    What is there already under the same key stays. ``default_urls`` serve rules without their own.
    """
    ids = [event.id for event in events]
    if not ids:
        return 0
    known = {
        row[0]
        for row in con.execute(
            "select id from alert_events where id in (select unnest($ids))", {"ids": ids}
        ).fetchall()
    }
    fresh = {event.id: event for event in events if event.id not in known}
    for event in fresh.values():
        _insert(con, event, now)
        if urls := event.kept.targets or tuple(default_urls):
            enqueue(con, [event.id], urls, now)
    if fresh:
        bump_versions(con, [EVENTS])
    return len(fresh)


def _insert(con: Connection, event: Event, now: datetime) -> None:
    rule, firing = event.kept.rule, event.firing
    con.execute(
        "insert into alert_events (id, rule_id, name, metric, y, x, condition, bar_ts, timeframe, "
        "is_closed, value, inputs, noticed_at, acknowledged_at) "
        "values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, null)",
        [
            event.id, event.kept.id, event.kept.name, rule.metric, rule.y, rule.x, rule.condition,
            firing.at, rule.timeframe if rule.bar_s else "", firing.is_closed, firing.value,
            _json(event.inputs), now,
        ],
    )  # fmt: skip


def _json(inputs: Mapping[str, object]) -> str:
    known = {
        name: value
        for name, value in inputs.items()
        if not (isinstance(value, float) and not math.isfinite(value))
    }
    return json.dumps(known, ensure_ascii=False, default=str)
