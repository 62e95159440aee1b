"""Perpduck in the browser: navigation, theme and the scripts' routes; nothing else.

``streamlit run streamlit_app.py`` finds the variable ``app``, a server that runs this same
file once a visit as its script.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st
from starlette.middleware import Middleware
from streamlit.navigation.page import StreamlitPage
from streamlit.runtime.pages_manager import PagesManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.secrets import secrets_singleton

from core.alerts.sentry import Sentry
from core.api import Access, Guard, Limits, api_routes, demand_protection, minded
from core.config import load_settings
from core.errors import ConfigError
from pages.shared.assets import asset_routes
from pages.shared.frame import frame
from pages.shared.places import ALERTS, BACKTEST, CORRELATION, DATA, PAIR, PRICES, SCANNER
from pages.shared.sources import files
from pages.shared.upload_route import upload_routes

BACKTEST_WORDS = (
    "What trading the pair would have made after every cost, and what speaks against it."
)
SCANNER_WORDS = "All pairs of the market tested at once, and what of it is more than noise."
ALERTS_WORDS = "Rules that the worker watches, what fired, and where it was sent."
DATA_WORDS = "The worker, the watchlist, gaps and coverage, the file."


def main() -> None:
    """Show the frame and the page that the address names."""
    st.set_page_config("Perpduck", "🕯️", layout="wide")
    if has_login() and not st.user.is_logged_in:
        welcome_back()
        return
    page = st.navigation(
        {
            "Market": [
                place(
                    PRICES,
                    "Prices",
                    "candlestick_chart",
                    "Candles and volume, live, with the numbers of the visible range.",
                    is_first=True,
                ),
                place(
                    PAIR,
                    "Pair",
                    "compare_arrows",
                    "Hedge ratio, spread and z-score of two symbols, and whether it comes back.",
                ),
                place(
                    CORRELATION,
                    "Correlation",
                    "grid_on",
                    "The matrix of all symbols, and the bar size on which to measure a pair.",
                ),
                place(SCANNER, "Scanner", "radar", SCANNER_WORDS),
            ],
            "Research": [place(BACKTEST, "Backtest", "history", BACKTEST_WORDS)],
            "Operate": [
                place(ALERTS, "Alerts", "notifications", ALERTS_WORDS),
                place(DATA, "Data", "database", DATA_WORDS),
            ],
        },
        position="top",
    )
    frame()
    page.run()


def place(path: str, title: str, icon: str, words: str, *, is_first: bool = False) -> StreamlitPage:
    """Return a page of the navigation, at the address of its title."""
    return st.Page(
        path,
        title=title,
        icon=f":material/{icon}:",
        url_path=title.lower(),
        default=is_first,
        help=words,
    )


@asynccontextmanager
async def warm(_: st.App) -> AsyncIterator[None]:
    """Keep watch over the workers, and start-up's imports out of later garbage collections."""
    # polars, duckdb, statsmodels and all that a page needs
    import pages.shared.alert_preview
    import pages.shared.backtest_view
    import pages.shared.correlation_view
    import pages.shared.pair_view
    import pages.shared.price_view  # noqa: F401

    # A cold server takes the folder pages/ for Streamlit's old mechanism until a first script has
    # named its pages, and would call a shared link to one of them unknown.
    PagesManager.uses_pages_directory = False
    gc.collect()
    gc.freeze()
    sentry = Sentry(files)
    sentry.start()
    async with minded():
        yield
    sentry.stop()


def has_login() -> bool:
    """Return whether Streamlit's own login is configured."""
    return secrets_singleton.load_if_toml_exists() and "auth" in st.secrets


def welcome_back() -> None:
    """Ask for the login."""
    st.title("Perpduck")
    st.button("Log in", type="primary", on_click=st.login, icon=":material/login:")


def gate() -> Middleware:
    """Return what lets in who may; ends the process where others could get in unasked."""
    try:
        settings = load_settings()
        access = Access.of(settings, is_login=has_login())
        demand_protection(st.get_option("server.address"), access)
    except ConfigError as error:
        print(f"perpduck: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    limits = Limits(rate=settings.api_rate, upload_bytes=settings.api_upload_bytes)
    return Middleware(Guard, access=access, limits=limits)


if get_script_run_ctx(suppress_warning=True) is not None:
    main()
else:
    app = st.App(
        __file__,
        routes=[*asset_routes(), *upload_routes(), *api_routes()],
        middleware=[gate()],
        lifespan=warm,
    )
