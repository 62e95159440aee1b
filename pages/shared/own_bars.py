"""OHLCV bars of a user: whose they are, a look at them, and only then into the file."""

from __future__ import annotations

import functools
import re
import unicodedata
from pathlib import Path

import polars as pl
import streamlit as st

from core.bar_sql import TIMEFRAMES
from core.errors import BadFile, PerpduckError
from core.exporting.tables import csv_bytes
from core.imports import import_bars
from core.live.feeder import feeder
from core.live.window import timeframe_label
from core.reading import BarsRead, Refused, read_bars
from pages.shared import sources
from pages.shared.frame import counted
from pages.shared.notices import noticed, show_notice
from pages.shared.own_questions import BAR_SETS
from pages.shared.reports import rejects_download, rejects_list
from pages.shared.uploads import Waiting, discard

# Read whole, so bounded; a year of 1-second bars has half of it.
MAX_BYTES = 4 << 30
_HEAD_BYTES = 64 << 10
_SHOWN = 8
_PARTS = re.compile(r"[\s_\-.]+")


def bars_form(source: sources.Source, one: Waiting) -> None:
    """Show one file of bars: the questions, the preview, the button that keeps them."""
    key = f"{one.path.parent.name}-{one.path.name}"
    with st.container(border=True, key=f"bars-{one.path.stat().st_ino}"):
        st.markdown(f"**{one.path.name}** · bars of one symbol")
        symbol, timeframe = _questions(source, one, key)
        if error := st.session_state.pop(f"_bars_error-{key}", None):
            show_notice(error, key=f"bars-{key}")
        bars = 0
        with noticed(f"preview-{key}"):
            found = _read_or_shown(one, timeframe, key)
            bars = found.bars.height
            _preview(found, key)
        with st.container(horizontal=True):
            st.button(
                f"Keep {counted(bars, 'bar')}" if bars else "Keep the bars",
                key=f"keep-{key}", type="primary", icon=":material/check:",
                disabled=not (symbol and bars),
                on_click=_keep, args=(source, one, key),
            )  # fmt: skip
            st.button(
                "Remove", key=f"discard-{key}", icon=":material/delete:",
                on_click=discard, args=([one],),
            )  # fmt: skip


def _questions(source: sources.Source, one: Waiting, key: str) -> tuple[str, str]:
    symbol_guess, timeframe_guess = guessed(one.path, one.path.stat().st_mtime_ns)
    left, right = st.columns(2)
    symbol = left.text_input(
        "Symbol",
        value=symbol_guess,
        key=f"symbol-{key}",
        max_chars=60,
        help="Of the live market, of a dataset (SYMBOL@name), or one of your own.",
    )
    timeframe = right.selectbox(
        "Timeframe",
        list(TIMEFRAMES),
        index=list(TIMEFRAMES).index(timeframe_guess),
        format_func=timeframe_label,
        key=f"timeframe-{key}",
        help="What one bar covers; the spacing of the rows must agree.",
    )
    clean = _clean(symbol)
    held = feeder(source.store).ask(BAR_SETS).value if source.store.exists() else None
    if held is not None and (clean, timeframe) in held.select("symbol", "timeframe").rows():
        st.caption(
            f":material/swap_horiz: {clean.upper()} has uploaded {timeframe_label(timeframe)} "
            "bars already: within their stretch, these take their place."
        )
    return clean, timeframe


def _clean(symbol: str) -> str:
    return unicodedata.normalize("NFC", symbol).strip().lower()


def _preview(found: BarsRead, key: str) -> None:
    bars = found.bars
    words = [f"{bars.height:,} bars"]
    if bars.height:
        words.append(f"{bars['ts'][0]:%Y-%m-%d %H:%M:%S} to {bars['ts'][-1]:%Y-%m-%d %H:%M:%S} UTC")
    words.append(f"{found.read:,} rows read")
    words.append(f"{found.duplicates:,} duplicate")
    words.append(f"{found.rejects.height:,} rejected")
    st.caption(" · ".join(words))
    st.dataframe(
        bars.head(_SHOWN),
        key=f"preview-{key}",
        alt="The first bars of the file",
        hide_index=True,
        column_config={
            "ts": st.column_config.DatetimeColumn("Start (UTC)", format="YYYY-MM-DD HH:mm:ss")
        },
    )
    _rejects(found.rejects, key)


def _rejects(rejects: pl.DataFrame, key: str) -> None:
    if rejects.height:
        rejects_list(rejects.head(10).rows())
        rejects_download(lambda: csv_bytes(rejects), f"rejects-{key}")


def _read_or_shown(one: Waiting, timeframe: str, key: str) -> BarsRead:
    """Return the file's bars; of one that is refused, show which rows are why."""
    try:
        return read(one, timeframe)
    except Refused as refused:
        _rejects(refused.rejects, key)
        raise


def read(one: Waiting, timeframe: str) -> BarsRead:
    """Return the file's bars; read once a session, file and timeframe. Raises BadFile."""
    if one.size > MAX_BYTES:
        raise BadFile(
            f"{one.path.name} has {one.size / 1e9:.1f} GB and bars are read whole: "
            f"split it into files below {MAX_BYTES / 1e9:.0f} GB"
        )
    stat = one.path.stat()
    mark = (one.path, stat.st_mtime_ns, stat.st_size, timeframe)
    known: tuple[object, BarsRead] | None = st.session_state.get("_bars_read")
    if known is None or known[0] != mark:
        known = (mark, read_bars(one.path, timeframe=timeframe))
        st.session_state["_bars_read"] = known
    return known[1]


@functools.lru_cache(maxsize=256)
def guessed(path: Path, _mtime_ns: int) -> tuple[str, str]:
    """Return the symbol that the file's name begins with, and the timeframe that its rows fit."""
    parts = [part for part in _PARTS.split(path.name.lower()) if part]
    symbol = "" if parts[0] in ("csv", "bars", "ohlcv", "data", "candles") else parts[0]
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if len(head) == _HEAD_BYTES:
        head = head[: head.rfind(b"\n") + 1]
    for timeframe in sorted(TIMEFRAMES, key=lambda name: -TIMEFRAMES[name]):
        try:
            read_bars(head, timeframe=timeframe)
        except BadFile:
            continue
        return symbol, timeframe
    return symbol, "1min"


def _keep(source: sources.Source, one: Waiting, key: str) -> None:
    # What the controls say at the click may be newer than what the page showed before it.
    symbol = _clean(st.session_state[f"symbol-{key}"])
    timeframe = str(st.session_state[f"timeframe-{key}"])
    try:
        sources.prepare(source)
        found = read(one, timeframe)
        kept = import_bars(source.store, symbol, timeframe, found, one.path.name)
        discard([one])
        name = f"{symbol.upper()} ({timeframe_label(timeframe)})"
        st.session_state["_bring_note"] = (
            f"{counted(kept.kept, 'bar')} of {name} kept: they are shown wherever this symbol and "
            "timeframe are, until you delete them under Stored."
            if kept.kept
            else f"Nothing changed: these very bars of {name} were kept before."
        )
        feeder(source.store).refresh()
    except (PerpduckError, OSError) as error:
        ours = error if isinstance(error, PerpduckError) else PerpduckError(str(error))
        st.session_state[f"_bars_error-{key}"] = ours
