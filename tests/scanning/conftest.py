"""The practice exchange's whole market over a week of minutes, made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core.scanning.report import ScanReport
from core.scanning.running import scanned
from core.scanning.settings import ScanSettings
from core.store import Store
from tests.scanning.markets import market_store, practice_logs, walks


@pytest.fixture(scope="session")
def practice(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """All symbols of the practice exchange, twelve days."""
    path = tmp_path_factory.mktemp("practice") / "practice-7.duckdb"
    return market_store(path, practice_logs(12))


@pytest.fixture(scope="session")
def scan(practice: Store) -> ScanReport:
    """A scan of it as the page begins one."""
    *_, report = scanned(practice, ScanSettings())
    return report


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., Store]:
    """Return a maker of a market of a few walks."""

    def make(count: int = 6, bars: int = 700, seed: int = 1) -> Store:
        return market_store(tmp_path / "practice-7.duckdb", walks(count, bars, seed=seed))

    return make
