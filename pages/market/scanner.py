"""Scanner: all pairs of the market tested at once, and what of it is more than noise."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.commands import add_to_watchlist
from core.errors import PerpduckError
from core.live.feeder import Feeder, feeder
from core.live.pulse import Pulse
from core.live.questions import newest
from core.live.scans import KeptScan, begin_scan, scan_run
from core.scan_charts import market_map_chart, volcano_chart
from core.scanning.report import ScanReport
from core.scanning.running import FAILED, RUNNING, ScanRun
from core.scanning.settings import ScanSettings
from core.scanning.words import headline, noise_words, power_words
from pages.shared import sources
from pages.shared.alert_pair import alert_query
from pages.shared.cards import show_cards
from pages.shared.downloads import downloads, failure_told
from pages.shared.figure import figure
from pages.shared.frame import counted
from pages.shared.notices import noticed, show_notice
from pages.shared.pair_pickers import held_s
from pages.shared.places import ALERTS, PAIR
from pages.shared.scanner_history import followed, history
from pages.shared.scanner_pickers import scan_controls
from pages.shared.scanner_schedule import schedule_control
from pages.shared.scanner_view import (
    columns,
    drawn_words,
    left_table,
    pair_spec,
    pair_table,
    pair_words,
    scan_cards,
    stands_on,
    taken_along,
)
from pages.shared.watchlist import addable
from pages.shared.welcome import when_ready

WORDS = (
    "Every pair of the table with all that was computed of it: p and q values, the finalists' "
    "tests, what noise and filters left out."
)
# A market of fewer symbols has few pairs to find.
FEW_SYMBOLS = 12


def page(source: sources.Source, pulse: Pulse) -> None:
    """Show the controls, and the scan that was asked for or is kept."""
    with noticed("scanner"):
        dataset = sources.dataset(pulse)
        symbols = tuple(sorted(pulse.stored)) if dataset else ()
        settings = controls(source, symbols, held_s(pulse))
        run = scan_run(source.store)
        if run and run.standing.state == RUNNING:
            moving(source, pulse, settings)
        else:
            still(source, pulse, settings)
            followed(source)


def controls(source: sources.Source, symbols: tuple[str, ...], held: float) -> ScanSettings:
    """Show the bar of controls."""
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", key="controls"):
        settings = scan_controls(symbols, held)
        schedule_control(source, settings)
        holder = st.session_state.setdefault("_scan_shown", {})
        downloads(
            lambda: taken_along(holder), lambda: "perpduck-scan", key="scan-download", words=WORDS
        )
        st.button(
            "Scan now", type="primary", icon=":material/radar:", key="scan-now",
            on_click=begin, args=(source, settings),
            help="Test all pairs on the newest bars; the table comes first, then the finalists.",
        )  # fmt: skip
    return settings


def begin(source: sources.Source, settings: ScanSettings) -> None:
    """Begin a scan; the page is run again and follows it."""
    st.session_state.pop("_scan_id", None)
    st.session_state.pop("_scan_pair", None)
    try:
        begin_scan(source.store, settings, asked_by="page")
    except PerpduckError as error:
        st.session_state["_scan_error"] = error


@st.fragment(run_every=0.4)
def moving(source: sources.Source, pulse: Pulse, settings: ScanSettings) -> None:
    """Show a scan on its way; the page is run again once it is over."""
    run = scan_run(source.store)
    if run is None or run.standing.state != RUNNING:
        # What was just kept: the next run stands still, and would show what was read before.
        feeder(source.store).refresh()
        st.rerun()
    show(source, pulse, settings, run)


@st.fragment
def still(source: sources.Source, pulse: Pulse, settings: ScanSettings) -> None:
    """Show what is kept; run again when something is clicked."""
    show(source, pulse, settings, scan_run(source.store))


def show(source: sources.Source, pulse: Pulse, settings: ScanSettings, run: ScanRun | None) -> None:
    """Show how far a scan is, and the newest report that is known."""
    failure_told()
    if error := st.session_state.pop("_scan_error", None):
        show_notice(error, key="scan-begin")
    if run is not None:
        progress(run)
    feed = feeder(source.store)
    report = shown_report(feed, run)
    if report is None:
        nothing_yet(source, pulse, run)
        return
    st.session_state["_scan_shown"]["view"] = report
    with st.container(key="scan-head"):
        st.markdown(f"##### :material/radar: {headline(report)}")
        st.markdown(noise_words(report))
        note = f" · :orange[{report.note}]" if report.note else ""
        st.caption(f"{stands_on(report)}{note}")
        st.caption(f":material/info: {power_words(report)}")
    if report.compared < FEW_SYMBOLS:
        watch_more(source, pulse)
    show_cards(scan_cards(report), signed_first=False)
    charts(report)
    table(source, report, pulse)
    left_out(report)
    history(feed)


def progress(run: ScanRun) -> None:
    """Show how far the scan is, or what went wrong with it."""
    standing = run.standing
    if standing.state == RUNNING:
        with st.container(horizontal=True, vertical_alignment="center", key="scan-line"):
            st.progress(standing.share, text=f"{standing.words} …")
            st.button("Cancel", icon=":material/close:", key="cancel-scan", on_click=run.cancel,
                      help="Stop here; a scan that was cancelled is not kept.")  # fmt: skip
    elif standing.state == FAILED and standing.error is not None:
        show_notice(standing.error, key="scan-run")


def shown_report(feed: Feeder, run: ScanRun | None) -> ScanReport | None:
    """Return the scan that was chosen, the one on its way, or the newest that is kept."""
    chosen = st.session_state.get("_scan_id")
    if chosen is None and run is not None and run.standing.report is not None:
        found = run.standing.report
        if run.standing.state == RUNNING or found.is_final:
            return found
    kept: ScanReport | None = newest(feed, KeptScan(chosen)).value
    return kept


def nothing_yet(source: sources.Source, pulse: Pulse, run: ScanRun | None) -> None:
    """Show what a scan is before there is one."""
    if run is not None and run.standing.state == RUNNING:
        st.skeleton(height=420)
        return
    count = len(pulse.stored)
    st.info(
        f"No scan yet. **Scan now** tests all {count * (count - 1):,} ordered pairs of the "
        f"{count} stored symbols, measures what share of noise would have passed, and confirms "
        "what is left on bars that it did not choose by.",
        icon=":material/radar:",
    )
    watch_more(source, pulse)


def watch_more(source: sources.Source, pulse: Pulse) -> None:
    """Offer to watch the rest of the market: few symbols make few pairs."""
    rest = addable(pulse)
    if not rest or sources.dataset(pulse):
        return
    with st.container(horizontal=True, vertical_alignment="center", key="watch-more"):
        st.caption(
            f"{len(pulse.watchlist)} of {len(pulse.watchlist) + len(rest)} contracts are watched."
        )
        st.button(
            f"Watch all {len(pulse.watchlist) + len(rest)}", icon=":material/add:",
            key="watch-all", on_click=watch, args=(source, rest),
            help="Adds every contract of the exchange to the watchlist; their history follows "
            "in some minutes, a week of 1-minute bars each.",
        )  # fmt: skip


def watch(source: sources.Source, symbols: list[str]) -> None:
    """Put the symbols on the watchlist."""
    try:
        add_to_watchlist(source.store, symbols)
        st.toast(f"Watching {', '.join(one.upper() for one in symbols[:3])}"
                 f"{' …' if len(symbols) > 3 else ''}", icon=":material/visibility:")  # fmt: skip
    except PerpduckError as error:
        st.session_state["_scan_error"] = error


def charts(report: ScanReport) -> None:
    """Show the table's pairs by half-life and q, and the market on one plane."""
    chosen = st.session_state.get("_scan_pair")
    with st.grid(2, min_column_width=340, key="scan-charts"):
        with st.container():
            clicked = figure(
                volcano_chart(report.pairs, report.settings.level, report.settings.bar_s, chosen),
                key="volcano", height=380, clickable=True,
            )  # fmt: skip
            st.caption(drawn_words(report))
        with st.container():
            figure(market_map_chart(report.symbols, report.pairs), key="market-map", height=380)
            st.caption(
                "What moves together lies together, ρ of returns in training; colours are clusters "
                "(average linkage, cut at the distance of ρ = 0.5), lines the pairs that survived "
                "(dotted) and were confirmed."
            )
    if clicked and tuple(clicked) != chosen:
        st.session_state["_scan_pair"] = tuple(clicked)
        st.rerun(scope="fragment")


def table(source: sources.Source, report: ScanReport, pulse: Pulse) -> None:
    """Show the pairs, and the chosen one with where it leads."""
    # A selection is a row's number: in another order it would be another pair's.
    key = f"scan-table-{report.id}-{'final' if report.is_final else 'first'}"
    pairs = report.pairs.select("y", "x").rows()

    def chosen() -> None:
        if rows := st.session_state[key].selection.rows:
            st.session_state["_scan_pair"] = pairs[rows[0]]

    with st.container(key="scan-table"):
        st.dataframe(
            pair_table(report), hide_index=True, key=key, column_config=columns(report),
            on_select=chosen, selection_mode="single-row", height=420,
            alt="Pairs of the scan, the best first", placeholder="–",
        )  # fmt: skip
    y, x = st.session_state.get("_scan_pair") or (None, None)
    named = [row for row in report.pairs.iter_rows(named=True) if (row["y"], row["x"]) == (y, x)]
    if named:
        detail(source, report, pulse, named[0])
    else:
        st.caption("Choose a row or a point for the pair's numbers, its chart, and an alert on it.")


def detail(source: sources.Source, report: ScanReport, pulse: Pulse, row: dict[str, Any]) -> None:
    """Show the chosen pair and what can be done with it."""
    y, x = row["y"], row["x"]
    with st.container(border=True, key="scan-pair"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{y.upper()} / {x.upper()}**", width="content")
            spec = pair_spec(report, y, x)
            st.page_link(
                PAIR, label="Open the pair", icon=":material/compare_arrows:",
                query_params={"y": y.upper(), "x": x.upper()},
            )  # fmt: skip
            st.page_link(
                ALERTS, label="Alert on it", icon=":material/add_alert:",
                query_params=alert_query(spec, "1d"),
            )  # fmt: skip
            missing = [one for one in (y, x) if one not in pulse.watchlist and "@" not in one]
            if missing:
                st.button("Watch it", icon=":material/visibility:", key="watch-pair",
                          on_click=watch, args=(source, missing),
                          help="Adds its legs to the watchlist.")  # fmt: skip
            else:
                st.badge("watched", icon=":material/visibility:", color="gray")
        st.markdown(pair_words(report, row))


def left_out(report: ScanReport) -> None:
    """Show which symbols were not compared, and why."""
    rows = report.symbols.filter(report.symbols["left_out"] != "")
    if rows.is_empty():
        return
    words = f"{counted(rows.height, 'symbol')} left out"
    with st.expander(words, icon=":material/filter_alt:", key="scan-left-out"):
        st.dataframe(
            left_table(rows), hide_index=True, height="content", placeholder="–",
            alt="Symbols that were left out, and why",
        )  # fmt: skip


when_ready(page)
