"""Backtests over HTTP: the Backtest page's engine, with its assumptions and its checks."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from core.api import backtests as backtests_route
from core.backtest import BacktestSettings, Execution, Money, Rules
from core.backtests import BacktestResult, first_result, load_traded
from core.backtests.running import Standing
from core.pair_spec import METHODS, PairSpec
from core.store import Store
from tests.api.conftest import Api, assert_problem

PAIR = {"y": "arbusdt", "x": "opusdt"}


def run(api: Api, **body: Any) -> dict[str, Any]:
    answer = api.ask("POST", "/backtests", json=PAIR | body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    told: dict[str, Any] = answer.json()
    return told


def again(
    store: Store, told: dict[str, Any], spec: PairSpec, settings: BacktestSettings
) -> BacktestResult:
    start, end = (
        datetime.fromisoformat(told["range"][name]).replace(tzinfo=None)
        for name in ("start", "end")
    )
    return first_result(load_traded(store, spec, start, end), settings)


def assert_same(told: dict[str, Any], found: BacktestResult) -> None:
    books = found.done.books
    tail = books.equity[-500:]
    assert list(told["equity"].values()) == tail.tolist()
    assert told["measures"] == dataclasses.asdict(found.measures)
    trades = books.trades.tail(500)
    assert [one["net"] for one in told["trades"]] == trades["net"].to_list()
    assert [one["entry_ts"] for one in told["trades"]] == trades["entry_ts"].dt.strftime(
        "%Y-%m-%dT%H:%M:%S%.3fZ"
    ).to_list()
    assert told["assumptions"] == list(found.done.assumptions)
    assert told["settings"] == dataclasses.asdict(found.done.settings)


@pytest.mark.parametrize("method", METHODS)
def test_it_is_the_pages_engine(api: Api, pairs: Store, method: Any) -> None:
    told = run(api, regression=method, burn_in=300, timeframe="1s")
    spec = PairSpec("arbusdt", "opusdt", "1s", True, method, burn_in_bars=300)
    found = again(pairs, told, spec, BacktestSettings())
    assert_same(told, found)
    assert told["pair"]["is_in_sample"] is (method in ("ols", "tls"))
    assert told["range"]["bars"] == found.traded.rows.height
    assert len(told["trades"]) > 5


def test_every_setting_can_be_given(api: Api, pairs: Store) -> None:
    rules = Rules(1.5, 0.25, 4.0, 60, 6.0, "long", 5, "cross", 20)
    execution = Execution("open", False, 4.0, -0.5, 2.0, "ticks", 0.5, 2)
    money = Money(50_000.0, 3.0, "dollar", 0.3, None)
    body = {
        name: value
        for part in (rules, execution, money)
        for name, value in dataclasses.asdict(part).items()
        if name not in ("lowest_beta", "highest_beta")
    }
    told = run(api, **body, price_scale="raw", hold=30, roll_window=90, range="1h")
    assert told["settings"]["rules"] == dataclasses.asdict(rules)
    assert told["settings"]["execution"] == dataclasses.asdict(execution)
    assert told["settings"]["money"] == dataclasses.asdict(money)
    spec = PairSpec("arbusdt", "opusdt", "1s", False, "refit", 90, refit_bars=30)
    assert_same(told, again(pairs, told, spec, BacktestSettings(rules, execution, money)))
    assert {one["side"] for one in told["trades"]} == {"long"}


def test_costs_are_in_it_and_the_classic_one_has_none(api: Api, pairs: Store) -> None:
    dear = run(api, taker_bps=50.0)
    cheap = run(api, taker_bps=0.0, slippage=0.0, least_ticks=0.0)
    assert dear["measures"]["fees"] > cheap["measures"]["fees"] == 0.0
    assert dear["measures"]["net"] < cheap["measures"]["net"]
    assert dear["classic"] == cheap["classic"]
    assert "no costs" in dear["classic"]["note"]


def test_times_and_points_as_asked(api: Api, pairs: Store) -> None:
    whole, few = run(api), run(api, limit=3, ts_format="ms")
    assert list(few["equity"].values()) == list(whole["equity"].values())[-3:]
    assert [one["net"] for one in few["trades"]] == [one["net"] for one in whole["trades"][-3:]]
    for at in (few["range"]["start"], few["trades"][0]["entry_ts"], *map(int, few["equity"])):
        assert 1_600_000_000_000 < at < 7_258_118_400_000
    answer = api.ask("POST", "/backtests", json=PAIR | {"limit": 3}, params={"ts_format": "ms"})
    assert answer.json() == few


def test_what_was_not_checked_says_so_and_is_checked_on_request(api: Api, pairs: Store) -> None:
    assert run(api)["checks"]["done"] is False
    checks = run(api, range="15m", checks=True)["checks"]
    assert checks["done"] is True
    for name in ("noise", "audit", "costs", "walk_forward", "sweep"):
        reason = {"walk_forward": "folds"}.get(name, name)
        assert checks[name] is not None or checks["reasons"][reason]
    assert checks["audit"]["is_clean"] is True
    assert 0 <= checks["noise"]["better_than"] <= 1
    assert np.isfinite(checks["costs"]["net_by_cost_factor"]["1"])


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"enter": 0}, "enter"), ({"enter": 1e13}, "enter"), ({"exit": 2.0}, "exit"),
        ({"exit": -3}, "exit"), ({"stop": 2.0}, "stop"), ({"stop": -1}, "stop"),
        ({"time_stop_bars": 0}, "time_stop_bars"), ({"time_stop_bars": 1.5}, "time_stop_bars"),
        ({"time_stop_half_lives": 0}, "time_stop_half_lives"), ({"sides": "up"}, "sides"),
        ({"cooldown_bars": -1}, "cooldown_bars"), ({"rebalance_bars": 0}, "rebalance_bars"),
        ({"taker_bps": -1}, "taker_bps"), ({"taker_bps": 10_000}, "taker_bps"),
        ({"maker_bps": -100}, "maker_bps"), ({"slippage": -1}, "slippage"),
        ({"apart_bars": -1}, "apart_bars"), ({"capital": 0}, "capital"),
        ({"leverage": -1}, "leverage"), ({"target_volatility": 0}, "target_volatility"),
        ({"range": "2h"}, "range"), ({"regression": "magic"}, "regression"),
        ({"fill": "close"}, "fill"), ({"checks": "yes"}, "checks"), ({"limit": 0}, "limit"),
        ({"lowest_beta": 0}, "lowest_beta"), ({"x": "arbusdt"}, "x"), ({"y": 1}, "y"),
        ({"timeframe": "2s"}, "timeframe"),
    ],
)  # fmt: skip
def test_what_cannot_be_traded_is_named(
    api: Api, pairs: Store, body: dict[str, Any], name: str
) -> None:
    assert_problem(api.ask("POST", "/backtests", json=PAIR | body), 400, parameter=name)


def test_unknown_symbols_and_too_little_data(api: Api, pairs: Store) -> None:
    assert_problem(api.ask("POST", "/backtests", json=PAIR | {"x": "nosuch"}), 404)
    assert_problem(api.ask("POST", "/backtests", json=PAIR | {"timeframe": "1d"}), 422)
    none = api.ask("POST", "/backtests", json=PAIR | {"min_volume": 1e12})
    assert "share 0" in assert_problem(none, 422)["detail"]


def test_one_runs_at_a_time(api: Api, pairs: Store) -> None:
    with backtests_route._one_at_a_time:
        answer = api.ask("POST", "/backtests", json=PAIR)
    assert_problem(answer, 503)
    assert answer.headers["retry-after"] == "2"
    assert run(api)["trades"]


def test_one_that_is_not_done_in_time_asks_for_a_shorter_range(
    api: Api, pairs: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Endless:
        def __init__(self, *_: object) -> None: ...

        def start(self) -> Endless:
            return self

        def wait(self, _: float) -> Standing:
            return Standing()

        def cancel(self) -> None: ...

    monkeypatch.setattr(backtests_route, "BacktestRun", Endless)
    answer = api.ask("POST", "/backtests", json=PAIR | {"checks": True})
    assert "choose a shorter range" in assert_problem(answer, 422)["detail"]
