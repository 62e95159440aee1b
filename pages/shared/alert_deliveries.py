"""The deliveries: what was sent where, what waits, what is dead and why."""

from __future__ import annotations

from typing import Any

import polars as pl
import streamlit as st

from core.alerts.happened import redeliver_all
from core.alerts.kept import Counts
from core.alerts.outbox import redeliver
from core.alerts.questions import Dead, Deliveries, Numbers
from core.config import Settings, load_settings
from core.errors import PerpduckError
from core.live.feeder import feeder
from core.live.questions import newest
from pages.shared import sources
from pages.shared.alert_targets import ask_for_test, labels_of
from pages.shared.alert_words import at_zone, subject_words, unit_of, value_words
from pages.shared.frame import counted
from pages.shared.notices import noticed, show_notice

_COLUMN = st.column_config
_ERROR = "_deliveries_error"


def deliveries(source: sources.Source, zone: str) -> None:
    """Show the settings in force, the test, and the list."""
    settings = load_settings()
    with st.container(horizontal=True, vertical_alignment="center", key="settings-targets"):
        st.markdown(
            f"**Settings' targets**: {labels_of((), settings, none='none')}", width="content"
        )
        st.button(
            "Send a test", icon=":material/send:", key="test-settings",
            disabled=not settings.alert_urls, on_click=ask_for_test, args=(settings.alert_urls,),
            help="One message to each of the settings' targets, now.",
        )  # fmt: skip
    with st.expander("Settings of delivery", icon=":material/settings:", key="delivery-settings"):
        st.markdown(settings_words(settings))
    if error := st.session_state.pop(_ERROR, None):
        show_notice(error, key="deliveries")
    listed(source, zone)


def settings_words(settings: Settings) -> str:
    """Return the settings with what is in force, never a URL."""
    count = len(settings.alert_urls)
    private = "may be reached" if settings.alert_allow_private else "are refused"
    lines = (
        ("ALERT_URLS", f"{counted(count, 'target')}, for rules without their own"),
        ("ALERT_QUIET", f"quiet hours: {quiet_words(settings)}"),
        ("ALERT_PER_MINUTE", f"at most {settings.alert_per_minute} messages a minute and target"),
        ("ALERT_TRIES", f"{settings.alert_tries} tries, then a delivery is dead"),
        ("ALERT_ALLOW_PRIVATE", f"addresses of this machine and its network {private}"),
    )
    return "\n".join(f"- `PERPDUCK_{name}`: {words}" for name, words in lines) + (
        "\n\nThe worker delivers, by its own environment; what stands here is this app's."
    )


def quiet_words(settings: Settings) -> str:
    """Return the hours in which nothing is sent."""
    quiet = settings.alert_quiet
    return "none" if quiet is None else f"{quiet.start:%H:%M}–{quiet.end:%H:%M} {quiet.zone}"


@st.fragment(run_every=2.0)
def listed(source: sources.Source, zone: str) -> None:
    """Show the deliveries, newest first."""
    with noticed("deliveries"):
        feed = feeder(source.store)
        feed.ask(Deliveries(), Dead(), Numbers())
        found: pl.DataFrame = newest(feed, Deliveries()).value
        if found.is_empty():
            st.caption("Nothing was to be sent yet.")
            return
        counts: Counts = newest(feed, Numbers()).value
        if counts.dead:
            again(source, newest(feed, Dead()).value, counts.dead)
        st.dataframe(
            deliveries_table(found, zone, st.context.timezone), key="deliveries-table",
            hide_index=True, alt="Deliveries, newest first", placeholder="",
            height="content" if found.height <= 12 else 458, column_config=_columns(zone),
        )  # fmt: skip


def again(source: sources.Source, dead: pl.DataFrame, count: int) -> None:
    """Offer the dead deliveries another try: one of the newest, or all there are."""
    words = {
        (row["event_id"], row["target"]): f"{row['name']} → {row['label']}"
        for row in dead.iter_rows(named=True)
    }
    with st.container(horizontal=True, vertical_alignment="bottom", key="dead"):
        chosen = st.selectbox(
            f"{counted(count, 'dead delivery').replace('deliverys', 'deliveries')}",
            list(words), format_func=words.__getitem__, key="dead-chosen", index=None,
            placeholder="Choose one", width=360,
        )  # fmt: skip
        st.button(
            "Try again", icon=":material/refresh:", key="dead-again", disabled=chosen is None,
            on_click=_again, args=(source, chosen),
        )  # fmt: skip
        st.button(
            "Try all again", icon=":material/refresh:", key="dead-all", on_click=_again,
            args=(source, None),
        )  # fmt: skip


def _again(source: sources.Source, chosen: tuple[str, str] | None) -> None:
    try:
        if chosen is None:
            redeliver_all(source.store, load_settings())
        else:
            redeliver(source.store, load_settings(), *chosen)
    except PerpduckError as error:
        st.session_state[_ERROR] = error
    feeder(source.store).refresh()


def deliveries_table(found: pl.DataFrame, zone: str, browser: str | None) -> pl.DataFrame:
    """Return the deliveries as they are shown, times on the chosen clock."""

    def on(at: Any) -> Any:
        return None if at is None else at_zone(at, zone, browser)

    rows = [
        {
            # A phone shows the first three without scrolling sideways.
            "state": row["state"],
            "subject": subject_words(row["y"], row["x"]),
            "value": value_words(row["metric"], row["value"], unit_of(row)),
            "label": row["label"],
            "tries": row["tries"],
            "sent": on(row["sent_at"]),
            "next": on(row["next_at"]) if row["state"] == "waiting" else None,
            "note": row["note"],
            "name": row["name"],
            "condition": row["condition"],
            "bar": on(row["bar_ts"]),
        }
        for row in found.iter_rows(named=True)
    ]
    return pl.DataFrame(rows, infer_schema_length=None).with_columns(
        pl.col("sent", "next").cast(pl.Datetime("ms"))
    )


def _columns(zone: str) -> dict[str, Any]:
    clock = "local" if zone == "local" else "UTC"
    moment = "D MMM HH:mm:ss"
    return {
        "state": _COLUMN.TextColumn(
            "State", width=80, help="waiting, sent, or dead after its last try."
        ),
        "subject": _COLUMN.TextColumn("Of", width=90),
        "value": _COLUMN.TextColumn("Value", alignment="right", width=105),
        "label": _COLUMN.TextColumn("Target", help="Masked: its URL holds secrets."),
        "tries": _COLUMN.NumberColumn("Tries", width=60),
        "sent": _COLUMN.DatetimeColumn(f"Sent ({clock})", format=moment),
        "next": _COLUMN.DatetimeColumn(f"Next try ({clock})", format=moment),
        "note": _COLUMN.TextColumn("Note", width=290),
        "name": "Rule",
        "condition": "Condition",
        "bar": _COLUMN.DatetimeColumn(f"Bar ({clock})", format=moment),
    }
