"""The Correlation page in the browserless runner: matrix, pickers, chosen pair, download."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.exporting import pairs_table
from core.live.feeder import feeder
from core.stats.asynchronous import HayashiYoshida, Signature
from core.store import Store
from core.trade_writer import write_trades
from pages.shared.correlation_view import pair_detail, signature_words
from tests.pages.test_pages import words
from tests.pages.test_pair_page import cards, pair_store, second_by_second

PAGE = "pages/market/correlation.py"
App = Callable[..., AppTest]


@pytest.fixture
def pairs(home: Path) -> Store:
    """Two hours of seconds of three symbols."""
    return pair_store(home, 7_200)


def view(page: AppTest):  # type: ignore[no-untyped-def]
    return page.session_state["_matrix_shown"]["view"]


def test_the_numbers_come_first_and_say_what_they_stand_on(app: App, pairs: Store) -> None:
    page = app(PAGE)
    assert not page.error, [one.value for one in page.error]
    found = cards(page)
    assert list(found) == ["Strongest pair", "Weakest pair", "Median ρ", "Common bars"]
    assert page.metric[0].delta in ("ARBUSDT · OPUSDT", "OPUSDT · ARBUSDT")
    assert "3 pairs" in page.metric[2].delta
    assert "1s" in page.metric[3].delta
    matrix = view(page).matrix
    assert set(matrix.symbols) == {"arbusdt", "opusdt", "btcusdt"}
    assert np.allclose(np.diag(matrix.values), 1.0)
    assert np.allclose(matrix.values, matrix.values.T)
    strongest = np.abs(matrix.values[np.triu_indices(3, 1)]).max()
    assert float(found["Strongest pair"].replace("−", "-")) == pytest.approx(strongest, abs=6e-4)


def test_the_matrix_is_numpy_s_on_the_panel(app: App, pairs: Store) -> None:
    found = view(app(PAGE, mtf="1m", mspan="1h"))
    assert found.panel.timeframe == "1min"
    assert len(found.panel.closes) == pytest.approx(60, abs=2)
    returns = np.diff(np.log(found.panel.closes), axis=0)
    returns = returns[np.isfinite(returns).all(axis=1)]
    np.testing.assert_allclose(found.matrix.values, np.corrcoef(returns.T), atol=1e-9)


def test_each_picker_changes_what_it_says(app: App, pairs: Store) -> None:
    base = view(app(PAGE, mtf="1s", mspan="1h"))
    levels = app(PAGE, mtf="1s", mspan="1h", on="levels")
    assert "40%" in "\n".join(one.value for one in levels.warning)
    assert not np.allclose(view(levels).matrix.values, base.matrix.values)
    ranks = view(app(PAGE, mtf="1s", mspan="1h", kind="Spearman"))
    assert ranks.matrix.kind == "spearman"
    assert view(app(PAGE, mtf="1s", mspan="15m")).panel.closes.shape[0] == 900
    clustered = view(app(PAGE, mtf="1s", mspan="1h", order="clustered"))
    places = [clustered.matrix.symbols[at] for at in clustered.order]
    assert abs(places.index("arbusdt") - places.index("opusdt")) == 1
    middle = float(np.nanmedian(base.panel.closes[:, base.matrix.symbols.index("opusdt")])) * 10
    thin = view(app(PAGE, mtf="1s", mspan="1h", mmin=str(round(middle, 2))))
    assert thin.matrix.counts.sum() < base.matrix.counts.sum()


def test_some_symbols_can_be_chosen(app: App, pairs: Store) -> None:
    page = app(PAGE, of="ARBUSDT")
    assert "at least two" in words(page)


def test_the_strongest_pair_is_shown_in_detail_with_the_bar_size_to_use(
    app: App, pairs: Store
) -> None:
    page = app(PAGE)
    text = words(page)
    assert "ARBUSDT / OPUSDT" in text or "OPUSDT / ARBUSDT" in text
    assert "Hayashi-Yoshida" in text or "No bar size" in text
    assert "trades over" in text


def test_range_and_least_volume_change_the_chosen_pair_at_once(app: App, pairs: Store) -> None:
    """In one session, as a user does: nothing of the choice before may stay on the screen."""
    page = app(PAGE, mtf="1s", mspan="1h")
    feed, chosen = feeder(pairs), ("arbusdt", "opusdt")
    hour = pair_detail(feed, view(page), chosen)
    page.selectbox(key="mspan").set_value("15m").run()
    quarter = pair_detail(feed, view(page), chosen)
    assert hour.rolling_spec is not None
    assert quarter.rolling_spec is not None
    assert quarter.rolling_spec["data"][0]["x"][0] > hour.rolling_spec["data"][0]["x"][0]
    middle = float(np.nanmedian(view(page).panel.closes[:, 1])) * 10
    page.number_input(key="mmin").set_value(round(middle, 2)).run()
    thin = pair_detail(feed, view(page), chosen)
    assert thin.rolling_spec != quarter.rolling_spec


def test_a_leg_that_stands_still_leaves_the_rest_of_the_page(app: App, pairs: Store) -> None:
    end_ms = int(time.time()) * 1000 - 30_000
    with pairs.write() as con:
        still = second_by_second("ethusdt", np.zeros(900), end_ms, 3_400.0)
        write_trades(con, still, now_ms=end_ms)
    page = app(PAGE, mtf="1s", mspan="15m")
    found = view(page)
    row, column = (found.matrix.symbols.index(name) for name in ("ethusdt", "arbusdt"))
    assert found.matrix.reason(row, column) == "one of the two never moves"
    page.session_state["_cell"] = ("ethusdt", "arbusdt")
    page.run()
    text = words(page)
    assert "ETHUSDT / ARBUSDT  ρ –" in text
    assert "never moves" in text
    assert not page.error
    assert "do not allow an answer" not in text


def test_the_symbols_of_a_shared_link_are_counted_at_once(app: App, pairs: Store) -> None:
    page = app(PAGE, of=["ARBUSDT", "OPUSDT"])
    assert "2 symbols" in [one.proto.popover.label for one in page.get("popover")]


@pytest.mark.parametrize(("first", "is_said"), [(0.3, True), (0.9, False)])
def test_shorter_bars_are_said_to_read_less_only_where_they_do(first: float, is_said: bool) -> None:
    values = np.array([first, 0.5, 0.8, 0.8])
    found = Signature(
        (1, 5, 30, 60), values, values - 0.1, values + 0.1, np.full(4, 500),
        HayashiYoshida(0.7, 1e-6, 0.8, 9, 9), 0.8, 30, "",
    )  # fmt: skip
    day = datetime(2026, 1, 2), datetime(2026, 1, 1)
    text = signature_words(found, 9, 9, *day)
    assert text.startswith("**Use 30s bars or longer**")
    assert ("Shorter bars read less" in text) is is_said
    assert "follows" not in text


def test_the_table_and_the_download_are_the_matrix(app: App, pairs: Store) -> None:
    page = app(PAGE)
    found = view(page)
    table = pairs_table(found.matrix)
    assert table.columns == ["symbol_a", "symbol_b", "correlation", "bars"]
    assert table.height == 3
    assert table["correlation"].is_sorted(descending=True)
    shown = page.dataframe[0].value
    assert set(shown["Pair"]) == {
        f"{a.upper()} / {b.upper()}" for a, b in table.select("symbol_a", "symbol_b").iter_rows()
    }


def test_too_many_closes_are_refused_in_words(app: App, pairs: Store) -> None:
    page = app(PAGE, mtf="1s", mspan="all")
    assert not page.exception


def test_hardly_any_data_is_an_answer_too(app: App, home: Path) -> None:
    pair_store(home, 4)
    page = app(PAGE, mtf="1m", mspan="1d")
    assert not page.exception
    assert "closed bars" in words(page)
