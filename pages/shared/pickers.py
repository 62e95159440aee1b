"""The controls of a page: bound to the URL, remembered across pages, independent of each other."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.bar_sql import TIMEFRAMES
from core.live.window import RANGES, timeframe_label

MAX_SYMBOLS = 6
ZONES = {"utc": "UTC", "local": "Local"}


def symbols_picker(available: Sequence[str]) -> tuple[str, ...]:
    """Show the symbols to choose from; returns the chosen ones, the first one if none is."""
    known = st.session_state.get("symbols") or []
    # Another source has other symbols: what it lacks falls away, the rest stays chosen.
    kept = [symbol for symbol in known if symbol in available]
    if kept != list(known):
        st.session_state["symbols"] = kept
    chosen = st.multiselect(
        "Symbols",
        list(available),
        default=list(available[:1]) if kept == list(known) else None,
        format_func=str.upper,
        key="symbols",
        bind="query-params",
        max_selections=MAX_SYMBOLS,
        label_visibility="collapsed",
        placeholder="Symbols",
        select_all=False,
        width="stretch",
        help="The contracts shown, one panel each; the first one's numbers stand on top.",
    )
    valid = tuple(s for s in chosen if s in available)[:MAX_SYMBOLS]
    return valid or tuple(available[:1])


def timeframe_picker() -> str:
    """Show the timeframes; returns the finest one to be shown."""
    chosen = st.segmented_control(
        "Timeframe",
        list(TIMEFRAMES),
        default="1s",
        required=True,
        format_func=timeframe_label,
        key="timeframe",
        bind="query-params",
        label_visibility="collapsed",
        wrap=False,
        help="Time a bar covers. Wide views use coarser bars by themselves.",
    )
    return chosen if chosen in TIMEFRAMES else "1s"


def range_picker() -> str:
    """Show the ranges; returns the chosen one's name."""
    chosen = st.segmented_control(
        "Range",
        list(RANGES),
        default="15m",
        required=True,
        key="range",
        bind="query-params",
        label_visibility="collapsed",
        wrap=False,
        help="Time in view, up to the newest bar. Drag and scroll in the chart to look elsewhere.",
    )
    return chosen if chosen in RANGES else "15m"


def zone_picker() -> str:
    """Show the clock switch; returns ``utc`` or ``local``."""
    chosen = st.segmented_control(
        "Clock",
        list(ZONES),
        default="utc",
        required=True,
        format_func=ZONES.__getitem__,
        key="zone",
        bind="query-params",
        label_visibility="collapsed",
        help="UTC, or the clock of this browser; daylight saving is followed.",
    )
    return chosen if chosen in ZONES else "utc"
