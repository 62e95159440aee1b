"""The Scanner page: nothing yet, a scan on its way, its table, one pair's detail, the schedule."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from core.commands import write_symbols
from core.live import scans
from core.live.feeder import feeder
from core.live.scans import KeptScans
from core.models import SymbolInfo
from core.scan_charts import life_words, market_map_chart, volcano_chart
from core.scanning.kept import load_scan, load_schedule, set_schedule
from core.scanning.report import CONFIRMED, EXPLAINED, SAME, ScanReport
from core.scanning.running import DONE, scanned
from core.scanning.settings import ScanSettings
from core.store import Store
from pages.shared.downloads import tables
from pages.shared.scanner_view import (
    STAGE_WORDS,
    drawn_words,
    left_table,
    pair_table,
    pair_words,
    scan_cards,
    taken_along,
)
from tests.pages.test_pages import words
from tests.scanning.markets import market_store, now, planted, walks

App = Callable[..., AppTest]
PAGE = "pages/market/scanner.py"


@pytest.fixture
def market(home: Path) -> Store:
    """Seven symbols over half a day, one pair planted."""
    logs = walks(6, 720, seed=5, volatility=5e-4)
    logs["hubusdt"] = planted(logs["s000usdt"], half_life=3, sigma=0.004)
    logs["twinusdt"] = logs["s001usdt"] + 1e-7
    return market_store(home / "practice-7.duckdb", logs, until=now().replace(microsecond=0))


def select(page: AppTest, key: str, row: int) -> None:
    """Click a row: what the browser would send, which a test of a table cannot by itself."""
    table = next(one for one in page.dataframe if one.key == key)
    states = page._tree.get_widget_states()
    state = states.widgets.add()
    state.id = table.proto.id
    state.string_value = json.dumps({"selection": {"rows": [row], "columns": [], "cells": []}})
    page._run(states)


def looked(app: App) -> AppTest:
    page = app(PAGE, source="practice", scan_span="6h")
    assert not page.exception
    return page


def ended(store: Store) -> ScanReport:
    run = scans.scan_run(store)
    assert run is not None
    standing = run.wait(60)
    assert standing.state == DONE, standing.error
    assert standing.report is not None
    feeder(store).refresh()
    return standing.report


def test_before_the_first_scan_it_says_what_one_is(app: App, market: Store) -> None:
    page = looked(app)
    assert "No scan yet" in words(page)
    assert "all 56 ordered pairs of the 8 stored symbols" in words(page)
    assert page.button(key="scan-now").label == "Scan now"


def test_a_click_scans_and_the_answer_comes_first(app: App, market: Store) -> None:
    page = looked(app)
    page.button(key="scan-now").click().run()
    report = ended(market)
    page.run()
    assert not page.exception
    assert not [one for one in page.expander if "left out" in one.label]
    said = words(page)
    assert "Tested 54 ordered pairs of 8 symbols" in said
    assert "which cannot be cointegrated" in said
    assert report.settings == ScanSettings(span="6h")
    assert [card.label for card in page.metric] == [
        "Tested", "Pass q", "Survive", "Confirmed", "Noise floor", "Set aside",
    ]  # fmt: skip
    shown = page.session_state["_scan_shown"]["view"]
    assert shown.id == report.id
    # Another session sees what the file keeps.
    assert looked(app).session_state["_scan_shown"]["view"].id == report.id


def test_the_settings_are_those_of_the_controls(app: App, market: Store) -> None:
    page = app(PAGE, source="practice", scan_span="6h", scan_lags="AIC", scan_lag="4",
               scan_test="40", scan_rho="0.1", scan_fdr="Hochberg", scan_level="10.0")  # fmt: skip
    page.button(key="scan-now").click().run()
    assert ended(market).settings == ScanSettings(
        span="6h", is_aic=True, lag=4, test_share=0.4, min_correlation=0.1, correction="bh",
        level=0.1,
    )  # fmt: skip


def test_trouble_is_a_notice_and_the_last_scan_stays(app: App, market: Store) -> None:
    page = looked(app)
    page.button(key="scan-now").click().run()
    report = ended(market)
    page = app(PAGE, source="practice", scan_span="6h", scan_turnover="1e14")
    page.button(key="scan-now").click().run()
    run = scans.scan_run(market)
    assert run is not None
    run.wait(60)
    page.run()
    assert not page.exception
    assert "turned over" in words(page)
    assert page.session_state["_scan_shown"]["view"].id == report.id


def test_what_was_left_out_is_listed_with_its_reason(app: App, market: Store) -> None:
    logs = {"thinusdt": np.where(np.arange(720) % 3 == 0, 1.0 + np.arange(720) / 1e4, np.nan)}
    market_store(market.path, logs, until=now().replace(microsecond=0))
    feeder(market).refresh()
    page = app(PAGE, source="practice", scan_span="6h", scan_carry="0")
    page.button(key="scan-now").click().run()
    report = ended(market)
    page.run()
    assert not page.exception
    assert "1 symbol left out" in [one.label for one in page.expander]
    left = left_table(report.symbols.filter(pl.col("left_out") != ""))
    assert left["Symbol"].to_list() == ["THINUSDT"]
    assert left["Why"][0] == "bars for 33% of the training window; 90% are asked for"


def test_a_chosen_pair_has_its_numbers_and_ways_on(app: App, market: Store) -> None:
    page = looked(app)
    page.button(key="scan-now").click().run()
    ended(market)
    page.session_state["_scan_pair"] = ("hubusdt", "s000usdt")
    page.run()
    said = words(page)
    assert "HUBUSDT / S000USDT" in said
    assert "bootstrap p 0.0" in said
    assert "Frozen spread on the test window" in said
    assert page.button(key="watch-pair").label == "Watch it"
    page.button(key="watch-pair").click().run()
    feeder(market).refresh()
    assert set(feeder(market).pulse().watchlist) == {"hubusdt", "s000usdt"}


def test_the_rest_of_the_market_is_one_click_away(app: App, market: Store) -> None:
    with market.write() as con:
        write_symbols(con, [
            SymbolInfo(f"n{at}usdt", "TRADING", "PERPETUAL", f"N{at}", "USDT", 0.1, 0.1, 5.0)
            for at in range(3)
        ])  # fmt: skip
    feeder(market).refresh()
    page = looked(app)
    assert "0 of 3 contracts are watched" in words(page)
    page.button(key="watch-all").click().run()
    feeder(market).refresh()
    assert len(feeder(market).pulse().watchlist) == 3


def test_the_worker_is_asked_to_scan_by_itself(app: App, market: Store) -> None:
    page = looked(app)
    page.segmented_control(key="scan-every").set_value("every hour").run()
    page.button(key="keep-schedule").click().run()
    with market.read() as con:
        kept = load_schedule(con)
    assert kept is not None
    assert kept.every_s == 3600
    assert kept.settings == ScanSettings(span="6h")


def test_what_is_shown_can_be_taken_along(app: App, market: Store) -> None:
    page = looked(app)
    page.button(key="scan-now").click().run()
    report = ended(market)
    page.run()
    assert not page.exception
    buttons = [one for one in page.get("download_button") if one.proto.label in ("CSV", "Parquet")]
    assert len(buttons) == 2
    shown = page.session_state["_scan_shown"]
    made = {one.label: one.make() for one in tables(lambda: taken_along(shown), "scan")}
    assert pl.read_csv(made["CSV"]).height == report.pairs.height
    assert pl.read_parquet(made["Parquet"]).equals(report.pairs.drop("spark"))


def test_an_old_scan_can_be_opened_and_a_new_one_is_shown_after_it(app: App, market: Store) -> None:
    page = looked(app)
    for _ in range(2):
        page.button(key="scan-now").click().run()
        newest = ended(market)
        page.run()
    scans_kept = feeder(market).ask(KeptScans()).value["id"].to_list()
    assert scans_kept[0] == newest.id
    key = f"scan-list-{scans_kept[0]}"
    select(page, key, 1)
    page.run()
    assert not page.exception
    assert page.session_state["_scan_shown"]["view"].id == scans_kept[1]
    # A new scan is what is shown next, also while it runs.
    page.button(key="scan-now").click().run()
    assert not page.exception
    third = ended(market)
    page.run()
    assert not page.exception
    assert page.session_state["_scan_shown"]["view"].id == third.id


def test_a_chosen_row_stays_that_pair_when_the_table_is_put_in_another_order(
    app: App, market: Store
) -> None:
    page = looked(app)
    page.button(key="scan-now").click().run()
    report = ended(market)
    page.run()
    select(page, f"scan-table-{report.id}-final", 3)
    page.run()
    assert not page.exception
    assert page.session_state["_scan_pair"] == report.pairs.select("y", "x").row(3)


def test_an_interval_that_a_command_set_is_offered(app: App, market: Store) -> None:
    set_schedule(market, 7_200, ScanSettings(span="6h"))
    feeder(market).refresh()
    page = looked(app)
    assert page.segmented_control(key="scan-every").value == "every 2 h"
    page.button(key="keep-schedule").click().run()
    with market.read() as con:
        kept = load_schedule(con)
    assert kept is not None
    assert kept.every_s == 7_200


def test_a_pair_of_one_asset_is_said_in_words(market: Store) -> None:
    *_, report = scanned(market, ScanSettings(span="6h"))
    row = report.pairs.filter(pl.col("stage") == SAME).row(0, named=True)
    said = pair_words(report, row)
    assert "The legs are the same asset" in said
    assert "lag" not in said
    assert "-1" not in said


def test_what_is_shown_is_what_the_report_says(market: Store) -> None:
    *_, report = scanned(market, ScanSettings(span="6h"))
    first = report.pairs.row(0, named=True)
    assert (first["y"], first["x"], first["stage"]) == ("hubusdt", "s000usdt", CONFIRMED)
    table = pair_table(report)
    assert table.height == report.pairs.height
    assert table["Pair"][0] == "HUBUSDT / S000USDT"
    assert table["Stage"].to_list() == [STAGE_WORDS[stage] for stage in report.pairs["stage"]]
    assert table["Stage"][-1] == STAGE_WORDS[SAME]
    assert table["Survived"][0] == "1 of 1"
    cards = {card.label: card.value for card in scan_cards(report)}
    assert cards["Tested"] == "54"
    assert cards["Confirmed"] == str(report.confirmed)
    assert cards["Set aside"] == "2"
    assert drawn_words(report) == "Drawn are all 28 pairs, each its better way. In-sample."
    few = replace(report, pairs=report.pairs.head(5))
    assert "5 of 28 pairs" in drawn_words(few)
    assert "β " in pair_words(report, first)
    row = first | {"stage": EXPLAINED, "explained_by": "aausdt/bbusdt", "explained_p": 0.4}
    assert "Explained by AAUSDT / BBUSDT" in pair_words(report, row)
    row = first | {"explained_by": "aausdt/bbusdt", "explained_p": 0.01}
    assert "beyond what AAUSDT / BBUSDT explains" in pair_words(report, row)


def test_the_figures_show_every_ranked_pair_and_every_symbol(market: Store) -> None:
    *_, report = scanned(market, ScanSettings(span="6h"))
    spec = volcano_chart(report.pairs, 0.05, 60, ("hubusdt", "s000usdt"))
    drawn = sum(len(trace["x"]) for trace in spec["data"])
    ranked = report.pairs.filter(pl.col("stage") != SAME, pl.col("half_life_bars").is_not_null())
    assert drawn == ranked.height
    confirmed = next(t for t in spec["data"] if t["name"].startswith("confirmed"))
    assert confirmed["customdata"] == [["hubusdt", "s000usdt"]]
    assert confirmed["x"][0] == pytest.approx(60 * report.pairs["half_life_bars"][0], rel=1e-4)
    assert any(note.get("text") == "HUB／S000" for note in spec["layout"]["annotations"])
    drawn_map = market_map_chart(report.symbols, report.pairs)
    *edges, points = drawn_map["data"]
    assert len(points["x"]) == 8
    assert np.isfinite(points["x"]).all()
    assert len(edges[1]["x"]) == 3 * report.confirmed
    assert life_words(30) == "30 s"
    assert life_words(4000) == "1.1 h"
    assert life_words(None) == "–"


def test_a_scan_that_runs_is_followed_and_a_second_one_waits(
    app: App, market: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = scans.ScanRun
    begun = time.monotonic()

    class Slow(real):  # type: ignore[misc, valid-type]
        def _run(self) -> None:
            self._tell(words="Comparing 56 pairs", share=0.2)
            while not self._cancelled.is_set() and time.monotonic() - begun < 60:
                time.sleep(0.02)
            self._tell(state="cancelled")

    monkeypatch.setattr(scans, "ScanRun", Slow)
    page = looked(app)
    page.button(key="scan-now").click().run()
    assert page.button(key="cancel-scan").label == "Cancel"
    page.button(key="scan-now").click().run()
    assert "A scan is running (20%)" in words(page)
    run = scans.scan_run(market)
    assert run is not None
    run.cancel()
    run.wait(10)
    with market.read() as con:
        assert load_scan(con) is None
