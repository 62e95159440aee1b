"""The controls of Correlation: symbols, bars, what is correlated and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import streamlit as st

from core.bar_sql import TIMEFRAMES
from core.live.matrix import MatrixChoice
from core.live.window import RANGES, timeframe_label
from core.matrix import On
from core.stats.correlation import Kind
from pages.shared.pair_pickers import choice, segments, suggest_bars

MOST_SYMBOLS = 80
Order = Literal["list", "clusters"]


def matrix_controls(available: Sequence[str], held: float) -> MatrixChoice:
    """Show the bar of controls; ``held`` seconds of history pick the first timeframe."""
    suggest_bars("mtf", "mspan", held)
    symbols = _symbols(available)
    timeframe = choice(
        "mtf", "Timeframe", list(TIMEFRAMES), timeframe_label,
        "Time a bar covers.",
    )  # fmt: skip
    span = choice(
        "mspan", "Range", list(RANGES), str, "Time up to the newest closed bar.",
    )  # fmt: skip
    on = segments("on", "Correlate", {"returns": "returns", "levels": "levels"},
                  "Log returns between neighbouring bars, or log prices.")  # fmt: skip
    kind = segments("kind", "Method", {"pearson": "Pearson", "spearman": "Spearman"},
                    "Pearson, or the ranks' correlation, which outliers do not move.")  # fmt: skip
    order = segments("order", "Order", {"list": "as listed", "clusters": "clustered"},
                     "Clustered: what moves together stands side by side.")  # fmt: skip
    with st.popover("More", icon=":material/tune:", key="matrix-more"):
        turnover = st.number_input(
            "Min volume, quote units a bar", 0.0, None, 0.0, key="mmin", bind="query-params",
            help="Bars that turned over less (close · volume) are left out.",
        )  # fmt: skip
    return MatrixChoice(
        symbols, timeframe, span, cast("On", on), cast("Kind", kind), order == "clusters",
        float(turnover or 0.0),
    )  # fmt: skip


def _symbols(available: Sequence[str]) -> tuple[str, ...]:
    known = st.session_state.get("of")
    # Before the control's first run the address alone knows what is chosen.
    named = [name.lower() for name in st.query_params.get_all("of")] if known is None else known
    # Another source has other symbols: what it lacks falls away, the rest stays chosen.
    kept = [symbol for symbol in named if symbol in available]
    if known is not None and kept != list(known):
        st.session_state["of"] = kept
    with st.popover(f"{len(kept) or min(len(available), MOST_SYMBOLS)} symbols",
                    icon=":material/list:", key="matrix-symbols"):  # fmt: skip
        chosen = st.multiselect(
            "Symbols", list(available), format_func=str.upper, key="of", bind="query-params",
            max_selections=MOST_SYMBOLS, placeholder="All that are stored",
            help="None chosen: all of them.",
        )  # fmt: skip
    valid = tuple(symbol for symbol in chosen if symbol in available)[:MOST_SYMBOLS]
    return valid or tuple(available[:MOST_SYMBOLS])
