"""The newcomer's path in a real browser: welcome, one click, live candles that move."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.browser.conftest import ChartPage, Server


def test_two_clicks_to_a_live_chart_that_keeps_zoom_hover_and_node(
    empty_server: Server, chart_page: Callable[..., ChartPage]
) -> None:
    chart = chart_page()
    page = chart.page
    page.goto(empty_server.url)
    page.get_by_role("button", name="Try it with the practice exchange").wait_for()
    page.wait_for_timeout(500)
    chart.shoot("welcome")
    page.get_by_role("button", name="Try it with the practice exchange").click()
    page.wait_for_selector(".st-key-starting", timeout=20_000)
    chart.shoot("starting")
    chart.wait_for_chart()

    first = chart.facts()["last"]
    chart.wait(lambda facts: facts["last"] >= first + 3000, "the candles do not move")
    assert chart.facts()["follow"] == "true"
    assert "source=practice" in page.url
    page.wait_for_function(
        "document.querySelector('.st-key-pill').innerText.includes('live')", timeout=20_000
    )
    chart.shoot("live")

    node_stays(chart)
    hover_stays(chart)
    zoom_stays(chart)
    status_opens(page)


def node_stays(chart: ChartPage) -> None:
    chart.page.evaluate("document.querySelector('.pd-chart .pd-plot').mark = 1")
    before = chart.facts()["renders"]
    chart.wait(lambda facts: facts["renders"] >= before + 3, "the chart is not refreshed")
    assert chart.page.evaluate("document.querySelector('.pd-chart .pd-plot').mark") == 1


def hover_stays(chart: ChartPage) -> None:
    chart.page.mouse.move(*chart.spot(0.6, 0.4))
    chart.wait(lambda facts: facts.get("hover"), "there is no crosshair")
    before = chart.facts()["renders"]
    chart.wait(lambda facts: facts["renders"] >= before + 3, "the chart is not refreshed")
    assert chart.facts().get("hover")
    assert chart.page.locator(".pd-lines").is_visible()
    chart.shoot("hover")


def zoom_stays(chart: ChartPage) -> None:
    """Zoom in with the wheel, away from the newest bar, and let three refreshes pass."""
    for _ in range(3):
        chart.page.mouse.wheel(0, -240)
        chart.page.wait_for_timeout(120)
    chart.wait(lambda facts: facts["preset"] == "false", "the zoom is not taken")
    chart.page.wait_for_timeout(1500)
    zoomed = chart.facts()
    chart.wait(lambda facts: facts["renders"] >= zoomed["renders"] + 3, "the chart stands still")
    after = chart.facts()
    assert after["to"] - after["from"] == zoomed["to"] - zoomed["from"]
    if zoomed["follow"] == "false":
        assert after["from"] == zoomed["from"]
    chart.page.locator(".pd-chart").press("Escape")
    chart.wait(lambda facts: facts["preset"] == "true", "Escape does not lead back")


def status_opens(page: Any) -> None:
    """The pill says why, and stays open while the state goes on changing."""
    page.locator(".st-key-pill button").first.click()
    page.get_by_text("Practice · live").wait_for(timeout=10_000)
    page.wait_for_timeout(4500)
    assert page.get_by_text("Practice · live").is_visible()
    page.keyboard.press("Escape")


def test_the_worker_is_stopped_from_the_browser(
    empty_server: Server, chart_page: Callable[..., ChartPage]
) -> None:
    """Goes on from the newcomer: the worker outlived that page, and its log can be read."""
    page = chart_page().page
    page.goto(f"{empty_server.url}/data?source=practice")
    stop = page.get_by_role("button", name="Stop worker")
    stop.wait_for(timeout=20_000)
    page.get_by_text("Worker log").click()
    page.get_by_text("worker started on").wait_for(timeout=10_000)
    stop.click()
    page.get_by_role("button", name="Start with Practice").wait_for(timeout=30_000)
    page.wait_for_function(
        "document.querySelector('.st-key-pill').innerText.includes('stopped')", timeout=20_000
    )
