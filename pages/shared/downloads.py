"""Downloads of exactly what is shown, made at the click."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import streamlit as st

from core.errors import NotEnoughData, PerpduckError
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
    """Offer what ``shown`` returns at the moment of the click, as CSV and as Parquet; and more.

    Why one could not be made is said by `failure_told`, since a click runs nothing of the page.
    """
    failures = st.session_state.setdefault("_downloads_failed", {})
    with st.popover("", icon=":material/download:", help="Download what is shown", key=key):
        st.caption(words)
        for one in (*tables(shown, name()), *more):
            st.download_button(
                one.label,
                _telling(one.make, failures),
                file_name=one.file_name,
                mime=one.mime,
                key=f"{key}-{one.label.lower().replace(' ', '-')}",
                on_click="ignore",
                width="stretch",
                icon=one.icon,
            )


def failure_told() -> None:
    """Say why the download clicked last could not be made; for what runs again by itself."""
    if words := st.session_state.get("_downloads_failed", {}).pop("words", None):
        st.toast(f"Nothing to download: {words}", icon=":material/error:")


def last_shown(holder: MutableMapping[str, Any]) -> Any:
    """Return what a page put down as ``view``; raises NotEnoughData before it has."""
    if "view" not in holder:
        raise NotEnoughData("nothing is shown yet")
    return holder["view"]


def _telling(make: Callable[[], bytes], failures: MutableMapping[str, str]) -> Callable[[], bytes]:
    """Return ``make`` with its failures' words kept; it runs outside of the session's own run."""

    def made() -> bytes:
        try:
            return make()
        except PerpduckError as error:
            failures["words"] = str(error)
            raise

    return made


def tables(
    shown: Callable[[], pl.DataFrame], name: str, what: str = ""
) -> tuple[Download, Download]:
    """Return a table's downloads as CSV and as Parquet; ``what`` begins their labels."""
    return (
        Download(
            f"{what}CSV", lambda: csv_bytes(shown()), f"{name}.csv", "text/csv", ":material/table:"
        ),
        Download(
            f"{what}Parquet",
            lambda: parquet_bytes(shown()),
            f"{name}.parquet",
            "application/vnd.apache.parquet",
            ":material/view_column:",
        ),
    )
