"""What goes to one target in one message: its events as JSON for programs, as lines for people."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.alerts.sending import Message
from core.store import Connection

NOT_JSON = "cannot be written as JSON"


@dataclass(frozen=True, slots=True)
class Parcel:
    """Events that go to one target in one message.

    ``tries``: how often the one that was tried most failed before. ``hopeless`` are events that
    no message can hold; they are in none.
    """

    target: str
    url: str
    label: str
    tries: int
    event_ids: tuple[str, ...]
    message: Message
    hopeless: tuple[str, ...] = field(default=())


def make_parcel(con: Connection, target: str, url: str, label: str, ids: Sequence[str]) -> Parcel:
    """Return the message of some events to a target."""
    rows = con.sql(
        "select e.id, e.name, e.metric, e.y, e.x, e.condition, e.bar_ts, e.timeframe, "
        "e.is_closed, e.value, e.inputs, e.noticed_at, d.tries from alert_events as e "
        "inner join alert_deliveries as d on d.event_id = e.id and d.target = $target "
        "where e.id in (select unnest($ids)) order by e.noticed_at, e.bar_ts, e.id",
        params={"target": target, "ids": list(ids)},
    )
    names = rows.columns
    events, lines, hopeless, tries = [], [], [], 0
    told: list[str] = []
    for values in rows.fetchall():
        row = dict(zip(names, values, strict=True))
        event = _event(row)
        if event is None:
            hopeless.append(row["id"])
            continue
        events.append(event)
        lines.append(_line(row))
        told.append(row["name"])
        tries = max(tries, row["tries"])
    taken = tuple(one for one in ids if one not in hopeless)
    title = f"Perpduck: {told[0]}" if len(told) == 1 else f"Perpduck: {len(told)} alerts"
    message = Message(message_key(taken), title, "\n".join(lines), events)
    return Parcel(target, url, label, tries, taken, message, tuple(hopeless))


def message_key(ids: Sequence[str]) -> str:
    """Return the idempotency key of a message: the same for the same events only."""
    if len(ids) == 1:
        return ids[0]
    return f"batch-{hashlib.sha256(' '.join(sorted(ids)).encode()).hexdigest()[:32]}"


def _event(row: Mapping[str, Any]) -> dict[str, object] | None:
    """Return an event as programs get it; None where JSON cannot hold it."""
    try:
        event: dict[str, object] = {
            "key": row["id"],
            "rule": row["id"].rpartition("-")[0],
            "name": row["name"],
            "metric": row["metric"],
            "symbols": _symbols(row),
            "condition": row["condition"],
            "bar": f"{row['bar_ts'].isoformat()}Z",
            "timeframe": row["timeframe"],
            "is_closed": row["is_closed"],
            "value": finite(row["value"]),
            "inputs": finite(json.loads(row["inputs"])),
            "noticed_at": f"{row['noticed_at'].isoformat()}Z",
        }
        json.dumps(event, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError):
        return None
    return event


def finite(value: Any) -> Any:
    """Return a value as JSON has it, which knows neither infinity nor NaN: they become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: finite(one) for name, one in value.items()}
    return [finite(one) for one in value] if isinstance(value, list) else value


def _line(row: Mapping[str, Any]) -> str:
    subject = " / ".join(_symbols(row)) or "Perpduck"
    return (
        f"{subject}: {row['condition']}, {_number(row['value'])} "
        f"at {row['bar_ts']:%Y-%m-%d %H:%M:%S} UTC ({row['name']})"
    )


def _symbols(row: Mapping[str, Any]) -> list[str]:
    return [symbol.upper() for symbol in (row["y"], row["x"]) if symbol]


def _number(value: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:g}".replace("inf", "∞")
