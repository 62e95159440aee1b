"""A real server, a real Chromium, and a home of their own for the browser tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.store import open_store
from tests.pages.conftest import fill

ROOT = Path(__file__).resolve().parent.parent.parent
ARTIFACTS = ROOT / "artifacts"
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


def chromium() -> str | None:
    """Return the path of a Chromium, None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    found = os.environ.get("PERPDUCK_CHROMIUM") or next(
        filter(None, map(shutil.which, names)), None
    )
    return found if found and Path(found).exists() else None


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium through Playwright; the tests are skipped where one of them is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = chromium()
    if path is None:
        pytest.skip("no Chromium found; set PERPDUCK_CHROMIUM to one")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


@dataclass(frozen=True)
class Server:
    """A running app: where it answers and where its files lie."""

    url: str
    home: Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(home: Path) -> Iterator[Server]:
    """Run the app as a user does, on a home of its own; the workers it started end with it."""
    port = free_port()
    log = home / "server.log"
    command = [
        sys.executable, "-m", "streamlit", "run", "streamlit_app.py",
        "--server.port", str(port), "--server.headless", "true",
    ]  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"PERPDUCK_DB": str(home / "perpduck.duckdb"), "TZ": "UTC"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until(lambda: is_up(port), 60, "the server did not come up")
            yield Server(f"http://127.0.0.1:{port}", home)
        finally:
            process.terminate()
            process.wait(20)
            stop_workers(home)
    text = log.read_text(encoding="utf-8")
    assert "Traceback" not in text, text


def is_up(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def wait_until(done: Callable[[], object], limit_s: float, words: str) -> None:
    deadline = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < deadline, words
        time.sleep(0.1)


def stop_workers(home: Path) -> None:
    """End the workers on this home's files, by the pid that each wrote down."""
    for path in home.glob("*.worker.pid"):
        with contextlib.suppress(ValueError, OSError):
            os.kill(int(path.read_text(encoding="ascii")), signal.SIGTERM)
        wait_until(lambda path=path: not path.exists(), 30, f"{path} is still there")


@pytest.fixture(scope="module")
def empty_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app on a home without any file."""
    with serving(tmp_path_factory.mktemp("empty")) as server:
        yield server


@pytest.fixture(scope="module")
def full_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app on two hours of trades whose worker was stopped."""
    home = tmp_path_factory.mktemp("full")
    store = open_store(home / "practice-7.duckdb")
    store.prepare("practice:7")
    fill(store, minutes=120)
    with serving(home) as server:
        yield server


class ChartPage:
    """A browser page with the live chart on it."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, url: str) -> None:
        self.page.goto(url)
        self.wait_for_chart()

    def wait_for_chart(self, limit_s: float = 60) -> None:
        self.page.wait_for_selector(".pd-chart[data-renders]", timeout=limit_s * 1000)

    def facts(self) -> dict[str, Any]:
        """Return what the chart says of itself, numbers as numbers."""
        raw = self.page.evaluate("({...document.querySelector('.pd-chart').dataset})")
        return {key: float(v) if v.lstrip("-").replace(".", "", 1).isdigit() else v
                for key, v in raw.items()}  # fmt: skip

    def wait(
        self, done: Callable[[dict[str, Any]], object], words: str, limit_s: float = 20
    ) -> None:
        deadline = time.monotonic() + limit_s
        while not done(self.facts()):
            assert time.monotonic() < deadline, f"{words}: {self.facts()}"
            self.page.wait_for_timeout(100)

    def spot(self, x: float, y: float) -> tuple[float, float]:
        """Return a place in the plot, given in shares of its width and height."""
        box = self.page.locator(".pd-plot").bounding_box()
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def shoot(self, name: str) -> None:
        """Keep what the screen shows, as evidence for people and for CI."""
        ARTIFACTS.mkdir(exist_ok=True)
        self.page.screenshot(path=ARTIFACTS / f"{name}.png")


@pytest.fixture
def chart_page(browser: Any) -> Iterator[Callable[..., ChartPage]]:
    """Return an opener of pages; no page may throw a script error."""
    opened: list[ChartPage] = []

    def new(**options: Any) -> ChartPage:
        context = browser.new_context(**({"viewport": WIDE} | options))
        opened.append(ChartPage(context.new_page()))
        return opened[-1]

    yield new
    for one in opened:
        one.page.context.close()
        assert one.errors == []
