"""What stands behind a backtest's numbers: its checks in figures and tables, and the ledger."""

from __future__ import annotations

from typing import Any

import polars as pl
import streamlit as st

from core.backtest.audit import Audit
from core.backtests.check_charts import noise_chart, reversion_chart, sensitivity_chart
from core.backtests.running import BacktestResult
from core.backtests.words import check_words, counted, percent
from pages.shared.backtest_view import fold_times
from pages.shared.figure import figure

HEIGHT = 300
# More rows than this make the browser wait.
MOST_SIGNALS = 5000
_TITLES = {
    "noise": "Against noise",
    "folds": "Out of sample",
    "sweep": "Sensitivity",
    "costs": "Costs",
    "audit": "Look-ahead audit",
}
_COLUMN = st.column_config
_MONEY = {
    "gross": "Before every cost, fill to fill.",
    "fees": "Of all fills.",
    "slippage": "Paid price against VWAP or open, all fills.",
    "funding": "Received (+) or paid (−) at settlements while it was held.",
    "net": "gross − fees − slippage + funding.",
    "max_adverse": "How far below its start the trade ever stood, marked at closes.",
}


def checks(result: BacktestResult, *, is_over: bool) -> None:
    """Show each check: a sentence, and what proves it."""
    words = check_words(result)
    shown = {"noise": _noise, "folds": _folds, "sweep": _sweep, "costs": _costs, "audit": _audit}
    with st.grid(2, min_column_width=360, key="checks"):
        for name, title in _TITLES.items():
            with st.container(border=True, height="stretch", key=f"check-{name}"):
                st.markdown(f"**{title}**")
                missing = "Not run: it was cancelled before." if is_over else "Still running …"
                st.caption(words.get(name, missing))
                shown[name](result)


def _noise(result: BacktestResult) -> None:
    if (found := result.honesty.noise) is not None:
        figure(noise_chart(found), key="noise", height=HEIGHT)


def _folds(result: BacktestResult) -> None:
    folds = result.honesty.folds
    if not folds:
        return
    table = pl.DataFrame(
        {
            "tested": [_span(result, fold.test) for fold in folds],
            "trained": [_span(result, fold.train) for fold in folds],
            "entry": [fold.enter for fold in folds],
            "window": [fold.window_bars for fold in folds],
            "train": [100 * fold.train_net for fold in folds],
            "test": [100 * fold.test_net for fold in folds],
            "trades": [fold.test_trades for fold in folds],
        }
    )
    percentage = "%+.2f%%"
    st.dataframe(
        table, hide_index=True, key="folds", height="content", alt="Test stretches",
        column_config={
            "tested": _COLUMN.TextColumn("Tested (UTC)"),
            "trained": _COLUMN.TextColumn("Trained (UTC)"),
            "entry": _COLUMN.NumberColumn("Entry", format="%g"),
            "window": _COLUMN.NumberColumn("Window", format="localized"),
            "train": _COLUMN.NumberColumn("Train net", format=percentage,
                                          help="Of the best entry and window, in-sample."),
            "test": _COLUMN.NumberColumn("Test net", format=percentage),
            "trades": _COLUMN.NumberColumn("Trades"),
        },
        column_order=("tested", "entry", "window", "train", "test", "trades", "trained"),
    )  # fmt: skip


def _span(result: BacktestResult, rows: tuple[int, int]) -> str:
    first, last = fold_times(result, rows)
    return f"{first:%d %b %H:%M} – {last:%d %b %H:%M}"


def _sweep(result: BacktestResult) -> None:
    if (found := result.honesty.sweep) is None:
        return
    spec, rules = result.traded.spec, result.done.settings.rules
    chart = sensitivity_chart(found, enter=rules.enter, window_bars=spec.window_bars)
    figure(chart, key="sensitivity", height=HEIGHT + 40)
    st.caption(
        "○ chosen ☆ best · grey: the account was lost, or never traded. A lone bright cell among "
        "dim ones is luck."
    )


def _costs(result: BacktestResult) -> None:
    found = result.honesty.costs
    if found is None or not len(found.predicted_bps):
        return
    start = result.done.books.start
    with st.container(horizontal=True, gap="large"):
        for factor, net in found.nets.items():
            st.metric(f"{factor:g}× costs", percent(net / start), width="content")
    figure(reversion_chart(found), key="reversion", height=HEIGHT - 60)


def _audit(result: BacktestResult) -> None:
    found = result.honesty.audit
    if found is None or found.is_clean:
        return
    st.caption(audit_words(found))
    st.dataframe(
        found.signals.tail(MOST_SIGNALS).reverse(), hide_index=True, key="changes", height=240,
        column_config={
            "ts": _COLUMN.DatetimeColumn("Bar (UTC)", format="D MMM HH:mm:ss"),
            "zscore": _COLUMN.NumberColumn("z", format="%+.4f", help="Of the whole history."),
            "zscore_then": _COLUMN.NumberColumn(
                "z then", format="%+.4f", help="Of the history that ends at the cut."
            ),
            "beta": _COLUMN.NumberColumn("β", format="%.5f"),
            "beta_then": _COLUMN.NumberColumn("β then", format="%.5f"),
            "first_cut": _COLUMN.DatetimeColumn("Cut at (UTC)", format="D MMM HH:mm:ss"),
            "cuts": _COLUMN.NumberColumn("Cuts", help="How many cuts have it otherwise."),
        },
    )  # fmt: skip


def audit_words(found: Audit) -> str:
    """Return how many signals and trades changed, and how many of them are shown."""
    trades = max(one.trades for one in found.changes)
    shown = (
        f", the last {MOST_SIGNALS:,} shown, all in the downloads"
        if found.signals.height > MOST_SIGNALS
        else ""
    )
    return (
        f"{counted(found.signals.height, 'signal')} changed{shown}; up to "
        f"{counted(trades, 'trade')} at a cut."
    )


def ledger(result: BacktestResult, decimals: tuple[int, int]) -> None:
    """Show one row a trade, the newest first; a click on a head sorts."""
    trades = result.done.books.trades.drop("decided_row").reverse()
    spec = result.traded.spec
    config: dict[str, Any] = {
        "side": _COLUMN.TextColumn("Side", help="long: y bought, x sold."),
        "entry_ts": _COLUMN.DatetimeColumn("In (UTC)", format="D MMM HH:mm:ss"),
        "exit_ts": _COLUMN.DatetimeColumn("Out (UTC)", format="D MMM HH:mm:ss"),
        "reason": _COLUMN.TextColumn("Why out", help="exit, stop, time stop; open at the end."),
        "bars_held": _COLUMN.NumberColumn("Bars", format="%.0f"),
        "hedge_error": _COLUMN.NumberColumn(
            "Hedge error", format="percent",
            help="By how much rounding to steps left x too large (+) or too small (−).",
        ),
    }  # fmt: skip
    for leg, symbol, places in zip("yx", (spec.y, spec.x), decimals, strict=True):
        name = symbol.upper()
        config[f"size_{leg}"] = _COLUMN.NumberColumn(f"{name} size", format="%.6g")
        config[f"price_{leg}_in"] = _COLUMN.NumberColumn(f"{name} in", format=f"%.{places}f")
        config[f"price_{leg}_out"] = _COLUMN.NumberColumn(f"{name} out", format=f"%.{places}f")
    for key, words in _MONEY.items():
        label = key.replace("_", " ").capitalize()
        config[key] = _COLUMN.NumberColumn(label, format="%.2f", help=words)
    order = (
        "entry_ts", "exit_ts", "side", "reason", "net", "gross", "fees", "slippage", "funding",
        "max_adverse", "bars_held", "size_y", "price_y_in", "price_y_out", "size_x",
        "price_x_in", "price_x_out", "hedge_error",
    )  # fmt: skip
    st.dataframe(
        trades, hide_index=True, key="ledger", column_config=config, column_order=order,
        placeholder="open", alt="Ledger, one row a trade",
        height=min(420, 60 + 35 * max(trades.height, 1)),
    )  # fmt: skip
