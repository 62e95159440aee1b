"""A pair's bundle: taken from the Pair page, opened where there is nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.bundle import read_bundle
from core.bundle_kept import bundle_folder, keep
from core.store import Store
from tests.pages.test_pages import words
from tests.pages.test_pair_page import PAIR, cards, pair_store

App = Callable[..., AppTest]


@pytest.fixture
def made(app: App, home: Path) -> tuple[AppTest, bytes, Store]:
    """The Pair page, and the bundle that its button gives."""
    store = pair_store(home, 7_200)
    page = app(PAIR, source="practice", y="ARBUSDT", x="OPUSDT", tf="1s", span="1h", hedge="Refit")
    view = page.session_state["_pair_shown"]["view"]
    return page, view.bundle(store, "1h"), store


def opened_elsewhere(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> AppTest:
    """The bundle on a machine without any file."""
    other = tmp_path / "elsewhere"
    other.mkdir()
    monkeypatch.setenv("PERPDUCK_DB", str(other / "perpduck.duckdb"))
    return app(PAIR, bundle=keep(other / "perpduck.duckdb", data))


def test_the_same_view_elsewhere_to_the_last_digit(
    app: App,
    made: tuple[AppTest, bytes, Store],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page, data, _ = made
    assert "Bundle" in {button.label for button in page.get("download_button")}
    before = page.session_state["_pair_shown"]["view"]
    there = opened_elsewhere(app, tmp_path, monkeypatch, data)
    text = words(there)
    assert "ARBUSDT / OPUSDT** from a bundle" in text
    assert "every number is the same to the last digit" in text
    assert "not live" in text
    bundle = read_bundle(data)
    assert bundle.spec == before.analysis.spec
    assert bundle.series.equals(before.analysis.series)
    # The live page may have rows since the analysis; everything fitted is the analysis' own.
    for name in ("Half-life", "Hedge ratio β", "ADF p", "R²"):
        if name in cards(page):
            assert cards(there)[name] == cards(page)[name]
    assert len(cards(there)) == len(cards(page)) > 6


def test_the_bundle_can_be_looked_at_in_every_way(
    app: App,
    made: tuple[AppTest, bytes, Store],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = opened_elsewhere(app, tmp_path, monkeypatch, made[1])
    for what in ("Statistics", "Table", "SQL"):
        there.segmented_control(key="pair_behind").set_value(what).run()
        assert not there.exception
        assert there.dataframe or there.code


def test_one_gets_back_to_what_is_live(app: App, made: tuple[AppTest, bytes, Store]) -> None:
    _, data, store = made
    there = app(PAIR, source="practice", bundle=keep(store.path, data))
    there.button(key="to-live").click().run()
    assert not there.exception
    assert "bundle" not in there.query_params
    assert "from a bundle" not in words(there)
    assert there.session_state["_pair_shown"]["view"].moment.as_of


def test_an_unknown_bundle_is_named(app: App, home: Path) -> None:
    there = app(PAIR, bundle="nosuch")
    assert "bundle 'nosuch' is kept here" in words(there)


def test_a_bundle_that_was_changed_is_named(app: App, made: tuple[AppTest, bytes, Store]) -> None:
    _, data, store = made
    name = keep(store.path, data)
    path = bundle_folder(store.path) / f"{name}.zip"
    path.write_bytes(data[: len(data) // 2])
    assert "no whole ZIP" in words(app(PAIR, source="practice", bundle=name))
