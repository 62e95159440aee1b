"""Perpduck in the browser: navigation, theme and the scripts' routes; nothing else.

``streamlit run streamlit_app.py`` finds the variable ``app``, a server that runs this same
file once a visit as its script.
"""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pages.shared.assets import asset_routes
from pages.shared.frame import frame
from pages.shared.places import CORRELATION, DATA, PAIR, PRICES
from pages.shared.upload_route import upload_routes


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
        ),
        st.Page(
            PAIR,
            title="Pair",
            icon=":material/compare_arrows:",
            url_path="pair",
            help="Hedge ratio, spread and z-score of two symbols, and whether it comes back.",
        ),
        st.Page(
            CORRELATION,
            title="Correlation",
            icon=":material/grid_on:",
            url_path="correlation",
            help="The matrix of all symbols, and the bar size on which to measure a pair.",
        ),
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
    frame()
    page.run()


@asynccontextmanager
async def warm(_: st.App) -> AsyncIterator[None]:
    """Keep what start-up imported out of every later garbage collection."""
    # polars, duckdb, statsmodels and all that a page needs
    import pages.shared.correlation_view
    import pages.shared.pair_view
    import pages.shared.price_view  # noqa: F401

    # A cold server takes the folder pages/ for Streamlit's old mechanism until a first script has
    # named its pages, and would call a shared link to one of them unknown.
    PagesManager.uses_pages_directory = False
    gc.collect()
    gc.freeze()
    yield


if get_script_run_ctx(suppress_warning=True) is not None:
    main()
else:
    app = st.App(__file__, routes=[*asset_routes(), *upload_routes()], lifespan=warm)
