"""Data: the worker and its watchlist; what you bring; what the file holds."""

from __future__ import annotations

import streamlit as st

from core.live.feeder import feeder
from core.live.pulse import Pulse
from core.live.questions import AllCoverage, Gaps
from pages.shared import sources
from pages.shared.bring import bring
from pages.shared.held import exchange_bars, file, funding
from pages.shared.jobs import jobs
from pages.shared.kept_bundles import kept_bundles
from pages.shared.notices import noticed, show_notice
from pages.shared.stored import own_data
from pages.shared.tables import coverage_table, gaps_table, symbols_table
from pages.shared.watchlist import watchlist
from pages.shared.worker_panel import RUNNING, worker_log, worker_panel

SECTIONS = {"worker": "Worker", "bring": "Bring data", "stored": "Stored"}


def page() -> None:
    """Show the section that the control above it names."""
    source = sources.current()
    pulse = feeder(source.store).pulse()
    section = st.segmented_control(
        "Section", list(SECTIONS), default="worker", required=True, key="section",
        format_func=SECTIONS.__getitem__, bind="query-params", label_visibility="collapsed",
        help="The worker and what it follows; your own files; everything that the file holds.",
    )  # fmt: skip
    with st.container():  # a place of its own: what follows stays where it is
        if pulse.error and source.store.exists():
            show_notice(pulse.error, key="data")
    if section == "bring":
        bring(source)
        jobs(source)
    elif section == "stored":
        stored(source)
    else:
        worker(source, pulse)


def worker(source: sources.Source, pulse: Pulse) -> None:
    """Show what changes most first, what changes least last."""
    worker_panel(source)
    st.subheader("Watchlist")
    watchlist(source, pulse)
    symbols(source, pulse.watchlist)
    if source.store.exists():
        st.subheader("Gaps and coverage")
        completeness(source)
    worker_log(source)


def stored(source: sources.Source) -> None:
    """Show the user's own data first, then what the worker keeps by itself."""
    if not source.store.exists():
        st.info(
            "There is no file yet: start the worker, or bring data.", icon=":material/database:"
        )
        return
    own_data(source)
    kept_bundles(source, feeder(source.store))
    exchange_bars(source)
    funding(source)
    file(source)


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
        # A dataset has no consecutive ids, so nothing can be said of what it lacks.
        if held := tuple(symbol for symbol in feed.pulse().stored if "@" not in symbol):
            coverage_table(feed.ask(AllCoverage(held)).value)


page()
