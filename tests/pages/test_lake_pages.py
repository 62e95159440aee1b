"""A lake whose files are gone: a notice where its trades are needed, and all else goes on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta

import pytest
from streamlit.testing.v1 import AppTest

from core import lake_job
from core.config import default_lake
from core.errors import LakeMissing
from core.exporting import pairs_table
from core.lake_job import move_days
from core.store import Store
from core.trade_writer import utc_now
from tests.pages.test_downloads import made as made
from tests.pages.test_pages import words

App = Callable[..., AppTest]
PRICES, CORRELATION = "pages/market/prices.py", "pages/market/correlation.py"


@pytest.fixture
def lost(full: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """All trades are in a lake that is no more."""
    monkeypatch.setattr(lake_job, "PAUSE_S", 0.0)
    lake = default_lake(full.path)
    move_days(full, lake, utc_now().date() + timedelta(days=2))
    shutil.rmtree(lake)
    return full


def test_prices_go_on_and_the_download_says_why_it_cannot_be(
    app: App, lost: Store, made: dict[str, Callable[[], bytes]]
) -> None:
    page = app(PRICES, source="practice", symbols="btcusdt", range="5m")
    assert not page.exception
    assert not page.error
    assert page.session_state["_prices_shown"]["view"].shown().height > 0
    with pytest.raises(LakeMissing):
        made["perpduck-btcusdt-trades.parquet"]()
    page.run()
    assert "Trades of btcusdt" in page.toast[0].value


def test_the_matrix_is_shown_and_a_notice_stands_for_the_pair_s_trades(
    app: App, lost: Store
) -> None:
    page = app(CORRELATION, source="practice")
    assert not page.exception
    assert pairs_table(page.session_state["_matrix_shown"]["view"].matrix).height == 3
    assert "Files of the lake are missing" in words(page)
    assert "cannot be read from the lake" in words(page)
