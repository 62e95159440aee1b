"""Pairs that trade seldom: what is read is wide enough, whatever the flush, and no wider."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from replay import BEGIN_MS, Replay, at, expected, market_trades, pair_values

from core.alerts.kept import load_standings
from core.alerts.reach import known, most_back_ms, reaches
from core.alerts.rows import Values
from core.alerts.rules import Rule
from core.feed.practice.market import DEFAULT_RATE, Market

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
PAIR = ("arbusdt", "opusdt")


def crossing(level: float, **more: object) -> Rule:
    return Rule("zscore", *PAIR, "crosses_above", level, timeframe="1s", range_s=3600.0, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("clock", [2.5, 21.0])
def test_a_thin_pair_fires_as_pair_draws_it_whatever_the_flush(
    tmp_path: Path, clock: float
) -> None:
    """At the practice's own rate the legs share a 1 s bar each 3 to 8 s, by the hour (UTC)."""
    begin = BEGIN_MS // DAY_MS * DAY_MS + int(clock * HOUR_MS)
    since, end = begin + 7 * 60_000, begin + 14 * 60_000
    over = end + 4_000
    trades = market_trades(Market(rate=DEFAULT_RATE), begin, end)
    rules = [
        crossing(1.2, window_bars=30),
        crossing(0.3, window_bars=20, hold_bars=2),
        # Dense by itself: what is read for it is no measure for its neighbours.
        Rule("price", "arbusdt", op="above", threshold=1e9, timeframe="1s", range_s=3600.0),
        Rule("zscore", *PAIR, "outside", 1.2, -1.2, timeframe="1s", window_bars=40,
             method="refit", range_s=3600.0),
    ]  # fmt: skip
    found = []
    for step in (2_000, 60_000):
        replay = Replay(tmp_path / f"{step}.duckdb")
        ids = [replay.rule(rule, since) for rule in rules]
        replay.play(trades, [*range(since, over, step), over], begin)
        found.append([[bar for bar, _ in replay.events(rule_id)] for rule_id in ids])
    assert found[0] == found[1]
    for rule, events in zip(rules, found[0], strict=True):
        if rule.metric != "price":
            wanted = expected(rule, pair_values(replay.store, rule), at(since))
            assert len(wanted) >= 2, rule
            assert events == wanted, rule


def test_a_wide_read_is_remembered_and_no_wider_than_needed(tmp_path: Path) -> None:
    begin = BEGIN_MS // DAY_MS * DAY_MS + int(2.5 * HOUR_MS)
    end = begin + 8 * 60_000
    replay = Replay(tmp_path / "r.duckdb")
    rule_id = replay.rule(crossing(9.0, window_bars=20), begin + 7 * 60_000)
    replay.play(market_trades(Market(rate=DEFAULT_RATE), begin, end), [end, end + 2_000], begin)
    watched = replay.watch._watched[rule_id]
    with replay.store.read() as con:
        assert load_standings(con)[rule_id].value is not None
    assert 30_000 < watched.back_ms < 480_000 < most_back_ms(watched.rule)


SECONDS = np.array([0, 1, 2, 5, 6, 7, 8, 20]) * 1000


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (crossing(1.0, window_bars=3), [-1, -1, 0, 1, 2, 5, 6, 7]),
        # Neighbouring bars only: 0-1, 1-2, 5-6, 6-7, 7-8; three changes each.
        (Rule("corr", *PAIR, timeframe="1s", window_bars=3), [-1, -1, -1, -1, 0, 1, 5, 5]),
        (Rule("return", "a", timeframe="1s", window_bars=3), [-1, -1, -1, 2, 2, 2, 5, 8]),
        (Rule("price", "a", timeframe="1s", window_bars=3), [0, 1, 2, 5, 6, 7, 8, 20]),
        (Rule("beta_drift", *PAIR, timeframe="1s", window_bars=3, reference=1.0),
         [-1, -1, -1, 0, 1, 2, 5, 6]),
    ],
)  # fmt: skip
def test_how_far_back_a_value_reaches(rule: Rule, wanted: list[int]) -> None:
    found = reaches(rule, SECONDS)
    assert [int(one) // 1000 if one >= 0 else -1 for one in found] == wanted


def test_what_reaches_too_far_back_is_not_known(tmp_path: Path) -> None:
    rule = crossing(1.0, window_bars=3)
    most = most_back_ms(rule)
    assert timedelta(milliseconds=most) == timedelta(seconds=5 * 256)
    ts = np.array([0, 1000, 2000, most + 1000, most + 1001])
    values = Values(ts, np.ones(5), {})
    is_known = np.isfinite(known(rule, values).values)
    assert is_known.tolist() == [False, False, True, True, True]
    # The last one stands on the row at 2,000; one later and it would be too far.
    ts[4] = most + 2001
    assert not np.isfinite(known(rule, values).values[4])
    assert most_back_ms(crossing(1.0, window_bars=50_000)) == 4 * 50_002 * 1000


def test_the_reason_stays_while_no_bar_closes(tmp_path: Path) -> None:
    end = BEGIN_MS + 120_000
    trades = market_trades(Market(rate=250.0), BEGIN_MS, end)
    replay = Replay(tmp_path / "r.duckdb")
    rule_id = replay.rule(crossing(1.0, window_bars=500))
    reasons = []
    for ends in (end, end + 5_000, end + 10_000, end + 10_500):
        replay.play(trades, [ends], BEGIN_MS if ends == end else ends)
        with replay.store.read() as con:
            reasons.append(load_standings(con)[rule_id].reason)
    assert reasons[0].startswith("too few bars yet: ")
    assert reasons[0].endswith(" of 502")
    # Two more seconds were settled at the second look; since then nothing traded.
    assert reasons[1].startswith("too few bars yet: ")
    assert reasons[1:] == [reasons[1]] * 3
