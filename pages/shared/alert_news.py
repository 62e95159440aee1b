"""What every page shows of alerts: a word when one fires, and how many nobody has seen."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import streamlit as st

from core.alerts.questions import Heard, News
from core.errors import PerpduckError
from core.live.feeder import Feeder
from core.live.pulse import Pulse
from core.live.questions import newest
from core.store import Store
from pages.shared.alert_words import now_utc, subject_words, unit_of, value_words
from pages.shared.places import ALERTS

# More at a time would hide the page; the rest is counted.
TOASTS = 3
_STATE = "_alerts_told"
_NEWS = News()


def heard(feed: Feeder, pulse: Pulse) -> Heard | None:
    """Return what there is to hear, None while nothing can be read."""
    if pulse.error:
        known = feed.known(_NEWS)
        return known.value if known else None
    try:
        found: Heard = newest(feed, _NEWS).value
    except PerpduckError:
        return None
    return found


def tell(found: Heard, store: Store) -> None:
    """Show what fired since the session began, each event once."""
    told: dict[Any, Any] = st.session_state.setdefault(_STATE, {"since": now_utc(), "ids": set()})
    since: datetime = told["since"]
    ids: set[tuple[str, str]] = told["ids"]
    fresh = [
        row
        for row in found.newest.iter_rows(named=True)
        if row["noticed_at"] >= since and (str(store.path), row["id"]) not in ids
    ]
    ids |= {(str(store.path), row["id"]) for row in fresh}
    for row in reversed(fresh[:TOASTS]):
        st.toast(event_words(row), icon=":material/notifications_active:", duration="long")
    if more := len(fresh) - TOASTS:
        if more > 0:
            st.toast(f"{more} more alerts fired", icon=":material/notifications_active:")


def event_words(row: dict[str, Any]) -> str:
    """Return an event in a line: its name, what it concerns, the condition and the value."""
    value = value_words(row["metric"], row["value"], unit_of(row))
    subject = subject_words(row["y"], row["x"])
    return f"**{escaped(row['name'])}** · {subject} · {row['condition']}: {value}"


def badge(unseen: int) -> None:
    """Show how many events nobody has acknowledged, as the way to them; nothing while none."""
    if unseen:
        st.page_link(
            ALERTS, label=f"**{unseen:,}**", icon=":material/notifications:",
            query_params={"alerts": "History"},
            help=f"{unseen:,} alert{'s' * (unseen > 1)} not acknowledged; click for the history",
        )  # fmt: skip


def escaped(text: str) -> str:
    """Return a person's words with what Markdown would take for its own marked as text."""
    return "".join(f"\\{sign}" if sign in r"\`*_[]<>$~:#|!" else sign for sign in text)
