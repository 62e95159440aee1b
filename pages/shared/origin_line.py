"""The line that says which bars of a range are not from our own trades."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import streamlit as st

from core.live.feeder import Feeder
from core.live.questions import Origins
from core.origin_marks import origin_count_words


def origin_line(
    feed: Feeder, symbols: Iterable[str], timeframe: str, start: datetime, end: datetime
) -> None:
    """Say it in a caption; nothing where all bars are from trades, or before it is known."""
    question = Origins(tuple(sorted(set(symbols))), timeframe, start, end)
    found = feed.ask(question).value
    if words := origin_count_words(dict(found.group_by("origin").sum().iter_rows())):
        st.caption(f":material/history: {words} in the range analysed.")
