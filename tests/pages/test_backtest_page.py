"""The Backtest page in the browserless runner: run, cancel, rules, downloads, bundles."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from core.backtests import BacktestResult, running
from core.backtests.bundle import read_backtest_bundle, write_backtest_bundle
from core.bundle_kept import bundle_folder, keep
from core.store import Store, open_store
from core.trade_writer import write_trades
from tests.pages.test_pages import words
from tests.pages.test_pair_page import PAIR, cards, pairs, second_by_second  # noqa: F401

BACKTEST = "pages/research/backtest.py"
App = Callable[..., AppTest]


@pytest.fixture(autouse=True)
def _few_runs_of_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve histories instead of 200: the page is the same."""
    whole = running.examined
    monkeypatch.setattr(
        running, "examined", lambda subject, going_on: whole(subject, going_on, runs=12)
    )


def over(page: AppTest) -> AppTest:
    """The page once its run is over."""
    held = page.session_state["_backtest"].run
    assert held.wait(120).state != running.RUNNING
    return page.run()


def found(page: AppTest) -> BacktestResult:
    standing = page.session_state["_backtest"].run.standing
    assert standing.result is not None
    result: BacktestResult = standing.result
    return result


def backtest(app: App, **query: str) -> AppTest:
    return over(app(BACKTEST, source="practice", **query))


def test_a_newcomer_sees_a_result_with_its_checks(app: App, pairs: Store) -> None:  # noqa: F811
    page = backtest(app)
    state = page.session_state
    assert (state["y"], state["x"], state["tf"], state["bhedge"]) == (
        "arbusdt", "opusdt", "1s", "refit",
    )  # fmt: skip
    result = found(page)
    assert result.measures.trades > 10
    assert not page.error
    shown = cards(page)
    assert shown["Trades"] == f"{result.measures.trades:,}"
    assert {"Net return", "Max drawdown", "Better than noise", "Look-ahead", "Out of sample",
            "Break-even cost", "Best of those tried", "Classic backtest"} <= set(shown)  # fmt: skip
    assert shown["Look-ahead"] == "none"
    assert shown["Better than noise"].endswith("%")
    text = words(page)
    assert "after costs over" in text
    assert "bars of 1s" in text
    assert "coverage 100.0%" in text
    for title in ("Against noise", "Out of sample", "Sensitivity", "Costs", "Look-ahead audit"):
        assert f"**{title}**" in text


def test_no_number_goes_without_a_word(app: App, pairs: Store) -> None:  # noqa: F811
    page = backtest(app)
    for metric in page.metric:
        assert "nan" not in metric.value.lower()
        if metric.value == "–":
            assert "Not known: " in metric.help or "Not possible: " in metric.help


def test_the_pair_is_taken_over_from_its_own_page(app: App, pairs: Store) -> None:  # noqa: F811
    page = app(PAIR, source="practice", y="BTCUSDT", x="OPUSDT", tf="5s", span="1h", window="45")
    assert any(link.label == "Backtest it" for link in page.get("page_link"))
    # The runner hands the widgets over at the run after the switch; the browser at once.
    page.switch_page(BACKTEST).run().run()
    spec = found(over(page)).traded.spec
    assert (spec.y, spec.x, spec.timeframe, spec.window_bars) == ("btcusdt", "opusdt", "5s", 45)
    assert spec.method == "refit"


def test_the_address_says_all_of_it(app: App, pairs: Store) -> None:  # noqa: F811
    page = backtest(
        app, y="OPUSDT", x="ARBUSDT", tf="1s", span="30d", bhedge="Rolling", window="90",
        enter="1.5", exit="0.25", stop="4", tstop="3", tunit="half-lives", sides="Long",
        again="After coming back", cool="7", rebal="20", role="Maker", fill="Open", fee="4",
        mfee="1", slip="2", slipin="ticks", capital="5000", lev="2", sizing="Dollar-neutral",
        vol="0.3", gate="1.5",
    )  # fmt: skip
    result = found(page)
    spec, settings = result.traded.spec, result.done.settings
    assert (spec.y, spec.method, spec.window_bars) == ("opusdt", "rolling", 90)
    assert page.session_state["span"] == "30d"
    rules, execution, money = settings.rules, settings.execution, settings.money
    assert (rules.enter, rules.exit, rules.stop) == (1.5, 0.25, 4.0)
    assert (rules.time_stop_half_lives, rules.time_stop_bars) == (3.0, None)
    assert (rules.sides, rules.reentry, rules.cooldown_bars) == ("long", "cross", 7)
    assert rules.rebalance_bars == 20
    assert (execution.is_maker, execution.fill, execution.slippage_kind) == (True, "open", "ticks")
    assert (execution.taker_bps, execution.maker_bps, execution.slippage) == (4.0, 1.0, 2.0)
    assert (money.capital, money.leverage, money.sizing) == (5000.0, 2.0, "dollar")
    assert (money.target_volatility, money.gate) == (0.3, 1.5)
    # The file's own contracts.
    assert (settings.contract_y.tick_size, settings.contract_y.min_notional) == (1e-4, 5.0)


def test_a_control_gives_a_new_run_and_the_old_one_is_known_still(
    app: App,
    pairs: Store,  # noqa: F811
) -> None:
    page = backtest(app)
    first = page.session_state["_backtest"]
    page.number_input(key="enter").set_value(2.5).run()
    second = page.session_state["_backtest"]
    assert second is not first
    assert found(over(page)).done.settings.rules.enter == 2.5
    page.number_input(key="enter").set_value(2.0).run()
    assert page.session_state["_backtest"] is first


def test_run_again_reads_anew(app: App, pairs: Store) -> None:  # noqa: F811
    page = backtest(app)
    first = page.session_state["_backtest"]
    page.button(key="run-again").click().run()
    assert page.session_state["_backtest"] is not first
    over(page)


def test_a_run_can_be_cancelled_and_begun_again(
    app: App,
    pairs: Store,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = threading.Event()
    whole = running.examined

    def slow(subject: Any, going_on: Callable[[str, float], bool]) -> Iterator[Any]:
        gate.wait(60)
        yield from whole(subject, going_on)

    monkeypatch.setattr(running, "examined", slow)
    page = app(BACKTEST, source="practice", enter="1.9")
    page.run()
    assert page.button(key="cancel-run")
    # What is known by then is shown while the checks wait.
    begun = page.session_state["_backtest"].run
    while begun.standing.result is None:
        begun.wait(0.05)
    page.run()
    assert cards(page)["Better than noise"] == "…"
    page.button(key="cancel-run").click().run()
    gate.set()
    page = over(page)
    assert page.session_state["_backtest"].run.standing.state == running.CANCELLED
    assert "cancelled" in words(page)
    assert "Not run: it was cancelled before." in words(page)
    page.button(key="run-again").click().run()
    assert found(over(page)).honesty.noise is not None


@pytest.mark.parametrize("method", ["OLS", "TLS"])
def test_in_sample_is_red_across_the_page(app: App, pairs: Store, method: str) -> None:  # noqa: F811
    page = backtest(app, bhedge=method)
    assert "In-sample" in page.error[0].value
    assert "is no result" in page.error[0].value
    text = words(page)
    assert "hedge in-sample" in text
    assert cards(page)["Look-ahead"].endswith(" bars")
    assert "signals changed" in text
    assert "Not possible: " in text
    assert "Changed signals" in {one.label for one in page.get("download_button")}


def test_rules_that_contradict_each_other_are_named(app: App, pairs: Store) -> None:  # noqa: F811
    page = app(BACKTEST, source="practice", enter="2", stop="1.5")
    text = words(page)
    assert "A stop at 1.5: it must lie beyond the entry, 2.0" in text
    page.number_input(key="stop").set_value(3.0).run()
    assert found(over(page)).done.settings.rules.stop == 3.0


def test_without_a_trade_the_page_says_why(app: App, pairs: Store) -> None:  # noqa: F811
    page = backtest(app, enter="19")
    assert "No trade over" in words(page)
    page.segmented_control(key="backtest_behind").set_value("Ledger").run()
    assert not page.exception


def test_the_ledger_is_a_row_a_trade(app: App, pairs: Store) -> None:  # noqa: F811
    page = backtest(app)
    page.segmented_control(key="backtest_behind").set_value("Ledger").run()
    ledger = page.dataframe[0].value
    assert len(ledger) == found(page).measures.trades
    assert {"entry_ts", "net", "fees", "slippage", "funding", "reason"} <= set(ledger.columns)


def test_one_symbol_alone_is_no_pair(app: App, home: Path) -> None:
    store = open_store(home / "practice-7.duckdb")
    store.prepare("practice:7")
    end_ms = int(time.time()) * 1000
    trades = second_by_second("arbusdt", np.zeros(600), end_ms, 1.0)
    with store.write() as con:
        write_trades(con, trades, now_ms=end_ms)
    page = app(BACKTEST, source="practice")
    assert "One symbol is stored; a pair needs two." in words(page)


def test_everything_can_be_taken_along(app: App, pairs: Store) -> None:  # noqa: F811
    page = backtest(app)
    labels = [one.label for one in page.get("download_button")]
    assert labels == ["CSV", "Parquet", "Account", "Bundle", "Report"]


def test_a_bundle_is_the_same_backtest_elsewhere(
    app: App,
    pairs: Store,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = backtest(app, enter="1.8", stop="5")
    before = found(here)
    data = write_backtest_bundle(before, "1h")
    other = tmp_path / "elsewhere"
    other.mkdir()
    monkeypatch.setenv("PERPDUCK_DB", str(other / "perpduck.duckdb"))
    name = keep(other / "perpduck.duckdb", data, "backtest")
    there = over(app(BACKTEST, bundle=name))
    text = words(there)
    assert "Backtest of **ARBUSDT / OPUSDT** from a bundle made" in text
    assert "every number is the same to the last digit" in text
    assert "not live" in text
    assert cards(there) == cards(here)
    assert found(there).done.books.trades.equals(before.done.books.trades)
    assert not [one for one in there.button if one.key == "run-again"]
    bars = read_backtest_bundle(data).inputs.bars
    assert pl.concat([bars, bars.clear()]).equals(found(there).traded.inputs.bars)


def test_one_gets_back_from_a_bundle(app: App, pairs: Store) -> None:  # noqa: F811
    data = write_backtest_bundle(found(backtest(app)), "1h")
    there = over(app(BACKTEST, source="practice", bundle=keep(pairs.path, data, "backtest")))
    there.button(key="to-live").click().run()
    assert not there.exception
    assert "bundle" not in there.query_params
    assert "from a bundle" not in words(there)
    over(there)


def test_a_pair_s_bundle_is_no_backtest_s(app: App, pairs: Store) -> None:  # noqa: F811
    page = app(PAIR, source="practice", y="ARBUSDT", x="OPUSDT", tf="1s", span="1h")
    data = page.session_state["_pair_shown"]["view"].bundle(pairs, "1h")
    there = app(BACKTEST, source="practice", bundle=keep(pairs.path, data))
    assert "a bundle of a backtest holds" in words(there)


def test_a_bundle_that_is_not_kept_here_is_named(app: App, home: Path) -> None:
    assert "bundle 'nosuch' is kept here" in words(app(BACKTEST, bundle="nosuch"))


def test_a_bundle_s_run_can_be_cancelled(
    app: App,
    pairs: Store,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = write_backtest_bundle(found(backtest(app)), "1h")
    gate = threading.Event()
    whole = running.examined

    def slow(subject: Any, going_on: Callable[[str, float], bool]) -> Iterator[Any]:
        gate.wait(60)
        yield from whole(subject, going_on)

    monkeypatch.setattr(running, "examined", slow)
    there = app(BACKTEST, source="practice", bundle=keep(pairs.path, data, "backtest"))
    there.run()
    there.button(key="cancel-run").click().run()
    gate.set()
    there = over(there)
    assert "cancelled" in words(there)
    there.run()
    assert "cancelled" in words(there)
    there.button(key="run-again").click().run()
    assert found(over(there)).honesty.noise is not None


def test_kept_backtests_are_listed_on_data(app: App, pairs: Store) -> None:  # noqa: F811
    data = write_backtest_bundle(found(backtest(app)), "1h")
    keep(pairs.path, data, "backtest")
    page = app("pages/operate/data.py", source="practice", section="Stored")
    text = words(page)
    assert "Saved views" in text
    assert any("Backtest of ARBUSDT and OPUSDT" in link.label for link in page.get("page_link"))
    assert io.BytesIO(data).read(2) == b"PK"
    assert len(list(bundle_folder(pairs.path).glob("*.zip"))) == 1
