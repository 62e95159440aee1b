"""What the user brought, as the file holds it: datasets, uploaded bars, imported files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import streamlit as st

from core.errors import PerpduckError
from core.imports import delete_bars, delete_dataset
from core.live.feeder import Feeder, feeder
from core.live.window import timeframe_label
from pages.shared import sources
from pages.shared.cards import compact
from pages.shared.notices import noticed, show_notice
from pages.shared.own_questions import BAR_SETS, DATASETS, FILES

_COLUMN = st.column_config
_MINUTE = "YYYY-MM-DD HH:mm"


def moment(label: str) -> Any:
    """Return the column of a time, to the minute."""
    return _COLUMN.DatetimeColumn(label, format=_MINUTE)


def count(label: str, text: str | None = None) -> Any:
    """Return the column of a number of things."""
    return _COLUMN.NumberColumn(label, format="localized", help=text)


@st.fragment(run_every=5.0)
def own_data(source: sources.Source) -> None:
    """Show what the user brought, each with its way out."""
    feed = feeder(source.store)
    with st.container():
        if error := st.session_state.pop("_stored_error", None):
            show_notice(error, key="stored-error")
    with st.container(), noticed("datasets"):
        st.subheader("Datasets")
        datasets(source, feed)
    with st.container(), noticed("bar sets"):
        st.subheader("Uploaded bars")
        bar_sets(source, feed)
    with st.container(), noticed("imported files"):
        imported_files(feed)


def datasets(source: sources.Source, feed: Feeder) -> None:
    """Show the datasets by symbol; deleting one asks again."""
    found: pl.DataFrame = feed.ask(DATASETS).value
    if found.is_empty():
        st.caption(
            "None yet. Ticks and raw trades that you bring become a dataset of their own, beside "
            "the live trades and never among them."
        )
        return
    st.dataframe(
        found.select(
            pl.col("symbol").str.to_uppercase(), "dataset", "trades", "first_ts", "last_ts",
            "created_at",
        ),
        key="datasets-table",
        alt="Datasets by symbol",
        hide_index=True,
        column_config={
            "symbol": _COLUMN.TextColumn("Symbol", pinned=True),
            "dataset": "Dataset",
            "trades": count("Trades"),
            "first_ts": moment("First (UTC)"),
            "last_ts": moment("Last (UTC)"),
            "created_at": moment("Made (UTC)"),
        },
    )  # fmt: skip
    names = found["dataset"].unique(maintain_order=True).to_list()
    totals = dict(found.group_by("dataset").agg(pl.col("trades").sum()).iter_rows())
    words = {name: f"{name} · {compact(totals[name])} trades" for name in names}
    deletion(
        "dataset",
        words,
        lambda name: delete_dataset(source.store, name),
        "All trades and bars of the dataset leave the file; live data stay as they are.",
        feed,
    )


def bar_sets(source: sources.Source, feed: Feeder) -> None:
    """Show the uploaded bars by symbol and timeframe; deleting some asks again."""
    found: pl.DataFrame = feed.ask(BAR_SETS).value
    if found.is_empty():
        st.caption(
            "None. Bars that you bring for a symbol and a timeframe are shown in place of those "
            "made from trades, for exactly that timeframe, until you delete them."
        )
        return
    st.dataframe(
        found.with_columns(
            pl.col("symbol").str.to_uppercase(),
            timeframe=pl.Series(
                [timeframe_label(name) for name in found["timeframe"]], dtype=pl.String
            ),
        ),
        key="bar-sets-table",
        alt="Uploaded bars by symbol and timeframe",
        hide_index=True,
        column_config={
            "symbol": _COLUMN.TextColumn("Symbol", pinned=True),
            "timeframe": "Timeframe",
            "rows": count("Bars"),
            "first_ts": moment("First (UTC)"),
            "last_ts": moment("Last (UTC)"),
            "origin": "Origin",
            "uploaded_at": moment("Uploaded (UTC)"),
        },
    )
    sums = found.group_by("symbol", "timeframe", maintain_order=True).agg(pl.col("rows").sum())
    words = {
        (symbol, timeframe): f"{symbol.upper()} {timeframe_label(timeframe)} · {rows:,} bars"
        for symbol, timeframe, rows in sums.iter_rows()
    }
    deletion(
        "bars",
        words,
        lambda chosen: delete_bars(source.store, *chosen),
        "The bars leave the file; what trades and klines give is shown again.",
        feed,
    )


def imported_files(feed: Feeder) -> None:
    """Show which files were imported, with what became of their rows."""
    found: pl.DataFrame = feed.ask(FILES).value
    if found.is_empty():
        return
    with st.expander(f"Imported files ({found.height:,})", key="imported-files"):
        st.dataframe(
            found.with_columns(
                pl.col("dataset").replace("", None), pl.col("content_hash").str.head(12)
            ),
            key="imported-table",
            alt="Imported files",
            hide_index=True,
            column_config={
                "name": _COLUMN.TextColumn("File", pinned=True),
                "kind": "Kind",
                "dataset": "Dataset",
                "rows_read": count("Rows read"),
                "rows_kept": count("Kept"),
                "rows_duplicate": count("Duplicate"),
                "rows_rejected": count("Rejected"),
                "imported_at": moment("Imported (UTC)"),
                "content_hash": _COLUMN.TextColumn(
                    "Content", help="The first digits of its SHA-256: the same content is not "
                    "taken twice.",
                ),
            },
        )  # fmt: skip


def deletion(
    what: str, words: dict[Any, str], act: Callable[[Any], object], advice: str, feed: Feeder
) -> None:
    """Show the way out of one kind of thing: choose it, read what happens, confirm."""
    with st.popover(f"Delete {what} …", icon=":material/delete:", key=f"deletion-{what}"):
        chosen = st.selectbox(
            "Which", list(words), index=None, format_func=words.__getitem__,
            key=f"delete-{what}", placeholder="Choose",
        )  # fmt: skip
        st.caption(advice)
        sure = st.button(
            "Delete for good", key=f"delete-{what}-sure", type="primary", disabled=chosen is None,
            icon=":material/delete_forever:",
        )  # fmt: skip
        if sure and chosen is not None:
            try:
                with st.spinner(f"Deleting {words[chosen]}"):
                    act(chosen)
                feed.refresh()
            except PerpduckError as error:
                st.session_state["_stored_error"] = error
            st.rerun()
