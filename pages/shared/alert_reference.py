"""The hedge ratio that drift is measured from: typed, or taken from now."""

from __future__ import annotations

import math
from datetime import timedelta

import streamlit as st

from core.errors import NotEnoughData, PerpduckError
from core.pair_spec import PairSpec
from core.pairs import analyse, read_legs
from core.store import Store
from core.verdict import SETTLE_S
from pages.shared import sources
from pages.shared.alert_draft import key, needs_span, put, span_s, value
from pages.shared.alert_words import now_utc

_ERROR = "_reference_error"
# The rolling slope needs one window; some bars may be missing.
_WINDOWS = 3


def reference_field() -> None:
    """Show the reference, the present one at first, with the button that takes it again."""
    store = sources.current().store
    if st.session_state.get(key("reference")) is None:
        take(store)
    with st.container(horizontal=True, vertical_alignment="bottom", key="rule-reference-row"):
        st.number_input(
            "Reference β", value=None, format="%g", step=0.01, key=key("reference"),
            persist_state="session", width=150,
            help="The hedge ratio that drift is measured from, in standard errors of β.",
        )  # fmt: skip
        st.button(
            "Take the present one", icon=":material/my_location:", key="take-reference",
            on_click=take, args=(store,), help="β of the newest closed bar of this pair.",
        )  # fmt: skip
    if error := st.session_state.pop(_ERROR, None):
        st.caption(f":material/error: The present β is not known: {error}")


def take(store: Store) -> None:
    """Put the present hedge ratio into the form, or keep in mind why there is none."""
    try:
        put({"reference": present_beta(store)})
    except PerpduckError as error:
        st.session_state[_ERROR] = str(error)


def present_beta(store: Store) -> float:
    """Return β at the newest closed bar of what the form says, six digits of it.

    Raises DataError where it is not known, StoreError where nothing can be read.
    """
    hedge = "kalman" if value("hedge") == "kalman" else "rolling"
    spec = PairSpec(
        value("y"), value("x"), value("tf"), value("scale") == "log", hedge, int(value("window"))
    )
    end = now_utc() - timedelta(seconds=SETTLE_S)
    end -= (end - end.min) % timedelta(seconds=spec.bar_s)
    bars_s = spec.window_bars * spec.bar_s * _WINDOWS
    start = end - timedelta(seconds=max(bars_s, span_s(value("span")) if needs_span() else 0.0))
    known = analyse(spec, read_legs(store, spec, start, end)).series["beta"].drop_nulls()
    if not len(known) or not math.isfinite(known[-1]):
        raise NotEnoughData(f"there are too few {spec.timeframe} bars of the pair")
    return float(f"{known[-1]:.6g}")
