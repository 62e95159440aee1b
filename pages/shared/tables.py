"""The Data page's tables: frames in, Streamlit tables out, times on the chosen clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import polars as pl
import streamlit as st

from core.charts import price_decimals
from core.models import CoverageSummary
from pages.shared.cards import UNKNOWN

_COLUMN = st.column_config


def symbols_table(symbols: pl.DataFrame, tick_sizes: Mapping[str, float], *, running: bool) -> None:
    """Show one row a watched symbol; prices have as many decimals as their tick size."""
    prices = [
        UNKNOWN if price is None else f"{price:,.{price_decimals(tick_sizes.get(symbol), price)}f}"
        for symbol, price in symbols.select("symbol", "last_price").iter_rows()
    ]
    shown = symbols.with_columns(
        pl.col("symbol").str.to_uppercase(), last_price=pl.Series(prices, dtype=pl.String)
    )
    if not running:
        # The rows are the last that the worker wrote; nothing arrives any more.
        shown = shown.with_columns(state=pl.lit("not followed now"), trades_per_s=pl.lit(0.0))
    st.dataframe(
        shown,
        key="symbols-table",
        alt="Status of each watched symbol",
        hide_index=True,
        column_config={
            "symbol": _COLUMN.TextColumn("Symbol", pinned=True),
            "state": _COLUMN.TextColumn("State"),
            "last_price": _COLUMN.TextColumn("Last price", alignment="right"),
            "last_trade_ts": _COLUMN.DatetimeColumn("Last trade (UTC)", format="HH:mm:ss.SSS"),
            "lag_s": _COLUMN.NumberColumn(
                "Behind s", format="%.2f", help="Age of the newest event when it arrived."
            ),
            "trades_per_s": _COLUMN.NumberColumn("Trades/s", format="%.1f"),
            "trades_stored": _COLUMN.NumberColumn("Stored", format="localized"),
            "reconnects": _COLUMN.NumberColumn("Reconnects"),
            "open_gaps": _COLUMN.NumberColumn("Gaps", help="Runs of ids not yet held."),
            "missing_trades": _COLUMN.NumberColumn("Missing", format="localized"),
            "note": _COLUMN.TextColumn("Note"),
        },
    )


def gaps_table(gaps: pl.DataFrame) -> None:
    """Show the gaps that are not closed, the newest first."""
    if gaps.is_empty():
        st.caption(
            ":material/check: No open gaps: every id between the first and the last is held."
        )
        return
    st.dataframe(
        gaps.select(
            pl.col("symbol").str.to_uppercase(), "state", "missing", "first_id", "last_id",
            "after_ts", "before_ts", "opened_at",
        ),
        key="gaps-table",
        alt="Gaps in the stored trades",
        hide_index=True,
        column_config={
            "symbol": _COLUMN.TextColumn("Symbol", pinned=True),
            "state": _COLUMN.TextColumn(
                "State", help="open: is being filled; lost: older than the exchange keeps."
            ),
            "missing": _COLUMN.NumberColumn("Trades missing", format="localized"),
            "first_id": _COLUMN.NumberColumn("First id", format="plain"),
            "last_id": _COLUMN.NumberColumn("Last id", format="plain"),
            "after_ts": _COLUMN.DatetimeColumn("After (UTC)", format="D MMM HH:mm:ss"),
            "before_ts": _COLUMN.DatetimeColumn("Before (UTC)", format="D MMM HH:mm:ss"),
            "opened_at": _COLUMN.DatetimeColumn("Noticed (UTC)", format="D MMM HH:mm:ss"),
        },
    )  # fmt: skip


def coverage_table(found: Sequence[CoverageSummary]) -> None:
    """Show how complete each symbol is over all that is stored."""
    rows = [
        {
            "Symbol": one.symbol.upper(),
            "Coverage": coverage_text(one),
            "Trades": one.held,
            "Missing": one.missing,
            "Since (UTC)": _minute(one.since),
            "Until (UTC)": _minute(one.until),
        }
        for one in found
    ]
    frame = pl.DataFrame(rows) if rows else pl.DataFrame({"Symbol": []})
    localized = _COLUMN.NumberColumn(format="localized")
    st.dataframe(
        frame,
        key="coverage-table",
        alt="Coverage of each stored symbol",
        hide_index=True,
        column_config={"Trades": localized, "Missing": localized},
    )


def coverage_text(found: CoverageSummary) -> str:
    """Return the share of ids held, never 100% while one is missing."""
    if found.fraction is None:
        return UNKNOWN
    return "100%" if not found.missing else f"{min(100 * found.fraction, 99.99):.2f}%"


def _minute(at: datetime | None) -> str:
    return UNKNOWN if at is None else f"{at:%Y-%m-%d %H:%M}"
