"""Scanner in a real browser: one click, the table, a chosen pair, the way to its page, screens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core.scanning.running import scanned
from core.scanning.settings import ScanSettings
from core.store import Store
from tests.browser.conftest import PHONE, WIDE, ChartPage, Server, serving
from tests.browser.test_prices import fits
from tests.scanning.markets import market_store, practice_logs

Open = Callable[..., ChartPage]
DRAWN = ".st-key-scan-charts .pd-figure[data-renders]"
CONFIRMED = "2 confirmed out of sample"


def begin(page: Any, after: str = "No scan yet") -> None:
    """Press the button once the page stands still and says so."""
    page.get_by_text(after).wait_for()
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    page.get_by_role("button", name="Scan now").click()


@pytest.fixture(scope="module")
def scan_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A week of the practice exchange's whole market."""
    home = tmp_path_factory.mktemp("scanner")
    store = market_store(home / "practice-7.duckdb", practice_logs(7))
    store.checkpoint()
    return store


@pytest.fixture(scope="module")
def scan_server(scan_store: Store) -> Iterator[Server]:
    """The app on that week."""
    with serving(scan_store.path.parent) as server:
        yield server


def test_one_click_confirms_the_planted_pairs_and_leads_to_them(
    scan_server: Server, chart_page: Open
) -> None:
    chart = chart_page()
    page = chart.page
    page.goto(f"{scan_server.url}/scanner?source=practice")
    begin(page)
    page.get_by_text(CONFIRMED).wait_for(timeout=60_000)
    page.wait_for_selector(DRAWN)
    table = page.locator(".st-key-scan-table [data-testid=stDataFrame]")
    table.wait_for()
    table.scroll_into_view_if_needed()
    detail = page.locator(".st-key-scan-pair")
    for _ in range(20):
        box = table.bounding_box()
        page.mouse.click(box["x"] + 16, box["y"] + 52)
        page.wait_for_timeout(1000)
        if detail.count():
            break
    detail.get_by_text("ARBUSDT / OPUSDT").wait_for()
    detail.get_by_text("bootstrap p 0.010").wait_for()
    chart.shoot("scanner-pair")
    detail.get_by_role("link", name="Open the pair").click()
    chart.wait_for_chart()
    assert "y=ARBUSDT" in page.url
    assert "x=OPUSDT" in page.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_screens_fit_and_are_kept(
    scan_server: Server, chart_page: Open, scheme: str, size: dict[str, int]
) -> None:
    chart = chart_page(color_scheme=scheme, viewport=size)
    page = chart.page
    page.goto(f"{scan_server.url}/scanner?source=practice")
    # The scan of the first test, which the file keeps.
    page.get_by_text(CONFIRMED).wait_for(timeout=60_000)
    page.wait_for_selector(DRAWN)
    page.wait_for_timeout(1000)
    fits(chart)
    chart.shoot(f"scanner-{'wide' if size is WIDE else 'phone'}-{scheme}")


def test_an_old_scan_is_opened_and_a_new_one_takes_its_place(
    scan_server: Server, scan_store: Store, chart_page: Open
) -> None:
    chart = chart_page()
    page = chart.page
    page.goto(f"{scan_server.url}/scanner?source=practice")
    begin(page, "History: 1 scan")
    page.get_by_text("History: 2 scans").wait_for(timeout=60_000)
    page.get_by_text("History: 2 scans").click()
    table = page.locator(".st-key-scan-log [data-testid=stDataFrame]")
    table.wait_for()
    table.scroll_into_view_if_needed()
    page.wait_for_timeout(1000)
    box = table.bounding_box()
    page.mouse.click(box["x"] + 16, box["y"] + 87)
    page.wait_for_timeout(2000)
    begin(page, "History: 2 scans")
    page.get_by_text("History: 3 scans").wait_for(timeout=60_000)
    page.get_by_text(CONFIRMED).wait_for()
    assert not page.locator("[data-testid=stException]").count()
    # What the worker scans meanwhile comes by itself.
    *_, _done = scanned(scan_store, ScanSettings(), asked_by="schedule")
    page.get_by_text("History: 4 scans").wait_for(timeout=60_000)
