"""What watching 200 rules costs, and how long from the trade that crosses to the webhook.

    python benchmarks/alerts.py [--only cost|latency] [--seconds 40] [--rate 1000]

Cost: one worker, flushing each 0.5 s, with 200 rules over 50 pairs paused and looked at by turns;
the difference of its CPU is what they cost. Latency: rules that fire live, each on a level that
its symbol's price keeps crossing, against a webhook in this process. The first trade beyond the
level in the event's bar is the one that crosses; its age at the receipt counts.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import harness

PAIRS = 50
TURNS = 3


def wait_until(condition, *, within_s: float = 90.0) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("the worker does not get on")
        time.sleep(0.3)


def the_rules(symbols: list[str]) -> list:
    """Return 200 rules over 50 pairs, half of them on one-second bars."""
    from core.alerts.rules import Rule

    pairs = list(itertools.islice(itertools.combinations(symbols, 2), PAIRS))
    found = []
    for y, x in pairs:
        band = {"op": "outside", "threshold": 3.0, "low": -3.0}
        found += [
            Rule("zscore", y, x, timeframe="1s", window_bars=60, **band),
            Rule("corr", y, x, "below", -0.9, timeframe="1s", window_bars=60),
            Rule("zscore", y, x, timeframe="1min", window_bars=60, when="live", **band),
            Rule("beta_drift", y, x, "above", 1e6, timeframe="1min", reference=1.0),
        ]
    return found


def cost(folder: str, seconds: float, rate: float) -> None:
    """Measure the worker's CPU with the rules and without."""
    from core.alerts.kept import RULES, add_rule, load_standings
    from core.store import open_store
    from core.trade_writer import bump_versions

    db = Path(folder) / "cost.duckdb"
    store = open_store(db)

    def pause(is_paused: bool) -> None:
        with store.write(wait_s=30) as con:
            con.execute("update alert_rules set is_paused = ?", [is_paused])
            bump_versions(con, [RULES])

    def known() -> int:
        with store.read(wait_s=30) as con:
            return sum(one.value is not None for one in load_standings(con).values())

    with harness.practice("--rate", str(rate)) as exchange:
        symbols = harness.all_symbols(exchange.address["rest_url"])[:12]
        watched = "--symbols", ",".join(symbols), "--history", "1d", "--flush-interval", "0.5"
        with harness.worker(db, exchange.address, *watched, "--backfill", "5min") as process:
            wait_until(store.exists)
            time.sleep(5)
            for rule in the_rules(symbols):
                add_rule(store, rule.condition, rule)
            wait_until(lambda: known() >= 4 * PAIRS * 0.95)
            shares: dict[bool, list[float]] = {True: [], False: []}
            for is_paused in [True, False] * TURNS:
                pause(is_paused)
                time.sleep(3)
                before = harness.cpu_s(process.pid)
                time.sleep(seconds)
                shares[is_paused].append((harness.cpu_s(process.pid) - before) / seconds)
            evaluated = known()
    without, with_rules = (sum(part) / TURNS for part in (shares[True], shares[False]))
    harness.figure(
        f"{4 * PAIRS} rules over {PAIRS} pairs, 0.5 s flush, {rate:g} trades/s",
        f"{100 * (with_rules - without):.1f}% of a core "
        f"(worker {100 * without:.1f}% without, {100 * with_rules:.1f}% with; "
        f"{evaluated} rules have a value; turns "
        f"{', '.join(f'{100 * (b - a):.1f}' for a, b in zip(*shares.values(), strict=True))})",
        demand="<= 20% of a core",
    )


class Hook:
    """A webhook that notes when each event arrived."""

    def __init__(self) -> None:
        received: dict[str, float] = {}

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                now = time.time()
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                for event in body["events"]:
                    received.setdefault(event["key"], now)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.received = received
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, name: str) -> str:
        """Return an address of its own for a name."""
        return f"http://127.0.0.1:{self.server.server_address[1]}/{name}"


def latency(folder: str, seconds: float, rate: float) -> None:
    """Measure from the trade that crosses to the webhook's receipt."""
    from core.alerts.kept import add_rule
    from core.alerts.rules import Rule
    from core.queries import load_symbol_status
    from core.store import open_store

    db = Path(folder) / "latency.duckdb"
    store, hook = open_store(db), Hook()
    os.environ |= {"PERPDUCK_ALERT_ALLOW_PRIVATE": "1", "PERPDUCK_ALERT_PER_MINUTE": "600"}

    def prices() -> dict[str, float]:
        with store.read(wait_s=30) as con:
            rows = load_symbol_status(con).select("symbol", "last_price").iter_rows()
            return {symbol: price for symbol, price in rows if price}

    with harness.practice("--rate", str(rate)) as exchange:
        symbols = harness.all_symbols(exchange.address["rest_url"])[:6]
        watched = "--symbols", ",".join(symbols), "--history", "0"
        with harness.worker(db, exchange.address, *watched):
            wait_until(store.exists)
            wait_until(lambda: len(prices()) == len(symbols))
            ends = time.monotonic() + seconds
            while time.monotonic() < ends:
                for symbol, price in prices().items():
                    rule = Rule("price", symbol, op="crosses_above", threshold=price,
                                timeframe="1s", when="live")  # fmt: skip
                    add_rule(store, f"{symbol} {price}", rule, [hook.url(symbol)])
                time.sleep(10)
            time.sleep(5)
        report(store, hook)


def report(store, hook: Hook) -> None:
    """Print the ages at receipt, of what fired within its bar and of what its close fired."""
    with store.read(wait_s=30) as con:
        events = con.execute(
            "select e.id, e.is_closed, min(epoch_ms(t.ts)) / 1000 from alert_events as e "
            "inner join alert_rules as r on r.id = e.rule_id "
            "inner join trades as t on t.symbol = e.y and t.price > r.threshold "
            "and t.ts >= e.bar_ts and t.ts < e.bar_ts + interval 1 second group by all"
        ).fetchall()
        total = con.execute("select count(*) from alert_events").fetchone()[0]
    for is_closed, name in ((False, "within the bar"), (True, "at its close")):
        ages = [hook.received[key] - at for key, closed, at in events
                if closed == is_closed and key in hook.received]  # fmt: skip
        if ages:
            harness.figure(
                f"from the trade that crosses to the webhook, {name}",
                f"p50 {harness.percentile(ages, 0.5):.2f} s, p95 "
                f"{harness.percentile(ages, 0.95):.2f} s, worst {max(ages):.2f} s, "
                f"{len(ages)} events",
                demand="p95 <= 2 s" if not is_closed else "",
            )
    harness.figure("events fired, and received", f"{total}, {len(hook.received)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("cost", "latency"))
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--rate", type=float, default=1000.0)
    options = parser.parse_args()
    began = datetime.now(UTC)
    with harness.scratch() as folder:
        if options.only != "latency":
            cost(folder, options.seconds, options.rate)
        if options.only != "cost":
            latency(folder, max(options.seconds, 60.0), options.rate)
    print(f"took {(datetime.now(UTC) - began).total_seconds():.0f} s")


if __name__ == "__main__":
    main()
