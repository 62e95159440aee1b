"""Downloads of exactly what is shown, made at the click."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl
import streamlit as st

from core.exporting import csv_bytes, parquet_bytes

BARS_WORDS = "The bars in view: symbols, timeframe and range as on the screen. Times are UTC."


@dataclass(frozen=True, slots=True)
class Download:
    """Something else to take along: made at the click."""

    label: str
    make: Callable[[], bytes]
    file_name: str
    mime: str
    icon: str


def downloads(
    shown: Callable[[], pl.DataFrame],
    name: Callable[[], str],
    *,
    key: str,
    words: str = BARS_WORDS,
    more: Sequence[Download] = (),
) -> None:
    """Offer what ``shown`` returns at the moment of the click, as CSV and as Parquet; and more."""
    with st.popover("", icon=":material/download:", help="Download what is shown", key=key):
        st.caption(words)
        for one in (*_tables(shown, name()), *more):
            st.download_button(
                one.label,
                one.make,
                file_name=one.file_name,
                mime=one.mime,
                key=f"{key}-{one.label.lower().replace(' ', '-')}",
                on_click="ignore",
                width="stretch",
                icon=one.icon,
            )


def _tables(shown: Callable[[], pl.DataFrame], name: str) -> tuple[Download, Download]:
    return (
        Download("CSV", lambda: csv_bytes(shown()), f"{name}.csv", "text/csv", ":material/table:"),
        Download(
            "Parquet",
            lambda: parquet_bytes(shown()),
            f"{name}.parquet",
            "application/vnd.apache.parquet",
            ":material/view_column:",
        ),
    )
