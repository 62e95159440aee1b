"""The worker on the Data page: its state, start and stop, its log."""

from __future__ import annotations

import time

import streamlit as st

from core.errors import PerpduckError
from core.live.feeder import feeder
from core.live.pulse import Pulse
from core.supervisor import describe_process, stop_worker, tail_log
from pages.shared import sources
from pages.shared.cards import UNKNOWN
from pages.shared.frame import ago
from pages.shared.notices import noticed, show_notice

# After a click the state is shown as on its way for this long, until the worker says more.
PENDING_S = 8.0
RUNNING = ("starting", "live", "behind", "restricted", "stuck")


@st.fragment(run_every=1.0)
def worker_panel(source: sources.Source) -> None:
    """Show the worker of the source and the one button that makes sense now."""
    pulse = feeder(source.store).pulse()
    running = pulse.health.state in RUNNING
    pending = _pending(running)
    with st.container(border=True, key="worker"):
        with st.container(
            horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"
        ):
            st.markdown(_headline(source, pulse, pending))
            _button(source, running=running, pending=pending)
        if error := st.session_state.pop("_worker_error", None):
            show_notice(error, key="worker")
        _facts(pulse, running=running)


def _headline(source: sources.Source, pulse: Pulse, pending: str) -> str:
    state = f"{pending} …" if pending else pulse.health.state
    words = f"**{source.label} worker: {state}**"
    if not pending:
        # The remedy that says "on the Data page" is the button beside these words.
        remedy = "" if "Data page" in pulse.health.remedy else pulse.health.remedy
        words += f"  \n{pulse.health.reason} {remedy}"
    return words


def _button(source: sources.Source, *, running: bool, pending: str) -> None:
    if running:
        st.button(
            "Stop worker", icon=":material/stop:", key="stop-worker", on_click=_stop,
            args=(source,), disabled=bool(pending),
        )  # fmt: skip
    else:
        st.button(
            f"Start with {source.label}", icon=":material/play_arrow:", key="start-worker",
            type="primary", on_click=_start, args=(source,), disabled=bool(pending),
        )  # fmt: skip


def _start(source: sources.Source) -> None:
    try:
        known = feeder(source.store).pulse().watchlist
        source.start(() if known else sources.FIRST_SYMBOLS[source.name])
        st.session_state["_worker_pending"] = ("starting", time.monotonic())
        st.session_state["_started"] = (source.name, time.monotonic())
    except PerpduckError as error:
        st.session_state["_worker_error"] = error


def _stop(source: sources.Source) -> None:
    try:
        stop_worker(source.store)
        st.session_state["_worker_pending"] = ("stopping", time.monotonic())
        st.session_state.pop("_started", None)
    except PerpduckError as error:
        st.session_state["_worker_error"] = error


def _pending(running: bool) -> str:
    """Return ``starting`` or ``stopping`` while a click has not shown its effect yet."""
    word, at = st.session_state.get("_worker_pending", ("", 0.0))
    done = running if word == "starting" else not running
    if not word or done or time.monotonic() - at > PENDING_S:
        st.session_state.pop("_worker_pending", None)
        return ""
    return str(word)


def _facts(pulse: Pulse, *, running: bool) -> None:
    status = pulse.status
    if status is None:
        st.caption("It runs by itself, outlives this page, and writes every trade to the file.")
        return
    age = UNKNOWN if pulse.health.age_s is None else f"{ago(pulse.health.age_s)} ago"
    facts = (
        (
            "Trades/s",
            f"{status.trades_per_s:,.1f}" if running else UNKNOWN,
            "Arriving now, over about five seconds.",
        ),
        ("Last write", age, "When the worker last wrote to the file."),
        ("Flush", f"{1000 * status.flush_s:,.0f} ms", "How long the last write took."),
        ("Worst flush", f"{1000 * status.worst_flush_s:,.0f} ms", "Longest write since the start."),
        ("Waiting", f"{status.buffered_trades:,}", "Trades received and not yet written."),
        ("Reconnects", f"{status.reconnects:,}", "Connections lost and opened anew."),
        ("Weight", f"{status.weight_used:,}", "Request weight used in this minute (REST)."),
        (
            "Memory",
            (running and describe_process(status.pid)) or UNKNOWN,
            "Held by the worker's process.",
        ),
    )
    with st.grid(len(facts), min_column_width=110, gap="xsmall", key="facts"):
        for label, value, text in facts:
            st.metric(label, value, help=text)


def worker_log(source: sources.Source) -> None:
    """Show the end of the worker's log while the section is open."""
    section = st.expander("Worker log", on_change="rerun", key="log", icon=":material/article:")
    if section.open:
        with section:
            _log(source)


@st.fragment(run_every=2.0)
def _log(source: sources.Source) -> None:
    with noticed("log"):
        text = tail_log(source.store.path, lines=200)
        st.code(text or "Nothing written yet.", language=None, height=320)
