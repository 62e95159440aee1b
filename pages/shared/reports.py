"""What was left out of a file: the first rows with line and reason, and all of them to take."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import streamlit as st

FIRST = 10
_TEXT = 80


def rejects_list(rows: Iterable[tuple[int, str, str]]) -> None:
    """Show the first rejects: line number, reason, and the beginning of the line."""
    shown = [
        {"line": line, "reason": reason, "text": text[:_TEXT]}
        for line, reason, text in list(rows)[:FIRST]
    ]
    st.table(shown, border="horizontal")


def rejects_download(csv: Callable[[], bytes], key: str) -> None:
    """Offer all rejects as CSV, had at the click."""
    st.download_button(
        "All rejected rows",
        csv,
        file_name="rejected.csv",
        mime="text/csv",
        key=key,
        on_click="ignore",
        icon=":material/download:",
    )
