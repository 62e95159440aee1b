"""Data: the worker, the watchlist, gaps and coverage, the file."""

from __future__ import annotations

import streamlit as st

from pages.shared import sources
from pages.shared.cards import compact
from pages.shared.feeder import feeder
from pages.shared.notices import noticed, show_notice
from pages.shared.questions import AllCoverage, Gaps, TableCounts
from pages.shared.tables import coverage_table, gaps_table, symbols_table
from pages.shared.watchlist import watchlist
from pages.shared.worker_panel import RUNNING, worker_log, worker_panel


def page() -> None:
    """Show the page from what changes most to what changes least."""
    source = sources.current()
    pulse = feeder(source.store).pulse()
    worker_panel(source)
    if pulse.error and source.store.exists():
        show_notice(pulse.error, key="data")
    st.subheader("Watchlist")
    watchlist(source, pulse)
    symbols(source, pulse.watchlist)
    if source.store.exists():
        st.subheader("Gaps and coverage")
        completeness(source)
        st.subheader("File")
        file(source)
    worker_log(source)


@st.fragment(run_every=1.0)
def symbols(source: sources.Source, known: tuple[str, ...]) -> None:
    """Show the live table; a changed watchlist runs the page again."""
    pulse = feeder(source.store).pulse()
    if pulse.watchlist != known:
        st.rerun()
    if pulse.symbols.is_empty():
        st.caption("No symbol has reported yet.")
    else:
        symbols_table(pulse.symbols, pulse.tick_sizes, running=pulse.health.state in RUNNING)


@st.fragment(run_every=5.0)
def completeness(source: sources.Source) -> None:
    """Show the open gaps and the coverage of each stored symbol."""
    with noticed("completeness"):
        feed = feeder(source.store)
        gaps_table(feed.ask(Gaps()).value)
        if stored := feed.pulse().stored:
            coverage_table(feed.ask(AllCoverage(stored)).value)


@st.fragment(run_every=5.0)
def file(source: sources.Source) -> None:
    """Show where the file is, how large it is, and how many rows each table holds."""
    with noticed("file"):
        counts = feeder(source.store).ask(TableCounts()).value
        size = compact(source.store.size_bytes())
        st.caption(f"`{source.store.path}` · {size}B on disk")
        st.dataframe(
            counts,
            key="tables",
            alt="Rows of each table in the file",
            hide_index=True,
            width=420,
            column_config={
                "table": st.column_config.TextColumn("Table"),
                "rows": st.column_config.NumberColumn("Rows", format="localized"),
            },
        )


page()
