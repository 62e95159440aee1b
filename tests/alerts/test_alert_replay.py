"""Replays of the practice exchange: exactly the events that the whole history holds, at its bars.

What is expected is computed apart: values over all bars at once by the Pair page's function, and
the rules' meaning read off the list of values.
"""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from replay import BEGIN_MS, SYMBOLS, Replay, at, expected, market_trades, pair_values

from core.alerts.kept import Standing, edit_rule, load_events, load_standings, pause_rule
from core.alerts.machine import State
from core.alerts.rules import OPS, Op, Rule
from core.errors import AlertsFailed
from core.feed.practice.market import Market
from core.pair_spec import Method
from core.queries import load_closes

MINUTES = 24
# The filter's burn-in alone takes 1,440 bars that both legs have.
KALMAN_MINUTES = 60
END_MS = BEGIN_MS + MINUTES * 60_000
# The feed's time at the end: every bar is closed.
OVER_MS = END_MS + 62_000


@cache
def trades(minutes: int = MINUTES) -> pl.DataFrame:
    return market_trades(Market(rate=250.0), BEGIN_MS, BEGIN_MS + minutes * 60_000)


def zscore(op: Op, **more: object) -> Rule:
    level = {"threshold": -1.5} if "below" in op else {"threshold": 1.5}
    band = {"low": -1.5} if op == "outside" else {}
    return Rule(
        "zscore", "arbusdt", "opusdt", op, timeframe="1s", window_bars=60, range_s=3600.0,
        **(level | band | more),  # type: ignore[arg-type]
    )  # fmt: skip


def steps(seconds: float, *, until_ms: int = OVER_MS, from_ms: int = BEGIN_MS) -> list[int]:
    """Ends of flushes; what lies before ``from_ms`` comes in the first of them."""
    step = int(seconds * 1000)
    return [*range(from_ms + step, until_ms, step), until_ms]


CASES = [
    *(zscore(op) for op in sorted(OPS)),
    zscore("above", rearm=1.5),
    zscore("crosses_above", hold_bars=3),
    zscore("outside", hold_bars=5, rearm=0.5),
    zscore("below", cooldown_s=120.0),
    zscore("crosses_below", hold_bars=2, cooldown_s=60.0, rearm=-1.5),
]


def test_exactly_the_expected_events_at_the_expected_bars_for_every_operator(
    tmp_path: Path,
) -> None:
    replay = Replay(tmp_path / "r.duckdb")
    since = BEGIN_MS + 5 * 60_000
    ids = [replay.rule(rule, since) for rule in CASES]
    replay.play(trades(), steps(15, from_ms=since), BEGIN_MS)
    values = pair_values(replay.store, CASES[0])
    by_bar = dict(values)
    for rule, rule_id in zip(CASES, ids, strict=True):
        found = replay.events(rule_id)
        wanted = expected(rule, values, at(since))
        assert len(wanted) >= 2, rule
        assert [bar for bar, _ in found] == wanted, rule
        for bar, value in found:
            assert value == pytest.approx(by_bar[bar], abs=1e-9)


@pytest.mark.parametrize("method", ["rolling", "refit", "ols", "tls", "kalman"])
@pytest.mark.parametrize("is_log", [True, False])
def test_an_event_tells_what_its_value_was_computed_from(
    tmp_path: Path, method: Method, is_log: bool
) -> None:
    replay = Replay(tmp_path / "r.duckdb")
    rule = zscore("outside", method=method, is_log=is_log)
    minutes = KALMAN_MINUTES if method == "kalman" else MINUTES
    since, over = BEGIN_MS + (minutes - 12) * 60_000, BEGIN_MS + minutes * 60_000 + 62_000
    replay.rule(rule, since)
    replay.play(trades(minutes), steps(20, from_ms=since, until_ms=over), BEGIN_MS)
    replay.settle(over)
    with replay.store.read() as con:
        events = load_events(con)
        prices = {
            (symbol, ts): close
            for symbol, ts, close, _ in load_closes(
                con, SYMBOLS, "1s", at(BEGIN_MS), at(over)
            ).iter_rows()
        }
    assert events.height >= 2
    for event in events.iter_rows(named=True):
        known = json.loads(event["inputs"])
        assert known["method"] == method
        assert known["window_bars"] == 60
        assert known["price_y"] == prices["arbusdt", event["bar_ts"]]
        assert known["price_x"] == prices["opusdt", event["bar_ts"]]
        y, x = known["price_y"], known["price_x"]
        if is_log:
            y, x = math.log(y), math.log(x)
        assert known["spread"] == pytest.approx(y - known["alpha"] - known["beta"] * x, abs=1e-9)
        z = (known["spread"] - known["spread_mean"]) / known["spread_sd"]
        assert event["value"] == pytest.approx(z, abs=1e-6)
        assert abs(event["value"]) > 1.5
        held = {"ols", "tls", "kalman"}
        assert ("fit_as_of" in known) == (method in held)
        if method in held:
            # The fit of the last fixed time (every 30 s of a range of an hour), never a later one.
            as_of = datetime.fromisoformat(known["fit_as_of"].rstrip("Z"))
            assert (
                timedelta(0)
                <= event["bar_ts"] + timedelta(seconds=1) - as_of
                < timedelta(seconds=30)
            )


LATE_MS = END_MS - 4 * 60_000
RANDOM_CUTS = [
    ("each half second", lambda: steps(0.5, from_ms=LATE_MS, until_ms=LATE_MS + 10_000)),
    ("each minute", lambda: steps(60, from_ms=BEGIN_MS + 7_000)),
    ("all at once", lambda: [OVER_MS]),
    (
        "at random",
        lambda: sorted({*random.Random(3).sample(range(BEGIN_MS, OVER_MS), 10), OVER_MS}),
    ),
]  # fmt: skip


def test_flush_sizes_change_nothing_for_rules_on_close(tmp_path: Path) -> None:
    rules = [
        zscore("outside"),
        zscore("crosses_above", hold_bars=2),
        zscore("outside", method="refit"),
        zscore("outside", method="ols"),
        Rule("spread", "arbusdt", "opusdt", "above", 0.0, timeframe="5s", range_s=3600.0),
        Rule("corr", "arbusdt", "opusdt", "below", 0.3, timeframe="5s", window_bars=20,
             range_s=3600.0),
        Rule("corr_break", "arbusdt", "opusdt", "above", 0.02, timeframe="5s", window_bars=10,
             range_s=3600.0),
        Rule("beta_drift", "arbusdt", "opusdt", "outside", 2.0, -2.0, timeframe="1s",
             reference=1.0, range_s=3600.0),
        Rule("half_life", "arbusdt", "opusdt", "above", 16.0, timeframe="1s", range_s=3600.0),
        Rule("price", "arbusdt", op="crosses_above", threshold=price(), timeframe="1s",
             range_s=3600.0),
        Rule("return", "arbusdt", op="outside", threshold=0.03, low=-0.03, timeframe="1s",
             range_s=3600.0),
        Rule("volume", "opusdt", op="above", threshold=2.0, timeframe="1s", range_s=3600.0),
        Rule("volatility", "opusdt", op="above", threshold=1.2, timeframe="1s", window_bars=20,
             range_s=3600.0),
    ]  # fmt: skip
    found: dict[str, list[object]] = {}
    for name, ends in RANDOM_CUTS:
        replay = Replay(tmp_path / f"{name}.duckdb")
        ids = [replay.rule(rule, BEGIN_MS + 60_000) for rule in rules]
        last = BEGIN_MS
        for end in [*ends(), OVER_MS]:
            if end > last:
                replay.play(trades(), [end], last)
                last = end
        replay.settle(OVER_MS)
        found[name] = [[bar for bar, _ in replay.events(rule_id)] for rule_id in ids]
    first = found.pop("each half second")
    for rule, events in zip(rules, first, strict=True):
        assert len(events) >= 1, rule  # type: ignore[arg-type]
    for name, events in found.items():
        assert events == first, name


def price(minutes: int = MINUTES) -> float:
    """A price that the first leg crosses in so many minutes: its median."""
    first = trades().filter(
        (pl.col("symbol") == "arbusdt") & (pl.col("ts") < at(BEGIN_MS + minutes * 60_000))
    )
    return float(first["price"].median())  # type: ignore[arg-type]


def test_a_restart_at_any_moment_neither_loses_nor_doubles(tmp_path: Path) -> None:
    chance = random.Random(5)
    replay = Replay(tmp_path / "r.duckdb")
    rules = [zscore(op) for op in sorted(OPS)]
    since = BEGIN_MS + 120_000
    ids = [replay.rule(rule, since) for rule in rules]
    begin = BEGIN_MS
    for end in steps(20):
        if chance.random() < 0.3:
            replay.restart()
        if chance.random() < 0.1:
            # The transaction fails after the rules were looked at: nothing of it is kept.
            part = trades().filter(pl.col("ts").is_between(at(begin), at(end), "left"))
            broken(replay, part, end)
        replay.play(trades(), [end], begin)
        begin = end
    values = pair_values(replay.store, rules[0])
    for rule, rule_id in zip(rules, ids, strict=True):
        assert [bar for bar, _ in replay.events(rule_id)] == expected(rule, values, at(since))


def broken(replay: Replay, part: pl.DataFrame, end_ms: int) -> None:
    """Bring trades; after the rules were looked at everything fails."""
    look = replay.watch.look

    def failing(con: Any, heard: Any) -> int:
        look(con, heard)
        raise RuntimeError("power")

    replay.watch.look = failing  # type: ignore[method-assign]
    try:
        with pytest.raises(AlertsFailed, match="power"):
            replay.bring(part, end_ms)
    finally:
        del replay.watch.look


def test_live_fires_within_the_bar_at_the_value_of_that_moment(tmp_path: Path) -> None:
    replay = Replay(tmp_path / "r.duckdb")
    rule = Rule("price", "arbusdt", op="crosses_above", threshold=price(6), timeframe="1min",
                when="live", range_s=3600.0)  # fmt: skip
    rule_id = replay.rule(rule, BEGIN_MS)
    replay.play(trades(), steps(3, until_ms=BEGIN_MS + 6 * 60_000), BEGIN_MS)
    with replay.store.read() as con:
        events = load_events(con, rule_id=rule_id)
    assert events.height >= 1
    for bar, value, is_closed, noticed in events.select(
        "bar_ts", "value", "is_closed", "noticed_at"
    ).iter_rows():
        assert value > rule.threshold
        if not is_closed:
            assert noticed <= bar + timedelta(seconds=62)
    assert not events["is_closed"].all()
    assert events["bar_ts"].is_unique().all()


def test_an_edited_rule_fires_again_within_the_bar_that_it_had_fired_on(tmp_path: Path) -> None:
    """And once only: a restart finds the event of the edited rule in the file."""
    first = trades().filter(pl.col("symbol") == "arbusdt")
    edited_ms, end_ms = BEGIN_MS + 180_000, BEGIN_MS + 600_000
    later = first.filter(pl.col("ts").is_between(at(edited_ms), at(end_ms - 60_000)))["price"]
    replay = Replay(tmp_path / "r.duckdb")
    rule = Rule("price", "arbusdt", threshold=float(first["price"].min()) / 2, timeframe="1h",
                when="live")  # fmt: skip
    rule_id = replay.rule(rule, BEGIN_MS)
    replay.play(trades(), steps(20, until_ms=edited_ms), BEGIN_MS)
    assert [bar for bar, _ in replay.events(rule_id)] == [at(BEGIN_MS)]
    higher = replace(rule, threshold=float(later.quantile(0.9)))  # type: ignore[arg-type]
    edit_rule(replay.store, rule_id, "higher", higher)
    with replay.store.write() as con:
        con.execute("update alert_rules set since = ?", [at(edited_ms)])
    begin = edited_ms
    for end in steps(20, from_ms=edited_ms, until_ms=end_ms):
        replay.restart()
        replay.play(trades(), [end], begin)
        begin = end
    bars, values = zip(*replay.events(rule_id), strict=True)
    assert bars == (at(BEGIN_MS), at(BEGIN_MS))
    assert values[-1] > higher.threshold


def test_a_rule_that_goes_on_after_a_pause_keeps_its_cooldown(tmp_path: Path) -> None:
    replay = Replay(tmp_path / "r.duckdb")
    rule = Rule("price", "arbusdt", threshold=1e-6, timeframe="1s", cooldown_s=300.0)
    rule_id = replay.rule(rule, BEGIN_MS)
    paused_ms, end_ms = BEGIN_MS + 60_000, BEGIN_MS + 480_000
    replay.play(trades(), steps(20, until_ms=paused_ms), BEGIN_MS)
    (first,) = [bar for bar, _ in replay.events(rule_id)]
    for is_paused in (True, False):
        pause_rule(replay.store, rule_id, is_paused=is_paused)
        with replay.store.read() as con:
            assert load_standings(con)[rule_id] == Standing(State(fired_at=first))
    with replay.store.write() as con:
        con.execute("update alert_rules set since = ?", [at(paused_ms)])
    replay.play(trades(), steps(20, from_ms=paused_ms, until_ms=end_ms), paused_ms)
    second = replay.events(rule_id)[1][0]
    assert timedelta(seconds=300) <= second - first <= timedelta(seconds=303)


def test_a_rule_that_cannot_be_looked_at_says_why(tmp_path: Path) -> None:
    replay = Replay(tmp_path / "r.duckdb")
    absent = replay.rule(Rule("zscore", "btcusdt", "opusdt", timeframe="1s", range_s=3600.0))
    young = replay.rule(
        Rule("zscore", "arbusdt", "opusdt", timeframe="1s", window_bars=5000, range_s=3600.0)
    )
    held = replay.rule(zscore("above", method="kalman"))
    fine = replay.rule(zscore("above"))
    funding = replay.rule(Rule("funding", "arbusdt"))
    contract = replay.rule(Rule("contract", "arbusdt", threshold=0.5))
    replay.play(trades(), steps(10, until_ms=BEGIN_MS + 120_000), BEGIN_MS)
    with replay.store.read() as con:
        reasons = {key: one.reason for key, one in load_standings(con).items()}
        values = {key: one.value for key, one in load_standings(con).items()}
    assert "BTCUSDT is not watched" in reasons[absent]
    assert reasons[young].startswith("too few bars yet: ")
    assert "of 5,002" in reasons[young]
    assert "burn-in" in reasons[held]
    assert "no funding rate of ARBUSDT" in reasons[funding]
    assert "not known yet" in reasons[contract]
    assert reasons[fine] == ""
    assert np.isfinite(values[fine])


def test_bars_with_trades_missing_wait_for_them_and_then_fire_as_if_nothing_had_been(
    tmp_path: Path,
) -> None:
    """After a hole the later trades come first; the rules wait for what fills it."""
    rules = [zscore(op) for op in sorted(OPS)]
    whole, holed = Replay(tmp_path / "whole.duckdb"), Replay(tmp_path / "holed.duckdb")
    ids = [[one.rule(rule, BEGIN_MS + 120_000) for rule in rules] for one in (whole, holed)]
    whole.play(trades(), steps(20), BEGIN_MS)
    begin, stop, go_on = BEGIN_MS, BEGIN_MS + 600_000, BEGIN_MS + 640_000
    holed.play(trades(), steps(20, until_ms=stop), begin)
    holed.restart()
    after = trades().filter(pl.col("ts") >= at(go_on))
    holed.play(after, steps(5, from_ms=go_on, until_ms=go_on + 30_000), go_on)
    missed = trades().filter(pl.col("ts").is_between(at(stop), at(go_on), "left"))
    holed.bring(missed, go_on + 30_500)
    holed.play(after, steps(20, from_ms=go_on + 30_000), go_on + 30_000)
    for first, second in zip(*ids, strict=True):
        wanted, found = whole.events(first), holed.events(second)
        assert len(wanted) >= 2
        assert [bar for bar, _ in found] == [bar for bar, _ in wanted]
        assert [value for _, value in found] == pytest.approx([value for _, value in wanted])


def test_a_hole_that_nobody_fills_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    replay = Replay(tmp_path / "r.duckdb")
    rule_id = replay.rule(zscore("above"), BEGIN_MS + 120_000)
    stop, go_on = BEGIN_MS + 300_000, BEGIN_MS + 320_000
    replay.play(trades(), steps(20, until_ms=stop), BEGIN_MS)
    replay.play(trades().filter(pl.col("ts") >= at(go_on)), steps(20, from_ms=go_on), go_on)
    with replay.store.read() as con:
        last = load_standings(con)[rule_id].state.last_at
        events = load_events(con)
    assert last is not None
    assert last >= at(END_MS - 2_000)
    assert events.filter(pl.col("bar_ts") > at(go_on)).height
