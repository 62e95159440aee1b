"""Every page's downloads: made at the click, of what is shown, with words where they cannot be."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from core import exports
from core.bundle import read_bundle, restored
from core.bundle_kept import keep
from core.errors import NotEnoughData
from core.exporting import matrix_table, pairs_table
from core.store import Store
from pages.shared import downloads
from tests.pages.test_pages import words
from tests.pages.test_pair_page import PAIR, pair_store

App = Callable[..., AppTest]
PRICES, CORRELATION = "pages/market/prices.py", "pages/market/correlation.py"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[], bytes]]:
    """What the buttons of the last run would make, by file name; nothing is made before."""
    found: dict[str, Callable[[], bytes]] = {}

    def button(label: str, data: Any, *, file_name: str, **more: Any) -> None:
        assert callable(data), f"{label} is made before the click"
        assert more["on_click"] == "ignore"
        found[file_name] = data

    monkeypatch.setattr(downloads.st, "download_button", button)
    return found


def test_prices_give_bars_and_trades(
    app: App, full: Store, made: dict[str, Callable[[], bytes]]
) -> None:
    page = app(PRICES, source="practice", symbols="btcusdt", range="5m")
    shown = page.session_state["_prices_shown"]["view"].shown()
    name = next(name for name in made if name.endswith(".csv")).removesuffix(".csv")
    again = pl.read_csv(io.BytesIO(made[f"{name}.csv"]()), try_parse_dates=True)
    assert again["close"].to_list() == shown["close"].to_list()
    assert pl.read_parquet(made[f"{name}.parquet"]()).equals(shown)
    trades = pl.read_parquet(made["perpduck-btcusdt-trades.parquet"]())
    assert trades.height == shown["trades"].sum() > 100


def test_a_pair_gives_rows_statistics_and_bundle(
    app: App, home: Path, made: dict[str, Callable[[], bytes]]
) -> None:
    pair_store(home, 3_600)
    page = app(PAIR, source="practice", y="ARBUSDT", x="OPUSDT", tf="1s", span="15m")
    view = page.session_state["_pair_shown"]["view"]
    name = "perpduck-arbusdt-opusdt"
    kinds = (".csv", ".parquet", "-statistics.csv", ".zip")
    assert {f"{name}{kind}" for kind in kinds} <= set(made)
    assert pl.read_parquet(made[f"{name}.parquet"]()).equals(view.shown())
    numbers = pl.read_csv(io.BytesIO(made[f"{name}-statistics.csv"]()))
    beta = numbers.filter(pl.col("name") == "ols.beta")["value"].item()
    assert beta == view.analysis.ols.value.beta
    found = restored(read_bundle(made[f"{name}.zip"]()))
    assert found.differences == ()
    assert found.bundle.times.as_of == view.moment.as_of


def test_an_opened_bundle_gives_the_same_again(
    app: App, home: Path, made: dict[str, Callable[[], bytes]]
) -> None:
    store = pair_store(home, 3_600)
    page = app(PAIR, source="practice", y="ARBUSDT", x="OPUSDT", tf="1s", span="15m")
    analysis = page.session_state["_pair_shown"]["view"].analysis
    data = made["perpduck-arbusdt-opusdt.zip"]()
    made.clear()
    there = app(PAIR, source="practice", bundle=keep(store.path, data))
    assert not there.exception
    assert made["perpduck-arbusdt-opusdt.zip"]() == data
    rows = pl.read_parquet(made["perpduck-arbusdt-opusdt.parquet"]())
    assert rows.equals(analysis.series.select(rows.columns))


def test_the_matrix_gives_every_pair(
    app: App, full: Store, made: dict[str, Callable[[], bytes]]
) -> None:
    page = app(CORRELATION, source="practice")
    table = pairs_table(page.session_state["_matrix_shown"]["view"].matrix)
    assert pl.read_parquet(made["perpduck-correlation.parquet"]()).equals(table)
    assert table.height == 3
    shown = page.session_state["_matrix_shown"]["view"]
    square = pl.read_parquet(made["perpduck-correlation-matrix.parquet"]())
    assert square.equals(matrix_table(shown.matrix, shown.order))
    assert square.columns == ["symbol", *(shown.matrix.symbols[at] for at in shown.order)]
    again = pl.read_csv(io.BytesIO(made["perpduck-correlation-matrix.csv"]()))
    assert again.equals(square)
    one, other, value, _ = table.row(0)
    assert square.filter(pl.col("symbol") == one)[other].item() == value


def test_a_script_s_bundle_is_the_page_s_to_the_last_digit(
    app: App, home: Path, made: dict[str, Callable[[], bytes]], tmp_path: Path
) -> None:
    store = pair_store(home, 3_600)
    page = app(PAIR, source="practice", y="ARBUSDT", x="OPUSDT", tf="1s", span="15m")
    now = page.session_state["_pair_shown"]["view"].moment
    out = tmp_path / "pair.zip"
    words = ["bundle", "arbusdt", "opusdt", "--timeframe", "1s", "--out", str(out)]
    words += ["--db", str(store.path), "--from", str(now.start), "--to", str(now.as_of)]
    words += ["--judged-from", str(now.judged_from), "--judged-to", str(now.judged_at)]
    assert exports.main(words) == 0
    here, there = read_bundle(made["perpduck-arbusdt-opusdt.zip"]()), read_bundle(out.read_bytes())
    assert (there.spec, there.times, there.tick_sizes) == (here.spec, here.times, here.tick_sizes)
    assert there.results == here.results
    assert there.series.equals(here.series)
    assert restored(there).differences == ()


def test_before_anything_is_shown_there_are_words_for_it() -> None:
    told: dict[str, str] = {}
    make = downloads._telling(lambda: downloads.last_shown({}), told)
    with pytest.raises(NotEnoughData):
        make()
    assert told == {"words": "nothing is shown yet"}


def test_why_a_download_failed_is_told_at_the_next_refresh(app: App, full: Store) -> None:
    page = app(PRICES, source="practice", symbols="btcusdt", range="5m")
    page.session_state["_downloads_failed"]["words"] = "there are no trades of btcusdt"
    page.run()
    assert [toast.value for toast in page.toast] == [
        "Nothing to download: there are no trades of btcusdt"
    ]
    page.run()
    assert not page.toast
    assert "no trades of btcusdt" not in words(page)
