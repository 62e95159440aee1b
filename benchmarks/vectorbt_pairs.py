"""The same 400 two-leg backtests by Perpduck and by vectorbt, each pair's result compared.

    python benchmarks/vectorbt_pairs.py [--venv FOLDER]

Given to both: 43,200 bars of a pair, z-score and β by refit OLS for 20 windows, 20 entry levels.
Decided at a bar's close, filled at the next bar's VWAP, two legs weighted by β, frozen at entry,
5 bps fees and 1 bps slippage on every fill, out where z crosses 0, an open trade marked at the end.
Settlements, stops and steps are left out, which vectorbt's two columns know nothing of. Signals
are made beforehand; vectorbt compiles on a smaller run before. It lives in an environment of its
own, made where ``--venv`` names none.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import harness
import numpy as np
from backtest import made

from core.backtest import BacktestSettings, Execution, Market, Money, Rules, Signals, backtest
from core.backtest.market import NO_FUNDING
from core.backtest.pairing import signals
from core.pair_spec import PairSpec

ENTRIES = [1.0 + 0.1 * i for i in range(20)]
WINDOWS = [20 + 10 * i for i in range(20)]
CAPITAL = 10_000.0

OTHER = """
import json, sys, time
import numpy as np, vectorbt as vbt
from vectorbt.portfolio.enums import OppositeEntryMode
given = np.load(sys.argv[1])
z, beta, close, price = given["z"], given["beta"], given["close"], given["price"]
entries, capital = given["entries"], float(given["capital"])

simulated = []

def later(signal):
    out = np.zeros_like(signal)
    out[1:] = signal[:-1]
    return out

def run(windows, levels):
    # Columns: for each window and level its y and its x.
    columns = []
    for w in windows:
        usable = np.isfinite(beta[w]) & (beta[w] >= 0.2) & (beta[w] <= 5)
        before = np.append(np.nan, beta[w][:-1])
        up, down = later(z[w] >= 0), later(z[w] <= 0)
        for level in levels:
            low, high = later((z[w] < -level) & usable), later((z[w] > level) & usable)
            columns.append((low, up, high, down, before))
    n, k = len(close), len(columns)
    low, up, high, down = (np.empty((n, 2 * k), bool) for _ in range(4))
    size, paid, marks = (np.empty((n, 2 * k)) for _ in range(3))
    slip, fee = 1e-4, 5e-4
    for i, (a, b, c, d, slope) in enumerate(columns):
        low[:, 2 * i], up[:, 2 * i], high[:, 2 * i], down[:, 2 * i] = a, b, c, d
        low[:, 2 * i + 1], up[:, 2 * i + 1] = c, d
        high[:, 2 * i + 1], down[:, 2 * i + 1] = a, b
        side = np.where(a, 1.0, -1.0)
        y, x = price[:, 0] * (1 + slip * side), price[:, 1] * (1 - slip * side)
        worth = capital / (1 + np.abs(slope))
        size[:, 2 * i], size[:, 2 * i + 1] = worth / y, worth * np.abs(slope) / x
        paid[:, 2 * i: 2 * i + 2], marks[:, 2 * i: 2 * i + 2] = price, close
    size = np.nan_to_num(size, nan=0.0)
    began = time.perf_counter()
    done = vbt.Portfolio.from_signals(
        marks, entries=low, exits=up, short_entries=high, short_exits=down, size=size,
        price=paid, fees=fee, slippage=slip, init_cash=1e9, cash_sharing=True,
        group_by=np.repeat(np.arange(k), 2), upon_opposite_entry=OppositeEntryMode.Close,
        freq="1min",
    )
    profits = np.asarray(done.total_profit())
    simulated.append(time.perf_counter() - began)
    return profits

run([0], entries[:2])
best = least = 1e9
for _ in range(3):
    simulated.clear()
    began = time.perf_counter()
    # One window at a time: all 800 columns at once would not fit.
    profits = np.concatenate([run([w], entries) for w in range(len(z))])
    best, least = min(best, time.perf_counter() - began), min(least, sum(simulated))
told = {"seconds": best, "simulated": least, "profits": profits.tolist()}
print(json.dumps(told | {"version": vbt.__version__}))
"""


def ours(at: Market, found: list[Signals], threads: int) -> tuple[float, list[float]]:
    """The best of three runs in seconds, and each backtest's profit."""

    def one(given: tuple[Signals, float]) -> float:
        settings = BacktestSettings(
            Rules(enter=given[1]), Execution(least_ticks=0.0), Money(capital=CAPITAL)
        )
        return backtest(at, given[0], settings).books.end - CAPITAL

    asked = [(signal, level) for signal in found for level in ENTRIES]
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        if threads == 1:
            profits = list(map(one, asked))
        else:
            with ThreadPoolExecutor(threads) as pool:
                profits = list(pool.map(one, asked))
        best = min(best, time.perf_counter() - began)
    return best, profits


def theirs(python: str, at: Market, found: list[Signals]) -> dict[str, object]:
    """What vectorbt took and got, in its own environment."""
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "given.npz"
        np.savez(
            given,
            z=np.array([one.zscore for one in found]),
            beta=np.array([one.beta for one in found]),
            close=np.column_stack((at.close_y, at.close_x)),
            price=np.column_stack((at.y.vwap, at.x.vwap)),
            entries=np.array(ENTRIES),
            capital=CAPITAL,
        )
        done = subprocess.run(
            [python, "-c", OTHER, str(given)], capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise SystemExit(done.stderr)
    told: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return told


def environment(folder: str | None) -> str:
    """The interpreter of an environment that has vectorbt."""
    if folder is None:
        folder = tempfile.mkdtemp(prefix="vectorbt-")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = f"{folder}/bin/pip"
        subprocess.run([pip, "install", "--quiet", "vectorbt"], check=True)
    return f"{folder}/bin/python"


def main() -> None:
    """Print both sides, the ratio, and how far the results are apart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", help="an environment with vectorbt")
    python = environment(parser.parse_args().venv)
    at, rows = made(43_200, 60)
    # The first and the last bar have no bar to be filled in on either side.
    at = Market(
        **{name: getattr(at, name) for name in at.__dataclass_fields__ if "funding" not in name},
        funding_y=NO_FUNDING,
        funding_x=NO_FUNDING,
    )
    found = [signals(PairSpec("y", "x", method="refit", window_bars=one), rows) for one in WINDOWS]
    told = theirs(python, at, found)
    one, profits = ours(at, found, 1)
    two, _ = ours(at, found, 2)
    apart = np.abs(np.array(profits) - np.array(told["profits"])).max()
    taken, simulated = float(str(told["seconds"])), float(str(told["simulated"]))
    harness.figure("400 two-leg backtests × 43,200 bars, Perpduck", f"{one:.2f} s, one thread")
    harness.figure("the same, Perpduck", f"{two:.2f} s, two threads")
    harness.figure(f"the same, vectorbt {told['version']}", f"{taken:.2f} s")
    harness.figure("of that, without laying out its columns", f"{simulated:.2f} s")
    harness.figure(
        "ratio",
        f"{taken / one:.1f} × ({simulated / one:.1f} × without the laying out)",
        demand="at least 1",
    )
    harness.figure("largest difference of a profit", f"{apart:.2g} of {CAPITAL:,.0f}")


if __name__ == "__main__":
    main()
