"""A pair's view out of a bundle: the same as where it was made, and not live."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.bundle import Restored, kept, restored
from pages.shared.live_chart import View
from pages.shared.memo import Memo
from pages.shared.pair_view import Moment, PairChoice, PairView, Stand, shown

_restored = Memo(4)


def opened(db: Path, name: str) -> Restored:
    """Return a kept bundle's view, computed again; raises BadFile where there is none."""
    found: Restored = _restored.get((db, name), lambda: restored(kept(db, name)))
    return found


def choice_of(found: Restored, zone: str) -> PairChoice:
    """Return what the bundle's maker had chosen, with this session's time zone."""
    return PairChoice(found.bundle.spec, found.bundle.range_name, zone)


def bundle_view(name: str, found: Restored, zone: str, seen: View | None) -> PairView:
    """Return what is shown of it."""
    times = found.bundle.times
    span_s = (times.as_of - times.start).total_seconds()
    moment = Moment(
        start=times.start,
        as_of=times.as_of,
        judged_from=times.judged_from,
        judged_at=times.judged_at,
        next_at=times.judged_at,
        span_s=span_s,
        judged_span_s=times.judged_span_s,
    )
    stand = Stand(
        ("bundle", name), found.analysis, found.verdict, moment, found.analysis.series, (),
        found.bundle.tick_sizes,
    )  # fmt: skip
    return shown(stand, choice_of(found, zone), seen, None)


def bundle_line(found: Restored) -> DeltaGenerator:
    """Say that this is a bundle, how old it is, and whether it is what it was.

    Returns the line, for what else belongs there.
    """
    bundle = found.bundle
    spec = bundle.spec
    line = st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute",
        key="bundle-line",
    )  # fmt: skip
    with line:
        st.markdown(
            f":material/inventory_2: **{spec.y.upper()} / {spec.x.upper()}** from a bundle made "
            f"{bundle.made_at:%Y-%m-%d %H:%M} UTC by {bundle.made_by}: not live · {spec.timeframe} "
            f"bars · {spec.method} · window {spec.window_bars}"
        )
        # A link to the page that one is on keeps the address, and with it the bundle.
        st.button("Back to live", icon=":material/arrow_back:", key="to-live", on_click=_leave)
    if found.differences:
        names = ", ".join(found.differences[:5])
        st.warning(
            f"Computed again on this machine, {len(found.differences)} of its results are not the "
            f"same to the last digit: {names}. Another processor or library version rounds "
            "otherwise.",
            icon=":material/warning:",
        )
    else:
        st.caption("Computed again from its bars: every number is the same to the last digit.")
    return line


def _leave() -> None:
    st.query_params.pop("bundle", None)
