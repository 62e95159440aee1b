"""Alert rules and events, as the Alerts page has them; targets stay masked."""

from __future__ import annotations

import json
from datetime import time
from typing import Annotated, Any, Literal

import msgspec
import polars as pl
from msgspec import Meta, Struct
from starlette.responses import Response

from core.alerts.kept import KeptRule, Standing, delete_rule, keep_rule
from core.alerts.metrics import METRICS
from core.alerts.questions import Events, Held, Rules
from core.alerts.rules import LONGEST_COOLDOWN_S, MOST_HOLD, Hours, Op, Rule
from core.alerts.targets import check_target, masked
from core.api.answers import TimeFormat, json_answer, written_time
from core.api.calls import Call
from core.api.parameters import Regression, Scale, Symbol, Timeframe, Window, timeframe_of
from core.api.problems import Problem, bad_parameter
from core.api.subjects import Subject, location, source_of, subject_of
from core.bar_sql import timeframe_seconds
from core.config import load_settings
from core.errors import DataError
from core.live import sources
from core.live.feeder import feeder
from core.live.questions import newest
from core.live.window import RANGES

MOST_TARGETS, MOST_RULES = 20, 2_000
_LEVEL = 1e15
# What programs write for the comparisons.
_OPS: dict[str, Op] = {
    ">": "above", ">=": "above", "above": "above", "<": "below", "<=": "below", "below": "below",
    "crosses_above": "crosses_above", "crosses_below": "crosses_below", "outside": "outside",
}  # fmt: skip
Level = Annotated[float, Meta(ge=-_LEVEL, le=_LEVEL)]
Clock = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", examples=["22:00"])]


class HoursBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """When it may fire, UTC; equal ends mean the whole day."""

    start: Clock = "00:00"
    end: Clock = "00:00"
    days: Annotated[
        list[Annotated[int, Meta(ge=0, le=6)]],
        Meta(description="0 is Monday.", min_length=1, max_length=7),
    ] = msgspec.field(default_factory=lambda: [0, 1, 2, 3, 4, 5, 6])


class AlertBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """A rule; symbol_y is the dependent leg, or the one symbol of a metric that has one."""

    metric: Annotated[
        str,
        Meta(description="What is watched.", examples=["zscore"],
             extra_json_schema={"enum": list(METRICS)}),
    ]  # fmt: skip
    op: Annotated[
        str, Meta(description="When it fires.", extra_json_schema={"enum": list(_OPS)})
    ] = ">"
    threshold: Level = 0.0
    symbol_x: Symbol | None = None
    symbol_y: Symbol | None = None
    low: Annotated[Level | None, Meta(description="outside: the lower level.")] = None
    name: Annotated[str, Meta(min_length=1, max_length=120)] | None = None
    timeframe: Timeframe = "1min"
    roll_window: Window = 60
    regression: Regression = "rolling"
    price_scale: Scale = "log"
    range: Literal["15m", "1h", "6h", "1d", "7d"] = "1d"
    reference: Annotated[Level | None, Meta(description="beta_drift: measured from.")] = None
    rearm: Annotated[Level | None, Meta(description="Having fired, ready again here.")] = None
    hold_bars: Annotated[int, Meta(ge=1, le=MOST_HOLD)] = 1
    cooldown_s: Annotated[float, Meta(ge=0, le=LONGEST_COOLDOWN_S)] = 0.0
    when: Annotated[Literal["close", "live"], Meta(description="Closed bars, or any.")] = "close"
    hours: HoursBody | None = None
    paused: bool = False
    targets: Annotated[
        list[Annotated[str, Meta(min_length=3, max_length=2_000)]],
        Meta(description="URLs to deliver to; without any, PERPDUCK_ALERT_URLS.",
             max_length=MOST_TARGETS),
    ] = []  # fmt: skip


def add(call: Call) -> Response:
    """Keep a new rule."""
    body: AlertBody = call.body
    source = source_of(call.query.source)
    settings = load_settings()
    for url in body.targets:
        try:
            check_target(url, settings)
        except DataError as error:
            raise bad_parameter("targets", str(error)) from error
    rule = _rule(body)
    sources.prepare(source)
    subject = subject_of(source.name)
    if len(_held(subject).rules) >= MOST_RULES:
        raise Problem(409, f"There are {MOST_RULES:,} rules; delete some first.")
    name = " ".join((body.name or f"{rule.subject} {rule.condition}"[:120]).split())
    if not name:
        raise bad_parameter("name", "name is empty; give 1 to 120 characters, or leave it out")
    kept = keep_rule(source.store, name, rule, body.targets, is_paused=body.paused)
    feeder(source.store).refresh()
    # Nothing is read any more: whoever is told of a failure asks again, and has the rule twice.
    where = location(source, "alerts", kept.id)
    return json_answer(_told(kept, None, call.query.ts_format), 201, headers=where)


def listed(call: Call) -> Response:
    """Answer with all rules and where each stands."""
    held = _held(subject_of(call.query.source))
    form = call.query.ts_format
    return json_answer(
        {"alerts": [_told(one, held.standings.get(one.id), form) for one in held.rules]}
    )


def delete(call: Call) -> Response:
    """Remove a rule; its events stay."""
    rule_id = call.path["id"]
    subject = subject_of(call.query.source)
    if rule_id not in {one.id for one in _held(subject).rules}:
        raise Problem(404, f"There is no rule {rule_id!r}; it may have been deleted.")
    delete_rule(subject.source.store, rule_id)
    subject.feed.refresh()
    return Response(status_code=204)


def events(call: Call) -> Response:
    """Answer with what fired, newest first."""
    subject = subject_of(call.query.source)
    found = newest(subject.feed, Events(call.query.limit, rule_id=call.query.rule)).value
    return json_answer({"events": events_told(found, call.query.ts_format)})


def events_told(found: pl.DataFrame, ts_format: TimeFormat) -> list[dict[str, Any]]:
    """Return events as programs read them."""
    times = ("bar_ts", "noticed_at", "acknowledged_at")
    return [
        {
            **row,
            **{name: written_time(row[name], ts_format) for name in times},
            "inputs": json.loads(row["inputs"]) if row["inputs"] else {},
        }
        for row in found.iter_rows(named=True)
    ]


def _held(subject: Subject) -> Held:
    held: Held = newest(subject.feed, Rules()).value
    return held


def _rule(body: AlertBody) -> Rule:
    if body.op not in _OPS:
        raise bad_parameter("op", f"{body.op!r} is no comparison", list(_OPS))
    if body.metric not in METRICS:
        raise bad_parameter("metric", f"{body.metric!r} is no metric", list(METRICS))
    y, x = ((one or "").strip().lower() for one in (body.symbol_y, body.symbol_x))
    scope = METRICS[body.metric].scope
    if scope == "symbol":
        y, x = y or x, ""
    elif scope == "system":
        y, x = "", ""
    timeframe = timeframe_of(body.timeframe)
    try:
        return _made(body, y, x, timeframe)
    except DataError as error:
        raise bad_parameter(_contradiction(body, y, x, timeframe), str(error)) from error


def _made(body: AlertBody, y: str, x: str, timeframe: str) -> Rule:
    return Rule(
        body.metric, y, x, _OPS[body.op], body.threshold, body.low, timeframe, body.roll_window,
        body.regression, body.price_scale == "log", RANGES[body.range], body.reference, body.rearm,
        body.hold_bars, body.cooldown_s, _hours(body.hours), body.when,
    )  # fmt: skip


def _contradiction(body: AlertBody, y: str, x: str, timeframe: str) -> str:
    """Return the field on account of which `Rule` refuses; in the order in which it looks."""
    metric = METRICS[body.metric]
    if metric.scope in ("symbol", "pair") and not y:
        return "symbol_y"
    if metric.scope == "pair" and (not x or x == y):
        return "symbol_x"
    if body.metric == "beta_drift" and body.reference is None:
        return "reference"
    if timeframe_seconds(timeframe) > RANGES[body.range]:
        return "range"
    if body.op == "outside" and not (body.low is not None and body.low < body.threshold):
        return "low"
    return "when" if body.when == "live" and metric.on_close_only else "rearm"


def _hours(body: HoursBody | None) -> Hours:
    if body is None:
        return Hours()
    days = tuple(sorted(set(body.days)))
    return Hours(time.fromisoformat(body.start), time.fromisoformat(body.end), days)


def _told(kept: KeptRule, stands: Standing | None, ts_format: TimeFormat) -> dict[str, Any]:
    rule = kept.rule
    return {
        "id": kept.id,
        "name": kept.name,
        "condition": rule.condition,
        "metric": rule.metric,
        "symbol_y": rule.y or None,
        "symbol_x": rule.x or None,
        "op": rule.op,
        "threshold": rule.threshold,
        "low": rule.low,
        "timeframe": rule.timeframe,
        "roll_window": rule.window_bars,
        "regression": rule.method,
        "price_scale": "log" if rule.is_log else "raw",
        "range_s": rule.range_s,
        "reference": rule.reference,
        "rearm": rule.rearm,
        "hold_bars": rule.hold_bars,
        "cooldown_s": rule.cooldown_s,
        "when": rule.when,
        "hours": {
            "start": f"{rule.hours.start:%H:%M}",
            "end": f"{rule.hours.end:%H:%M}",
            "days": list(rule.hours.days),
        },
        "targets": [masked(url) for url in kept.targets],
        "paused": kept.is_paused,
        "created_at": written_time(kept.created_at, ts_format),
        "state": _state(stands, ts_format),
    }


def _state(stands: Standing | None, ts_format: TimeFormat) -> dict[str, Any]:
    if stands is None:
        return {"value": None, "value_at": None, "armed": True, "reason": "not looked at yet"}
    return {
        "value": stands.value,
        "value_at": written_time(stands.value_at, ts_format),
        "armed": stands.state.is_armed,
        "fired_at": written_time(stands.state.fired_at, ts_format),
        "reason": stands.reason,
    }
