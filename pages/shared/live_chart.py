"""The live chart: a Plotly figure that keeps its place in the page while its data move."""

from __future__ import annotations

import functools
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from core.charts import Spec
from pages.shared.assets import module_stub
from pages.shared.wire import Blocks, envelope

_HTML = """
<div class="pd-chart" role="group" tabindex="0"
  aria-label="Live chart: arrow keys pan, plus and minus zoom, Escape returns to the range">
  <div class="pd-plot"></div>
  <canvas></canvas>
  <div class="pd-lines" hidden>
    <div class="pd-v"></div><div class="pd-h"></div><div class="pd-x"></div><div class="pd-y"></div>
  </div>
  <div class="pd-readouts" aria-hidden="true"></div>
  <div class="pd-corner">
    <span class="pd-age" role="status"></span>
    <span class="pd-note"></span>
    <button type="button" class="pd-live" title="Back to the newest bar (End)" hidden>
      Live ⇥</button>
    <span class="pd-tools"></span>
  </div>
  <span class="pd-zone"></span>
</div>
"""


@dataclass(frozen=True, slots=True)
class View:
    """What the browser shows: the last ``span`` (following), or from … to, in epoch ms."""

    follow: bool
    start_ms: float
    end_ms: float


@dataclass(frozen=True, slots=True)
class Frame:
    """One figure and its place among all sessions' figures.

    ``view`` names what is shown, without the moment; ``version`` names the state of the data.
    ``end_ms`` is the end of the newest bar that exists, shown or not.
    """

    view: Hashable
    version: Hashable
    spec: Spec
    end_ms: float


@functools.cache
def _blocks() -> Blocks:
    return Blocks()


@functools.cache
def _component() -> Any:
    return st.components.v2.component(
        "perpduck_live_chart", html=_HTML, js=module_stub("live_chart"), isolate_styles=False
    )


def visible(key: str, nonce: str) -> View | None:
    """Return what the browser said it shows, None while it shows the chosen range.

    A report that belongs to an earlier choice (another ``nonce``) or that makes no sense is
    left aside: it comes from a browser, so it is checked like any other input.
    """
    state = st.session_state.get(key)
    raw = state.get("view") if state else None
    if not isinstance(raw, dict) or raw.get("nonce") != nonce or raw.get("preset"):
        return None
    start, end = raw.get("from"), raw.get("to")
    if not isinstance(start, int | float) or not isinstance(end, int | float):
        return None
    if not 0 <= start < end <= 32503680000000:
        return None
    return View(bool(raw.get("follow")), float(start), float(end))


def live_chart(
    frame: Frame, *, key: str, nonce: str, span_ms: float, zone: str, note: str, stale: str
) -> None:
    """Show the figure; what the session already has is not sent again.

    ``nonce`` names the chosen range: when it changes the browser goes back to the last
    ``span_ms``. ``zone`` is ``utc`` or ``local``; ``note`` is shown in the corner; ``stale``
    dims the chart and says why, empty while the data are live.
    """
    block, patch = _blocks().messages(frame.view, frame.version, frame.spec)
    sent = st.session_state.setdefault("_chart_blocks", {})
    state = st.session_state.get(key)
    asked = bool(state and state.get("resync") == block.base)
    first = sent.get(key) != block.base or asked
    head = {
        "nonce": nonce,
        "span": span_ms,
        "zone": zone,
        "note": note,
        "stale": stale,
        "end": frame.end_ms,
    }
    _component()(
        key=key,
        data=envelope(head, patch, block if first else None),
        on_view_change=_nothing,
        on_resync_change=_nothing,
    )
    sent[key] = block.base


def _nothing() -> None:
    """Do nothing: naming the callback is what makes Streamlit keep the value."""
