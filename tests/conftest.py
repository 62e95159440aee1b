"""What every test stands on: UTC, and a store of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import store as stores
from core.store import Store, open_store

os.environ["TZ"] = "UTC"
if hasattr(time, "tzset"):
    time.tzset()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store of the live venue."""
    made = open_store(tmp_path / "perpduck.duckdb")
    made.prepare("binance")
    return made


@pytest.fixture(autouse=True)
def _stores_are_let_go(request: pytest.FixtureRequest) -> Iterator[None]:
    """Forget the stores of the test's own directory: each holds a DuckDB instance's threads.

    Kept to the end they were 7,000 threads and 5 GB, and every test slower than the one before.
    """
    if "tmp_path" not in request.fixturenames:
        yield
        return
    home = request.getfixturevalue("tmp_path").resolve()
    yield
    for path in [path for path in stores._stores if path.is_relative_to(home)]:
        del stores._stores[path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put live workers first and the browser last.

    Whatever waits for a worker wants a young process: each store of a test leaves DuckDB's
    threads, thousands in the end. Playwright keeps an event loop in this thread until the end.
    """
    items.sort(key=lambda item: ("browser" in item.path.parts, "worker" not in item.path.parts))
