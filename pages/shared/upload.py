"""The zone that takes files of any size: dropped or chosen, streamed to disk, one bar a file."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import streamlit as st

from pages.shared.assets import module_stub
from pages.shared.upload_route import PATH, TOKEN_HEADER, allow

_HTML = """
<div class="pd-upload">
  <label class="pd-drop">
    <input type="file" multiple aria-label="Choose files to bring in">
    <span class="pd-sign" aria-hidden="true">⇪</span>
    <span><b>Drop files or a folder here, or choose them</b><br><small></small></span>
  </label>
  <ul aria-live="polite"></ul>
</div>
"""


@functools.cache
def _component() -> Any:
    return st.components.v2.component(
        "perpduck_upload", html=_HTML, js=module_stub("upload"), isolate_styles=False
    )


def upload_zone(folder: Path, *, words: str, key: str) -> None:
    """Show the zone; files go to ``folder``, which is looked at anew when one has arrived.

    ``words`` say below the title what is taken.
    """
    tokens = st.session_state.setdefault("_upload_tokens", {})
    tokens[folder] = allow(folder, tokens.get(folder))
    base = str(st.get_option("server.baseUrlPath")).strip("/")
    _component()(
        key=key,
        data={
            "url": f"{'/' + base if base else ''}{PATH}",
            "header": TOKEN_HEADER,
            "token": tokens[folder],
            "words": words,
        },
        on_arrived_change=_nothing,
    )


def _nothing() -> None:
    """Do nothing: naming the callback is what makes Streamlit report the arrival."""
