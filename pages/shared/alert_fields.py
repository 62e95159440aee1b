"""The fields of a rule: what is watched, its levels, what it is made of, when it may fire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import streamlit as st

from core.alerts.metrics import METRICS
from core.alerts.rules import LONGEST_COOLDOWN_S, MOST_HOLD, OPS, signed
from core.bar_sql import TIMEFRAMES
from core.errors import DataError
from core.live.window import timeframe_label
from core.pair_spec import MAX_WINDOW
from pages.shared.alert_draft import (
    SCOPES,
    SPANS,
    can_be_live,
    key,
    metric_changed,
    needs_span,
    put,
    rule_said,
    scope_changed,
    swap_legs,
    value,
)
from pages.shared.alert_reference import reference_field
from pages.shared.alert_words import (
    BPS,
    DAYS,
    HEDGED,
    SCALED,
    SHORT,
    WINDOWED,
    at_zone,
    now_utc,
    rearm_level,
)
from pages.shared.pair_pickers import METHOD_HELP, METHOD_LABELS

_WHEN = {"close": "On close", "live": "Live"}
_SCALES = ("log", "raw")
_STEPS = {
    "zscore": 0.25, "corr": 0.05, "corr_break": 0.05, "coint_p": 0.01, "volume": 0.5,
    "volatility": 0.25, "return": 0.1, "funding": 0.5, "funding_diff": 0.5, "beta_drift": 0.5,
}  # fmt: skip
_OPS = {"above": "is above (>)", "below": "is below (<)", "outside": "leaves the band"} | {
    name: words for name, words in OPS.items() if name.startswith("crosses")
}


def what(symbols: Sequence[str]) -> None:
    """Show what is watched."""
    st.segmented_control(
        "Scope", list(SCOPES), key=key("scope"), format_func=SCOPES.__getitem__, required=True,
        on_change=scope_changed, persist_state="session", label_visibility="collapsed",
        help="A pair of symbols, one symbol, or the feed and the worker themselves.",
    )  # fmt: skip
    names = [one.name for one in METRICS.values() if one.scope == value("scope")]
    st.selectbox(
        "Watch", names, key=key("metric"), format_func=lambda name: METRICS[name].label,
        on_change=metric_changed, persist_state="session",
        help="What is computed and held against the threshold.",
    )  # fmt: skip
    metric = METRICS[value("metric")]
    st.caption(metric.words)
    if metric.scope == "system":
        return
    with st.container(horizontal=True, vertical_alignment="bottom", key="rule-legs"):
        is_pair = metric.scope == "pair"
        _symbol("y", "y" if is_pair else "Symbol", symbols)
        if is_pair:
            st.button("⇄", key="rule-swap", on_click=swap_legs, help="Swap the legs.")
            _symbol("x", "x", symbols)


def _symbol(leg: str, label: str, symbols: Sequence[str]) -> None:
    st.selectbox(
        label, list(symbols), key=key(leg), format_func=str.upper, persist_state="session",
        on_change=put, args=({"reference": None},),
    )  # fmt: skip


def levels() -> None:
    """Show the comparison and its levels; what is true or false has none."""
    metric = METRICS[value("metric")]
    if metric.is_state:
        return
    name = BPS if metric.name == "spread" and value("scale") == "log" else metric.unit
    unit = f" ({name})" if name else ""
    is_band = value("op") == "outside"
    with st.container(horizontal=True, vertical_alignment="bottom", key="rule-levels"):
        st.selectbox(
            "Fires when it", list(OPS), key=key("op"), format_func=_OPS.__getitem__, width=170,
            persist_state="session",
            help="A crossing fires at the bar that crosses; > and < also where it already holds.",
        )  # fmt: skip
        if is_band:
            _level("low", f"Lower{unit}", "Fires below this level.")
        _level("threshold", f"{'Upper' if is_band else 'Threshold'}{unit}", "The level itself.")
        if not is_band or metric.rearm is not None:
            _level(
                "rearm", f"Ready again at{f' |{SHORT[metric.name]}|' if is_band else ''}{unit}",
                "Having fired it waits until the value has come back past this level, so that "
                "one that wavers around the threshold does not fire again and again.",
                empty=_rearm_default(),
            )  # fmt: skip


def _level(name: str, label: str, words: str, *, empty: str = "") -> None:
    st.number_input(
        label, value=None, step=_STEPS.get(value("metric"), 1.0), format="%g", key=key(name),
        help=words, placeholder=empty or None, persist_state="session", width=150,
    )  # fmt: skip


def _rearm_default() -> str:
    """Return what an empty re-arm level means for the levels as they are, in words."""
    try:
        rule = replace(rule_said(), rearm=None)
    except DataError:
        # What is wrong with the rule is said beside the form.
        return ""
    level = rearm_level(rule)
    if level is None:
        return f"{'≥' if rule.is_falling else '≤'} {signed(rule.threshold)}"
    return f"{'>' if rule.is_falling else '<'} {signed(level)}"


def basis() -> None:
    """Show what the values are made of."""
    metric = METRICS[value("metric")]
    if metric.basis in ("settled", "now"):
        return
    with st.container(horizontal=True, vertical_alignment="bottom", key="rule-basis"):
        st.selectbox(
            "Timeframe", list(TIMEFRAMES), key=key("tf"), format_func=timeframe_label,
            persist_state="session", width=110, help="Time a bar covers.",
        )  # fmt: skip
        if metric.name in WINDOWED:
            st.number_input(
                "Window, bars", 3, MAX_WINDOW, key=key("window"), persist_state="session",
                width=130, help="Bars of the rolling statistics.",
            )  # fmt: skip
        if metric.name in HEDGED:
            drift = metric.name == "beta_drift"
            st.selectbox(
                "Regression", ["rolling", "kalman"] if drift else list(METHOD_LABELS),
                key=key("hedge"), format_func=METHOD_LABELS.__getitem__, help=METHOD_HELP,
                persist_state="session", width=130,
            )  # fmt: skip
        if metric.name in SCALED:
            st.segmented_control(
                "Prices", _SCALES, key=key("scale"), required=True, wrap=False,
                persist_state="session", help="Logs of prices, or prices themselves.",
            )  # fmt: skip
        if needs_span():
            known = value("span")
            st.selectbox(
                "Range", list(SPANS) if known in SPANS else [known, *SPANS], key=key("span"),
                persist_state="session", width=110,
                help="Time that the fit or the test stands on; made anew at fixed times.",
            )  # fmt: skip
    if metric.name == "beta_drift":
        reference_field()


def judged() -> None:
    """Show whether the forming bar counts, where it can."""
    if can_be_live():
        st.segmented_control(
            "Judged", list(_WHEN), key=key("when"), required=True,
            format_func=_WHEN.__getitem__, persist_state="session",
            help="On close: bars that will not change any more. Live: the forming bar as well; "
            "sooner, and its value may be gone at the close.",
        )  # fmt: skip


def times() -> None:
    """Show how long the condition must hold, how seldom it fires, and at which hours."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="rule-hold"):
        what_held = "seconds" if METRICS[value("metric")].scope == "system" else "bars"
        st.number_input(
            f"Must hold for … {what_held}", 1, MOST_HOLD, key=key("hold"), width=170,
            persist_state="session", help="In a row; 1 fires at once.",
        )  # fmt: skip
        st.number_input(
            "Cooldown, minutes", 0.0, LONGEST_COOLDOWN_S / 60, step=5.0, format="%g",
            key=key("cooldown"), persist_state="session", width=170,
            help="Fires at most once in this time.",
        )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom", key="rule-hours"):
        for name, label in (("start", "From (UTC)"), ("end", "To (UTC)")):
            st.time_input(label, value=None, key=key(name), persist_state="session", width=120)
    st.caption(hours_words())
    st.pills(
        "Days (UTC)", list(range(7)), key=key("days"), selection_mode="multi",
        format_func=DAYS.__getitem__, persist_state="session",
        help="A stretch that passes midnight belongs to the day it began on.",
    )  # fmt: skip


def hours_words() -> str:
    """Return the active hours in words, in the browser's time as well."""
    start, end = value("start"), value("end")
    if start == end:
        return "Equal times: the whole day."
    zone = st.context.timezone
    today = now_utc().date()
    here = [at_zone(datetime.combine(today, one), "local", zone) for one in (start, end)]
    past = ", past midnight" if start > end else ""
    return f"{start:%H:%M}–{end:%H:%M} UTC{past}: {here[0]:%H:%M}–{here[1]:%H:%M} on your clock."
