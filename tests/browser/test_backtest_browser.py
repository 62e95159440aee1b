"""Backtest in a real browser: from Pair to a result, its checks, what is taken along, screens."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest

from core.backtests.bundle import read_backtest_bundle
from tests.browser.conftest import PHONE, WIDE, ChartPage, Server, serving, wait_until
from tests.browser.test_downloads_browser import taken
from tests.browser.test_prices import fits
from tests.pages.test_pair_page import pair_store

Open = Callable[..., ChartPage]
QUERY = "source=practice&y=ARBUSDT&x=OPUSDT&tf=1s&span=1h"
DONE_MS = 90_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app on two hours of a pair that comes back, whose worker was stopped."""
    home = tmp_path_factory.mktemp("backtest")
    pair_store(home, 7_200)
    with serving(home) as running:
        yield running


def finished(chart: ChartPage) -> None:
    """Wait until every check is done."""
    chart.page.get_by_role("button", name="Run again").wait_for(timeout=DONE_MS)


def numbers(chart: ChartPage) -> dict[str, str]:
    """The cards' values by their labels."""
    found: dict[str, str] = {}
    for one in chart.page.locator("[data-testid=stMetric]").all():
        lines = one.inner_text().splitlines()
        found[lines[0]] = next(line for line in lines[1:] if line.strip())
    return found


def test_a_shared_link_opens_on_a_cold_server_as_it_was(server: Server, chart_page: Open) -> None:
    chart = chart_page()
    chart.open(f"{server.url}/backtest?{QUERY}&enter=1.5&bhedge=Rolling&window=90")
    finished(chart)
    text = chart.page.locator(".pd-readouts").inner_text()
    for words in ("Prices", "ARBUSDT", "OPUSDT", "z-score", "Account", "Drawdown"):
        assert words in text
    assert "in-sample" not in text
    shown = numbers(chart)
    assert shown["Look-ahead"] == "none"
    assert re.fullmatch(r"\d+%", shown["Better than noise"])
    query = parse_qs(urlsplit(chart.page.url).query)
    assert (query["enter"], query["bhedge"], query["window"]) == (["1.5"], ["Rolling"], ["90"])


def test_the_pair_is_taken_over_from_its_own_page(server: Server, chart_page: Open) -> None:
    chart = chart_page()
    chart.open(f"{server.url}/pair?source=practice&y=OPUSDT&x=ARBUSDT&tf=5s&span=1h&window=45")
    chart.page.get_by_role("link", name="Backtest it").click()
    chart.page.wait_for_url("**/backtest?**")
    chart.wait_for_chart()
    finished(chart)
    query = parse_qs(urlsplit(chart.page.url).query)
    assert (query["y"], query["x"]) == (["OPUSDT"], ["ARBUSDT"])
    assert (query["tf"], query["window"]) == (["5s"], ["45"])
    assert chart.facts()["timeframe"] == 5
    assert chart.page.get_by_text(re.compile("bars of 5s")).count() == 1


def test_a_control_gives_another_result_and_zooming_keeps_its_view(
    server: Server, chart_page: Open
) -> None:
    chart = chart_page()
    chart.open(f"{server.url}/backtest?{QUERY}")
    finished(chart)
    before = numbers(chart)
    for _ in range(2):
        chart.page.locator(".pd-in").click()
        chart.page.wait_for_timeout(600)
    chart.wait(lambda facts: facts["to"] - facts["from"] < 2_500_000, "it did not zoom")
    seen = chart.facts()
    chart.page.wait_for_timeout(1_500)
    assert (chart.facts()["from"], chart.facts()["to"]) == (seen["from"], seen["to"])
    field = chart.page.locator(".st-key-enter input")
    field.fill("2.75")
    field.press("Enter")
    chart.page.wait_for_url("**enter=2.75**")
    wait_until(lambda: numbers(chart).get("Trades", "") != before["Trades"], 30, "the same result")
    finished(chart)
    assert int(numbers(chart)["Trades"]) < int(before["Trades"])


def test_a_run_can_be_cancelled(server: Server, chart_page: Open) -> None:
    chart = chart_page()
    # The slowest there is: filters of 200 noises.
    query = QUERY.replace("span=1h", "span=all")
    chart.page.goto(f"{server.url}/backtest?{query}&bhedge=Kalman&enter=1.15")
    # It moves as the progress above it grows: a click that waits for it to stand still comes late.
    chart.page.get_by_role("button", name="Cancel").dispatch_event("click", timeout=60_000)
    chart.page.get_by_text("cancelled", exact=True).wait_for(timeout=30_000)
    assert chart.page.get_by_text("Not run: it was cancelled before.").count() > 0
    chart.page.get_by_role("button", name="Run again").click()
    chart.page.get_by_text("cancelled", exact=True).wait_for(state="detached", timeout=30_000)
    finished(chart)


def test_in_sample_is_red_across_the_page(server: Server, chart_page: Open) -> None:
    chart = chart_page(viewport={"width": 1440, "height": 2200})
    chart.open(f"{server.url}/backtest?{QUERY}&bhedge=OLS")
    finished(chart)
    chart.page.locator("[data-testid=stAlert]", has_text="In-sample").wait_for()
    assert "in-sample" in chart.page.locator(".pd-readouts").inner_text()
    chart.page.get_by_text("signals changed").wait_for()
    chart.shoot("backtest-in-sample-light")


def test_everything_can_be_taken_along(
    server: Server, empty_server: Server, chart_page: Open, browser: Any, tmp_path: Path
) -> None:
    here = chart_page()
    here.open(f"{server.url}/backtest?{QUERY}")
    finished(here)
    shown = numbers(here)
    ledger = pl.read_csv(taken(here, "backtest-download", "CSV", tmp_path))
    assert ledger.height == int(shown["Trades"])
    report = taken(here, "backtest-download", "Report", tmp_path)
    path = taken(here, "backtest-download", "Bundle", tmp_path)
    assert read_backtest_bundle(path.read_bytes()).manifest.range == "1h"
    alone(browser, report, shown)

    there = chart_page()
    there.page.goto(f"{empty_server.url}/data?source=binance&section=Bring+data")
    there.page.wait_for_selector(".pd-upload input", state="attached")
    there.page.set_input_files(".pd-upload input", [str(path)])
    there.page.get_by_role("button", name="Open view", exact=True).click(timeout=30_000)
    there.page.get_by_role("link", name="backtest of the bundle").first.click(timeout=30_000)
    there.wait_for_chart()
    there.page.get_by_text("every number is the same to the last digit").wait_for(timeout=DONE_MS)
    there.page.get_by_text("Look-ahead audit").wait_for()
    there.page.wait_for_selector(".st-key-sensitivity .pd-figure[data-renders]", timeout=DONE_MS)
    assert numbers(there) == shown
    there.shoot("backtest-bundle-wide-light")
    there.page.get_by_role("button", name="Back to live").click()
    there.page.wait_for_url(lambda url: "bundle=" not in url, timeout=30_000)


def alone(browser: Any, report: Path, shown: dict[str, str]) -> None:
    """The report opens with no server and no network, and says the same."""
    context = browser.new_context(viewport=WIDE, offline=True)
    page = context.new_page()
    errors: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    page.wait_for_function("document.querySelectorAll('.js-plotly-plot .main-svg').length >= 4")
    text = page.locator("body").inner_text()
    assert shown["Net return"] in text
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert errors == []
    assert asked == [report.as_uri()]
    page.screenshot(path=Path(__file__).parents[2] / "artifacts" / "backtest-report.png")
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_screens_fit_and_are_kept(
    server: Server, chart_page: Open, scheme: str, size: dict[str, int]
) -> None:
    name = "wide" if size is WIDE else "phone"
    chart = chart_page(color_scheme=scheme, viewport=size)
    chart.open(f"{server.url}/backtest?{QUERY}")
    finished(chart)
    chart.page.wait_for_selector(".st-key-sensitivity .pd-figure[data-renders]")
    fits(chart)
    chart.page.set_viewport_size({"width": size["width"], "height": 2600})
    chart.page.wait_for_timeout(1500)
    chart.shoot(f"backtest-{name}-{scheme}")
    chart.page.locator(".st-key-backtest_behind").get_by_text("Ledger").click()
    chart.page.wait_for_selector("[data-testid=stDataFrame] canvas")
    chart.page.get_by_text("Against noise").wait_for(state="detached")
    fits(chart)
