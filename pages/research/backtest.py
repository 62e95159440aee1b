"""Backtest: what trading the pair would have made, after every cost, and what speaks against it."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from core.backtests.bundle import write_backtest_bundle
from core.backtests.charts import series
from core.backtests.report import report_html
from core.backtests.running import CANCELLED, FAILED, RUNNING, BacktestResult, Standing
from core.backtests.words import judgement, weaknesses
from core.exporting import parquet_bytes
from core.live.pulse import Pulse
from core.live.window import timeframe_label
from pages.shared import sources
from pages.shared.backtest_bundle import (
    bundle_compared,
    bundle_head,
    bundle_run,
    choice_of,
    opened_backtest,
)
from pages.shared.backtest_cards import honesty_cards, result_cards
from pages.shared.backtest_details import checks, ledger
from pages.shared.backtest_pickers import BacktestChoice, backtest_controls
from pages.shared.backtest_view import (
    Running,
    again,
    asked_run,
    chart_frame,
    decimals_of,
    forgotten,
    span_ms,
    stop,
)
from pages.shared.cards import show_cards
from pages.shared.downloads import Download, downloads, failure_told
from pages.shared.live_chart import live_chart, visible
from pages.shared.notices import noticed
from pages.shared.pair_pickers import held_s
from pages.shared.welcome import when_ready

CHART = "backtest-chart"
_ICONS = {
    "holds": ":material/verified:",
    "in-sample": ":material/report:",
    "changed": ":material/report:",
    "noise": ":material/blur_on:",
    "loses": ":material/trending_down:",
}
WORDS = (
    "The ledger: one row a trade, in quote units, times UTC. Account: every bar with closes, "
    "z-score, β, positions, account and drawdown. The report is one HTML file that needs nothing "
    "else. The bundle holds the bars, funding, parameters and results: opened on the Data page of "
    "another machine it runs this very backtest."
)


def page(source: sources.Source, pulse: Pulse) -> None:
    """Show the controls, and what they ask for."""
    with noticed("backtest"):
        available = sources.in_order(pulse.stored)
        choice = backtest_controls(available, held_s(pulse))
        if len(available) < 2:
            st.info("One symbol is stored; a pair needs two.", icon=":material/hourglass_empty:")
            return
        running = asked_run(source.store, pulse, choice)
        if running.run.standing.state == RUNNING:
            moving(running, choice)
        else:
            still(running, choice)


@st.fragment(run_every=0.5)
def moving(running: Running, choice: BacktestChoice) -> None:
    """Show a run on its way; the page is run again once it is over."""
    standing = running.run.standing
    if standing.state != RUNNING:
        st.rerun()
    show(running, standing, choice)


@st.fragment
def still(running: Running, choice: BacktestChoice) -> None:
    """Show a run that is over; run again when the browser looks elsewhere."""
    if forgotten(running):
        # A click in here runs this part alone; what it asked for begins with the page.
        st.rerun()
    show(running, running.run.standing, choice)


def bundle_page(name: str) -> None:
    """Show a kept bundle's backtest instead; it needs no data of this machine."""
    with noticed("bundle"):
        db = sources.current().store.path
        found = opened_backtest(db, name)
        bundle_head(found)
        running = bundle_run(db, name, found)
        standing = running.run.standing
        if standing.result is not None:
            bundle_compared(name, found, standing.result)
        choice = choice_of(found, st.session_state.get("zone") or "utc")
        (moving if standing.state == RUNNING else still)(running, choice)


def show(running: Running, standing: Standing, choice: BacktestChoice) -> None:
    """Show how far it is, and all that is known by then."""
    result = standing.result
    with st.container(key="backtest-head"):
        if result is not None:
            verdict(result)
        foot(running, standing, choice)
    if standing.state == FAILED and standing.error is not None:
        with noticed("backtest-run"):
            raise standing.error
    if result is None:
        st.skeleton(height=420)
        return
    failure_told()
    show_cards(result_cards(result))
    st.markdown("**Honesty**", help="What this result has to say against itself.")
    show_cards(honesty_cards(result), signed_first=False, key="honesty")
    live_chart(
        chart_frame(running.name, result, visible(CHART, running.name)),
        key=CHART, nonce=running.name, span_ms=span_ms(result), zone=choice.zone,
        note="", stale="",
    )  # fmt: skip
    shown = st.segmented_control(
        "Behind it", ["Checks", "Ledger"], default="Checks", key="backtest_behind",
        required=True, label_visibility="collapsed",
    )  # fmt: skip
    if shown == "Ledger":
        ledger(result, decimals_of(result))
    else:
        checks(result, is_over=standing.state != RUNNING)


def verdict(result: BacktestResult) -> None:
    """Show the verdict; red across the page where the result must not be believed."""
    found = judgement(result)
    if found.is_grave:
        st.error(f"**{found.words}**", icon=":material/report:")
    else:
        icon = _ICONS.get(found.kind, ":material/science:")
        st.markdown(f"##### {icon} {found.words}")


def foot(running: Running, standing: Standing, choice: BacktestChoice) -> None:
    """Show what the result stands on, how far the run is, and what can be done."""
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="left", key="run-line"
    ):
        result = standing.result
        if result is not None:
            st.caption(stands_on(result), width="content")
            with st.popover("Caveats", type="tertiary", key="caveats"):
                for line in weaknesses(result):
                    st.markdown(f"- {line[:1].upper()}{line[1:]}.")
        if standing.state == RUNNING:
            st.progress(standing.share, text=f"{standing.words} …", width=240)
            st.button(
                "Cancel", icon=":material/close:", key="cancel-run", on_click=stop,
                args=(running,), help="Stop here; what is known by then stays.",
            )  # fmt: skip
            return
        if standing.state == CANCELLED:
            st.badge("cancelled", color="orange")
        if running.is_live or standing.state == CANCELLED:
            st.button(
                "Run again", icon=":material/refresh:", key="run-again", on_click=again,
                args=(running,), help="Read the newest bars and run it anew.",
            )  # fmt: skip
        if result is not None:
            take_along(result, choice.range_name)


def stands_on(result: BacktestResult) -> str:
    """Return what the result stands on, in one line."""
    market, traded = result.done.market, result.traded
    first, last = day_words(int(market.start_s[0])), day_words(int(market.start_s[-1]))
    coverage = [share for one in traded.inputs.coverage if (share := one.fraction) is not None]
    covered = f" · coverage {min(coverage):.1%}" if coverage else ""
    marked = " · :red-badge[hedge in-sample]" if result.done.signals.is_in_sample else ""
    return (
        f"{market.rows:,} bars of {timeframe_label(traded.spec.timeframe)} · {first} – "
        f"{last} UTC{covered}{marked}"
    )


def day_words(at_s: int) -> str:
    """Return a moment in UTC, with its year unless that is this one's."""
    at, now = datetime.fromtimestamp(at_s, UTC), datetime.now(UTC)
    return f"{at:%d %b %H:%M}" if at.year == now.year else f"{at:%d %b %Y %H:%M}"


def take_along(result: BacktestResult, range_name: str) -> None:
    """Offer the ledger, the account, the report and the bundle."""
    spec, audit = result.traded.spec, result.honesty.audit
    name = f"perpduck-backtest-{spec.y}-{spec.x}"
    changed = [] if audit is None or audit.is_clean else [
        Download(
            "Changed signals", lambda: parquet_bytes(audit.signals), f"{name}-changed.parquet",
            "application/vnd.apache.parquet", ":material/report:",
        )
    ]  # fmt: skip
    downloads(
        lambda: result.done.books.trades,
        lambda: f"{name}-ledger",
        key="backtest-download",
        words=WORDS,
        more=[
            *changed,
            Download(
                "Account", lambda: parquet_bytes(series(result.done).drop("at")),
                f"{name}-account.parquet", "application/vnd.apache.parquet",
                ":material/show_chart:",
            ),
            Download(
                "Bundle", lambda: write_backtest_bundle(result, range_name), f"{name}.zip",
                "application/zip", ":material/inventory_2:",
            ),
            Download(
                "Report", lambda: report_html(result).encode(), f"{name}.html", "text/html",
                ":material/description:",
            ),
        ],
    )  # fmt: skip


if bundle := st.query_params.get("bundle"):
    bundle_page(bundle)
else:
    when_ready(page)
