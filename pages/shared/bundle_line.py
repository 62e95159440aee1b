"""The line above what came out of a bundle: how old it is, and whether it is what it was."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import streamlit as st
from streamlit.delta_generator import DeltaGenerator


def bundle_line(what: str, made_at: datetime, made_by: str, rest: str) -> DeltaGenerator:
    """Say that this is a bundle and how old it is; returns the line, for what belongs there."""
    line = st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute",
        key="bundle-line",
    )  # fmt: skip
    with line:
        st.markdown(
            f":material/inventory_2: {what} from a bundle made {made_at:%Y-%m-%d %H:%M} UTC by "
            f"{made_by}: not live · {rest}"
        )
        # A link to the page that one is on keeps the address, and with it the bundle.
        st.button("Back to live", icon=":material/arrow_back:", key="to-live", on_click=_leave)
    return line


def computed_again(differences: Sequence[str]) -> None:
    """Say whether what was computed here equals what the bundle holds."""
    if differences:
        names = ", ".join(differences[:5])
        st.warning(
            f"Computed again on this machine, {len(differences)} of its results are not the "
            f"same to the last digit: {names}. Another processor or library version rounds "
            "otherwise.",
            icon=":material/warning:",
        )
    else:
        st.caption("Computed again from its bars: every number is the same to the last digit.")


def _leave() -> None:
    st.query_params.pop("bundle", None)
