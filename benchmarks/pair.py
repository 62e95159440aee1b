"""The pair analysis on long series, its SQL windows, and the Pair page live.

    python benchmarks/pair.py [--live-seconds 60] [--trades 10000000] [--only analysis|windows|live]

The analysis is the whole of `analyse_pair`, from opening the file to the last test, on 1-second
bars of a cointegrated pair. The live part fills a file with the practice exchange's own trades of
the last hours, starts exchange, worker and app on it, and refreshes Pair as browsers do.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import harness
import numpy as np
import polars as pl
from dashboard import Session, app, crowd, missing

START = datetime(2026, 11, 1)  # noqa: DTZ001 - the store's times are naive UTC
DAY = 86_400
MINUTE_MS = 60_000
INSERT = """
insert into bars_1s
select symbol, ts, close, close, close, close, 1, close, 1, 0.5, ts, 1, ts, 1 from made order by ts
"""
VIEWS = (
    "y=arbusdt&x=opusdt&tf=1s&span=1h&source=binance",
    "y=ltcusdt&x=bchusdt&tf=1s&span=1h&hedge=rolling&source=binance",
    "y=ethusdt&x=btcusdt&tf=1s&span=1h&hedge=kalman&burn=1440&source=binance",
    "y=arbusdt&x=opusdt&tf=1s&span=1h&hedge=refit&window=600&source=binance",
)


def week(store) -> None:
    """Fill the file with a week of 1-second bars of a pair with a half-life of five minutes."""
    from scipy.signal import lfilter

    rng = np.random.default_rng(7)
    count = 7 * DAY
    x = np.log(60_000) + np.cumsum(rng.normal(0, 1e-4, count))
    phi = 0.5 ** (1 / 300)
    spread = lfilter([1.0], [1.0, -phi], rng.normal(0, 0.0075 * np.sqrt(1 - phi**2), count))
    times = np.datetime64(START, "us") + np.arange(count) * np.timedelta64(1, "s")
    store.prepare("binance")
    for symbol, logs in (("xusdt", x), ("yusdt", 0.9 * x - 2 + spread)):
        made = pl.DataFrame({"symbol": [symbol] * count, "ts": times, "close": np.exp(logs)})
        with store.write(wait_s=30) as con:
            con.register("made", made.to_arrow())
            con.execute(INSERT)
            con.unregister("made")
    store.checkpoint()


def times_ms(work, repeats: int) -> str:
    """Return median and worst milliseconds of the repeats, after one that warms up."""
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1000)
    return f"median {harness.percentile(times, 0.5):.0f} ms, worst {max(times):.0f} ms"


def analysis(folder: str) -> None:
    """Time the whole analysis of a day and a week, and the bootstrap verdict."""
    from core.pair_series import aligned
    from core.pair_spec import METHODS, PairSpec
    from core.pairs import analyse_pair, read_legs
    from core.store import open_store
    from core.verdict import verdict

    store = open_store(Path(folder) / "week.duckdb")
    week(store)
    end = START + timedelta(days=7)
    for days, repeats, demand in ((1, 7, "at most 400 ms"), (7, 3, "at most 3,000 ms")):
        for method in METHODS:
            spec = PairSpec("yusdt", "xusdt", "1s", method=method)
            start = end - timedelta(days=days)
            text = times_ms(lambda a=spec, b=start: analyse_pair(store, a, b, end), repeats)
            harness.figure(f"analysis, {days * DAY:,} bars, {method}", text, demand=demand)
    spec = PairSpec("yusdt", "xusdt", "1s")
    legs = read_legs(store, spec, end - timedelta(days=1), end)
    frame = aligned(spec, legs.closes)
    text = times_ms(lambda: verdict(spec, frame, span_s=DAY), 5)
    harness.figure("bootstrap verdict of a day", text, demand="at most 100 ms")


FOUR = """
select
    ts,
    avg(spread) over bars as spread_mean,
    stddev_samp(spread) over bars as spread_sd,
    corr(return_y, return_x) over bars as corr,
    regr_slope(y, x) over bars as beta
from pair
window bars as (order by ts rows between 499 preceding and current row)
order by ts
"""


def windows() -> None:
    """Time four rolling statistics at once, and the pair's own queries, on 100,000 bars."""
    from core.queries import pair_rolling_sql
    from core.workbench import compute

    rng = np.random.default_rng(7)
    count = 100_000
    x = np.cumsum(rng.normal(0, 1e-4, count))
    y = 0.9 * x + rng.normal(0, 1e-3, count)
    times = np.datetime64(START, "us") + np.arange(count) * np.timedelta64(1, "s")
    pair = pl.DataFrame({"ts": times, "y": y, "x": x, "y_log": y, "x_log": x, "spread": y - x})
    pair = pair.with_columns(return_y=pl.col("y").diff(), return_x=pl.col("x").diff())
    text = times_ms(lambda: compute(FOUR, {"pair": pair}), 7)
    harness.figure("four rolling statistics, window 500", text, demand="at most 150 ms")
    window = {"window": 500, "before": 499}
    for name, more in (("rolling_spread", {}), ("rolling_correlations", {"bar_s": 1}),
                       ("rolling_hedge", {})):  # fmt: skip
        query, values = pair_rolling_sql(name), window | more
        text = times_ms(lambda q=query, v=values: compute(q, {"pair": pair}, v), 7)
        harness.figure(f"{name}.sql, window 500", text)


def fill(store, rate: float, trades: int, symbols: list[str]) -> None:
    """Write the practice exchange's trades of the hours up to now, as its worker would have."""
    from core.commands import write_watchlist
    from core.feed.practice.market import Market
    from core.models import TRADE_SCHEMA
    from core.trade_writer import write_trades

    market = Market(7, rate)
    store.prepare(market.identity)
    now_ms = int(time.time() * 1000) // MINUTE_MS * MINUTE_MS
    held, at = 0, now_ms
    while held < trades:
        at -= 2 * MINUTE_MS
        frames = []
        for symbol in symbols:
            block = market.trades_between(symbol, at, at + 2 * MINUTE_MS)
            frame = pl.DataFrame(
                {
                    "symbol": [symbol] * len(block), "agg_id": block.agg_id, "ts": block.ts_ms,
                    "price": block.price, "size": block.size,
                    "buyer_is_maker": block.buyer_is_maker, "source": ["archive"] * len(block),
                },
                schema={**TRADE_SCHEMA, "ts": pl.Int64},
            )  # fmt: skip
            frames.append(frame.with_columns(pl.col("ts").cast(pl.Datetime("ms"))))
        batch = pl.concat(frames)
        with store.write(wait_s=30) as con:
            write_trades(con, batch, now_ms=now_ms)
        held += batch.height
    with store.write(wait_s=30) as con:
        write_watchlist(con, symbols)
    store.checkpoint()
    hours = (now_ms - at) / 3_600_000
    harness.figure("trades in the file", f"{held:,} over {hours:.1f} h, {datetime.now(UTC):%H:%M}")


def live(folder: str, rate: float, trades: int, seconds: float) -> None:
    """Refresh Pair at 1 Hz in several views while the worker writes."""
    from core.store import open_store

    with harness.practice("--rate", f"{rate:g}") as exchange:
        db = Path(folder) / "live.duckdb"
        symbols = harness.all_symbols(exchange.address["rest_url"])
        fill(open_store(db), rate, trades, symbols)
        with harness.worker(db, exchange.address, "--symbols", ",".join(symbols)) as worker:
            time.sleep(15)
            with app(db) as (port, server):
                asyncio.run(crowd([Session(port, VIEWS[0], "pair", b"pair-chart")], 5))
                for views in (VIEWS[:1], VIEWS):
                    sessions = [Session(port, view, "pair", b"pair-chart") for view in views]
                    used = harness.cpu_s(server.pid), time.monotonic()
                    asyncio.run(crowd(sessions, seconds))
                    cpu = (harness.cpu_s(server.pid) - used[0]) / (time.monotonic() - used[1])
                    report(sessions, seconds, cpu)
            stored = harness.cpu_s(worker.pid)
    holes, status = missing(db)
    harness.figure("stored a second, at the end", f"{status.trades_per_s:,.0f}")
    harness.figure("worst flush; trades missing", f"{status.worst_flush_s * 1000:.0f} ms; {holes}")
    harness.figure("worker's CPU seconds", f"{stored:.0f}")


def report(sessions: list[Session], seconds: float, cpu: float) -> None:
    """Print what the refreshes of some sessions took."""
    times = [t * 1000 for session in sessions for t in session.refreshes]
    charts = sum(session.charts for session in sessions)
    harness.figure(
        f"a refresh of Pair, {len(sessions)} view(s)",
        f"p50 {harness.percentile(times, 0.5):.0f} ms, p95 {harness.percentile(times, 0.95):.0f} "
        f"ms, worst {max(times):.0f} ms; {len(times)} refreshes, {charts} charts in {seconds:.0f} "
        f"s; app {cpu:.2f} cores",
        demand="p95 at most 500 ms",
    )


def main() -> None:
    """Run all parts, or one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--live-seconds", type=float, default=60)
    parser.add_argument("--trades", type=int, default=10_000_000)
    parser.add_argument("--rate", type=float, default=2_700)
    parser.add_argument("--only", choices=("analysis", "windows", "live"))
    options = parser.parse_args()
    with harness.scratch() as folder:
        if options.only in (None, "analysis"):
            analysis(folder)
        if options.only in (None, "windows"):
            windows()
        if options.only in (None, "live"):
            live(folder, options.rate, options.trades, options.live_seconds)


if __name__ == "__main__":
    main()
