"""Scans for all who look: one at a time a file, and those that the file keeps."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from core.errors import ScanRunning
from core.scanning.kept import SCANS, SCHEDULE, Schedule, load_scan, load_scans, load_schedule
from core.scanning.report import ScanReport
from core.scanning.running import RUNNING, ScanRun
from core.scanning.settings import ScanSettings
from core.store import Connection, Store

_runs: dict[Path, ScanRun] = {}
_guard = threading.Lock()


def begin_scan(store: Store, settings: ScanSettings, *, asked_by: str) -> ScanRun:
    """Begin a scan of the file; raises ScanRunning while another one is not over."""
    with _guard:
        known = _runs.get(store.path)
        if known is not None and known.standing.state == RUNNING:
            raise ScanRunning(
                f"A scan is running ({known.standing.share:.0%}); wait for it, or cancel it"
            )
        _runs[store.path] = run = ScanRun(store, settings, asked_by=asked_by)
        return run.start()


def scan_run(store: Store) -> ScanRun | None:
    """Return the file's scan that was begun last in this process."""
    return _runs.get(store.path)


@dataclass(frozen=True, slots=True)
class KeptScan:
    """One scan as it is kept: the newest, or the one that is named."""

    scan_id: str | None = None

    def version(self, versions: Mapping[str, int]) -> tuple[int, ...]:
        """Return the scans' version."""
        return (versions.get(SCANS, 0),)

    def answer(self, con: Connection) -> ScanReport | None:
        """Read it."""
        return load_scan(con, self.scan_id)


@dataclass(frozen=True, slots=True)
class KeptScans:
    """All scans in short, newest first."""

    def version(self, versions: Mapping[str, int]) -> tuple[int, ...]:
        """Return the scans' version."""
        return (versions.get(SCANS, 0),)

    def answer(self, con: Connection) -> pl.DataFrame:
        """Read them."""
        return load_scans(con)


@dataclass(frozen=True, slots=True)
class ScanSchedule:
    """What the worker scans by itself."""

    def version(self, versions: Mapping[str, int]) -> tuple[int, ...]:
        """Return the schedule's version."""
        return (versions.get(SCHEDULE, 0),)

    def answer(self, con: Connection) -> Schedule | None:
        """Read it."""
        return load_schedule(con)
