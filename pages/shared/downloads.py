"""Downloads of exactly what is shown, made at the click."""

from __future__ import annotations

import io
from collections.abc import Callable

import polars as pl
import streamlit as st

BARS_WORDS = "The bars in view: symbols, timeframe and range as on the screen. Times are UTC."


def downloads(
    shown: Callable[[], pl.DataFrame],
    name: Callable[[], str],
    *,
    key: str,
    words: str = BARS_WORDS,
) -> None:
    """Offer what ``shown`` returns at the moment of the click, as CSV and as Parquet."""

    def csv() -> bytes:
        return shown().write_csv(datetime_format="%Y-%m-%dT%H:%M:%S%.3fZ").encode()

    def parquet() -> bytes:
        buffer = io.BytesIO()
        shown().write_parquet(buffer)
        return buffer.getvalue()

    with st.popover("", icon=":material/download:", help="Download what is shown", key=key):
        st.caption(words)
        for label, make, suffix, mime in (
            ("CSV", csv, "csv", "text/csv"),
            ("Parquet", parquet, "parquet", "application/vnd.apache.parquet"),
        ):
            st.download_button(
                label,
                make,
                file_name=f"{name()}.{suffix}",
                mime=mime,
                key=f"{key}-{suffix}",
                on_click="ignore",
                width="stretch",
                icon=":material/table:" if suffix == "csv" else ":material/view_column:",
            )
