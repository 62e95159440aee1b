"""The scan of every ordered pair of a market, against a loop of statsmodels' own test.

    python benchmarks/scan.py [--rounds 9] [--only lag,aic,large,gaps,rest]

Walks with a common part. Both sides take turns in one run and the best turn of each counts; the
loop is timed on some pairs, and its time for all of them is that times their number. The ratio is
first without crossings, as the scanner scans and as the loop does, then with them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from typing import Any

import harness
import numpy as np
from statsmodels.tsa.stattools import coint

from core.stats import scan_moments
from core.stats.finalists import confirmation, finalist
from core.stats.multiple_testing import q_values
from core.stats.scan import pair_scan

SYMBOLS, BARS = 500, 1440


def market(bars: int, symbols: int) -> np.ndarray:
    """Return log prices (bars, symbols)."""
    rng = np.random.default_rng(bars)
    steps = rng.normal(size=(bars, symbols)) + 0.8 * rng.normal(size=(bars, 1))
    return 5e-4 * np.cumsum(steps, axis=0) + rng.uniform(-3.0, 9.0, symbols)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that one call took, and its answer."""
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def race(name: str, rounds: int, sample: int, autolag: str | None, **options: Any) -> None:
    """Print both sides' best times for all pairs, their ratio, and how far they are apart."""
    panel = market(BARS, SYMBOLS)
    pairs = SYMBOLS * (SYMBOLS - 1)
    rng = np.random.default_rng(7)
    ours, whole, each, apart = [], [], [], 0.0
    for _ in range(rounds):
        took, found = timed(lambda: pair_scan(panel, panel, count_crossings=False, **options))
        ours.append(took)
        whole.append(timed(lambda: pair_scan(panel, panel, **options))[0])
        chosen = [tuple(rng.choice(SYMBOLS, 2, replace=False)) for _ in range(sample)]
        took, known = timed(
            lambda chosen=chosen: [
                coint(panel[:, i], panel[:, j], maxlag=options["lag"], autolag=autolag)[0]
                for i, j in chosen
            ]
        )
        each.append(took / sample)
        for (i, j), statistic in zip(chosen, known, strict=True):
            apart = max(apart, abs(found.statistic[i, j] - statistic) / max(1.0, abs(statistic)))
    theirs = min(each) * pairs
    harness.figure(
        f"{name}, {SYMBOLS} symbols × {BARS:,} bars, {pairs:,} pairs",
        f"{min(ours):.3f} s (median {harness.percentile(ours, 0.5):.3f}); statsmodels "
        f"{min(each) * 1e3:.2f} ms a pair, {theirs:,.0f} s: {theirs / min(ours):,.0f} times; with "
        f"crossings {min(whole):.3f} s (median {harness.percentile(whole, 0.5):.3f}): "
        f"{theirs / min(whole):,.0f} times; statistics apart by {apart:.0e}; "
        f"{found.n_direct} direct",
    )


def blas_share(rounds: int) -> None:
    """Print the share of one thread's time that the matrix products take."""
    panel = market(BARS, SYMBOLS)
    original = scan_moments.products
    spent = [0.0]

    def watched(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        took, found = timed(lambda: original(first, second))
        spent[0] += took
        return found

    scan_moments.products = watched
    try:
        shares = []
        for _ in range(rounds):
            spent[0] = 0.0
            took, _found = timed(lambda: pair_scan(panel, panel, count_crossings=False, workers=1))
            shares.append((took, spent[0] / took))
    finally:
        scan_moments.products = original
    took, share = min(shares)
    harness.figure(
        "the same in one thread, no crossings", f"{took:.3f} s, {share:.0%} of it in BLAS"
    )


def _large(pipe: Any, symbols: int, bars: int, rounds: int) -> None:
    panel = market(bars, symbols)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    took = min(timed(lambda: pair_scan(panel, panel, lag=1))[0] for _ in range(rounds))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pipe.send((took, (after - before) / 1024.0))


def large(rounds: int) -> None:
    """Print the time and the growth of memory of a week of minutes, in a process of its own."""
    symbols, bars = 700, 10_080
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_large, args=(theirs, symbols, bars, rounds))
    process.start()
    took, grown = ours.recv()
    process.join()
    harness.figure(
        f"lag 1, {symbols} symbols × {bars:,} bars, {symbols * (symbols - 1):,} pairs",
        f"{took:.2f} s; memory grew by {grown:,.0f} MB",
        demand="at most 15 s; 4,096 MB",
    )


def gaps(rounds: int) -> None:
    """Print the time where one symbol in five misses one bar in fifty."""
    panel = market(BARS, SYMBOLS)
    rng = np.random.default_rng(3)
    for column in rng.choice(SYMBOLS, SYMBOLS // 5, replace=False):
        panel[rng.random(BARS) < 0.02, column] = np.nan
    took = min(timed(lambda: pair_scan(panel, panel, lag=1))[0] for _ in range(rounds))
    harness.figure("lag 1, 100 of the 500 symbols with gaps", f"{took:.3f} s")


def rest(rounds: int) -> None:
    """Print what follows a scan: q-values of all pairs, one finalist, one confirmation."""
    p_values = np.random.default_rng(1).random((SYMBOLS, SYMBOLS))
    panel = market(BARS, 2)
    y, x = panel.T
    works: dict[str, Callable[[], Any]] = {
        f"q-values of {p_values.size:,} p-values": lambda: q_values(p_values),
        f"one finalist, {BARS:,} bars": lambda: finalist(y, x),
        f"one confirmation, {BARS:,} bars": lambda: confirmation(y, x, 0.0, 1.0),
    }
    for name, work in works.items():
        took = min(timed(work)[0] for _ in range(rounds))
        harness.figure(name, f"{took * 1e3:.1f} ms")


def main() -> None:
    """Print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="turns of each side")
    parser.add_argument("--only", default="lag,aic,large,gaps,rest", help="which figures")
    options = parser.parse_args()
    chosen, rounds = options.only.split(","), options.rounds
    if "lag" in chosen:
        race("lag 1", rounds, 60, None, lag=1)
        blas_share(rounds)
    if "aic" in chosen:
        race("AIC up to 5 lags", rounds, 20, "aic", lag=5, lag_choice="aic")
    if "large" in chosen:
        large(max(1, rounds // 4))
    if "gaps" in chosen:
        gaps(max(1, rounds // 2))
    if "rest" in chosen:
        rest(rounds)


if __name__ == "__main__":
    main()
