"""What the scanner itself makes of a market in which there is nothing: it confirms nothing."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from scan_panels import clustered_walks

from core.scanning.finals import finals
from core.scanning.pairing import compared, first_table, noise_floor
from core.scanning.panel import ScanPanel
from core.scanning.report import EXPLAINED, SYMBOL_SCHEMA, Noise, ScanReport, Windows
from core.scanning.settings import ScanSettings

TRAIN, TEST, COUNT = 1_440, 480, 40
SETTINGS = ScanSettings(span="1d", correction="bh", finalists=60)


def report_of(seed: int) -> ScanReport:
    """Return the finished scan of independent walks under one clustered volatility path."""
    logs = clustered_walks(seed, 2 * TRAIN + TEST, COUNT)
    start = datetime(2026, 11, 1)
    minutes = [start + timedelta(minutes=at) for at in (TRAIN, 2 * TRAIN, 2 * TRAIN + TEST)]
    names = tuple(f"n{at:02}usdt" for at in range(COUNT))
    empty = {name: pl.Series(name, [None] * COUNT, kind) for name, kind in SYMBOL_SCHEMA.items()}
    symbols = pl.DataFrame(empty).with_columns(symbol=pl.Series(names), left_out=pl.lit(""))
    panel = ScanPanel(
        names, logs, np.zeros(logs.shape, np.bool_), Windows(*minutes), TRAIN, TEST, symbols
    )
    found = compared(panel, SETTINGS, "threads", lambda share: None)
    pairs, passed = first_table(panel, SETTINGS, found)
    noise: Noise = noise_floor(panel, SETTINGS, "threads", found, lambda share: None)
    first = ScanReport(
        "", SETTINGS, "test", start, panel.windows, found.tested, found.same_asset, found.direct,
        noise, pairs, symbols, passed=passed,
    )  # fmt: skip
    return finals(panel, first, "threads", lambda share: None)


def test_noise_passes_is_seen_in_the_floor_and_is_not_confirmed() -> None:
    """Twenty markets of clustered noise, the whole way: q-values, bootstrap, shadows, test window.

    Every pair that passes is wrong. Measured: 3,114 do at Benjamini-Hochberg's 5% (the noise floor
    of these markets is 12% in the mean), 170 survive the bootstrap, 2 are confirmed.
    """
    reports = [report_of(seed) for seed in range(20)]
    passed = sum(one.passed for one in reports)
    assert passed > 500
    floors = [one.noise.share or 0.0 for one in reports]
    assert np.mean(floors) > 0.05
    survived = sum(one.survived + one.explained for one in reports)
    assert survived < 0.1 * passed
    assert sum(one.confirmed for one in reports) <= 0.005 * passed
    assert sum(one.confirmed == 0 for one in reports) >= 18


@pytest.mark.parametrize("seed", [0, 1])
def test_a_market_of_noise_is_told_as_what_it_is(seed: int) -> None:
    report = report_of(seed)
    stages = report.pairs["stage"]
    assert report.explained == (stages == EXPLAINED).sum()
    assert report.filtered == 0
    assert report.pairs.filter(pl.col("stage") == EXPLAINED)["explained_by"].null_count() == 0
