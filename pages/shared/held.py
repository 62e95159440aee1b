"""What the worker keeps by itself: klines and their check, funding, the lake, the file."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import streamlit as st

from core.config import load_settings
from core.live.feeder import Feeder, feeder
from core.live.questions import TableCounts
from pages.shared import sources
from pages.shared.cards import UNKNOWN, compact
from pages.shared.frame import counted
from pages.shared.notices import noticed
from pages.shared.own_questions import FUNDING, LAKE, KlineCheck, KlinesHeld
from pages.shared.stored import count, moment

_COLUMN = st.column_config
_CHECK_HELP = (
    "Minutes whose trades are all held, made into bars here, against the exchange's own bars of "
    "the same minutes. They should be equal to the last digit."
)


@st.fragment(run_every=5.0)
def exchange_bars(source: sources.Source) -> None:
    """Show the exchange's minutes that are held, and how ours compare with them."""
    feed = feeder(source.store)
    st.subheader("Exchange bars and integrity", help=_CHECK_HELP)
    with noticed("klines"):
        found: pl.DataFrame = feed.ask(KlinesHeld()).value
        if found.is_empty():
            st.caption(
                "None yet. The worker fetches the last days of 1-minute bars for every symbol of "
                "the watchlist; kline archives that you bring are kept here as well."
            )
            return
        check = _check(feed, found["symbol"].to_list())
        _verdict(check)
        _klines_table(found, check)


def _check(feed: Feeder, symbols: list[str]) -> pl.DataFrame:
    questions = [KlineCheck(symbol) for symbol in symbols]
    first = feed.ask(questions[0], *questions[1:])
    answers = [first, *filter(None, map(feed.known, questions[1:]))]
    return pl.concat([answer.value for answer in answers])


def _verdict(check: pl.DataFrame) -> None:
    compared = int(check["compared"].sum())
    different = int(check["different_price"].sum() + check["different_volume"].sum())
    if not compared:
        st.caption(
            "Nothing to compare yet: no minute has both all of its trades and the exchange's bar."
        )
    elif not different:
        st.markdown(
            f":green[:material/check: All {compared:,} minutes that can be compared equal the "
            "exchange's own bars]: prices and volumes, to the last digit."
        )
    else:
        worst = check["worst_bps"].max()
        st.markdown(
            f":orange[▲ {counted(different, 'difference')} in {compared:,} minutes compared], "
            f"{worst or 0.0:.2g} bps in price at the most."
        )


def _klines_table(found: pl.DataFrame, check: pl.DataFrame) -> None:
    shown = found.join(
        check.select("symbol", "compared", "different_price", "different_volume", "worst_bps"),
        on="symbol", how="left", maintain_order="left",
    )  # fmt: skip
    shown = shown.with_columns(
        pl.col("symbol").str.to_uppercase(),
        equal=pl.col("compared") - pl.max_horizontal("different_price", "different_volume"),
    )
    st.dataframe(
        shown.select(
            "symbol", "rows", "first_ts", "last_ts", "compared", "equal", "different_price",
            "different_volume", "worst_bps",
        ),
        key="klines-table",
        alt="Exchange bars held, and how ours compare",
        hide_index=True,
        column_config={
            "symbol": _COLUMN.TextColumn("Symbol", pinned=True),
            "rows": count("Minutes held"),
            "first_ts": moment("First (UTC)"),
            "last_ts": moment("Last (UTC)"),
            "compared": count("Compared", _CHECK_HELP),
            "equal": count("Equal"),
            "different_price": count("Other price", "Open, high, low or close differs."),
            "different_volume": count("Other volume"),
            "worst_bps": _COLUMN.NumberColumn(
                "Worst bps", format="%.3g", help="Largest difference of a price."
            ),
        },
    )  # fmt: skip


@st.fragment(run_every=5.0)
def funding(source: sources.Source) -> None:
    """Show the newest funding rate of each symbol and when the next one comes."""
    st.subheader("Funding")
    with noticed("funding"):
        found: pl.DataFrame = feeder(source.store).ask(FUNDING).value
        if found.is_empty():
            st.caption("None yet. The worker keeps the rates of every symbol of the watchlist.")
            return
        percent = _COLUMN.NumberColumn
        st.dataframe(
            found.select(
                pl.col("symbol").str.to_uppercase(), pl.col("rate") * 100, "last_ts", "next_ts",
                pl.col("mean_rate") * 100, "rates", "first_ts",
            ),
            key="funding-table",
            alt="Funding rates by symbol",
            hide_index=True,
            column_config={
                "symbol": _COLUMN.TextColumn("Symbol", pinned=True),
                "rate": percent(
                    "Latest %", format="%+.4f", help="Longs pay shorts where it is positive."
                ),
                "last_ts": moment("Settled (UTC)"),
                "next_ts": _COLUMN.DatetimeColumn(
                    "Next (UTC)", format="YYYY-MM-DD HH:mm",
                    help="As long after the last as the last came after the one before.",
                ),
                "mean_rate": percent("Mean %", format="%+.4f", help="Over all rates held."),
                "rates": count("Rates"),
                "first_ts": moment("Since (UTC)"),
            },
        )  # fmt: skip


@st.fragment(run_every=5.0)
def file(source: sources.Source) -> None:
    """Show where the file is, how large it is, what has left it, and its rows by table."""
    st.subheader("File and lake")
    with noticed("file"):
        feed = feeder(source.store)
        size = compact(source.store.size_bytes())
        st.caption(f"`{source.store.path}` · {size}B on disk")
        with st.container():
            lake(source, feed.ask(LAKE).value)
        with st.expander("Rows by table", key="rows-by-table"):
            st.dataframe(
                feed.ask(TableCounts()).value,
                key="tables",
                alt="Rows of each table in the file",
                hide_index=True,
                width=420,
                column_config={"table": "Table", "rows": count("Rows")},
            )


def lake(source: sources.Source, found: pl.DataFrame) -> None:
    """Show the retention in force and the days that left the file."""
    st.caption(retention_words(source))
    if found.is_empty():
        return
    sizes = [sum(map(_size, paths)) for paths in found["paths"]]
    st.dataframe(
        found.with_columns(
            pl.col("symbol").str.to_uppercase(),
            size=pl.Series([f"{compact(size)}B" if size else UNKNOWN for size in sizes]),
        ).drop("paths"),
        key="lake-table",
        alt="Days moved to the lake, by symbol",
        hide_index=True,
        column_config={
            "symbol": _COLUMN.TextColumn("Symbol", pinned=True),
            "days": count("Days moved"),
            "files": count("Files"),
            "trades": count("Trades"),
            "first_day": _COLUMN.DateColumn("First day", format="YYYY-MM-DD"),
            "last_day": _COLUMN.DateColumn("Last day", format="YYYY-MM-DD"),
            "size": _COLUMN.TextColumn("Size", alignment="right"),
        },
    )


def retention_words(source: sources.Source) -> str:
    """Return how long trades stay in the file, and where they go then."""
    settings = load_settings()
    days = settings.retention_days
    if days is None:
        return (
            "Every trade stays in the file. With `PERPDUCK_KEEP_DAYS` finished days that are older "
            "move to Parquet, verified, and are read from there."
        )
    lake = (settings.practised() if source.is_practice else settings).lake
    return f"Days older than {counted(days, 'day')} move to `{lake}`, verified before they do."


def _size(path: str) -> int:
    """Return a lake file's bytes, 0 where it is not on a disk of this machine."""
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0
