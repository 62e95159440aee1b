"""A scan for programs: plain names, numbers and lists."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime
from typing import Any

import polars.selectors as cs

from core.scanning.report import ScanReport
from core.scanning.words import headline, noise_words, power_words

Write = Callable[[datetime], object]


def _iso(at: datetime) -> str:
    return f"{at.isoformat(timespec='seconds')}Z"


def told(report: ScanReport, write: Write = _iso, limit: int = 500) -> dict[str, Any]:
    """Return all that a scan found, its pairs the best first, at most ``limit``.

    Times are written by ``write``; NaN is None.
    """
    scans, counts = report.history
    pairs = report.pairs.head(limit).with_columns(cs.float().fill_nan(None))
    return {
        "id": report.id,
        "asked_by": report.asked_by,
        "started_at": write(report.started_at),
        "seconds": report.seconds,
        "is_final": report.is_final,
        "headline": headline(report),
        "remarks": [noise_words(report), power_words(report), *([report.note] * bool(report.note))],
        "settings": dataclasses.asdict(report.settings),
        "windows": {
            name: write(getattr(report.windows, name))
            for name in ("train_start", "train_end", "test_end")
        },
        "symbols": report.compared,
        "tested": report.tested,
        "same_asset": report.same_asset,
        "recomputed_directly": report.direct,
        "noise": dataclasses.asdict(report.noise) | {"share": report.noise.share},
        "passed": report.passed,
        "survived": report.survived,
        "confirmed": report.confirmed,
        "pairs": [
            row
            | {
                "survived_scans": counts.get((min(row["y"], row["x"]), max(row["y"], row["x"])), 0),
                "of_scans": scans,
            }
            for row in pairs.iter_rows(named=True)
        ],
        "left_out": {
            name: why
            for name, why in report.symbols.select("symbol", "left_out").iter_rows()
            if why
        },
    }
