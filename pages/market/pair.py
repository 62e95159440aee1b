"""Pair: hedge ratio, spread and z-score of two symbols, live, and whether it comes back."""

from __future__ import annotations

import streamlit as st

from core.bar_sql import closes_sql
from core.bundle import Restored
from core.bundle_kept import kept_bytes
from core.live.feeder import feeder
from core.live.pulse import Pulse
from core.queries import pair_frame_sql, pair_rolling_sql
from core.verdict import caveats, verdict_words
from pages.shared import sources
from pages.shared.alert_pair import alert_link, last_triggers
from pages.shared.cards import show_cards
from pages.shared.downloads import failure_told, last_shown
from pages.shared.frame import stale_words
from pages.shared.live_chart import live_chart, visible
from pages.shared.notices import noticed
from pages.shared.origin_line import origin_line
from pages.shared.pair_bundle import bundle_view, choice_of, opened, pair_line
from pages.shared.pair_cards import pair_cards, provenance_words
from pages.shared.pair_downloads import pair_downloads
from pages.shared.pair_pickers import held_s, pair_controls
from pages.shared.pair_statistics import statistics
from pages.shared.pair_view import PairChoice, PairView, pair_view
from pages.shared.places import BACKTEST
from pages.shared.welcome import when_ready

CHART = "pair-chart"


def page(source: sources.Source, pulse: Pulse) -> None:
    """Show the controls, and what they ask for."""
    with noticed("pair-controls"):
        available = sources.in_order(pulse.stored)
        live(source, controls(source, available, held_s(pulse)), frozenset(available))


def controls(source: sources.Source, available: list[str], held: float) -> PairChoice:
    """Show the bar of controls."""
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", key="controls"):
        choice = pair_controls(available, held)
        holder = st.session_state.setdefault("_pair_shown", {})
        spec = choice.spec
        pair_downloads(
            lambda: last_shown(holder),
            lambda: last_shown(holder).bundle(source.store, choice.range_name),
            f"perpduck-{spec.y}-{spec.x}",
            key="pair-download",
        )
    return choice


@st.fragment(run_every=1.0)
def live(source: sources.Source, choice: PairChoice, available: frozenset[str]) -> None:
    """Show the verdict, the numbers and the chart; once a second."""
    feed = feeder(source.store)
    pulse = feed.pulse()
    pulse = pulse.of(sources.dataset(pulse))
    if pulse.stored and set(pulse.stored) != available:
        st.rerun()
    if len(available) < 2:
        st.info("One symbol is stored; a pair needs two.", icon=":material/hourglass_empty:")
        return
    with noticed("pair"):
        view = pair_view(feed, pulse, choice, visible(CHART, choice.nonce))
        if view is None:
            st.info("No closed bar of this pair yet.", icon=":material/hourglass_empty:")
            return
        st.session_state["_pair_shown"]["view"] = view
        failure_told()
        show(view, choice, stale_words(pulse))
        spec, now = choice.spec, view.moment
        last_triggers(feed, spec, choice.zone)
        origin_line(feed, (spec.y, spec.x), spec.timeframe, now.start, now.as_of)


def bundle_page(name: str) -> None:
    """Show a kept bundle's view instead; it needs no data of this machine."""
    with noticed("bundle"):
        db = sources.current().store.path
        found = opened(db, name)
        zone = st.session_state.get("zone") or "utc"
        whole = bundle_view(name, found, zone, None)
        with pair_line(found):
            pair_downloads(
                lambda: whole, lambda: kept_bytes(db, name),
                f"perpduck-{found.bundle.spec.y}-{found.bundle.spec.x}", key="bundle-download",
            )  # fmt: skip
        still(name, found)


@st.fragment
def still(name: str, found: Restored) -> None:
    """Show the bundle's view; run again when the browser looks elsewhere."""
    choice = choice_of(found, st.session_state.get("zone") or "utc")
    view = bundle_view(name, found, choice.zone, visible(CHART, f"{name}-{choice.nonce}"))
    show(
        view,
        choice,
        "",
        nonce=f"{name}-{choice.nonce}",
        note=f"as of {view.moment.as_of:%Y-%m-%d %H:%M} UTC, not live",
    )


def show(
    view: PairView, choice: PairChoice, stale: str, *, nonce: str = "", note: str = ""
) -> None:
    """Show one refresh: answer first, then proof, then what lies behind."""
    verdict_line(view)
    show_cards(pair_cards(view), signed_first=False)
    live_chart(
        view.frame, key=CHART, nonce=nonce or choice.nonce, span_ms=view.span_ms, zone=choice.zone,
        note=note, stale=stale,
    )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="center", key="foot"):
        tabs = st.segmented_control(
            "Behind it", ["Statistics", "Table", "SQL"], key="pair_behind", selection_mode="single",
            label_visibility="collapsed", help="What the page stands on.",
        )  # fmt: skip
        if not note:
            # The controls that both pages have keep their values.
            st.page_link(BACKTEST, label="Backtest it", icon=":material/history:")
            alert_link(choice.spec, choice.range_name)
    behind(view, tabs)


def verdict_line(view: PairView) -> None:
    """Show the verdict, what it stands on and its caveats."""
    found, bar_s = view.verdict, view.analysis.spec.bar_s
    words = verdict_words(found, bar_s=bar_s, zscore=view.series["zscore"][-1])
    icon = {"cointegrated": ":material/join_inner:", "noise": ":material/blur_on:"}.get(
        found.kind, ":material/hourglass_empty:"
    )
    st.markdown(f"##### {icon} {words}")
    if view.analysis.filter and (warning := view.analysis.filter.warning):
        st.caption(f":material/warning: The Kalman filter is not to be trusted here: {warning}.")
    with st.container(horizontal=True, vertical_alignment="center", key="provenance"):
        basis = view.analysis.provenance
        marked = " · :red-badge[hedge in-sample]" if view.analysis.spec.is_in_sample else ""
        st.caption(f"{provenance_words(basis)}{marked}")
        with st.popover("Caveats", type="tertiary", key="caveats"):
            for line in caveats(found, bar_s=bar_s):
                st.markdown(f"- {line}")
            st.caption(
                f"Judged at {view.moment.judged_at:%H:%M:%S}, next at "
                f"{view.moment.next_at:%H:%M:%S}; fits and tests as of "
                f"{view.moment.as_of:%H:%M:%S} UTC."
            )


def behind(view: PairView, chosen: str | None) -> None:
    """Show the statistics, the last rows, or the SQL."""
    spec = view.analysis.spec
    if chosen == "Statistics":
        st.dataframe(statistics(view), hide_index=True, key="statistics", height="content")
    elif chosen == "Table":
        st.dataframe(view.shown().tail(500).reverse(), hide_index=True, key="pair-table")
    elif chosen == "SQL":
        st.code(closes_sql(spec.timeframe), language="sql")
        st.code(pair_frame_sql(carried=spec.carry_bars > 0), language="sql")
        rolling = "rolling_hedge" if spec.method == "rolling" else "rolling_spread"
        st.code(pair_rolling_sql(rolling), language="sql")
        st.code(pair_rolling_sql("rolling_correlations"), language="sql")


if bundle := st.query_params.get("bundle"):
    bundle_page(bundle)
else:
    when_ready(page)
