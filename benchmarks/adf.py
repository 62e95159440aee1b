"""The unit-root test beside statsmodels' in one run, and what stands on it.

    python benchmarks/adf.py [--longest 100000]

Random walks; statsmodels is timed once at each length, ours as the median of eleven. The last
lines are a week of seconds, and the other tests of a pair.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import harness
import numpy as np
from statsmodels.tsa.stattools import adfuller

from core.stats.adf import adf, adf_batch
from core.stats.cointegration import engle_granger, johansen, wild_bootstrap
from core.stats.reversion import half_life, hurst, kpss, variance_ratio

COMPARED = (1_440, 20_000, 100_000)
WEEK = 604_800
REPEATS = 11


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that one call took, and its answer."""
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def median_s(work: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Return the median seconds of the repeats, after one that is not counted."""
    work()
    return harness.percentile([timed(work)[0] for _ in range(repeats)], 0.5)


def compare(n: int) -> None:
    """Print both sides' times at one length, their ratio, and how far their answers differ."""
    walk = np.cumsum(np.random.default_rng(n).normal(size=n))
    ours = median_s(lambda: adf(walk))
    theirs, known = timed(lambda: adfuller(walk, result_object=True))
    found = adf(walk)
    apart = abs(found.statistic / known.statistic - 1.0)
    same = "same lag" if found.lag == known.lags else f"lags {found.lag} and {known.lags}"
    print(
        f"adf, {n:,} bars: {ours * 1000:.2f} ms, statsmodels {theirs * 1000:,.0f} ms: "
        f"{theirs / ours:,.0f} times; {same}, statistic apart by {apart:.0e}",
        flush=True,
    )


def main() -> None:
    """Print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--longest", type=int, default=COMPARED[-1], help="longest comparison")
    longest = parser.parse_args().longest
    for n in COMPARED:
        if n <= longest:
            compare(n)
    y, x = np.cumsum(np.random.default_rng(1).normal(size=(2, WEEK)), axis=1)
    week: dict[str, Callable[[], Any]] = {
        "adf": lambda: adf(y),
        "engle_granger": lambda: engle_granger(y, x),
        "johansen": lambda: johansen(y, x),
        "half_life": lambda: half_life(y),
        "kpss": lambda: kpss(y),
        "hurst": lambda: hurst(y),
        "variance_ratio": lambda: variance_ratio(y, 10),
    }
    for name, work in week.items():
        print(f"{name}, {WEEK:,} bars: {median_s(work) * 1000:.1f} ms", flush=True)
    short_y, short_x = y[:1440], x[:1440]
    many = median_s(lambda: wild_bootstrap(short_y, short_x))
    print(f"wild_bootstrap, 1,440 bars, 199 replicates, both ways: {many * 1000:.1f} ms")
    batch = np.cumsum(np.random.default_rng(2).normal(size=(400, 1440)), axis=1)
    each = median_s(lambda: adf_batch(batch)) / len(batch)
    print(f"adf_batch, 400 series of 1,440 bars: {each * 1e6:.0f} µs a series")


if __name__ == "__main__":
    main()
