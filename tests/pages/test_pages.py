"""The pages in the browserless runner: on no store, a full one, a busy one."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from core import queries
from core.commands import write_worker_status
from core.exporting import first_trades
from core.store import Store
from tests.pages.conftest import held, worker_row

PRICES, DATA = "pages/market/prices.py", "pages/operate/data.py"
App = Callable[..., AppTest]


def words(app: AppTest) -> str:
    """Everything that is written on the page."""
    kinds = ("title", "header", "subheader", "markdown", "caption", "error", "warning", "info")
    return "\n".join(str(one.value) for kind in kinds for one in app.get(kind))


def pill(app: AppTest) -> str:
    return str(app.get("popover")[0].proto.popover.label)


def test_the_first_visit_offers_two_ways_in(app: App, home: Path) -> None:
    page = app()
    assert [b.label for b in page.button] == [
        "Try it with the practice exchange",
        "Watch Binance live",
    ]
    assert "not started" in pill(page)


@pytest.mark.parametrize(
    ("button", "practice"), [("start-practice", True), ("start-binance", False)]
)
def test_one_click_starts_the_worker_and_waits_for_it(
    app: App, home: Path, monkeypatch: pytest.MonkeyPatch, button: str, practice: bool
) -> None:
    started: list[tuple[bool, tuple[str, ...]]] = []

    def start(settings: object, *, practice: bool, symbols: tuple[str, ...]) -> int:
        started.append((practice, symbols))
        return 1

    monkeypatch.setattr("core.live.sources.start_worker", start)
    page = app()
    page.button(key=button).click().run()
    assert not page.exception
    assert [one[0] for one in started] == [practice]
    assert "btcusdt" in started[0][1]
    assert page.session_state["source"] == ("practice" if practice else "binance")
    assert page.progress


def test_a_full_store_shows_eight_cards_and_the_coverage(app: App, full: Store) -> None:
    page = app(PRICES)
    labels = [metric.label for metric in page.metric]
    assert labels == [
        "Last", "High", "Low", "VWAP", "Volatility σ", "Volume BTC", "Trades", "Taker buys",
    ]  # fmt: skip
    last = page.metric[0].value
    assert last.startswith("6")
    assert len(last.partition(".")[2]) == 1
    assert "coverage 100%" in words(page)
    assert not page.error


def test_the_stopped_worker_is_named_in_the_pill(app: App, full: Store) -> None:
    assert "stopped" in pill(app(PRICES))


def test_the_living_worker_shows_delay_symbols_and_gaps(app: App, living: Store) -> None:
    text = pill(app(PRICES))
    assert "live · 0.4 s behind · 3 symbols · 1 gap" in text
    assert text.startswith(":orange[")


def test_a_location_that_is_not_served_is_named_with_its_reason(app: App, living: Store) -> None:
    with living.write() as con:
        note = "The exchange does not serve this location (451)."
        write_worker_status(con, worker_row(note=note), [])
    page = app(DATA)
    assert pill(page).startswith(":red[")
    assert "restricted" in pill(page)
    assert page.button(key="stop-worker").label == "Stop worker"
    assert "does not serve this location (451)" in words(page)
    assert "Use the practice exchange" in words(page)


def test_missing_trades_are_never_called_complete(app: App, living: Store) -> None:
    text = words(app(PRICES, range="all"))
    assert "20 missing" in text
    assert "coverage 100%" not in text


def test_the_url_decides_what_is_shown(app: App, full: Store) -> None:
    page = app(PRICES, symbols="ETHUSDT", timeframe="1m", range="1h", zone="Local")
    assert page.session_state["symbols"] == ["ethusdt"]
    assert page.session_state["timeframe"] == "1min"
    assert page.session_state["range"] == "1h"
    assert page.session_state["zone"] == "local"
    assert page.metric[5].label == "Volume ETH"
    assert "1m bars" in words(page)


def test_nonsense_in_the_url_falls_back(app: App, full: Store) -> None:
    page = app(PRICES, symbols="NOSUCH", timeframe="7w", range="-1", zone="Mars", source="x")
    assert page.session_state["symbols"] == ["btcusdt"]
    assert page.session_state["timeframe"] == "1s"
    assert page.session_state["range"] == "15m"
    assert page.metric[0].value != "–"


def test_one_control_never_resets_another(app: App, full: Store) -> None:
    page = app(PRICES, symbols="ETHUSDT", timeframe="5s")
    page.get("segmented_control")
    page.session_state["range"] = "1h"
    page.run()
    assert page.session_state["symbols"] == ["ethusdt"]
    assert page.session_state["timeframe"] == "5s"


def test_the_choice_survives_a_visit_to_another_page(app: App, full: Store) -> None:
    page = app(PRICES, symbols="SOLUSDT")
    page.switch_page(DATA).run()
    page.switch_page(PRICES).run()
    assert page.session_state["symbols"] == ["solusdt"]
    assert not page.exception


def test_a_wide_range_uses_coarser_bars_and_says_so(app: App, full: Store) -> None:
    assert "5s bars" in words(app(PRICES, range="1h"))


def test_several_symbols_at_once(app: App, full: Store) -> None:
    page = app(PRICES)
    page.multiselect(key="symbols").select("ethusdt").select("solusdt").run()
    assert not page.exception
    assert page.session_state["symbols"] == ["btcusdt", "ethusdt", "solusdt"]


def test_downloads_hold_exactly_what_is_shown(app: App, full: Store) -> None:
    page = app(PRICES)
    view = page.session_state["_prices_shown"]["view"]
    shown = view.shown()
    with full.read() as con:
        stored = queries.load_bars(
            con, ["btcusdt"], "1s", shown["ts"].min(), view.window.start.max.replace(year=2200)
        )
    assert shown.equals(stored)
    assert {b.label for b in page.get("download_button")} == {"CSV", "Parquet", "Trades"}
    trades = first_trades(full, "btcusdt", *view.seen(), most=1_000_000)
    assert trades.height == shown["trades"].sum()
    assert first_trades(full, "btcusdt", *view.seen(), most=7).equals(trades.head(7))
    again = pl.read_csv(io.BytesIO(shown.write_csv().encode()))
    assert again.height == shown.height == int(page.metric[6].delta.split()[0])


def test_the_sql_is_shown_when_asked_for(app: App, full: Store) -> None:
    page = app(PRICES)
    assert not page.code
    page.session_state["sql"] = True
    page.run()
    assert "from bars_1s" in page.code[0].value
    assert "$symbols" in page.code[0].value


def test_a_busy_file_says_so_in_plain_words(app: App, full: Store) -> None:
    with held(full.path):
        page = app(PRICES)
        text = words(page)
    assert "The file is busy" in text
    assert "Traceback" not in text
    assert any(button.label == "Try again" for button in page.button)


def test_what_was_read_stays_when_the_file_gets_busy(app: App, full: Store) -> None:
    page = app(PRICES)
    before = [metric.value for metric in page.metric]
    with held(full.path):
        full.path.touch()
        deadline = time.monotonic() + 10
        while "not readable" not in pill(page) and time.monotonic() < deadline:
            page.run()
        assert [metric.value for metric in page.metric] == before
        assert "not readable" in pill(page)
        assert not page.exception


def test_a_file_that_is_not_ours_is_refused_in_plain_words(app: App, home: Path) -> None:
    (home / "perpduck.duckdb").write_bytes(b"not a database" * 1000)
    page = app(PRICES)
    assert "This is not a file that Perpduck can read" in words(page)


def test_data_page_without_a_store(app: App, home: Path) -> None:
    page = app(DATA)
    assert page.button(key="start-worker").label == "Start with Binance"
    assert "opens with the first start" in words(page)


def test_data_page_with_a_full_store(app: App, full: Store) -> None:
    page = app(DATA)
    assert page.button(key="start-worker").label == "Start with Practice"
    tables = [frame.value for frame in page.dataframe]
    assert list(tables[0]["symbol"]) == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    assert list(tables[0]["last_price"]) == ["64,000.0", "3,400.00", "150.000"]
    assert any("Coverage" in table.columns for table in tables)
    assert "No open gaps" in words(page)


def test_data_page_lists_the_gaps(app: App, living: Store) -> None:
    page = app(DATA)
    gaps = next(f.value for f in page.dataframe if "first_id" in f.value.columns)
    assert list(gaps["missing"]) == [20]
    assert page.button(key="stop-worker").label == "Stop worker"


def test_stopping_asks_the_worker_through_the_file(app: App, living: Store) -> None:
    page = app(DATA)
    page.button(key="stop-worker").click().run()
    assert not page.exception
    with living.read() as con:
        assert con.execute("select command from worker_commands").fetchall() == [("stop",)]


def test_symbols_are_added_and_removed(app: App, full: Store) -> None:
    page = app(DATA)
    page.multiselect(key="add-symbols").select("arbusdt")
    next(b for b in page.button if b.label == "Add").click().run()
    page.multiselect(key="remove-symbols").select("ethusdt")
    next(b for b in page.button if b.label == "Remove").click().run()
    assert not page.exception
    with full.read() as con:
        watched = set(queries.load_watchlist(con)["symbol"])
    assert watched == {"arbusdt", "btcusdt", "solusdt"}


def test_the_worker_log_can_be_read(app: App, full: Store) -> None:
    Path(f"{full.path}.worker.log").write_text("first\nworker started\n", encoding="utf-8")
    page = app(DATA)
    page.session_state["log"] = True
    page.run()
    assert "worker started" in page.code[0].value


def test_a_worker_that_cannot_be_started_says_why(
    app: App, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError("no such interpreter")

    monkeypatch.setattr("core.live.sources.start_worker", refuse)
    page = app()
    page.button(key="start-practice").click().run()
    assert "The worker could not be started" in words(page)
