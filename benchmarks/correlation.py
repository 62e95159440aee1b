"""The correlation matrix of 50 symbols over seven days of 1-minute bars, and a signature plot.

    python benchmarks/correlation.py

The matrix is the whole way: open the file, read, put on a grid, correlate, let go.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from pathlib import Path

import harness
import numpy as np
import polars as pl
from pair import times_ms

START = datetime(2026, 11, 1)  # noqa: DTZ001 - the store's times are naive UTC
SYMBOLS, MINUTES = 50, 7 * 1440
INSERT = """
insert into bars_1min
select symbol, ts, close, close, close, close, 1, close, 1, 0.5, ts, 1, ts, 1
from made order by ts, symbol
"""


def fill(store) -> list[str]:
    """Fill the file with correlated walks; one bar in 200 is missing."""
    rng = np.random.default_rng(7)
    common = rng.normal(0, 4e-4, MINUTES)
    symbols = [f"s{i:02d}usdt" for i in range(SYMBOLS)]
    times = np.datetime64(START, "us") + np.arange(MINUTES) * np.timedelta64(1, "m")
    frames = []
    for symbol in symbols:
        logs = np.cumsum(common + rng.normal(0, 4e-4, MINUTES))
        frame = pl.DataFrame(
            {"symbol": [symbol] * MINUTES, "ts": times, "close": 100 * np.exp(logs)}
        )
        frames.append(frame.filter(pl.Series(rng.random(MINUTES) > 0.005)))
    store.prepare("binance")
    with store.write(wait_s=30) as con:
        con.register("made", pl.concat(frames).to_arrow())
        con.execute(INSERT)
        con.unregister("made")
    store.checkpoint()
    return symbols


def add_klines(store) -> None:
    """Give every minute a kline of its own; our trades are complete in the newer half."""
    with store.write(wait_s=30) as con:
        con.execute(
            "insert into klines select symbol, ts, open, high, low, close, volume, quote_volume, "
            "trades, taker_buy_volume from bars_1min order by ts, symbol"
        )
        con.execute(
            "insert into coverage select distinct symbol, 1, 9, ?::timestamp, ?::timestamp "
            "from bars_1min",
            [START + timedelta(minutes=MINUTES // 2), START + timedelta(minutes=MINUTES + 1)],
        )
    store.checkpoint()


def main() -> None:
    """Print the matrix' and the signature plot's times."""
    from core.matrix import panel_correlation, read_panel
    from core.stats.asynchronous import signature
    from core.store import open_store

    with harness.scratch() as folder:
        store = open_store(Path(folder) / "matrix.duckdb")
        symbols = fill(store)
        end = START + timedelta(minutes=MINUTES)

        def matrix() -> None:
            panel_correlation(read_panel(store, symbols, "1min", START, end))

        harness.figure(
            f"matrix of {SYMBOLS} symbols, {MINUTES:,} bars", times_ms(matrix, 9),
            demand="at most 300 ms",
        )  # fmt: skip
        add_klines(store)
        harness.figure("the same with the exchange's klines beside them", times_ms(matrix, 9))
        panel = read_panel(store, symbols, "1min", START, end)
        harness.figure("of that, correlating", times_ms(lambda: panel_correlation(panel), 9))
        ranks = times_ms(lambda: panel_correlation(panel, kind="spearman"), 2)
        harness.figure("rank correlations, every pair with rows of its own", ranks)
    rng = np.random.default_rng(7)
    count = 300_000
    legs = [np.sort(rng.integers(0, 86_400_000, count)) for _ in range(2)]
    prices = [np.exp(np.cumsum(rng.normal(0, 1e-5, count))) for _ in range(2)]
    began = time.perf_counter()
    signature(legs[0], prices[0], legs[1], prices[1])
    took = (time.perf_counter() - began) * 1000
    harness.figure(f"signature plot of {count:,} trades a leg", f"{took:.0f} ms")


if __name__ == "__main__":
    main()
