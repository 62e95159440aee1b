"""What the form's rule would have done: how often it would have fired, and where."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl
import streamlit as st

from core.alert_charts import alert_chart
from core.alerts.preview import DAY_S, Preview, preview
from core.alerts.rules import Rule
from core.live.memo import Memo
from core.live.window import timeframe_label
from pages.shared import sources
from pages.shared.alert_words import at_zone, rearm_level, rearm_words
from pages.shared.figure import figure
from pages.shared.frame import counted
from pages.shared.notices import noticed

# A preview is made anew once a minute; the one before stays until then.
RENEWED_S = 60
# More than so many a day is more than anybody reads.
MANY_A_DAY = 24
FEW_BARS_S = 3_600
_previews = Memo(64)


def preview_of(source: sources.Source, rule: Rule) -> Preview:
    """Return the newest preview of a rule, kept for all sessions; only the first is waited for."""
    place = (source.store.path, rule)
    turn = int(time.time() // RENEWED_S)
    found: Preview = _previews.latest(
        place, (place, turn), lambda: preview(source.store, rule, span_s=span_s(rule))
    )
    return found


def span_s(rule: Rule) -> float:
    """Return how far a preview looks back: a day, more where a day has few values."""
    if rule.measure.basis == "settled":
        return 7 * DAY_S
    if rule.bar_s >= 86_400:
        return 30 * DAY_S
    return 7 * DAY_S if rule.bar_s >= FEW_BARS_S else DAY_S


@st.fragment(run_every=5.0)
def preview_panel(source: sources.Source, rule: Rule, zone: str) -> None:
    """Show how often the rule would have fired, and the values with the places where."""
    with noticed("alert-preview"):
        with st.spinner("Looking back …"):
            found = preview_of(source, rule)
        st.markdown(f"##### :material/history: {headline(found)}")
        for words in remarks(rule, found):
            st.caption(words)
        if warning := many_words(rule, found):
            st.warning(warning, icon=":material/notification_important:")
        if not found.series.is_empty() and found.bars:
            shown, firings = on_clock(found, zone)
            rearm = rearm_levels(rule)
            label = "local time" if zone == "local" else "UTC"
            spec = alert_chart(rule, shown, firings.firings, rearm=rearm, zone=label)
            figure(spec, key="alert-preview-chart", height=280)
            st.caption(legend_words(rule))


def headline(found: Preview) -> str:
    """Return the answer: would have fired 7 times in the last 24 h."""
    if not found.bars:
        return "Nothing can be said of the past"
    times = counted(len(found.firings), "time") if found.firings else "not once"
    return f"Would have fired {times} in the last {covered_words(found)}"


def first_known(found: Preview) -> datetime:
    """Return the time of the first value: the bars before it only led up to it."""
    first: datetime = found.series.drop_nulls("value")["ts"][0]
    return first


def covered_words(found: Preview) -> str:
    """Return the length of what the preview truly covers."""
    first, last = first_known(found), found.end
    hours = (min(last - first, last - found.start)).total_seconds() / 3600
    if hours >= 36:
        return f"{hours / 24:.0f} d"
    return f"{hours:.0f} h" if hours >= 1.95 else f"{max(1, round(hours * 60))} min"


def remarks(rule: Rule, found: Preview) -> list[str]:
    """Return what the preview stands on, and what it does not say."""
    words = [f":material/info: {found.note}"] if found.note else []
    if found.bars:
        kind = "settlements" if rule.measure.basis == "settled" else "values"
        bars = f"{timeframe_label(rule.timeframe)} bars"
        made = kind if kind == "settlements" else f"values of {bars}"
        words.append(
            f"{found.bars:,} {made}, {first_known(found):%d %b %H:%M} – "
            f"{found.end:%d %b %H:%M} UTC. The past only, closed bars only, by the machine that "
            "will watch" + ("; live it may also fire within a bar." if rule.when == "live" else ".")
        )
    return words


def many_words(rule: Rule, found: Preview) -> str:
    """Return the advice where the rule would fire more often than anybody reads."""
    if not found.bars or len(found.firings) < 2:
        return ""
    span = max((found.end - first_known(found)).total_seconds(), rule.bar_s)
    a_day = len(found.firings) * DAY_S / span
    if a_day <= MANY_A_DAY:
        return ""
    every = DAY_S / a_day
    often = "about one an hour" if 1800 < every < 5400 else (
        f"about one every {every / 60:.0f} min" if every >= 90 else f"one every {every:.0f} s"
    )  # fmt: skip
    return (
        f"That is {often}. Raise the threshold, move the re-arm level further away, let it hold "
        "for more bars, or give it a cooldown."
    )


def legend_words(rule: Rule) -> str:
    """Return what the lines and marks of the chart are."""
    mark = "▲" if rule.is_falling else "▼"
    words = [f"{mark} would have fired"]
    if not rule.measure.is_state:
        words.append("╌╌ threshold")
        words.append(f"┈ ready again: {rearm_words(rule)}")
    return " · ".join(words)


def rearm_levels(rule: Rule) -> tuple[float, ...]:
    """Return the re-arm lines of the chart."""
    level = rearm_level(rule)
    if level is None or rule.measure.is_state:
        return ()
    return (-level, level) if rule.is_two_sided else (level,)


def on_clock(found: Preview, zone: str) -> tuple[pl.DataFrame, Preview]:
    """Return the series and the firings with their times on the chosen clock."""
    browser = st.context.timezone

    def moved(at: datetime) -> datetime:
        return at_zone(at, zone, browser)

    if zone != "local" or not browser:
        return found.series, found
    # One shift for all: a change of daylight saving within the preview moves no bar past another.
    shift: timedelta = moved(found.end) - found.end
    series = found.series.with_columns(pl.col("ts") + shift)
    return series, replace(
        found, firings=[replace(one, at=one.at + shift) for one in found.firings]
    )
