"""Perpduck in the browser: navigation, theme and the scripts' routes; nothing else.

``streamlit run streamlit_app.py`` finds the variable ``app``, a server that runs this same
file once a visit as its script.
"""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pages.shared.assets import asset_routes
from pages.shared.frame import DATA, PRICES, frame


def main() -> None:
    """Show the frame and the page that the address names."""
    st.set_page_config("Perpduck", "🕯️", layout="wide")
    market = [
        st.Page(
            PRICES,
            title="Prices",
            icon=":material/candlestick_chart:",
            url_path="prices",
            default=True,
            help="Candles and volume, live, with the numbers of the visible range.",
        )
    ]
    operate = [
        st.Page(
            DATA,
            title="Data",
            icon=":material/database:",
            url_path="data",
            help="The worker, the watchlist, gaps and coverage, the file.",
        )
    ]
    page = st.navigation({"Market": market, "Operate": operate}, position="top")
    if st.session_state.pop("_go", None) == "data":
        st.switch_page(operate[0])
    frame()
    page.run()


@asynccontextmanager
async def warm(_: st.App) -> AsyncIterator[None]:
    """Keep what start-up imported out of every later garbage collection."""
    import pages.shared.price_view  # noqa: F401 - polars, duckdb and all that a page needs

    gc.collect()
    gc.freeze()
    yield


if get_script_run_ctx(suppress_warning=True) is not None:
    main()
else:
    app = st.App(__file__, routes=asset_routes(), lifespan=warm)
