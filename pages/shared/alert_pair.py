"""What the Pair page has to do with alerts: the way to a rule for it, and what fired last."""

from __future__ import annotations

import polars as pl
import streamlit as st

from core.alerts.questions import Events
from core.errors import PerpduckError
from core.live.feeder import Feeder
from core.live.questions import newest
from core.live.window import timeframe_label
from core.pair_spec import PairSpec
from pages.shared.alert_draft import LINK
from pages.shared.alert_words import at_zone, unit_of, value_words
from pages.shared.pair_pickers import METHOD_LABELS
from pages.shared.places import ALERTS

SHOWN = 5


def alert_link(spec: PairSpec, range_name: str) -> None:
    """Show the way to a new rule for the pair as it is looked at."""
    st.page_link(
        ALERTS, label="Alert on it", icon=":material/add_alert:",
        query_params=alert_query(spec, range_name),
        help="A rule on this pair with these settings; the worker watches it.",
    )  # fmt: skip


def alert_query(spec: PairSpec, range_name: str) -> dict[str, str]:
    """Return the Alerts page's address parameters for a rule on that pair."""
    said = {
        "y": spec.y.upper(), "x": spec.x.upper(), "tf": timeframe_label(spec.timeframe),
        "span": range_name, "scale": "log" if spec.is_log else "raw",
        "hedge": METHOD_LABELS[spec.method], "window": str(spec.window_bars),
    }  # fmt: skip
    named = {f"{LINK}{name}": word for name, word in said.items()}
    return {"alerts": "New rule", "rule": "new"} | named


def last_triggers(feed: Feeder, spec: PairSpec, zone: str) -> None:
    """Show what fired last on the pair; nothing where nothing has, or before it is known."""
    try:
        found: pl.DataFrame = newest(feed, Events(SHOWN, spec.y, spec.x)).value
    except PerpduckError:
        # The page itself has said by now that the file cannot be read.
        return
    if found.is_empty():
        return
    clock = "local" if zone == "local" else "UTC"
    with st.container(key="last-triggers"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown("**Last alerts of this pair**", width="content")
            st.page_link(
                ALERTS, label="History", icon=":material/notifications:",
                query_params={"alerts": "History"},
            )  # fmt: skip
        st.dataframe(
            triggers_table(found, zone, st.context.timezone), key="triggers-table",
            hide_index=True, alt="Last alerts of this pair", height="content",
            column_config={
                "bar": st.column_config.DatetimeColumn(f"Bar ({clock})", format="D MMM HH:mm:ss"),
                "timeframe": st.column_config.TextColumn("Bars", width=60),
                "value": st.column_config.TextColumn("Value", alignment="right", width=105),
                "condition": "Condition",
                "name": "Rule",
            },
        )  # fmt: skip


def triggers_table(found: pl.DataFrame, zone: str, browser: str | None) -> pl.DataFrame:
    """Return the events as they are shown, times on the chosen clock."""
    return pl.DataFrame(
        [
            {
                "bar": at_zone(row["bar_ts"], zone, browser),
                "timeframe": timeframe_label(row["timeframe"]),
                "value": value_words(row["metric"], row["value"], unit_of(row)),
                "condition": row["condition"],
                "name": row["name"],
            }
            for row in found.iter_rows(named=True)
        ]
    )
