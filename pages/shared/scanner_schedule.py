"""Scans by themselves: how often the worker scans with the settings above."""

from __future__ import annotations

import streamlit as st

from core.errors import PerpduckError
from core.live.feeder import feeder
from core.live.questions import newest
from core.live.scans import ScanSchedule
from core.scanning.kept import Schedule, set_schedule
from core.scanning.settings import ScanSettings
from pages.shared import sources
from pages.shared.scanner_pickers import EVERY


def schedule_control(source: sources.Source, settings: ScanSettings) -> None:
    """Show how often the worker scans, and change it."""
    kept: Schedule | None = newest(feeder(source.store), ScanSchedule()).value
    label = "By itself" if kept is None else f"Every {every_words(kept.every_s)}"
    with st.popover(label, icon=":material/schedule:", key="scan-schedule"):
        st.markdown("The worker scans with the settings above, also with no browser open.")
        offered = dict(EVERY)
        if kept and kept.every_s not in offered.values():
            offered[f"every {every_words(kept.every_s)}"] = kept.every_s
        every_s = kept.every_s if kept else 0.0
        current = next(name for name, length in offered.items() if length == every_s)
        chosen = st.segmented_control(
            "How often", list(offered), default=current, required=True, key="scan-every"
        )
        st.button(
            "Keep", key="keep-schedule", on_click=keep, args=(source, settings, offered[chosen]),
            type="primary", icon=":material/save:",
        )  # fmt: skip
        if kept is not None:
            last = "not yet" if kept.last_at is None else f"{kept.last_at:%d %b %H:%M} UTC"
            st.caption(f"Last: {last}.")
            if kept.note:
                st.warning(kept.note, icon=":material/warning:")
            if kept.settings != settings:
                st.caption("It goes by other settings than the ones above; Keep takes these.")


def keep(source: sources.Source, settings: ScanSettings, every_s: float) -> None:
    """Write down how often the worker scans."""
    try:
        set_schedule(source.store, every_s or None, settings)
    except PerpduckError as error:
        st.session_state["_scan_error"] = error


def every_words(seconds: float) -> str:
    """Return a length of time in short: 15 min, 1 h, 1 d."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:g} s"
