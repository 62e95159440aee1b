"""Downloads as a user clicks them, and a bundle that is opened on another machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from core.bundle import read_bundle
from tests.browser.conftest import ChartPage, Server

Open = Callable[..., ChartPage]
PAIR = "pair?source=practice&y=ETHUSDT&x=BTCUSDT&tf=1s&span=15m&hedge=Refit"


def taken(one: ChartPage, key: str, label: str, folder: Path) -> Path:
    """Click a download and return the file."""
    place = one.page.locator(f".st-key-{key} button").first
    if not one.page.get_by_role("button", name=label, exact=True).is_visible():
        place.click()
    with one.page.expect_download(timeout=60_000) as found:
        one.page.get_by_role("button", name=label, exact=True).click()
    path = folder / found.value.suggested_filename
    found.value.save_as(path)
    return path


def test_prices_give_their_bars_and_trades(
    full_server: Server, chart_page: Open, tmp_path: Path
) -> None:
    one = chart_page()
    one.open(f"{full_server.url}/?source=practice&symbols=btcusdt&range=5m")
    bars = pl.read_csv(taken(one, "download", "CSV", tmp_path), try_parse_dates=True)
    trades = pl.read_parquet(taken(one, "download", "Trades", tmp_path))
    assert bars["symbol"].unique().to_list() == ["btcusdt"]
    assert trades.height == bars["trades"].sum() > 100
    assert trades["price"].max() == bars["high"].max()


def test_a_bundle_shows_the_same_view_on_another_machine(
    full_server: Server, empty_server: Server, chart_page: Open, tmp_path: Path
) -> None:
    here = chart_page()
    here.open(f"{full_server.url}/{PAIR}")
    here.page.wait_for_selector(".st-key-cards", timeout=30_000)
    path = taken(here, "pair-download", "Bundle", tmp_path)
    assert path.name == "perpduck-ethusdt-btcusdt.zip"
    bundle = read_bundle(path.read_bytes())
    assert (bundle.spec.method, bundle.spec.timeframe) == ("refit", "1s")

    there = chart_page()
    there.page.goto(f"{empty_server.url}/data?source=binance&section=Bring+data")
    there.page.wait_for_selector(".pd-upload input", state="attached")
    there.page.set_input_files(".pd-upload input", [str(path)])
    there.page.get_by_role("button", name="Open view", exact=True).click(timeout=30_000)
    there.page.get_by_role("link", name="pair view of the bundle").first.click(timeout=30_000)
    there.wait_for_chart()
    there.page.get_by_text("every number is the same to the last digit").wait_for()
    assert "bundle=" in there.page.url
    there.shoot("bundle-wide-light")
    again = taken(there, "bundle-download", "Bundle", tmp_path / "again")
    assert again.read_bytes() == path.read_bytes()

    there.page.get_by_role("button", name="Back to live").click()
    there.page.wait_for_url(lambda url: "bundle=" not in url, timeout=30_000)
    there.page.get_by_text("every number is the same to the last digit").wait_for(state="detached")
