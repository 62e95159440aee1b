"""Bring data: the zone, what has arrived, and the questions before an import starts."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

import polars as pl
import streamlit as st

from core.bundle_kept import BundleKind, keep
from core.bundle_members import MOST_BYTES
from core.errors import BadFile, PerpduckError
from core.imports import start_import
from pages.shared import sources
from pages.shared.cards import compact
from pages.shared.frame import counted
from pages.shared.notices import noticed, show_notice
from pages.shared.own_bars import bars_form
from pages.shared.places import BACKTEST, PAIR
from pages.shared.upload import upload_zone
from pages.shared.uploads import (
    BUNDLES,
    CHECKSUM,
    IMPORTABLE,
    LABELS,
    NEEDS_DATASET,
    UNKNOWN,
    Waiting,
    arrivals,
    discard,
    put_back,
    taken,
    waiting,
)

WORDS = (
    "Ticks (NDJSON, CSV, Parquet, also .gz and .zst) · Binance zips of aggTrades, trades and "
    "klines, with their .CHECKSUM · OHLCV as CSV · bundles of pairs and backtests. Any size, "
    "several at once."
)
# As core.importing wants a dataset's name.
_NOT_IN_A_NAME = re.compile(r"[^\w.\-]+")
BARS_AT_ONCE = 3
BUNDLE_PLACES = {
    "pair": (PAIR, "Open the pair view of the bundle", ":material/compare_arrows:"),
    "backtest": (BACKTEST, "Open the backtest of the bundle", ":material/history:"),
}
_BUNDLE_WORDS = {
    "pair": "A pair view, as it was when it was saved.",
    "backtest": "A backtest, with the bars that it was run on.",
}
# Longer tables scroll in themselves.
ROWS = 10


@st.fragment
def bring(source: sources.Source) -> None:
    """Show the zone and what has arrived; an arrival runs this part alone."""
    session = st.session_state.setdefault("_upload_session", secrets.token_hex(8))
    upload_zone(arrivals(source.store.path, session), words=WORDS, key="upload")
    # Every part has a place of its own: where a part that comes and goes would move the others,
    # the browser may get a piece of one for the place of another.
    notes, unknown, archives, bars, bundles = (st.container() for _ in range(5))
    found: list[Waiting] = []
    with notes:
        with noticed("bring"):
            found = waiting(source.store.path)
        _notes(source, is_empty=not found)
    with unknown:
        _unknown([one for one in found if one.kind == UNKNOWN])
    with archives:
        _archives(source, found)
    with bars:
        _bars(source, [one for one in found if one.kind == "bars"])
    with bundles:
        _bundles(source, [one for one in found if one.kind in BUNDLES])


def _notes(source: sources.Source, *, is_empty: bool) -> None:
    if error := st.session_state.pop("_bring_error", None):
        show_notice(error, key="bring-error")
    if note := st.session_state.pop("_bring_note", None):
        st.success(note, icon=":material/check:")
    if opened := st.session_state.get("_bundle"):
        kind, name = opened
        page, label, icon = BUNDLE_PLACES[kind]
        st.page_link(page, label=label, icon=icon, query_params={"bundle": name})
    if is_empty:
        st.caption(
            "Nothing waits here. Files go to this machine only, into "
            f"the {source.label} file `{source.store.path.name}`; a whole folder of archives is "
            "quicker with `python -m core.imports PATH`."
        )


def _bars(source: sources.Source, files: list[Waiting]) -> None:
    for one in files[:BARS_AT_ONCE]:
        bars_form(source, one)
    if (more := len(files) - BARS_AT_ONCE) > 0:
        st.caption(f"{counted(more, 'further file')} of bars after these.")


def _unknown(files: list[Waiting]) -> None:
    """Say of each file that fits nothing what was found in it."""
    if not files:
        return
    with st.container(border=True, key="unknown"):
        words = "\n".join(f"- {one.words}" for one in files)
        st.warning(f"**What cannot be used.**\n{words}", icon=":material/help:")
        st.button(
            "Remove what cannot be used", key="discard-unknown", icon=":material/delete:",
            on_click=discard, args=(files,),
        )  # fmt: skip


def _archives(source: sources.Source, found: list[Waiting]) -> None:
    """Show what one import takes, with the one question that it has."""
    files = [one for one in found if one.kind in IMPORTABLE]
    checksums = [one for one in found if one.kind == CHECKSUM]
    if not files and not checksums:
        return
    with st.container(border=True, key="arrived"):
        _list(files, checksums)
        if not files:
            st.caption("A checksum alone: bring its archive as well.")
        asks = any(one.kind in NEEDS_DATASET for one in files)
        named = _dataset(files) if asks else ""
        with st.container(horizontal=True):
            st.button(
                f"Import {counted(len(files), 'file')}", key="start-import", type="primary",
                icon=":material/input:", disabled=not files or (asks and not _name(named)),
                on_click=_start, args=(source, files, named),
            )  # fmt: skip
            st.button(
                "Remove", key="discard", icon=":material/delete:",
                on_click=discard, args=([*files, *checksums],),
            )  # fmt: skip


def _list(files: list[Waiting], checksums: list[Waiting]) -> None:
    checked = {one.path.name.removesuffix(".CHECKSUM") for one in checksums}
    shown = pl.DataFrame(
        {
            "name": [one.path.name for one in [*files, *checksums]],
            "kind": [LABELS[one.kind] for one in [*files, *checksums]],
            "size": [f"{compact(one.size)}B" for one in [*files, *checksums]],
            "checksum": [
                "beside it" if one.path.name in checked else "" for one in [*files, *checksums]
            ],
        }
    ).filter(~pl.col("kind").eq(LABELS[CHECKSUM]) | pl.lit(not files))
    st.dataframe(
        shown,
        key="arrived-table",
        alt="Files that have arrived",
        hide_index=True,
        height="content" if shown.height <= ROWS else 420,
        column_config={
            "name": st.column_config.TextColumn("File", pinned=True),
            "kind": "What it is",
            "size": st.column_config.TextColumn("Size", alignment="right"),
            "checksum": "Checksum",
        },
    )


def _dataset(files: list[Waiting]) -> str:
    """Ask for the dataset's name, at first one made of the file's; returns the control's key."""
    first = next(one for one in files if one.kind in NEEDS_DATASET)
    # A choice stays until other files wait; the widget's own state would outlive them.
    key = f"dataset-{first.path.parent.name}-{first.path.name}"
    st.text_input(
        "Name of the dataset",
        value=suggested(first.path),
        key=key,
        max_chars=40,
        help="Ticks and raw trades stay apart from the live trades, under this name: their symbols "
        "are called SYMBOL@name on every page. A name that exists gets the new trades as well; "
        "what it already holds is not taken twice.",
    )
    return key


def _name(key: str) -> str | None:
    """Return what a control says now: at a click that follows the typing, newer than the page."""
    return str(st.session_state.get(key, "")).strip().lower() or None if key else None


def suggested(path: Path) -> str:
    """Return a dataset's name made of a file's."""
    stem = path.name.split(".")[0].lower()
    return _NOT_IN_A_NAME.sub("-", stem).strip("-.")[:40] or "my-ticks"


def _start(source: sources.Source, files: list[Waiting], named: str) -> None:
    moved: list[Path] = []
    try:
        sources.prepare(source)
        moved = taken(source.store.path, files)
        start_import(source.store.path, moved, dataset=_name(named), delete_after=True)
    except (PerpduckError, OSError) as error:
        put_back(files, moved)
        st.session_state["_bring_error"] = _ours(error)


def _ours(error: Exception) -> PerpduckError:
    return error if isinstance(error, PerpduckError) else PerpduckError(str(error))


def _bundles(source: sources.Source, files: list[Waiting]) -> None:
    for number, one in enumerate(files):
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{one.path.name}**  \n{_BUNDLE_WORDS[one.kind]}")
            st.button(
                "Open view", key=f"open-bundle-{number}", type="primary", on_click=_open,
                args=(source, one), icon=":material/folder_open:",
            )  # fmt: skip
            st.button(
                "Remove", key=f"discard-bundle-{number}", on_click=discard, args=([one],),
                icon=":material/delete:",
            )  # fmt: skip


def _open(source: sources.Source, one: Waiting) -> None:
    try:
        if one.size > MOST_BYTES:
            raise BadFile(
                f"{one.path.name} has {one.size / 1e9:.1f} GB; a bundle has "
                f"{MOST_BYTES / 1e9:.1f} GB at most"
            )
        kind: BundleKind = "pair" if one.kind == "pair" else "backtest"
        name = keep(source.store.path, one.path.read_bytes(), kind)
        st.session_state["_bundle"] = (kind, name)
        discard([one])
    except (PerpduckError, OSError) as error:
        st.session_state["_bring_error"] = _ours(error)
