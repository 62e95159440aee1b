"""An unexpected error in one rule is that rule's alone."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from replay import BEGIN_MS, Replay, at, market_trades

from core.alerts import bars, others, watch
from core.alerts.kept import load_standings
from core.alerts.rules import Rule
from core.feed.practice.market import Market

GUILTY = 12_345.0


def rule(metric: str = "price", **more: Any) -> Rule:
    return Rule(metric, "arbusdt", timeframe="1s", range_s=3600.0, **({"threshold": 1e-6} | more))


def failing(real: Any, guilty: Any) -> Any:
    def call(first: Any, *rest: Any, **more: Any) -> Any:
        if guilty(first):
            raise ZeroDivisionError("unheard of")
        return real(first, *rest, **more)

    return call


def has_guilty(asked: Any) -> bool:
    return any(one.rule.threshold == GUILTY for one in asked)


@pytest.mark.parametrize("place", ["values", "settlements", "judging"])
def test_a_defect_in_one_rule_leaves_the_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    replay = Replay(tmp_path / "r.duckdb")
    metric = "funding" if place == "settlements" else "price"
    well = [replay.rule(rule()) for _ in range(5)]
    guilty = replay.rule(rule(metric, threshold=GUILTY))
    if place == "values":
        monkeypatch.setattr(bars, "bar_values", failing(bars.bar_values, has_guilty))
    elif place == "settlements":
        monkeypatch.setattr(others, "_settled", failing(others._settled, lambda one: True))
    else:
        replay.watch.fence._judge = failing(
            watch.judge, lambda sight: sight.observations and sight.watched.kept.id == guilty
        )
    trades = market_trades(Market(rate=250.0), BEGIN_MS, BEGIN_MS + 20_000)
    with caplog.at_level(logging.ERROR):
        replay.play(trades, [BEGIN_MS + 10_000, BEGIN_MS + 20_000], BEGIN_MS)
    assert [len(replay.events(one)) for one in well] == [1] * 5
    with replay.store.read() as con:
        standings = load_standings(con)
    assert standings[guilty].reason == "cannot be looked at: ZeroDivisionError: unheard of"
    assert standings[guilty].state.last_at is None
    assert {standings[one].reason for one in well} == {""}
    assert len(caplog.records) == 1
    assert caplog.records[0].exc_info is not None


def test_it_is_tried_again_and_has_lost_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replay = Replay(tmp_path / "r.duckdb")
    guilty = replay.rule(rule(threshold=0.5))
    trades = market_trades(Market(rate=250.0), BEGIN_MS, BEGIN_MS + 30_000)
    with monkeypatch.context() as defect:
        defect.setattr(bars, "bar_values", failing(bars.bar_values, lambda asked: True))
        replay.play(trades, [BEGIN_MS + 10_000], BEGIN_MS)
    assert not replay.events(guilty)
    replay.watch.fence._not_before_s.clear()
    replay.play(trades, [BEGIN_MS + 30_000], BEGIN_MS + 10_000)
    # A bar of the time of the defect.
    assert replay.events(guilty)[0][0] < at(BEGIN_MS + 5_000)
    with replay.store.read() as con:
        assert load_standings(con)[guilty].reason == ""
