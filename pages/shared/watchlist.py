"""The watchlist: search the exchange's contracts, add, remove."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl
import streamlit as st

from core.commands import add_to_watchlist, remove_from_watchlist
from core.errors import PerpduckError
from core.live.feeder import feeder
from core.live.pulse import Pulse
from core.store import Store
from pages.shared import sources
from pages.shared.frame import counted
from pages.shared.notices import show_notice

_TRADABLE = ("PERPETUAL", "TRADIFI_PERPETUAL")


def watchlist(source: sources.Source, pulse: Pulse) -> None:
    """Show both halves side by side; the worker follows within a flush or two."""
    if not source.store.exists():
        st.caption("The watchlist opens with the first start of the worker.")
        return
    add, remove = st.columns(2, vertical_alignment="bottom")
    with add, st.form("add", border=False, clear_on_submit=True):
        options = addable(pulse)
        st.multiselect(
            "Add symbols",
            options,
            format_func=str.upper,
            key="add-symbols",
            accept_new_options=not options,
            placeholder=f"Search {counted(len(options), 'contract')}"
            if options
            else "Type a symbol",
            help="Perpetual contracts that the exchange trades now.",
        )
        st.form_submit_button("Add", icon=":material/add:", on_click=_add, args=(source,))
    with remove, st.form("remove", border=False, clear_on_submit=True):
        st.multiselect(
            "Remove symbols",
            list(pulse.watchlist),
            format_func=str.upper,
            key="remove-symbols",
            placeholder=f"{len(pulse.watchlist)} watched",
            help="The worker stops following them; what is stored of them stays.",
        )
        st.form_submit_button("Remove", icon=":material/remove:", on_click=_remove, args=(source,))
    if error := st.session_state.pop("_watchlist_error", None):
        show_notice(error, key="watchlist")


def addable(pulse: Pulse) -> list[str]:
    """Return the contracts that can be watched and are not yet."""
    if pulse.contracts.is_empty():
        return []
    found = pulse.contracts.filter(
        (pl.col("status") == "TRADING")
        & pl.col("contract_type").is_in(_TRADABLE)
        & ~pl.col("symbol").is_in(list(pulse.watchlist))
    )
    return found["symbol"].to_list()


def _add(source: sources.Source) -> None:
    _change(source, "add-symbols", add_to_watchlist)


def _remove(source: sources.Source) -> None:
    _change(source, "remove-symbols", remove_from_watchlist)


def _change(
    source: sources.Source, key: str, command: Callable[[Store, Sequence[str]], None]
) -> None:
    chosen = [str(symbol) for symbol in st.session_state.get(key) or []]
    if not chosen:
        return
    try:
        command(source.store, chosen)
        feeder(source.store).refresh()
    except PerpduckError as error:
        st.session_state["_watchlist_error"] = error
