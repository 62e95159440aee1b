"""Pair and Correlation in a real browser: the chart's panels, clicks, links, screens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser.conftest import PHONE, WIDE, ChartPage, Server, serving
from tests.browser.test_prices import fits
from tests.pages.test_pair_page import pair_store

Open = Callable[..., ChartPage]
QUERY = "source=practice&y=ARBUSDT&x=OPUSDT&tf=1s&span=1h"


@pytest.fixture(scope="module")
def pair_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app on two hours of a pair that comes back, whose worker was stopped."""
    home = tmp_path_factory.mktemp("pair")
    pair_store(home, 7_200)
    with serving(home) as server:
        yield server


def test_a_shared_link_opens_on_a_cold_server_as_it_was(
    pair_server: Server, chart_page: Open
) -> None:
    """First in this module: nobody has asked this server for anything before."""
    chart = chart_page()
    chart.open(f"{pair_server.url}/pair?{QUERY}&hedge=Rolling&window=120")
    assert chart.page.get_by_text("Page not found").count() == 0
    facts = chart.facts()
    assert facts["timeframe"] == 1
    assert 3_000_000 < facts["to"] - facts["from"] < 4_500_000
    text = chart.page.locator(".pd-readouts").inner_text()
    for words in ("ARBUSDT", "OPUSDT", "Spread", "z-score", "120 bars", "β"):
        assert words in text
    assert "in-sample" not in text
    chart.page.get_by_text("Cointegrated at 1%").wait_for()
    assert "hedge=Rolling" in chart.page.url


def test_zooming_keeps_the_view_and_finds_finer_points(
    pair_server: Server, chart_page: Open
) -> None:
    chart = chart_page()
    chart.open(f"{pair_server.url}/pair?{QUERY}")
    whole = chart.facts()
    assert whole["points"] < 3_000
    for _ in range(2):
        chart.page.locator(".pd-in").click()
        chart.page.wait_for_timeout(700)
    chart.wait(lambda facts: facts["to"] - facts["from"] < 2_500_000, "it did not zoom")
    seen = chart.facts()
    chart.page.wait_for_timeout(2_500)
    later = chart.facts()
    assert (later["from"], later["to"]) == (seen["from"], seen["to"])
    assert later["renders"] > seen["renders"] - 1
    chart.page.locator(".pd-reset").click()
    chart.wait(lambda facts: facts["to"] - facts["from"] > 3_000_000, "it did not return")


def test_a_control_changes_the_chart_and_the_address(pair_server: Server, chart_page: Open) -> None:
    chart = chart_page()
    chart.open(f"{pair_server.url}/pair?{QUERY}")
    assert "in-sample" in chart.page.locator(".pd-readouts").inner_text()
    chart.page.locator(".st-key-hedge").get_by_text("Refit", exact=True).click()
    chart.page.wait_for_url("**hedge=Refit**")
    chart.page.wait_for_function(
        "!document.querySelector('.pd-readouts').innerText.includes('in-sample')"
    )
    chart.page.locator(".st-key-swap button").first.click()
    chart.page.wait_for_url(lambda url: "y=OPUSDT" in url and "x=ARBUSDT" in url)
    assert "hedge=Refit" in chart.page.url


def test_a_cell_chooses_the_pair_and_the_link_opens_it(
    pair_server: Server, chart_page: Open
) -> None:
    chart = chart_page()
    chart.page.goto(f"{pair_server.url}/correlation?source=practice&mtf=1s&mspan=1h")
    chart.page.wait_for_selector(".st-key-matrix .pd-figure[data-renders]")
    first = chart.page.locator("h4").first.inner_text()
    cells = chart.page.locator(".st-key-matrix .nsewdrag").first.bounding_box()
    # Of three symbols' cells the one in the first row's last column.
    chart.page.mouse.click(cells["x"] + cells["width"] * 0.83, cells["y"] + cells["height"] * 0.17)
    chart.page.wait_for_function(f"document.querySelector('h4').innerText !== {first!r}")
    y, x = chart.page.locator("h4").first.inner_text().split("ρ")[0].replace(" ", "").split("/")
    # While Streamlit renews the page, the old link stands beside the new one.
    link = chart.page.get_by_role("link", name="Open the pair")
    deadline = time.monotonic() + 20
    while link.count() != 1 or f"y={y}&x={x}" not in str(link.get_attribute("href")):
        assert time.monotonic() < deadline, link.count()
        chart.page.wait_for_timeout(100)
    link.click()
    chart.page.wait_for_url(f"**y={y}**")
    chart.wait_for_chart()
    assert f"x={x}" in chart.page.url
    assert y in chart.page.locator(".pd-readouts").inner_text()


def test_a_double_click_opens_the_pair(pair_server: Server, chart_page: Open) -> None:
    chart = chart_page()
    chart.page.goto(f"{pair_server.url}/correlation?source=practice&mtf=1s&mspan=1h")
    chart.page.wait_for_selector(".st-key-matrix .pd-figure[data-renders]")
    # What was asked for: the page then leaves out of its address what a first visit sees anyway.
    asked: list[str] = []
    chart.page.on(
        "request", lambda sent: asked.append(sent.url) if sent.is_navigation_request() else None
    )
    # A loaded machine may take two quick clicks for two slow ones; people click once more.
    for _ in range(5):
        double_click(chart.page, still(chart.page, ".st-key-matrix .nsewdrag"))
        chart.page.wait_for_timeout(3_000)
        if asked:
            break
    assert "/pair?" in asked[0]
    assert "y=" in asked[0]
    assert "source=practice" in asked[0]
    chart.wait_for_chart()


def still(page: Any, selector: str) -> dict[str, float]:
    """Return the element's place once it has kept it for a second, as nobody clicks sooner."""
    deadline = time.monotonic() + 30
    found, since = None, time.monotonic()
    while found is None or time.monotonic() - since < 1:
        assert time.monotonic() < deadline, f"{selector} does not come to rest"
        page.wait_for_timeout(100)
        now = page.locator(selector).first.bounding_box()
        if now != found:
            found, since = now, time.monotonic()
    return dict(found)


def double_click(page: Any, cells: dict[str, float]) -> None:
    """Click twice on the cell of the last row's symbol and the last but one column's."""
    x, y = cells["x"] + cells["width"] * 0.83, cells["y"] + cells["height"] * 0.17
    page.mouse.move(x, y, steps=4)
    page.mouse.dblclick(x, y, delay=30)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_screens_fit_and_are_kept(
    pair_server: Server, chart_page: Open, scheme: str, size: dict[str, int]
) -> None:
    name = "wide" if size is WIDE else "phone"
    chart = chart_page(color_scheme=scheme, viewport=size)
    chart.open(f"{pair_server.url}/pair?{QUERY}")
    chart.page.wait_for_timeout(1500)
    fits(chart)
    chart.page.set_viewport_size({"width": size["width"], "height": 1500})
    chart.page.wait_for_timeout(1500)
    chart.shoot(f"pair-{name}-{scheme}")
    chart.page.goto(f"{pair_server.url}/correlation?source=practice&mtf=1s&mspan=1h")
    chart.page.wait_for_selector(".st-key-signature .pd-figure[data-renders]")
    chart.page.wait_for_timeout(1500)
    fits(chart)
    chart.shoot(f"correlation-{name}-{scheme}")
