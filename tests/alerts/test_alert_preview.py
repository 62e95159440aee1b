"""The preview says what the worker would have fired: the same rules over the same bars."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from replay import BEGIN_MS, SYMBOLS, Replay, at, market_trades

from core.alerts.preview import Preview, preview
from core.alerts.rules import Rule
from core.feed.practice.market import Market
from core.pair_spec import Method

MINUTES = 24
OVER_MS = BEGIN_MS + MINUTES * 60_000 + 62_000
SINCE_MS = BEGIN_MS + 10 * 60_000
SPAN_S = (OVER_MS - SINCE_MS) / 1000


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Replay:
    """A store with all rules below, whose worker has seen everything."""
    replay = Replay(tmp_path_factory.mktemp("preview") / "r.duckdb")
    for rule in RULES:
        replay.rule(rule, SINCE_MS)
    trades = market_trades(Market(rate=250.0), BEGIN_MS, BEGIN_MS + MINUTES * 60_000)
    replay.play(trades, [SINCE_MS, SINCE_MS + 60_000, OVER_MS], BEGIN_MS)
    replay.settle(OVER_MS)
    return replay


def pair(metric: str = "zscore", method: Method = "rolling", **more: object) -> Rule:
    return Rule(
        metric, "arbusdt", "opusdt",
        **({"op": "outside", "threshold": 1.5, "low": -1.5, "timeframe": "1s", "method": method,
            "range_s": 3600.0} | more),  # type: ignore[arg-type]
    )  # fmt: skip


RULES = [
    pair(),
    pair(hold_bars=3, op="crosses_above", low=None),
    pair(cooldown_s=120.0, op="below", threshold=-1.0, low=None),
    pair(method="refit"),
    pair(method="ols"),
    pair(method="tls", is_log=False),
    pair("half_life", op="above", threshold=16.0, low=None),
    pair("corr", op="below", threshold=0.3, low=None, timeframe="5s", window_bars=20),
    Rule("volume", "opusdt", op="above", threshold=2.0, timeframe="1s", range_s=3600.0),
]


@pytest.mark.parametrize("place", range(len(RULES)))
def test_it_finds_what_the_worker_fired(replay: Replay, place: int) -> None:
    rule = RULES[place]
    with replay.store.read() as con:
        ids = [row[0] for row in con.sql("select id from alert_rules order by rowid").fetchall()]
    fired = replay.events(ids[place])
    assert len(fired) >= 2
    found = preview(replay.store, rule, end=at(OVER_MS), span_s=SPAN_S)
    assert [one.at for one in found.firings] == [bar for bar, _ in fired]
    assert [one.value for one in found.firings] == pytest.approx([value for _, value in fired])
    assert found.note == ""
    assert found.start == at(SINCE_MS)
    values = dict(found.series.iter_rows())
    for one in found.firings:
        assert values[one.at] == one.value
        assert rule.holds(one.value)
    assert found.bars >= 25


def test_what_cannot_be_tried_says_why(replay: Replay) -> None:
    def note(rule: Rule, **more: float) -> str:
        found = preview(replay.store, rule, end=at(OVER_MS), **more)
        assert isinstance(found, Preview)
        assert not found.firings
        return found.note

    assert "at the moment only" in note(Rule("silent", threshold=30.0))
    assert "at the moment only" in note(Rule("contract", "arbusdt", threshold=0.5))
    assert "bars has a value: one stands on " in note(pair(timeframe="1min", window_bars=120))
    assert note(Rule("price", "ethusdt")) == "There is no 1min bar of ETHUSDT in it."
    assert "1,440 bars" in note(pair(method="kalman", timeframe="5s"))


def test_it_shortens_what_would_take_long_and_says_so(replay: Replay) -> None:
    found = preview(replay.store, pair(method="ols"), end=at(OVER_MS))
    assert found.note.startswith("Covers less than was asked for")
    # 150 fits, each held for the 30 s that an hour's range has.
    assert found.end - found.start <= timedelta(seconds=150 * 30)


def test_funding_is_tried_on_the_settlements(tmp_path: Path) -> None:
    replay = Replay(tmp_path / "r.duckdb", SYMBOLS)
    hours = [at(BEGIN_MS + 8 * 3_600_000 * k) for k in range(4)]
    rows = pl.DataFrame(
        {
            "symbol": ["arbusdt"] * 4,
            "ts": hours,
            "rate": [0.0001, 0.0009, 0.0001, 0.0009],
            "mark_price": [1.0] * 4,
        }
    )
    with replay.store.write() as con:
        con.register("rows", rows)
        con.execute("insert into funding_rates by name select * from rows")
        con.unregister("rows")
    end = hours[-1] + timedelta(minutes=5)
    rule = Rule("funding", "arbusdt", op="crosses_above", threshold=5.0)
    found = preview(replay.store, rule, end=end, span_s=86_400.0 + 600)
    assert [(one.at, one.value) for one in found.firings] == [
        (hours[1], pytest.approx(9.0)),
        (hours[3], pytest.approx(9.0)),
    ]
