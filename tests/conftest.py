"""What every test stands on: UTC, and a store of its own."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put live workers first and the browser last.

    Whatever waits for a worker wants a young process: each store of a test leaves DuckDB's
    threads, thousands in the end. Playwright keeps an event loop in this thread until the end.
    """
    items.sort(key=lambda item: ("browser" in item.path.parts, "worker" not in item.path.parts))
