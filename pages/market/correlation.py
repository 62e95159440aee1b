"""Correlation: how any number of symbols move together, and on which bars to measure it."""

from __future__ import annotations

from urllib.parse import urlencode

import streamlit as st

from core.correlation_charts import narrow_matrix
from core.exporting import pairs_table
from core.live.feeder import Feeder, feeder
from core.live.matrix import MatrixChoice, MatrixView, matrix_view
from core.live.pulse import Pulse
from pages.shared import sources
from pages.shared.cards import show_cards
from pages.shared.correlation_pickers import matrix_controls
from pages.shared.correlation_view import (
    extremes,
    matrix_cards,
    matrix_figure,
    pair_detail,
    square_of,
)
from pages.shared.downloads import downloads, failure_told, last_shown, tables
from pages.shared.figure import figure
from pages.shared.frame import stale_words
from pages.shared.notices import noticed
from pages.shared.origin_line import origin_line
from pages.shared.pair_cards import number
from pages.shared.pair_pickers import held_s
from pages.shared.places import PAIR
from pages.shared.welcome import when_ready

ROWS = 8


def page(source: sources.Source, pulse: Pulse) -> None:
    """Show the controls, and what they ask for."""
    available = sources.in_order(pulse.stored)
    live(source, controls(available, held_s(pulse)), frozenset(available))


def controls(available: list[str], held: float) -> MatrixChoice:
    """Show the bar of controls."""
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", key="controls"):
        choice = matrix_controls(available, held)
        holder = st.session_state.setdefault("_matrix_shown", {})
        downloads(
            lambda: pairs_table(last_shown(holder).matrix),
            lambda: "perpduck-correlation",
            key="matrix-download",
            words="Every pair of the matrix: symbol_a, symbol_b, correlation, common bars. Or the "
            "matrix as it is shown: symbol, and a column a symbol; empty where it is not known.",
            more=tables(
                lambda: square_of(last_shown(holder)), "perpduck-correlation-matrix", "Matrix "
            ),
        )
    return choice


@st.fragment(run_every=2.0)
def live(source: sources.Source, choice: MatrixChoice, available: frozenset[str]) -> None:
    """Show the matrix, then the chosen pair; every two seconds, new once a step of time."""
    feed = feeder(source.store)
    pulse = feed.pulse()
    pulse = pulse.of(sources.dataset(pulse))
    if pulse.stored and set(pulse.stored) != available:
        st.rerun()
    with noticed("correlation"):
        if len(choice.symbols) < 2:
            st.info("Choose at least two symbols.", icon=":material/grid_on:")
            return
        view = matrix_view(feed, pulse, choice)
        if view is None:
            st.info("No two closed bars of these symbols yet.", icon=":material/hourglass_empty:")
            return
        st.session_state["_matrix_shown"]["view"] = view
        failure_told()
        show(feed, view, choice, stale_words(pulse))
        origin_line(feed, choice.symbols, choice.timeframe, view.start, view.end)


def show(feed: Feeder, view: MatrixView, choice: MatrixChoice, stale: str) -> None:
    """Show one refresh."""
    if choice.on == "levels":
        st.warning(
            "Levels of independent walks correlate by chance: 40% of such pairs read beyond ±0.5. "
            "Trust returns.", icon=":material/warning:",
        )  # fmt: skip
    show_cards(matrix_cards(view, choice), signed_first=False)
    chosen = chosen_pair(view)
    left, right = st.columns((3, 2))
    with left:
        spec = matrix_figure(view, chosen)
        clicked = figure(
            spec, key="matrix", height=620, clickable=True, narrow=narrow_matrix(spec),
            opens=pair_address(),
        )  # fmt: skip
        stale_note = f" · {stale}" if stale else ""
        st.caption(
            f"As of {view.end:%Y-%m-%d %H:%M:%S} UTC{stale_note}. A click chooses a pair, a double "
            "click opens it."
        )
    if clicked and clicked[0] != clicked[1]:
        st.session_state["_cell"] = tuple(clicked)
        st.rerun(scope="fragment")
    with right:
        if chosen:
            heading(view, chosen)
        st.dataframe(
            extremes(view, ROWS), hide_index=True, key="extremes",
            alt="Strongest and weakest pairs",
            column_config={"ρ": st.column_config.NumberColumn(format="%+.3f"),
                           "Bars": st.column_config.NumberColumn(format="localized")},
            height="content",
        )  # fmt: skip
    if chosen:
        detail(feed, view, chosen)


def pair_address() -> str:
    """Return the Pair page's address below the app's, with this session's source."""
    chosen = {name: st.session_state.get(name) or "" for name in ("source", "dataset")}
    return f"pair?{urlencode({name: value for name, value in chosen.items() if value})}"


def heading(view: MatrixView, chosen: tuple[str, str]) -> None:
    """Show the chosen pair's name, its number, and the way to its own page."""
    row, column = (view.matrix.symbols.index(symbol) for symbol in chosen)
    value = view.matrix.values[row, column]
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute",
        key="chosen",
    ):  # fmt: skip
        st.markdown(f"#### {chosen[0].upper()} / {chosen[1].upper()}  ρ {number(float(value), 2)}")
        st.page_link(
            PAIR, label="Open the pair", icon=":material/compare_arrows:",
            query_params={"y": chosen[0].upper(), "x": chosen[1].upper()},
        )  # fmt: skip


def chosen_pair(view: MatrixView) -> tuple[str, str] | None:
    """Return the cell that was clicked last, else the strongest pair."""
    cell: tuple[str, str] | None = st.session_state.get("_cell")
    if cell and set(cell) <= set(view.matrix.symbols):
        return cell
    best = max(view.ranked, key=lambda one: abs(one.correlation), default=None)
    return (best.first, best.second) if best else None


def detail(feed: Feeder, view: MatrixView, chosen: tuple[str, str]) -> None:
    """Show the chosen pair: which bars to use, and its correlation over time."""
    found = pair_detail(feed, view, chosen)
    st.markdown(found.words)
    with st.grid(2, min_column_width=330, key="detail-grid"):
        with st.container():
            if found.signature_spec:
                figure(found.signature_spec, key="signature", height=340)
        with st.container():
            if found.rolling_spec:
                figure(found.rolling_spec, key="rolling", height=340)
            else:
                st.caption(
                    "No correlation over time: fewer common returns than one window, or a leg that "
                    "never moves. Choose a longer range."
                )


when_ready(page)
