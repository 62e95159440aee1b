"""Prices: candles and volume, live, for one or more symbols."""

from __future__ import annotations

import streamlit as st

from core.exporting import first_trades, parquet_bytes
from core.live.feeder import feeder
from core.live.pulse import Pulse
from pages.shared import sources
from pages.shared.cards import show_cards
from pages.shared.downloads import BARS_WORDS, Download, downloads, failure_told, last_shown
from pages.shared.frame import stale_words
from pages.shared.live_chart import live_chart, visible
from pages.shared.notices import noticed
from pages.shared.pickers import range_picker, symbols_picker, timeframe_picker, zone_picker
from pages.shared.price_view import Choice, PriceView, price_view
from pages.shared.welcome import when_ready

CHART = "prices-chart"
MOST_TRADES = 1_000_000


def page(source: sources.Source, pulse: Pulse) -> None:
    """Show the controls, and what they ask for."""
    available = sources.in_order(pulse.stored)
    live(source, controls(source, available), tuple(available))


def trades_bytes(source: sources.Source, symbol: str, view: PriceView) -> bytes:
    """Return the trades in view as Parquet, made at the click."""
    found = first_trades(source.store, symbol, *view.seen(), most=MOST_TRADES)
    return parquet_bytes(found)


def controls(source: sources.Source, available: list[str]) -> Choice:
    """Show the bar of controls."""
    with st.container(horizontal=True, vertical_alignment="center", key="controls"):
        symbols = symbols_picker(available)
        timeframe, span, zone = timeframe_picker(), range_picker(), zone_picker()
        holder = st.session_state.setdefault("_prices_shown", {})
        downloads(
            lambda: last_shown(holder).shown(),
            lambda: f"perpduck-{'-'.join(symbols)}",
            key="download",
            words=f"{BARS_WORDS} Trades: those of {symbols[0].upper()} in view, the first million; "
            "more with `python -m core.exports trades`.",
            more=[
                Download(
                    "Trades",
                    lambda: trades_bytes(source, symbols[0], last_shown(holder)),
                    f"perpduck-{symbols[0]}-trades.parquet",
                    "application/vnd.apache.parquet",
                    ":material/receipt_long:",
                )
            ],
        )
    return Choice(symbols, timeframe, span, zone)


@st.fragment(run_every=1.0)
def live(source: sources.Source, choice: Choice, available: tuple[str, ...]) -> None:
    """Show the numbers and the chart; once a second, from what the process has read."""
    feed = feeder(source.store)
    pulse = feed.pulse()
    pulse = pulse.of(sources.dataset(pulse))
    if pulse.stored != available and set(pulse.stored) != set(available):
        st.rerun()
    with noticed("prices"):
        view = price_view(feed, pulse, choice, visible(CHART, choice.nonce))
        if view is None:
            st.info("No trades of these symbols yet.", icon=":material/hourglass_empty:")
            return
        st.session_state["_prices_shown"]["view"] = view
        failure_told()
        show(view, choice, stale_words(pulse))


def show(view: PriceView, choice: Choice, stale: str) -> None:
    """Show one refresh."""
    show_cards(view.cards)
    live_chart(
        view.frame,
        key=CHART,
        nonce=choice.nonce,
        span_ms=view.span_ms,
        zone=choice.zone,
        note=view.note,
        stale=stale,
    )
    with st.container(horizontal=True, vertical_alignment="center", key="foot"):
        st.caption(f"{choice.symbols[0].upper()} in the cards · {view.badge}")
    behind = st.expander("The SQL behind this", on_change="rerun", key="sql")
    if behind.open:
        behind.code(view.sql(), language="sql")
        behind.code(
            f"$symbols = {list(view.question.symbols)}\n$start = {view.question.start}\n"
            f"$end = {view.question.end or 'the newest bar'}",
            language=None,
        )


when_ready(page)
