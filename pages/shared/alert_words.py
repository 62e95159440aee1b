"""What an alert rule is and where it stands, in words and numbers: pure, for all pages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from core.alerts.kept import KeptRule, Standing
from core.alerts.metrics import METRICS
from core.alerts.rules import Rule, signed
from core.alerts.sentry import METRICS as SENTRY
from core.alerts.stands import needs_stand
from core.correlation_charts import short_names
from core.live.pulse import WRITING
from core.live.window import timeframe_label
from core.supervisor import Health
from pages.shared.cards import UNKNOWN
from pages.shared.pair_pickers import METHOD_LABELS

BPS = "bps"
# How a metric is called beside a number.
SHORT = {
    "zscore": "z", "spread": "spread", "corr": "ρ", "corr_break": "breakdown",
    "beta_drift": "drift", "coint_p": "p", "half_life": "half-life", "funding_diff": "difference",
    "price": "price", "return": "return", "volume": "volume", "volatility": "volatility",
    "funding": "rate", "contract": "contract", "silent": "silent", "gap": "gap",
    "stopped": "stopped", "disk": "free",
}  # fmt: skip
_DECIMALS = {
    "zscore": 2, "corr": 3, "corr_break": 3, "beta_drift": 2, "coint_p": 3, "half_life": 1,
    "funding_diff": 2, "return": 2, "volume": 2, "volatility": 2, "funding": 2, "silent": 0,
    "gap": 0, "stopped": 0, "disk": 1,
}  # fmt: skip
# Metrics of the rule's window, of prices on a scale, and of a regression.
WINDOWED = ("zscore", "spread", "corr", "corr_break", "beta_drift", "return", "volume",
            "volatility")  # fmt: skip
SCALED = ("zscore", "spread", "beta_drift", "coint_p", "half_life")
HEDGED = ("zscore", "spread", "beta_drift")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a rule stands: what kind of stage, in words, and the colour that says it again."""

    kind: str
    words: str
    colour: str


def now_utc() -> datetime:
    """Return the naive UTC time of now."""
    return datetime.now(UTC).replace(tzinfo=None)


def uses_range(rule: Rule) -> bool:
    """Return whether the rule's values stand on a fit or a test of a range."""
    return rule.measure.basis == "range" or needs_stand(rule)


def subject_words(y: str, x: str) -> str:
    """Return what is watched without its quote asset: ETH / BTC; the system has none."""
    symbols = [symbol for symbol in (y, x) if symbol]
    return " / ".join(short_names(symbols)) if symbols else "System"


def number_words(metric: str, value: float | None) -> str:
    """Return a metric's value as it is shown, without its unit."""
    if value is None or math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if metric == "contract":
        return "not trading" if value else "trading"
    decimals = _DECIMALS.get(metric)
    text = f"{value:,.6g}" if decimals is None else f"{value:,.{decimals}f}"
    return text.replace("-", "−")


def value_words(metric: str, value: float | None, unit: str) -> str:
    """Return a metric's value with its unit."""
    text = number_words(metric, value)
    return text if text == UNKNOWN or not unit else f"{text} {unit}"


def unit_of(row: Mapping[str, Any]) -> str:
    """Return the unit of an event's value, none for a metric of another version.

    A spread is in bps where its rule was of logs, as the condition says.
    """
    if row["metric"] == "spread" and row["condition"].endswith(f" {BPS}"):
        return BPS
    return METRICS[row["metric"]].unit if row["metric"] in METRICS else ""


def level_words(rule: Rule) -> str:
    """Return the level that the value is held against: 2, or −2 … 2."""
    if rule.measure.is_state:
        return "not trading"
    if rule.is_two_sided:
        return f"{level(rule.low)} … {level(rule.threshold)}"
    return level(rule.threshold)


def level(value: float | None) -> str:
    """Return a level as a person writes it, thousands separated."""
    return UNKNOWN if value is None else f"{value:,.10g}".replace("-", "−")


def against_words(rule: Rule, value: float | None) -> str:
    """Return the present value against its level: z 1.42 → 2."""
    unit = f" {rule.unit}" if rule.unit else ""
    return f"{SHORT[rule.metric]} {number_words(rule.metric, value)} → {level_words(rule)}{unit}"


def closeness(rule: Rule, value: float | None) -> float | None:
    """Return how far the value has come to its level, 0 to 1; None where that says nothing."""
    if value is None or math.isnan(value) or rule.measure.is_state:
        return None
    if rule.holds(value):
        return 1.0
    if rule.is_two_sided:
        low = rule.low or 0.0
        if not low < 0 < rule.threshold:
            return None
        return min(1.0, max(value / rule.threshold, value / low))
    base = 0.0 if rule.is_rising == (rule.threshold > 0) else rearm_level(rule)
    if base is None or base == rule.threshold or math.isinf(value):
        return None
    return min(1.0, max(0.0, (value - base) / (rule.threshold - base)))


def rearm_level(rule: Rule) -> float | None:
    """Return the level beyond which a rule that fired is ready again, None for the threshold.

    For a band it is the level of |value|.
    """
    own = rule.measure.rearm
    if rule.is_two_sided:
        if own is None:
            return None
        level = own if rule.rearm is None else rule.rearm
        return min(level, abs(rule.threshold), abs(rule.low or 0.0))
    if rule.rearm is not None:
        return None if rule.rearm == rule.threshold else rule.rearm
    if own is None:
        return None
    if rule.is_rising:
        return own if own < rule.threshold else None
    return -own if -own > rule.threshold else None


def rearm_words(rule: Rule) -> str:
    """Return when a rule that fired is ready again: |z| < 1."""
    name, level = SHORT[rule.metric], rearm_level(rule)
    if rule.measure.is_state:
        return "the contract trades"
    if rule.is_two_sided:
        return f"|{name}| < {signed(level)}" if level else f"{name} inside the band"
    if level is None:
        return f"{name} {'≤' if rule.is_rising else '≥'} {signed(rule.threshold)}"
    return f"{name} {'<' if rule.is_rising else '>'} {signed(level)}"


def basis_words(rule: Rule) -> str:
    """Return what the values are made of: 1m · 60 bars · Rolling · log."""
    if rule.measure.basis == "now":
        return "every second" if rule.measure.scope == "system" else "every minute"
    if rule.measure.basis == "settled":
        return "each settlement"
    words = [timeframe_label(rule.timeframe)]
    if rule.metric in WINDOWED:
        words.append(f"{rule.window_bars:,} bars")
    if rule.metric in HEDGED:
        words.append(METHOD_LABELS[rule.method])
    if rule.metric in SCALED and not rule.is_log:
        words.append("raw")
    if uses_range(rule):
        words.append(f"range {length_words(rule.range_s)}")
    return " · ".join(words)


def further_words(rule: Rule) -> str:
    """Return what else keeps the rule from firing, empty where nothing does."""
    words = []
    if rule.hold_bars > 1:
        words.append(f"held {rule.hold_bars} bars")
    if rule.cooldown_s:
        words.append(f"cooldown {length_words(rule.cooldown_s)}")
    if rule.hours.start != rule.hours.end:
        words.append(f"{rule.hours.start:%H:%M}–{rule.hours.end:%H:%M} UTC")
    if len(rule.hours.days) < 7:
        words.append(" ".join(DAYS[day] for day in sorted(rule.hours.days)))
    if rule.when == "live":
        words.append("live")
    return " · ".join(words)


def length_words(seconds: float) -> str:
    """Return a length of time in its largest even unit: 90 s, 15 min, 6 h, 1 d."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def unwatched_words(health: Health, now: datetime) -> str:
    """Return since when nobody has looked at the rules, empty while the worker does."""
    if health.state in WRITING:
        return ""
    if health.age_s is None:
        return "Not looked at yet"
    since = now - timedelta(seconds=health.age_s)
    form = "%H:%M" if since.date() == now.date() else "%d %b %H:%M"
    return f"Not looked at since {since:{form}} UTC"


def seen_stage(kept: KeptRule, standing: Standing | None, now: datetime, health: Health) -> Stage:
    """Return where a rule stands as far as anybody has looked."""
    known = stage(kept, standing, now)
    # While no worker lives, or it is stuck, the app looks at these.
    if known.kind == "paused" or kept.rule.metric in SENTRY:
        return known
    words = unwatched_words(health, now)
    if not words:
        return known
    then = "" if known.kind == "new" else f"; then: {known.words}"
    return Stage("unwatched", words + then, "gray")


def stage(kept: KeptRule, standing: Standing | None, now: datetime) -> Stage:
    """Return where a rule stands now (UTC)."""
    rule = kept.rule
    if kept.is_paused:
        return Stage("paused", "Paused", "gray")
    if standing is not None and standing.reason:
        return Stage("trouble", f"Cannot be evaluated: {standing.reason}", "orange")
    if standing is None:
        return Stage("new", "Not looked at yet", "gray")
    if not rule.hours.allow(now):
        return Stage("outside", "Outside its hours", "gray")
    state = standing.state
    until = state.fired_at and state.fired_at + timedelta(seconds=rule.cooldown_s)
    if not state.is_armed:
        return Stage("fired", f"Fired, waits for {rearm_words(rule)}", "violet")
    if until and until > now:
        return Stage("cooling", f"Cooling down until {until:%H:%M} UTC", "blue")
    if 0 < state.held < rule.hold_bars:
        return Stage("armed", f"Holds for {state.held} of {rule.hold_bars} bars", "green")
    return Stage("armed", "Armed", "green")


def at_zone(at: datetime, zone: str, browser: str | None) -> datetime:
    """Return a UTC time on the chosen clock: UTC's, or that of the browser's named zone."""
    if zone != "local" or not browser:
        return at
    try:
        return at.replace(tzinfo=UTC).astimezone(ZoneInfo(browser)).replace(tzinfo=None)
    except (ZoneInfoNotFoundError, ValueError):
        return at


def input_words(name: str) -> str:
    """Return the name of an event's input as a person writes it."""
    return _INPUTS.get(name, name.replace("_", " "))


_INPUTS: Mapping[str, str] = {
    "price_y": "price y", "price_x": "price x", "spread_mean": "mean of spread",
    "spread_sd": "deviation of spread", "zscore": "z", "alpha": "α", "beta": "β",
    "se_beta": "s.e. of β", "reference": "reference β", "window_bars": "window, bars",
    "range_s": "range, s", "as_of": "as of", "price_scale": "prices", "corr": "ρ",
    "made_at": "fit made at",
}  # fmt: skip
