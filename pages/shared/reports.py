"""What was left out of a file: the first rows with line and reason, and all of them to take."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import polars as pl
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


def rejects_download(rejects: Callable[[], pl.DataFrame], key: str) -> None:
    """Offer all rejects as CSV, made at the click."""
    st.download_button(
        "All rejected rows",
        lambda: harmless(rejects()).write_csv().encode(),
        file_name="rejected.csv",
        mime="text/csv",
        key=key,
        on_click="ignore",
        icon=":material/download:",
    )


def harmless(rejects: pl.DataFrame) -> pl.DataFrame:
    """Return the rejects with cells that a spreadsheet would calculate turned into text."""
    return rejects.with_columns(
        pl.col(pl.String).str.replace(r"^([=+\-@\t\r])", "'${1}", literal=False)
    )
