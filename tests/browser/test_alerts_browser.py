"""Alerts in a real browser: a rule through the form, the list, an event's details, screens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core.alerts.rules import Rule
from core.store import Store, open_store
from tests.browser.conftest import PHONE, WIDE, ChartPage, Server, serving
from tests.browser.test_prices import fits
from tests.pages.alert_pages import HOOK, fire, kept_rules, ruled, stand, zscore
from tests.pages.test_pair_page import pair_store

Open = Callable[..., ChartPage]
FIGURE = ".st-key-alert-preview-chart .pd-figure[data-renders]"


@pytest.fixture(scope="module")
def alert_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app on seven hours of a pair that comes back, without a rule.

    A refit of 120 bars has its first line at a whole two hours after 120 bars, up to four hours,
    and its first z-score up to 120 bars later.
    """
    home = tmp_path_factory.mktemp("alerts")
    pair_store(home, 25_200)
    with serving(home) as server:
        yield server


def store_of(server: Server) -> Store:
    return open_store(server.home / "practice-7.duckdb")


def wait(page: Any, done: Callable[[], object], words: str, limit_s: float = 30) -> None:
    deadline = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < deadline, words
        page.wait_for_timeout(100)


def test_a_rule_is_added_through_the_form(alert_server: Server, chart_page: Open) -> None:
    store = store_of(alert_server)
    chart = chart_page()
    page = chart.page
    page.goto(f"{alert_server.url}/alerts?source=practice")
    page.get_by_text("No rules yet").wait_for()
    page.wait_for_selector(FIGURE)
    threshold = page.locator(".st-key-rule_threshold input")
    threshold.fill("1.5")
    threshold.press("Enter")
    page.get_by_text("z-score crosses above 1.5").first.wait_for()
    page.get_by_role("heading", name="Would have fired").wait_for()
    page.locator(".st-key-save-rule button").click()
    page.get_by_text("The worker watches it from now on").wait_for()
    page.locator(".st-key-rules-rows").get_by_text("ARB / OP z-score crosses above 1.5").wait_for()
    (kept,) = kept_rules(store)
    assert kept.rule == zscore(threshold=1.5)
    stand(store, kept.id, reason="too few bars yet: 3 of 62")
    # The list follows by itself.
    page.get_by_text("too few bars yet: 3 of 62").wait_for()


def test_an_event_is_told_shown_and_leads_to_its_pair(
    alert_server: Server, chart_page: Open
) -> None:
    store = store_of(alert_server)
    chart = chart_page()
    page = chart.page
    page.goto(f"{alert_server.url}/alerts?source=practice&alerts=History")
    page.get_by_text("not acknowledged").first.wait_for()
    kept = ruled(store, zscore(), "Told at once")
    fire(store, kept, urls=[HOOK])
    page.locator("[data-testid=stToast]").get_by_text("Told at once").wait_for()
    page.locator(".st-key-pill").get_by_role("link").wait_for()
    cells = page.locator(".st-key-events-table [data-testid=stDataFrame]")
    cells.wait_for()
    link = page.get_by_role("link", name="Open in Pair")

    def chosen() -> bool:
        box = cells.bounding_box()  # it moves as news come in above it
        page.mouse.click(box["x"] + 16, box["y"] + 52)
        page.wait_for_timeout(1500)
        return bool(link.count())

    wait(page, chosen, "the row cannot be chosen")
    page.get_by_text("Acknowledge 1 chosen").wait_for()
    assert "T0PSECRET" not in page.content()
    link.click()
    chart.wait_for_chart()
    assert "hedge=Refit" in page.url
    assert "window=120" in page.url
    page.get_by_text("Last alerts of this pair").wait_for()
    page.get_by_text("Last alerts of this pair").scroll_into_view_if_needed()
    chart.shoot("alerts-on-pair-wide-light")
    page.get_by_role("link", name="Alert on it").click()
    page.get_by_role("heading", name="Would have fired").wait_for()
    # The form has what Pair shows.
    assert page.locator(".st-key-rule_window input").input_value() == "120"
    assert page.locator(".st-key-rule_hedge input").input_value() == "Refit"
    page.locator(".st-key-pill").get_by_role("link").click()
    page.get_by_text("Acknowledge all").click()
    wait(page, lambda: not page.locator(".st-key-pill").get_by_role("link").count(), "the badge")


def test_a_deep_link_opens_the_form_filled(alert_server: Server, chart_page: Open) -> None:
    chart = chart_page()
    page = chart.page
    query = "source=practice&alerts=New+rule&rule=new&y=OPUSDT&x=ARBUSDT&tf=1s&window=90"
    page.goto(f"{alert_server.url}/alerts?{query}")
    page.wait_for_selector(FIGURE)
    assert page.locator(".st-key-rule_window input").input_value() == "90"
    page.get_by_text("OP / ARB", exact=True).wait_for()


def test_a_toast_leaves_the_list_as_it_was(alert_server: Server, chart_page: Open) -> None:
    """A style of the page's own would vanish as the toast comes."""
    store = store_of(alert_server)
    kept = ruled(store, zscore(), "In its place", targets=[HOOK])
    page = chart_page(viewport=PHONE).page
    page.goto(f"{alert_server.url}/alerts?source=practice")
    menu = page.locator(f".st-key-rule-menu-{kept.id}")
    card = page.locator(f".st-key-card-{kept.id}")
    menu.wait_for()

    def is_in_the_corner() -> bool:
        inner, outer = menu.bounding_box(), card.bounding_box()
        return bool(inner["y"] - outer["y"] < 20)

    wait(page, is_in_the_corner, "the menu is not in the corner")
    page.wait_for_timeout(2500)  # the pill has looked once: what fires from now on is news
    fire(store, kept, urls=[HOOK])
    page.locator("[data-testid=stToast]").get_by_text("In its place").wait_for()
    page.wait_for_timeout(1500)
    assert is_in_the_corner()


CONTRAST = """element => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number)
  const light = c => c.slice(0, 3).map(v => v / 255)
    .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0)
  let opacity = 1, ground = [255, 255, 255], found = false
  for (let at = element; at; at = at.parentElement) {
    const style = getComputedStyle(at), back = rgb(style.backgroundColor)
    opacity *= Number(style.opacity)
    if (!found && (back.length < 4 || back[3] === 1)) { ground = back; found = true }
  }
  const ink = rgb(getComputedStyle(element).color)
  const share = opacity * (ink.length > 3 ? ink[3] : 1)
  const shown = ink.slice(0, 3).map((v, i) => v * share + ground[i] * (1 - share))
  const [a, b] = [light(shown), light(ground)].sort((x, y) => y - x)
  return (a + .05) / (b + .05)
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_masked_target_can_be_read(alert_server: Server, chart_page: Open, scheme: str) -> None:
    ruled(store_of(alert_server), zscore(), "Masked", targets=[HOOK])
    page = chart_page(color_scheme=scheme).page
    page.goto(f"{alert_server.url}/alerts?source=practice")
    code = page.locator(".st-key-rules-rows code").first
    code.wait_for()
    # What is drawn again meanwhile is dimmed for a moment.
    wait(page, lambda: code.evaluate(CONTRAST) >= 4.5, "it stays too pale")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_screens_fit_and_are_kept(
    alert_server: Server, chart_page: Open, scheme: str, size: dict[str, int]
) -> None:
    store = store_of(alert_server)
    if not any(kept.name == "Long" for kept in kept_rules(store)):
        rule = Rule("price", "btcusdt", op="above", threshold=64_000.0, cooldown_s=900.0)
        fire(store, ruled(store, rule, "Long", targets=[HOOK]), 64_010.5, urls=[HOOK])
    name = "wide" if size is WIDE else "phone"
    chart = chart_page(color_scheme=scheme, viewport=size)
    page = chart.page
    sections = {
        "Rules": ".st-key-rules-rows", "New+rule": FIGURE, "History": ".st-key-events-table",
        "Deliveries": ".stDataFrame",
    }  # fmt: skip
    for section, sign in sections.items():
        page.goto(f"{alert_server.url}/alerts?source=practice&alerts={section}")
        page.wait_for_selector(sign)
        page.wait_for_timeout(1000)
        fits(chart)
        chart.shoot(f"alerts-{section.lower().replace('+', '-')}-{name}-{scheme}")
    drawn = page.screenshot()
    assert len(drawn) > 10_000
