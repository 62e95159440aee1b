"""Downloads of exactly what is shown, made at the click."""

from __future__ import annotations

import functools
from collections.abc import Callable

import polars as pl
import streamlit as st

from core.exporting import csv_bytes, parquet_bytes

BARS_WORDS = "The bars in view: symbols, timeframe and range as on the screen. Times are UTC."


def downloads(
    shown: Callable[[], pl.DataFrame],
    name: Callable[[], str],
    *,
    key: str,
    words: str = BARS_WORDS,
) -> None:
    """Offer what ``shown`` returns at the moment of the click, as CSV and as Parquet."""
    with st.popover("", icon=":material/download:", help="Download what is shown", key=key):
        st.caption(words)
        for label, make, suffix, mime in (
            ("CSV", csv_bytes, "csv", "text/csv"),
            ("Parquet", parquet_bytes, "parquet", "application/vnd.apache.parquet"),
        ):
            st.download_button(
                label,
                functools.partial(_made, make, shown),
                file_name=f"{name()}.{suffix}",
                mime=mime,
                key=f"{key}-{suffix}",
                on_click="ignore",
                width="stretch",
                icon=":material/table:" if suffix == "csv" else ":material/view_column:",
            )


def _made(make: Callable[[pl.DataFrame], bytes], shown: Callable[[], pl.DataFrame]) -> bytes:
    return make(shown())
