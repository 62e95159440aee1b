"""What programs are told of rules and of what fired."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, UnsetType

from core.api.replies.parts import Instant, Reply
from core.pair_spec import Method


class Event(Reply):
    """Something that fired, with what it was computed from and how its deliveries fare."""

    id: str
    rule_id: str
    name: str
    metric: str
    y: str
    x: str
    condition: str
    bar_ts: Instant
    timeframe: str
    is_closed: bool
    value: float | None
    inputs: dict[str, Any]
    noticed_at: Instant
    acknowledged_at: Instant | None
    deliveries: int
    delivered: int
    dead: int


class ActiveHours(Reply):
    """When a rule may fire, UTC; days from 0, Monday."""

    start: str
    end: str
    days: list[int]


class RuleState(Reply):
    """Where a rule stands."""

    value: float | None
    value_at: Instant | None
    armed: bool
    reason: str
    fired_at: Instant | UnsetType | None = UNSET


class AlertRule(Reply):
    """A rule, its targets masked, and where it stands."""

    id: str
    name: str
    condition: str
    metric: str
    symbol_y: str | None
    symbol_x: str | None
    op: str
    threshold: float
    low: float | None
    timeframe: str
    roll_window: int
    regression: Method
    price_scale: Literal["log", "raw"]
    range_s: float
    reference: float | None
    rearm: float | None
    hold_bars: int
    cooldown_s: float
    when: Literal["close", "live"]
    hours: ActiveHours
    targets: list[str]
    paused: bool
    created_at: Instant
    state: RuleState


class AlertRules(Reply):
    """All rules."""

    alerts: list[AlertRule]


class Events(Reply):
    """What fired, newest first."""

    events: list[Event]
