"""The views that were brought as bundles: each with the way to it, and the way out."""

from __future__ import annotations

import functools
from pathlib import Path

import streamlit as st

from core.bundle_kept import bundle_folder, bundle_kind, kept, kept_backtest
from core.errors import PerpduckError
from core.live.feeder import Feeder
from core.live.window import timeframe_label
from pages.shared import sources
from pages.shared.places import BACKTEST, PAIR
from pages.shared.stored import deletion

SHOWN = 20
_PLACES = {
    "pair": (PAIR, ":material/compare_arrows:"),
    "backtest": (BACKTEST, ":material/history:"),
}


def kept_bundles(source: sources.Source, feed: Feeder) -> None:
    """Show the kept views, the newest first; nothing where there is none."""
    db = source.store.path
    files = sorted(bundle_folder(db).glob("*.zip"), key=lambda path: -path.stat().st_mtime)
    if not files:
        return
    st.subheader("Saved views")
    words = {path: _words(db, path, path.stat().st_mtime_ns) for path in files[:SHOWN]}
    for path, text in words.items():
        page, icon = _PLACES.get(bundle_kind(path) or "pair", _PLACES["pair"])
        st.page_link(page, label=text, icon=icon, query_params={"bundle": path.stem})
    deletion(
        "saved view",
        words,
        lambda path: path.unlink(missing_ok=True),
        "The saved view leaves this machine; data and other views stay.",
        feed,
    )


@functools.lru_cache(maxsize=256)
def _words(db: Path, path: Path, _mtime_ns: int) -> str:
    is_backtest = bundle_kind(path) == "backtest"
    try:
        found = kept_backtest(db, path.stem).manifest if is_backtest else kept(db, path.stem)
    except PerpduckError:
        return f"{path.stem} · cannot be read"
    spec, what = found.spec, "Backtest of " if is_backtest else ""
    return (
        f"{what}{spec.y.upper()} and {spec.x.upper()} · {timeframe_label(spec.timeframe)} · "
        f"saved {found.made_at:%Y-%m-%d %H:%M} UTC"
    )
