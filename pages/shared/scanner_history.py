"""The scans that are kept, and how one is opened again."""

from __future__ import annotations

import polars as pl
import streamlit as st

from core.live.feeder import Feeder, feeder
from core.live.questions import newest
from core.live.scans import KeptScans
from core.live.window import timeframe_label
from pages.shared import sources
from pages.shared.frame import counted


@st.fragment(run_every=5.0)
def followed(source: sources.Source) -> None:
    """Run the page again once another scan was kept, as the worker's are."""
    scans = newest(feeder(source.store), KeptScans()).value
    newest_id = scans["id"][0] if scans.height else ""
    if st.session_state.setdefault("_scan_newest", newest_id) != newest_id:
        st.session_state["_scan_newest"] = newest_id
        st.rerun()


def history(feed: Feeder) -> None:
    """Show the scans that are kept; a click opens one."""
    scans = newest(feed, KeptScans()).value
    if scans.is_empty():
        return
    with st.expander(
        f"History: {counted(scans.height, 'scan')}", icon=":material/history:", key="scan-log"
    ):
        ids = scans["id"].to_list()
        # A selection is a row's number: with one scan more it would be another one's.
        key = f"scan-list-{ids[0]}"

        def chosen() -> None:
            rows = st.session_state[key].selection.rows
            st.session_state["_scan_id"] = ids[rows[0]] if rows else None

        st.dataframe(
            scan_list(scans), hide_index=True, key=key, on_select=chosen,
            selection_mode="single-row", height="content", alt="Scans, newest first",
        )  # fmt: skip


def scan_list(scans: pl.DataFrame) -> pl.DataFrame:
    """Return the kept scans as a table to read."""
    return scans.select(
        pl.col("started_at").alias("Started, UTC"),
        pl.col("asked_by").alias("By"),
        pl.col("timeframe").map_elements(timeframe_label, pl.String).alias("Bars"),
        pl.col("symbols").alias("Symbols"),
        pl.col("tested").alias("Tested"),
        pl.col("passed").alias("Pass q"),
        pl.col("survived").alias("Survive"),
        pl.col("confirmed").alias("Confirmed"),
        pl.col("seconds").round(1).alias("Seconds"),
    )
