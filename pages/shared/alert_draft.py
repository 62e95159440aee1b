"""The rule that the form holds: its first values, what fills it, and the rule that it says."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from datetime import time
from typing import Any

import streamlit as st

from core.alerts.kept import KeptRule
from core.alerts.metrics import METRICS
from core.alerts.rules import Hours, Rule
from core.bar_sql import TIMEFRAMES
from core.errors import DataError
from core.live.window import timeframe_label
from core.pair_spec import MAX_WINDOW
from pages.shared.alert_words import HEDGED, SCALED, WINDOWED, length_words
from pages.shared.pair_pickers import FIRST_PAIRS, METHOD_LABELS

PREFIX = "rule_"
EDITING, TARGETS = "_rule_editing", "_rule_targets"
NEW_TARGET = "rule_new_target"
SCOPES = {"pair": "Pair", "symbol": "Symbol", "system": "System"}
SPANS = {"15m": 900.0, "1h": 3_600.0, "6h": 21_600.0, "1d": 86_400.0, "7d": 604_800.0,
         "30d": 30 * 86_400.0}  # fmt: skip
# What a metric is asked for at first: comparison, threshold, lower threshold.
FIRST: Mapping[str, tuple[str, float, float]] = {
    "zscore": ("crosses_above", 2.0, -2.0),
    "spread": ("crosses_above", 0.0, -1.0),
    "corr": ("crosses_below", 0.5, -0.5),
    "corr_break": ("crosses_above", 0.3, -0.3),
    "beta_drift": ("outside", 4.0, -4.0),
    "coint_p": ("crosses_below", 0.05, 0.0),
    "half_life": ("crosses_below", 30.0, 5.0),
    "funding_diff": ("outside", 2.0, -2.0),
    "price": ("crosses_above", 0.0, 0.0),
    "return": ("outside", 1.0, -1.0),
    "volume": ("above", 3.0, 0.0),
    "volatility": ("crosses_above", 2.0, 0.5),
    "funding": ("outside", 2.0, -2.0),
    "contract": ("above", 0.0, 0.0),
    "silent": ("above", 60.0, 0.0),
    "gap": ("above", 0.0, 0.0),
    "stopped": ("above", 60.0, 0.0),
    "disk": ("below", 5.0, 0.0),
}
_FIRST_METRIC = {"pair": "zscore", "symbol": "price", "system": "silent"}
_DEFAULTS: dict[str, Any] = {
    "name": "", "scope": "pair", "metric": "zscore", "op": "crosses_above", "threshold": 2.0,
    "low": -2.0, "tf": "1min", "window": 60, "hedge": "rolling", "scale": "log", "span": "1d",
    "reference": None, "rearm": None, "hold": 1, "cooldown": 0.0, "start": time(0, 0),
    "end": time(0, 0), "days": [0, 1, 2, 3, 4, 5, 6], "when": "close",
}  # fmt: skip


def key(name: str) -> str:
    """Return the session's key of one of the form's fields."""
    return PREFIX + name


def value(name: str) -> Any:
    """Return what a field of the form holds."""
    found = st.session_state.get(key(name))
    return _DEFAULTS.get(name) if found is None else found


def put(values: Mapping[str, Any]) -> None:
    """Set fields of the form; only before they are shown in a run."""
    for name, one in values.items():
        st.session_state[key(name)] = one


def begin(symbols: Sequence[str]) -> None:
    """Give each field that holds nothing its first value: the pair that the session looks at."""
    state = st.session_state
    y, x = first_pair(state, symbols)
    for name, one in (_DEFAULTS | {"y": y, "x": x}).items():
        if key(name) not in state:
            state[key(name)] = one
    for name, other in (("y", y), ("x", x)):
        if not state[key(name)]:
            state[key(name)] = other


def first_pair(state: MutableMapping[Any, Any], symbols: Sequence[str]) -> tuple[str, str]:
    """Return the pair last looked at, else the one that a newcomer sees first."""
    query = st.query_params
    found = tuple(str(state.get(leg) or query.get(leg) or "").lower() for leg in ("y", "x"))
    if len(set(found)) == 2 and set(found) <= set(symbols):
        return found[0], found[1]
    best = next((pair for pair in FIRST_PAIRS if set(pair) <= set(symbols)), None)
    if best:
        return best
    some = [*symbols, "", ""]
    return some[0], some[1]


# On the way from a page to another Streamlit drops the parameters that the first page's controls
# are bound to: a link within the app says these names with this before them.
LINK = "new_"


def renew() -> None:
    """Empty the form for a new rule; what is watched stays as it was."""
    for name in _DEFAULTS:
        st.session_state.pop(key(name), None)
    for name in (EDITING, NEW_TARGET):
        st.session_state.pop(name, None)
    st.session_state[TARGETS] = []


def fill_from_address(query: Mapping[str, str]) -> None:
    """Fill the form with what a link says; what it does not say, or says wrongly, is the first."""
    renew()
    tfs = {timeframe_label(name): name for name in TIMEFRAMES}
    hedges = {label: name for name, label in METHOD_LABELS.items()}

    def said(name: str) -> str:
        return query.get(f"{LINK}{name}") or query.get(name, "")

    found: dict[str, Any] = {
        "y": said("y").lower() or None,
        "x": said("x").lower() or None,
        "tf": tfs.get(said("tf")),
        "span": {"all": "7d"}.get(said("span"), said("span")),
        "hedge": hedges.get(said("hedge")),
        "scale": said("scale") if said("scale") in ("log", "raw") else None,
    }
    if found["span"] not in SPANS:
        found["span"] = None
    with_window = said("window")
    if with_window.isdecimal() and 3 <= int(with_window) <= MAX_WINDOW:
        found["window"] = int(with_window)
    put({name: one for name, one in found.items() if one is not None})


def fill_from_rule(kept: KeptRule) -> None:
    """Fill the form with a rule that is to be changed."""
    renew()
    rule = kept.rule
    put({
        "name": kept.name, "scope": rule.measure.scope, "metric": rule.metric,
        "y": rule.y, "x": rule.x, "op": rule.op, "threshold": rule.threshold,
        "low": FIRST[rule.metric][2] if rule.low is None else rule.low,
        "tf": rule.timeframe, "window": rule.window_bars, "hedge": rule.method,
        "scale": "log" if rule.is_log else "raw", "span": span_name(rule.range_s),
        "reference": rule.reference, "rearm": rule.rearm, "hold": rule.hold_bars,
        "cooldown": rule.cooldown_s / 60, "start": rule.hours.start, "end": rule.hours.end,
        "days": list(rule.hours.days), "when": rule.when,
    })  # fmt: skip
    st.session_state[EDITING] = kept.id
    st.session_state[TARGETS] = list(kept.targets)


def span_name(seconds: float) -> str:
    """Return the name of a range, its length in words where the form has no such one."""
    known = {length: name for name, length in SPANS.items()}
    return known.get(seconds, length_words(seconds))


def span_s(name: str) -> float:
    """Return the seconds of a range's name."""
    if name in SPANS:
        return SPANS[name]
    number, unit = name.split()
    return float(number) * {"s": 1, "min": 60, "h": 3_600, "d": 86_400}[unit]


def scope_changed() -> None:
    """Take the scope's first metric."""
    put({"metric": _FIRST_METRIC[value("scope")]})
    metric_changed()


def metric_changed() -> None:
    """Take the metric's first comparison and thresholds, and no re-arm level of another's."""
    metric = value("metric")
    op, threshold, low = FIRST[metric]
    changed: dict[str, Any] = {"op": op, "threshold": threshold, "low": low, "rearm": None}
    if METRICS[metric].on_close_only:
        changed["when"] = "close"
    if metric == "beta_drift" and value("hedge") not in ("rolling", "kalman"):
        changed["hedge"] = "rolling"
    put(changed)


def swap_legs() -> None:
    """Exchange the pair's legs."""
    put({"y": value("x"), "x": value("y"), "reference": None})


def rule_said() -> Rule:
    """Return the rule that the form says. Raises DataError for what contradicts itself.

    A field that its metric does not use keeps the rule's own default, so that two forms that look
    alike make the same rule.
    """
    metric = METRICS[value("metric")]
    op = value("op")
    said: dict[str, Any] = {"metric": metric.name}
    if metric.scope != "system":
        said["y"] = value("y") or ""
    if metric.scope == "pair":
        said["x"] = value("x") or ""
    if not metric.is_state:
        said |= {"op": op, "threshold": number("threshold"), "rearm": value("rearm")}
        said["low"] = number("low") if op == "outside" else None
        if op == "outside" and metric.rearm is None:
            said["rearm"] = None
    if metric.basis in ("bars", "range"):
        said["timeframe"] = value("tf")
    if metric.name in WINDOWED:
        said["window_bars"] = int(value("window"))
    if metric.name in SCALED:
        said["is_log"] = value("scale") == "log"
    if metric.name in HEDGED:
        said["method"] = value("hedge")
    if needs_span():
        said["range_s"] = span_s(value("span"))
    elif metric.basis == "bars":
        said["range_s"] = max(86_400.0, float(TIMEFRAMES[value("tf")]))
    if metric.name == "beta_drift":
        said["reference"] = value("reference")
    said |= {
        "hold_bars": int(value("hold")),
        "cooldown_s": 60.0 * float(value("cooldown")),
        "hours": Hours(value("start"), value("end"), tuple(sorted(value("days")))),
        "when": value("when") if can_be_live() else "close",
    }
    return Rule(**said)


def number(name: str) -> float:
    """Return a level. Raises DataError while the field is empty."""
    found = st.session_state.get(key(name))
    if found is None:
        words = "lower level" if name == "low" else "threshold"
        raise DataError(f"the {words} is empty: give a number")
    return float(found)


def can_be_live() -> bool:
    """Return whether a bar that still forms has a value of the metric."""
    metric = METRICS[value("metric")]
    return metric.basis == "bars" and not metric.on_close_only


def needs_span() -> bool:
    """Return whether what the form says stands on a fit or a test of a range."""
    metric = METRICS[value("metric")]
    if metric.basis == "range":
        return True
    held = ("kalman",) if metric.name == "beta_drift" else ("kalman", "ols", "tls")
    return metric.name in HEDGED and value("hedge") in held
