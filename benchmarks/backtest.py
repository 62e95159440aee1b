"""Backtests with all costs: one, a year, a sweep, and the same on noise.

    python benchmarks/backtest.py [--only one|sweep|noise]

A cointegrated pair of made bars, refit OLS over 60 bars, taker fees, slippage, settlements every
eight hours. Signals are made beforehand where one backtest is timed, and within the time of
sweeps and noise.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import harness
import numpy as np
import polars as pl

from core.backtest import BacktestSettings, Funding, Leg, Market, Rules, backtest, market
from core.backtest.noise import noise
from core.backtest.pairing import signals
from core.backtest.sweep import sweep
from core.pair_spec import PairSpec

BEGIN_S = 1_793_491_200
SPEC = PairSpec("y", "x", method="refit")
SETTINGS = BacktestSettings(rules=Rules(stop=4.0, time_stop_bars=600))


def made(bars: int, bar_s: int) -> tuple[Market, pl.DataFrame]:
    """A pair whose spread comes back by half in 20 bars."""
    rng = np.random.default_rng(5)
    walk = np.cumsum(rng.normal(0, 3e-4, bars))
    spread = np.empty(bars)
    level = 0.0
    for i, shock in enumerate(rng.normal(0, 4e-4, bars).tolist()):
        level = level * 0.966 + shock
        spread[i] = level
    start = BEGIN_S + bar_s * np.arange(bars)
    legs = []
    for logs in (0.9 * walk + spread, walk):
        close = 100 * np.exp(logs)
        open_ = np.concatenate((close[:1], close[:-1]))
        high, low = np.maximum(open_, close) * 1.0001, np.minimum(open_, close) * 0.9999
        legs.append(Leg(start, open_, high, low, close, (high + low) / 2, True))
    at = np.arange(BEGIN_S, start[-1], 28_800)
    rates = Funding(at, np.full(len(at), 1e-4), np.full(len(at), np.nan))
    rows = pl.DataFrame(
        {
            "ts": pl.Series(start * 1000).cast(pl.Datetime("ms")),
            "price_y": legs[0].close,
            "price_x": legs[1].close,
            "is_stale": False,
        }
    )
    return market(rows, *legs, bar_s=bar_s, funding_y=rates, funding_x=rates), rows


def best_of(run: Callable[[], object], times: int) -> tuple[float, float]:
    """The median and the worst of some runs, in seconds."""
    run()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        run()
        taken.append(time.perf_counter() - began)
    return float(np.median(taken)), max(taken)


def one() -> None:
    """A day of seconds and a year of minutes."""
    for name, bars, bar_s, demand in (
        ("a day of seconds, 86,400 bars", 86_400, 1, "at most 50 ms"),
        ("a year of minutes, 525,600 bars", 525_600, 60, "at most 300 ms"),
    ):
        at, rows = made(bars, bar_s)
        began = time.perf_counter()
        found = signals(SPEC, rows)
        making = time.perf_counter() - began
        median, worst = best_of(lambda at=at, found=found: backtest(at, found, SETTINGS), 15)
        trades = backtest(at, found, SETTINGS).books.trades.height
        words = f"median {median * 1e3:.0f} ms, worst {worst * 1e3:.0f} ms, {trades:,} trades"
        harness.figure(f"{name}", words, demand=demand)
        harness.figure(f"{name}: its signals", f"{making * 1e3:.0f} ms")


def sweeping() -> None:
    """400 pairs of entry and window."""
    at, rows = made(43_200, 60)
    entries = [1.0 + 0.1 * i for i in range(20)]
    windows = [20 + 10 * i for i in range(20)]
    began = time.perf_counter()
    found = sweep(at, SPEC, SETTINGS, rows, None, entries, windows)
    taken = time.perf_counter() - began
    words = f"{taken:.2f} s, {found.tried} backtests, {int(np.nansum(found.trades)):,} trades"
    harness.figure("sweep of 20 × 20 over 43,200 bars", words, demand="at most 5 s")


def on_noise() -> None:
    """The same settings on 200 resampled pairs."""
    at, rows = made(43_200, 60)
    books = backtest(at, signals(SPEC, rows), SETTINGS).books
    began = time.perf_counter()
    found = noise(at, SPEC, SETTINGS, books.end / books.start - 1.0)
    taken = time.perf_counter() - began
    words = f"{taken:.2f} s, better than {found.better_than:.0%} of {len(found.returns)}"
    harness.figure("noise, 200 × 43,200 bars", words, demand="at most 5 s")


def main() -> None:
    """Print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("one", "sweep", "noise"))
    chosen = parser.parse_args().only
    for name, run in (("one", one), ("sweep", sweeping), ("noise", on_noise)):
        if chosen in (None, name):
            run()


if __name__ == "__main__":
    main()
