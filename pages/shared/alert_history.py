"""The history of events: what fired, at which bar, of what, and what became of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl
import streamlit as st

from core.alerts.happened import acknowledge_until
from core.alerts.kept import Counts, KeptRule, acknowledge
from core.alerts.questions import MOST, Deliveries, Events, Held, Numbers, Rules
from core.errors import PerpduckError
from core.exporting import csv_bytes
from core.live.feeder import feeder
from core.live.questions import newest
from core.live.window import RANGES, timeframe_label
from pages.shared import sources
from pages.shared.alert_news import escaped
from pages.shared.alert_words import at_zone, input_words, subject_words, unit_of, value_words
from pages.shared.cards import UNKNOWN
from pages.shared.downloads import failure_told
from pages.shared.frame import counted
from pages.shared.notices import noticed, show_notice
from pages.shared.pair_pickers import METHOD_LABELS
from pages.shared.places import PAIR

_COLUMN = st.column_config
_TABLE, _SHOWN, _ERROR = "events-table", "_events_shown", "_events_error"


def history(source: sources.Source, zone: str) -> None:
    """Show what can be done with the list, and the list."""
    if error := st.session_state.pop(_ERROR, None):
        show_notice(error, key="events")
    events(source, zone)


@st.fragment(run_every=2.0)
def events(source: sources.Source, zone: str) -> None:
    """Show the events, newest first; a chosen one with all that it was computed from."""
    failure_told()
    with noticed("history"):
        feed = feeder(source.store)
        feed.ask(Events(), Deliveries(), Numbers())
        found: pl.DataFrame = newest(feed, Events()).value
        if found.is_empty():
            st.info(
                "Nothing has fired yet. What does is kept here with the numbers that it was "
                "computed from.", icon=":material/notifications_none:",
            )  # fmt: skip
            return
        sent: pl.DataFrame = newest(feed, Deliveries()).value
        found, places, newer = held_still(found)
        foot(source, found, places)
        st.dataframe(
            events_table(found, sent, zone, st.context.timezone), key=_TABLE, hide_index=True,
            alt="Events, newest first", on_select="rerun", selection_mode="multi-row",
            height="content" if found.height <= 12 else 458, column_config=_columns(zone),
        )  # fmt: skip
        if newer:
            st.caption(f"{counted(newer, 'newer event')}, shown once nothing is chosen any more.")
        if len(places) == 1:
            details(source, found.row(places[0], named=True))
        elif not places:
            st.caption("Choose an event for the numbers that it was computed from.")


def held_still(found: pl.DataFrame) -> tuple[pl.DataFrame, list[int], int]:
    """Return the events to show, the rows chosen, and how many newer ones are held back.

    The table knows its choice by row: while something is chosen no new event moves the rows.
    """
    state: Any = st.session_state.get(_TABLE)
    rows = list(state.selection.rows) if state is not None else []
    ids: list[str] = st.session_state.get(_SHOWN, [])
    if rows and ids:
        kept = found.filter(pl.col("id").is_in(ids))
        places = [row for row in rows if row < kept.height]
        if places and kept["id"].to_list() == ids[: kept.height]:
            newer = found.filter(~pl.col("id").is_in(ids)).height
            return kept, places, newer
    st.session_state[_SHOWN] = found["id"].to_list()
    return found, [row for row in rows if row < found.height], 0


def events_table(
    found: pl.DataFrame, sent: pl.DataFrame, zone: str, browser: str | None
) -> pl.DataFrame:
    """Return the events as they are shown, times on the chosen clock."""
    rows = [
        {
            "seen": "" if row["acknowledged_at"] is None else "✓",
            # A phone shows the first three without scrolling sideways.
            "subject": subject_words(row["y"], row["x"]),
            "value": value_words(row["metric"], row["value"], unit_of(row)),
            "condition": row["condition"],
            "noticed": at_zone(row["noticed_at"], zone, browser),
            "bar": at_zone(row["bar_ts"], zone, browser),
            "timeframe": timeframe_label(row["timeframe"]),
            "name": row["name"],
            "kind": "closed" if row["is_closed"] else "live",
            "deliveries": delivery_words(row, sent, zone, browser),
        }
        for row in found.iter_rows(named=True)
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def delivery_words(row: dict[str, Any], sent: pl.DataFrame, zone: str, browser: str | None) -> str:
    """Return how an event's deliveries fare: 2/2 sent, or why not."""
    if not row["deliveries"]:
        return "no target"
    words = f"{row['delivered']}/{row['deliveries']} sent"
    of = sent.filter(pl.col("event_id") == row["id"])
    waiting = of.filter(pl.col("state") == "waiting")
    if waiting.height:
        at: datetime = waiting["next_at"].min()  # type: ignore[assignment]
        words += f" · waiting, next try {at_zone(at, zone, browser):%H:%M:%S}"
    if row["dead"]:
        notes = of.filter(pl.col("state") == "dead")["note"].to_list()
        words += f" · {row['dead']} dead" + (f": {notes[0]}" if notes and notes[0] else "")
    return words


def _columns(zone: str) -> dict[str, Any]:
    clock = "local" if zone == "local" else "UTC"
    return {
        "seen": _COLUMN.TextColumn("Seen", help="✓: acknowledged", width=60),
        "subject": _COLUMN.TextColumn("Of", width=90),
        "value": _COLUMN.TextColumn("Value", alignment="right", width=105),
        "condition": _COLUMN.TextColumn("Condition", width="medium"),
        "noticed": _COLUMN.DatetimeColumn(f"Noticed ({clock})", format="D MMM HH:mm:ss"),
        "bar": _COLUMN.DatetimeColumn(
            f"Bar ({clock})", format="D MMM HH:mm:ss", help="Start of the bar that fired."
        ),
        "timeframe": _COLUMN.TextColumn("Bars", width=60),
        "name": "Rule",
        "kind": _COLUMN.TextColumn(
            "Judged", width=80, help="closed: the bar had ended; live: it still formed."
        ),
        "deliveries": _COLUMN.TextColumn("Deliveries", width="large"),
    }


def foot(source: sources.Source, found: pl.DataFrame, places: Sequence[int]) -> None:
    """Show what can be done with the chosen events, or with all up to the newest shown."""
    counts: Counts = newest(feeder(source.store), Numbers()).value
    until: datetime = found["noticed_at"].max()  # type: ignore[assignment]
    unseen = found.filter(pl.col("acknowledged_at").is_null())["id"].to_list()
    chosen = [one for one in found[list(places)]["id"].to_list() if one in set(unseen)]
    with st.container(horizontal=True, vertical_alignment="center", key="events-foot"):
        st.button(
            f"Acknowledge {len(chosen)} chosen" if chosen else "Acknowledge chosen",
            icon=":material/done:", key="ack-chosen", disabled=not chosen,
            on_click=_acknowledge, args=(source, chosen),
        )  # fmt: skip
        st.button(
            "Acknowledge all", icon=":material/done_all:", key="ack-all",
            disabled=not counts.unseen, on_click=_acknowledge, args=(source, until),
        )  # fmt: skip
        st.download_button(
            "CSV", lambda: history_csv(source), file_name="perpduck-alerts.csv", mime="text/csv",
            icon=":material/download:", key="events-csv", on_click="ignore",
            help="All events with the numbers that they were computed from; times are UTC.",
        )  # fmt: skip
        only = f", the newest {MOST:,} shown" if counts.events > MOST else ""
        events = counted(counts.events, "event")
        st.caption(f"{events}, {counts.unseen:,} not acknowledged{only}")


def history_csv(source: sources.Source) -> bytes:
    """Return the events with their inputs as CSV, one column an input; no targets."""
    return csv_bytes(flat_events(newest(feeder(source.store), Events(limit=100_000)).value))


def flat_events(found: pl.DataFrame) -> pl.DataFrame:
    """Return the events with a column for each of their inputs, null where it has none.

    Numbers stay numbers: as text, what begins with a minus is taken for a formula.
    """
    plain = found.drop("inputs", "rule_id")
    inputs = [inputs_of(text) for text in found["inputs"]]
    names = list(dict.fromkeys(name for one in inputs for name in one))
    return plain.with_columns(_column(name, [one.get(name) for one in inputs]) for name in names)


def _column(name: str, values: Sequence[object]) -> pl.Series:
    kinds = {type(one) for one in values if one is not None}
    if kinds <= {int, float}:
        kind = pl.Int64 if kinds == {int} else pl.Float64
        return pl.Series(f"input_{name}", values, dtype=kind, strict=False)
    texts = [None if one is None else str(one) for one in values]
    return pl.Series(f"input_{name}", texts, dtype=pl.String)


def inputs_of(text: str) -> dict[str, Any]:
    """Return an event's inputs by name."""
    found = json.loads(text or "{}")
    return found if isinstance(found, dict) else {}


def details(source: sources.Source, row: dict[str, Any]) -> None:
    """Show one event: the numbers that its value was computed from, and the way to its pair."""
    inputs = inputs_of(row["inputs"])
    st.markdown(
        f"**{escaped(row['name'])}** · {subject_words(row['y'], row['x'])} · {row['condition']}"
    )
    if row["x"]:
        st.page_link(
            PAIR, label="Open in Pair", icon=":material/compare_arrows:",
            query_params=pair_query(row, inputs, rule_of(source, row["rule_id"])),
        )  # fmt: skip
    if not inputs:
        st.caption("It was computed from nothing but the moment.")
        return
    shown = pl.DataFrame(
        {
            "input": [input_words(name) for name in inputs],
            "value": [_input_text(one) for one in inputs.values()],
        }
    )
    st.dataframe(
        shown, key="event-inputs", hide_index=True, alt="What the event's value was computed from",
        width=420, height="content",
        column_config={"input": "Computed from", "value": _COLUMN.TextColumn("Then")},
    )  # fmt: skip


def _input_text(value: object) -> str:
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.10g}".replace("-", "−") if isinstance(value, int | float) else str(value)


def rule_of(source: sources.Source, rule_id: str) -> KeptRule | None:
    """Return the event's rule, None where it was deleted since."""
    held: Held = newest(feeder(source.store), Rules()).value
    return next((kept for kept in held.rules if kept.id == rule_id), None)


def pair_query(
    row: dict[str, Any], inputs: dict[str, Any], kept: KeptRule | None
) -> dict[str, str]:
    """Return the Pair page's address parameters of what the event was computed with."""
    query = {"y": row["y"].upper(), "x": row["x"].upper()}
    if row["timeframe"]:
        query["tf"] = timeframe_label(row["timeframe"])
    method = inputs.get("method") or (kept.rule.method if kept else "")
    if method in METHOD_LABELS:
        query["hedge"] = METHOD_LABELS[method]
    if inputs.get("price_scale") in ("log", "raw"):
        query["scale"] = inputs["price_scale"]
    window = inputs.get("window_bars") or (kept.rule.window_bars if kept else None)
    if isinstance(window, int | float):
        query["window"] = str(int(window))
    spans = {length: name for name, length in RANGES.items()}
    if (span := spans.get(inputs.get("range_s", 0.0))) is not None:
        query["span"] = span
    return query


def _acknowledge(source: sources.Source, what: list[str] | datetime) -> None:
    try:
        if isinstance(what, datetime):
            acknowledge_until(source.store, what)
        else:
            acknowledge(source.store, what)
        feeder(source.store).refresh()
    except PerpduckError as error:
        st.session_state[_ERROR] = error
