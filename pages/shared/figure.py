"""Any Plotly figure that keeps its place in the page while its data change, and tells of clicks."""

from __future__ import annotations

import functools
from typing import Any

import streamlit as st

from core.charts import Spec
from pages.shared.assets import module_stub

_HTML = '<div class="pd-figure" role="img" aria-label=""><div class="pd-plot"></div></div>'


@functools.cache
def _component() -> Any:
    return st.components.v2.component(
        "perpduck_figure", html=_HTML, js=module_stub("figure"), isolate_styles=False
    )


def figure(
    spec: Spec,
    *,
    key: str,
    height: int,
    clickable: bool = False,
    narrow: Spec | None = None,
    opens: str = "",
) -> Any:
    """Show a figure; returns the customdata of the point that was just clicked, else None.

    Colours are palette tokens, put in by the browser. ``narrow`` replaces parts of the layout on
    narrow screens; ``height`` in px is an upper limit there. ``opens``: a page's address below
    the app's, to which a double click on a point with two symbols leads, as ``y`` and ``x``.
    """
    found = _component()(
        key=key,
        data={
            "spec": spec,
            "height": height,
            "clickable": clickable,
            "narrow": narrow or {},
            "opens": opens,
        },
        on_click_change=_nothing,
    )
    return found.get("click") if clickable else None


def _nothing() -> None:
    """Do nothing: naming the callback is what makes Streamlit report the click."""
