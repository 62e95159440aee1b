"""Prices in a real browser, on a store whose worker was stopped: every number stands still."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import PHONE, WIDE, ChartPage, Server

Open = Callable[..., ChartPage]


def test_panning_loads_what_comes_into_view(full_server: Server, chart_page: Open) -> None:
    chart = chart_page()
    chart.open(f"{full_server.url}/?source=practice")
    loaded = chart.facts()["first"]
    chart.page.mouse.move(*chart.spot(0.2, 0.4))
    for _ in range(4):
        x, y = chart.spot(0.2, 0.4)
        chart.page.mouse.move(x, y)
        chart.page.mouse.down()
        chart.page.mouse.move(x + 700, y, steps=6)
        chart.page.mouse.up()
        chart.page.wait_for_timeout(700)
    chart.wait(lambda facts: facts["first"] < loaded - 900_000, "nothing older was loaded")
    facts = chart.facts()
    assert facts["first"] <= facts["from"]
    assert facts["follow"] == "false"
    chart.page.locator(".pd-live").click()
    chart.wait(lambda facts: facts["follow"] == "true", "Live does not lead back")


def test_zooming_out_loads_coarser_bars_and_says_so(full_server: Server, chart_page: Open) -> None:
    chart = chart_page()
    chart.open(f"{full_server.url}/?source=practice")
    assert chart.facts()["timeframe"] == 1
    for _ in range(3):
        chart.page.locator(".pd-out").click()
        chart.page.wait_for_timeout(500)
    chart.wait(lambda facts: facts["timeframe"] == 5, "the bars did not get coarser")
    assert "showing 5s bars" in chart.page.locator(".pd-note").inner_text()
    chart.page.locator(".pd-reset").click()
    chart.wait(lambda facts: facts["timeframe"] == 1, "the bars did not get finer again")


def test_the_address_restores_what_was_chosen(full_server: Server, chart_page: Open) -> None:
    chart = chart_page(timezone_id="Asia/Kolkata")
    query = "source=practice&symbols=ETHUSDT&timeframe=1m&range=1h&zone=Local"
    chart.open(f"{full_server.url}/?{query}")
    for _ in range(2):
        facts = chart.facts()
        assert facts["timeframe"] == 60
        assert facts["zone"] == "UTC+5:30"
        assert facts["to"] - facts["from"] > 3_500_000
        assert "ETHUSDT" in chart.page.locator(".pd-readouts").inner_text()
        chart.page.reload()
        chart.wait_for_chart()


def test_a_choice_is_written_to_the_address(full_server: Server, chart_page: Open) -> None:
    chart = chart_page()
    chart.open(f"{full_server.url}/?source=practice&symbols=ETHUSDT")
    chart.page.locator(".st-key-range").get_by_text("1h", exact=True).click()
    chart.page.wait_for_url("**range=1h**")
    assert "symbols=ETHUSDT" in chart.page.url
    chart.page.goto(f"{full_server.url}/data?source=practice")
    chart.page.get_by_role("heading", name="Watchlist").wait_for()


def test_old_data_are_dimmed_with_their_age(full_server: Server, chart_page: Open) -> None:
    chart = chart_page()
    chart.open(f"{full_server.url}/?source=practice")
    chart.page.wait_for_selector(".pd-chart.pd-stale")
    assert "Worker stopped" in chart.page.locator(".pd-age").inner_text()


def test_local_time_follows_daylight_saving(full_server: Server, chart_page: Open) -> None:
    """The chart's own clock, asked on both sides of Berlin's change of 29 March 2026."""
    chart = chart_page(timezone_id="Europe/Berlin")
    chart.open(f"{full_server.url}/?source=practice&zone=Local")
    shifts = chart.page.evaluate(
        "[Date.UTC(2026, 2, 29, 0, 59), Date.UTC(2026, 2, 29, 1, 1)]"
        ".map((ms) => -new Date(ms).getTimezoneOffset())"
    )
    assert shifts == [60, 120]
    assert chart.facts()["zone"] in ("UTC+1", "UTC+2")


def test_light_and_dark_change_without_reloading(full_server: Server, chart_page: Open) -> None:
    chart = chart_page(color_scheme="light")
    chart.open(f"{full_server.url}/?source=practice")
    assert chart.facts()["theme"] == "light"
    chart.page.evaluate("document.querySelector('.pd-plot').mark = 1")
    chart.page.emulate_media(color_scheme="dark")
    chart.wait(lambda facts: facts["theme"] == "dark", "the theme is not followed")
    assert chart.page.evaluate("document.querySelector('.pd-plot').mark") == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_screens_fit_and_are_kept(
    full_server: Server, chart_page: Open, scheme: str, size: dict[str, int]
) -> None:
    name = "wide" if size is WIDE else "phone"
    chart = chart_page(color_scheme=scheme, viewport=size)
    query = "source=practice&symbols=BTCUSDT&symbols=ETHUSDT"
    chart.open(f"{full_server.url}/?{query}")
    chart.page.wait_for_timeout(2000)
    fits(chart)
    if size is PHONE:
        chart.page.set_viewport_size({"width": 390, "height": 1500})
        chart.page.wait_for_timeout(1500)
    chart.shoot(f"prices-{name}-{scheme}")
    chart.page.goto(f"{full_server.url}/data?source=practice")
    chart.page.get_by_role("heading", name="Gaps and coverage").wait_for(timeout=20_000)
    chart.page.wait_for_timeout(2000)
    chart.shoot(f"data-{name}-{scheme}")
    fits(chart)


def fits(chart: ChartPage) -> None:
    """Nothing may stick out sideways."""
    assert chart.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


COUNT_REMOVED = """
window.removed = 0
new MutationObserver((changes) => {
  for (const { removedNodes } of changes) {
    for (const node of removedNodes) window.removed += node.classList?.contains("pd-chart") ? 1 : 0
  }
}).observe(document, { childList: true, subtree: true })
"""


def test_a_call_that_a_newer_one_overtook_does_not_close_the_chart(
    full_server: Server, chart_page: Open
) -> None:
    chart = chart_page(color_scheme="light")
    chart.page.add_init_script(COUNT_REMOVED)

    def late(route: Any) -> None:
        # Streamlit ends the first call, for the theme changed, while its script is under way.
        chart.page.emulate_media(color_scheme="dark")
        chart.page.wait_for_timeout(1500)
        route.continue_()

    chart.page.route("**/perpduck/assets/live_chart-*.js", late)
    chart.open(f"{full_server.url}/?source=practice")
    chart.wait(lambda facts: facts["theme"] == "dark", "the theme is not followed")
    assert chart.page.evaluate("window.removed") == 0
