"""What values are measured in, and that moments have no bar."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from pathlib import Path

import pytest
from replay import BEGIN_MS, Replay, at, market_trades, pair_values

from core.alerts.kept import load_events, load_rules, load_standings
from core.alerts.machine import Observation, State, advance
from core.alerts.metrics import METRICS
from core.alerts.preview import preview
from core.alerts.rules import Hours, Rule
from core.feed.practice.market import Market
from core.sql import migrations

PAIR = ("arbusdt", "opusdt")


@pytest.mark.parametrize(("is_log", "scale", "unit"), [(True, 1e4, " bps"), (False, 1.0, "")])
def test_a_spread_is_told_as_pair_draws_it(
    tmp_path: Path, is_log: bool, scale: float, unit: str
) -> None:
    end = BEGIN_MS + 180_000
    rule = Rule("spread", *PAIR, "above", 0.0, timeframe="1s", is_log=is_log, window_bars=30)
    assert rule.condition == f"Spread > 0{unit}"
    replay = Replay(tmp_path / "r.duckdb")
    rule_id = replay.rule(rule, BEGIN_MS + 60_000)
    replay.play(market_trades(Market(rate=250.0), BEGIN_MS, end), [end, end + 2_000], BEGIN_MS)
    drawn = dict(pair_values(replay.store, rule))
    events = replay.events(rule_id)
    assert len(events) >= 2
    for bar, value in events:
        assert value == pytest.approx(scale * drawn[bar])  # type: ignore[operator]
    found = preview(replay.store, rule, end=at(end), span_s=120.0)
    assert {one.at: one.value for one in found.firings}.items() >= dict(events[1:-1]).items()
    with replay.store.read() as con:
        standing = load_standings(con)[rule_id]
    assert standing.value == pytest.approx(scale * drawn[standing.value_at])  # type: ignore


def test_kept_rules_on_spreads_go_on_meaning_the_same(tmp_path: Path) -> None:
    replay = Replay(tmp_path / "r.duckdb")
    band = {"op": "outside", "threshold": 0.002, "low": -0.003}
    log = replay.rule(Rule("spread", *PAIR, **band))  # type: ignore[arg-type]
    low = replay.rule(Rule("spread", *PAIR, "below", -0.002, rearm=-0.001))
    raw = replay.rule(Rule("spread", *PAIR, **band, is_log=False))  # type: ignore[arg-type]
    other = replay.rule(Rule("zscore", *PAIR, **band))  # type: ignore[arg-type]
    with replay.store.write() as con:
        con.execute(
            "insert into alert_states select id, since, true, 0, since, 0.001, null, false, since, "
            "0.0015, '' from alert_rules"
        )
        con.execute(dict(migrations())[5])
        rules = {kept.id: kept.rule for kept in load_rules(con)}
        standings = load_standings(con)
    assert (rules[log].threshold, rules[log].low, rules[log].rearm) == (20.0, -30.0, None)
    assert (rules[low].threshold, rules[low].rearm) == (-20.0, -10.0)
    assert (standings[log].value, standings[log].state.last_value) == (15.0, 10.0)
    for same in (raw, other):
        assert (rules[same].threshold, rules[same].low) == (0.002, -0.003)
        assert (standings[same].value, standings[same].state.last_value) == (0.0015, 0.001)


def test_moments_have_no_bar(tmp_path: Path) -> None:
    for metric in METRICS.values():
        legs = {"system": (), "symbol": ("a",), "pair": ("a", "b")}[metric.scope]
        rule = Rule(metric.name, *legs, reference=1.0)
        assert rule.bar_s == (0 if metric.basis in ("now", "settled") else 60), metric.name
    # What happens at 11:59:30 lies outside hours that begin at noon.
    noon = datetime(2026, 11, 23, 12)
    disk = Rule("disk", op="below", threshold=5.0, hours=Hours(time(12), time(13)))
    seen = [Observation(noon + timedelta(seconds=second), 1.0) for second in (-30, 0)]
    assert [one.at for one in advance(disk, State(), seen)[1]] == [noon]


def test_an_event_of_a_moment_names_no_timeframe(tmp_path: Path) -> None:
    replay = Replay(tmp_path / "r.duckdb")
    replay.rule(Rule("disk", op="below", threshold=5.0))
    trades = market_trades(Market(), BEGIN_MS, BEGIN_MS + 1_000)
    assert replay.bring(trades, BEGIN_MS + 1_000) == 1
    with replay.store.read() as con:
        events = load_events(con)
    assert events["timeframe"].to_list() == [""]
