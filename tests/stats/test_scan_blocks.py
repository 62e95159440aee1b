"""A pair's figures do not depend on where it stands: blocks, orders, threads, processes."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from scan_panels import every_kind, walks, with_gaps

from core.errors import DataError
from core.stats.scan import ScanResult, block_slices, joined, pair_scan
from core.stats.scan_tile import TileResult

ROOT = Path(__file__).resolve().parents[2]
PANEL = every_kind(5, 400)
SYMBOLS = PANEL.shape[1]
NAMES = [field.name for field in fields(TileResult)]


def assert_same(found: ScanResult, known: ScanResult) -> None:
    """Compare every figure of every pair, to the last bit."""
    for name in NAMES:
        np.testing.assert_array_equal(getattr(found, name), getattr(known, name), err_msg=name)


@pytest.mark.parametrize("gaps", [0, 40])
def test_blocks_scanned_apart_are_the_whole_to_the_last_bit(gaps: int) -> None:
    panel = with_gaps(1, PANEL, 0.05, gaps)
    whole = pair_scan(panel, panel, lag=2, lag_choice="aic")
    for cuts in (block_slices(SYMBOLS, 1), (slice(0, 3), slice(3, 77), slice(77, SYMBOLS))):
        parts = [
            [pair_scan(panel[:, i], panel[:, j], lag=2, lag_choice="aic") for j in cuts]
            for i in cuts
        ]
        assert_same(joined(parts), whole)


@pytest.mark.parametrize("gaps", [0, 40])
def test_the_order_of_the_symbols_changes_no_bit(gaps: int) -> None:
    panel = with_gaps(2, PANEL, 0.05, gaps)
    rng = np.random.default_rng(8)
    rows, columns = rng.permutation(SYMBOLS), rng.permutation(SYMBOLS)
    known = pair_scan(panel, panel, lag=1)
    found = pair_scan(panel[:, rows], panel[:, columns], lag=1)
    for name in NAMES:
        np.testing.assert_array_equal(
            getattr(found, name), getattr(known, name)[np.ix_(rows, columns)], err_msg=name
        )


def test_any_number_of_threads_gives_the_same_bits() -> None:
    assert_same(pair_scan(PANEL, PANEL, workers=1), pair_scan(PANEL, PANEL, workers=3))


def test_the_same_panel_given_twice_or_as_a_copy_is_one_answer() -> None:
    assert_same(pair_scan(PANEL, PANEL), pair_scan(PANEL, PANEL.copy()))


DIGEST = """
import hashlib, sys
sys.path[:0] = {paths!r}
from scan_panels import every_kind, with_gaps
from core.stats.scan import pair_scan
panel = with_gaps(1, every_kind(3, 1600), 0.01, 20)
found = pair_scan(panel, panel, lag=2, workers=1)
print(hashlib.sha256(found.statistic.tobytes() + found.beta.tobytes()).hexdigest())
"""


def test_blas_threads_change_no_bit() -> None:
    """A pool's processes often have one, the app's has as many as there are processors."""
    code = DIGEST.format(paths=[str(ROOT), str(ROOT / "tests" / "stats")])
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2")
    }
    assert len(found) == 1


def test_a_result_survives_the_way_between_processes() -> None:
    panel = walks(3, 60, 4)
    found = pair_scan(panel, panel)
    assert_same(pickle.loads(pickle.dumps(found)), found)


def test_blocks_that_cannot_be_are_refused_in_words() -> None:
    with pytest.raises(DataError, match="blocks of 0 tiles"):
        block_slices(10, 0)
    with pytest.raises(DataError, match="no block"):
        joined([])
