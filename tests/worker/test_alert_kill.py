"""kill -9 at any moment: each crossing fires once, and each event reaches its webhook."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import pytest
from processes import practice_process, wait_for, worker_process

from core.alerts.delivery import deliver_due
from core.alerts.kept import add_rule, load_deliveries, load_standings
from core.alerts.rules import Rule
from core.config import load_settings
from core.queries import load_last_ids
from core.store import Store, open_store

sys.path.append(str(Path(__file__).resolve().parent.parent / "alerts"))
from hooks import Hook
from replay import expected, pair_values

ROUNDS = 8
PAIR = ("arbusdt", "opusdt")
MORE = {"timeframe": "1s", "window_bars": 20, "range_s": 3600.0}
RULES = [
    Rule("zscore", *PAIR, "outside", 1.2, -1.2, rearm=0.5, **MORE),  # type: ignore[arg-type]
    Rule("zscore", *PAIR, "crosses_above", 0.0, rearm=0.0, **MORE),  # type: ignore[arg-type]
    Rule("zscore", *PAIR, "below", -0.5, rearm=-0.5, hold_bars=2, **MORE),  # type: ignore[arg-type]
]


def fired(store: Store) -> dict[str, list[object]]:
    with store.read(wait_s=30) as con:
        rows = con.execute("select rule_id, bar_ts from alert_events order by bar_ts").fetchall()
    found: dict[str, list[object]] = {}
    for rule_id, bar in rows:
        found.setdefault(rule_id, []).append(bar)
    return found


@pytest.mark.timeout(400)
def test_no_kill_loses_or_doubles_an_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERPDUCK_ALERT_ALLOW_PRIVATE", "1")
    monkeypatch.setenv("PERPDUCK_ALERT_PER_MINUTE", "600")
    chance = random.Random(9)
    store = open_store(tmp_path / "kill.duckdb")
    with Hook() as hook, practice_process("--rate", "4000") as ready:
        options = (
            "--ws-url", ready["ws_url"], "--rest-url", ready["rest_url"],
            "--symbols", ",".join(PAIR), "--history", "0", "--backfill", "2min",
            "--flush-interval", "0.1",
        )  # fmt: skip

        def looked() -> float:
            """Up to when all rules have seen closed bars."""
            with store.read(wait_s=30) as con:
                seen = [one.state.last_at for one in load_standings(con).values()]
            known = [at.timestamp() for at in seen if at is not None]
            return min(known) if len(known) == len(RULES) else 0.0

        def has_trades() -> bool:
            if not store.exists():
                return False
            with store.read(wait_s=30) as con:
                return set(PAIR) <= load_last_ids(con).keys()

        with worker_process(store.path, *options) as worker:
            wait_for(has_trades, what=worker.text())
            ids = [add_rule(store, rule.condition, rule, [hook.url()]) for rule in RULES]
            wait_for(lambda: looked() > 0, what=worker.text())
            worker.kill()
        for _ in range(ROUNDS):
            with worker_process(store.path, *options) as worker:
                before = looked()
                if chance.random() < 0.8:
                    wait_for(lambda: looked() > before, within_s=60, what=worker.text())  # noqa: B023
                time.sleep(chance.uniform(0.0, 2.5))
                worker.kill()
            time.sleep(chance.uniform(0.0, 1.0))
        with worker_process(store.path, *options) as worker:
            before = looked()
            wait_for(lambda: looked() > before + 25, within_s=90, what=worker.text())
            status, _ = worker.stop()
            assert status == 0

        values = pair_values(store, RULES[0])
        found = fired(store)
        with store.read() as con:
            standings = load_standings(con)
        for rule, rule_id in zip(RULES, ids, strict=True):
            standing = standings[rule_id]
            assert standing.since is not None
            seen = [(at, z) for at, z in values if at <= standing.state.last_at]
            wanted = expected(rule, seen, standing.since)
            assert wanted, rule
            assert found[rule_id] == wanted, rule
        total = sum(len(bars) for bars in found.values())
        assert total >= 6
        # A killed worker's claims lapse; the last one stopped with what it was sending.
        with store.write() as con:
            con.execute("update alert_deliveries set next_at = created_at where state = 'waiting'")
        deliver_due(store, load_settings(db=store.path))
        with store.read() as con:
            assert set(load_deliveries(con)["state"]) == {"sent"}
        assert len(set(hook.keys)) == total
