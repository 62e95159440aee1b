"""Which file a session looks at: the live exchange's, or the practice exchange's own."""

from __future__ import annotations

import streamlit as st

from core.live.pulse import Pulse
from core.live.sources import (
    BINANCE,
    FIRST_SYMBOLS,
    LABELS,
    PRACTICE,
    Source,
    default,
    files,
    in_order,
    named,
    prepare,
)

__all__ = [
    "BINANCE",
    "FIRST_SYMBOLS",
    "LABELS",
    "PRACTICE",
    "Source",
    "current",
    "dataset",
    "default",
    "files",
    "in_order",
    "named",
    "prepare",
    "session_default",
]


def current() -> Source:
    """Return the session's source: the frame's control, else the default of its first run."""
    name = st.session_state.get("source")
    # Before the control's first run, and where a browser sent something else.
    return named(name if name in LABELS else session_default())


def dataset(pulse: Pulse) -> str:
    """Return the dataset that the session looks at, "" for the exchange's own data."""
    name = st.session_state.get("dataset") or ""
    return name if name in pulse.datasets else ""


def session_default() -> str:
    """Return the source that this session began with; found out once."""
    if "_source_default" not in st.session_state:
        st.session_state["_source_default"] = default().name
    return str(st.session_state["_source_default"])
