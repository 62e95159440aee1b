"""The pair views that were brought as bundles: each with the way to it, and the way out."""

from __future__ import annotations

import functools
from pathlib import Path

import streamlit as st

from core.bundle import bundle_folder, kept
from core.errors import PerpduckError
from pages.shared import sources
from pages.shared.feeder import Feeder
from pages.shared.places import PAIR
from pages.shared.stored import deletion
from pages.shared.window import timeframe_label

SHOWN = 20


def kept_bundles(source: sources.Source, feed: Feeder) -> None:
    """Show the kept views, the newest first; nothing where there is none."""
    db = source.store.path
    files = sorted(bundle_folder(db).glob("*.zip"), key=lambda path: -path.stat().st_mtime)
    if not files:
        return
    st.subheader("Pair views")
    words = {path: _words(db, path.stem, path.stat().st_mtime_ns) for path in files[:SHOWN]}
    for path, text in words.items():
        st.page_link(
            PAIR, label=text, icon=":material/compare_arrows:", query_params={"bundle": path.stem}
        )
    deletion(
        "pair view",
        words,
        lambda path: path.unlink(missing_ok=True),
        "The saved view leaves this machine; data and other views stay.",
        feed,
    )


@functools.lru_cache(maxsize=256)
def _words(db: Path, name: str, _mtime_ns: int) -> str:
    try:
        found = kept(db, name)
    except PerpduckError:
        return f"{name} · cannot be read"
    spec = found.spec
    return (
        f"{spec.y.upper()} and {spec.x.upper()} · {timeframe_label(spec.timeframe)} · "
        f"saved {found.made_at:%Y-%m-%d %H:%M} UTC"
    )
