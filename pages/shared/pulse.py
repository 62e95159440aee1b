"""The state of one file and its worker, as last read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from core.errors import PerpduckError
from core.models import WorkerStatus
from core.supervisor import Health, worker_health

# A worker in one of these states writes what it gets, or is about to.
WRITING = ("starting", "live", "behind", "restricted")


@dataclass(frozen=True, slots=True)
class Pulse:
    """The state of the file and its worker, as last read; ``error`` says why it is old."""

    health: Health
    status: WorkerStatus | None = None
    symbols: pl.DataFrame = field(default_factory=pl.DataFrame)
    watchlist: tuple[str, ...] = ()
    stored: tuple[str, ...] = ()
    bounds: Mapping[str, tuple[datetime, datetime]] = field(default_factory=dict)
    contracts: pl.DataFrame = field(default_factory=pl.DataFrame)
    tick_sizes: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)
    error: PerpduckError | None = None
    read_at: float = 0.0

    @property
    def open_gaps(self) -> int:
        """How many gaps are open over all watched symbols."""
        return int(self.symbols["open_gaps"].sum()) if self.symbols.height else 0

    @property
    def silent_s(self) -> float:
        """Seconds since the newest trade of any stored symbol; 0 where there is none."""
        newest = max((last for _, last in self.bounds.values()), default=None)
        if newest is None:
            return 0.0
        return (datetime.now(UTC).replace(tzinfo=None) - newest).total_seconds()

    @property
    def lag_s(self) -> float | None:
        """How far the slowest watched symbol is behind the exchange, in seconds."""
        if not self.symbols.height:
            return None
        slowest = self.symbols["lag_s"].max()
        return float(slowest) if isinstance(slowest, int | float) else None


def judged(path: Path, before: Pulse | None, error: PerpduckError | None) -> Pulse:
    """Return the last pulse with the worker judged anew, since a dead one changes no file."""
    health = worker_health(path, before.status if before else None)
    if before is None:
        return Pulse(health=health, error=error)
    return replace(before, health=health, error=error)
