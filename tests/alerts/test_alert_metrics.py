"""Every metric fires in the worker's own path, at values computed apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from replay import BEGIN_MS, STARTED, Replay, at, expected, market_trades, status_row

from core.alerts.kept import load_events, load_standings
from core.alerts.rules import Rule
from core.alerts.seen import Heard
from core.commands import write_symbols
from core.feed.practice.market import Market
from core.flush import Work, flush
from core.models import SymbolInfo
from core.pair_series import aligned, origin_of, pair_series
from core.queries import load_closes
from core.verdict import plain_spec, verdict

PAIR = ("arbusdt", "opusdt")
W, BAR_S = 5, 5
Series = list[tuple[datetime, float | None]]


@cache
def trades(minutes: int) -> pl.DataFrame:
    return market_trades(Market(rate=250.0), BEGIN_MS, BEGIN_MS + minutes * 60_000)


def closes(replay: Replay, symbols: tuple[str, ...], timeframe: str) -> pl.DataFrame:
    with replay.store.read(wait_s=30, limit_s=None) as con:
        return load_closes(con, symbols, timeframe, at(0), at(2**42))


def drawn(rule: Rule, frame: pl.DataFrame) -> pl.DataFrame:
    """The Pair page's rows of all bars."""
    frame = aligned(rule.spec, frame)
    return pair_series(rule.spec, frame, origin_of(rule.spec, frame)).rows


def of_corr(rule: Rule, frame: pl.DataFrame) -> Series:
    return list(drawn(rule, frame).select("ts", "corr").iter_rows())


def of_break(rule: Rule, frame: pl.DataFrame) -> Series:
    found: Series = []
    corrs = of_corr(rule, frame)
    for row, (ts, corr) in enumerate(corrs):
        # The mean over ten windows, each of them with a correlation of its own.
        before = [value for _, value in corrs[max(0, row - 10 * W + 1) : row + 1]]
        told = [value for value in before if value is not None]
        is_whole = row - 10 * W + 1 >= W and len(told) >= 9 * W
        found.append((ts, float(np.mean(told)) - corr if is_whole and corr is not None else None))
    return found


def of_drift(rule: Rule, frame: pl.DataFrame) -> Series:
    assert rule.reference is not None
    return [
        (ts, None if row < W or error is None else (beta - rule.reference) / error)
        for row, (ts, beta, error) in enumerate(
            drawn(rule, frame).select("ts", "beta", "se_beta").iter_rows()
        )
    ]


def of_symbol(measure: Callable[[list[datetime], np.ndarray, int], float | None]) -> Callable:  # type: ignore[type-arg]
    def found(rule: Rule, frame: pl.DataFrame) -> Series:
        column = "volume" if rule.metric == "volume" else "close"
        times, values = frame["ts"].to_list(), frame[column].to_numpy()
        return [(ts, measure(times, values, row)) for row, ts in enumerate(times)]

    return found


def back(times: list[datetime], row: int, bars: int) -> int:
    """The newest row so many bars ago or longer, −1 where there is none."""
    limit = times[row] - timedelta(seconds=bars * BAR_S)
    return max((i for i in range(row + 1) if times[i] <= limit), default=-1)


def change(times: list[datetime], closes: np.ndarray, row: int) -> float | None:
    old = back(times, row, W)
    return None if old < 0 else float(100 * (closes[row] / closes[old] - 1))


def volume(times: list[datetime], volumes: np.ndarray, row: int) -> float | None:
    if back(times, row, W) < 0:
        return None
    begin = times[row] - timedelta(seconds=W * BAR_S)
    within = [volumes[i] for i in range(row) if times[i] >= begin]
    return float(volumes[row] / (sum(within) / W))


def volatility(times: list[datetime], closes: np.ndarray, row: int) -> float | None:
    step = timedelta(seconds=BAR_S)
    steps = [
        np.log(closes[i] / closes[i - 1])
        for i in range(1, row + 1)
        if times[i] - times[i - 1] == step
    ]
    if len(steps) < 10 * W or not (row and times[row] - times[row - 1] == step):
        return None
    return float(np.std(steps[-W:], ddof=1) / np.std(steps[-10 * W :], ddof=1))


REFERENCES = [
    ("corr", of_corr), ("corr_break", of_break), ("beta_drift", of_drift),
    ("return", of_symbol(change)), ("volume", of_symbol(volume)),
    ("volatility", of_symbol(volatility)),
]  # fmt: skip


@pytest.mark.parametrize(("metric", "reference"), REFERENCES)
def test_bars_fire_at_values_computed_apart(
    tmp_path: Path, metric: str, reference: Callable[[Rule, pl.DataFrame], Series]
) -> None:
    legs = PAIR if metric in ("corr", "corr_break", "beta_drift") else PAIR[:1]

    def rule(level: float) -> Rule:
        return Rule(metric, *legs, op="crosses_above", threshold=level, rearm=level,
                    timeframe="5s", window_bars=W, range_s=3600.0, reference=0.2)  # fmt: skip

    since, end = BEGIN_MS + 360_000, BEGIN_MS + 720_000
    replay = Replay(tmp_path / "r.duckdb")
    replay.play(trades(12), [since], BEGIN_MS)
    known = [v for _, v in reference(rule(1.0), closes(replay, legs, "5s")) if v is not None]
    asked = rule(max(0.01, float(np.quantile(known, 0.7))))
    rule_id = replay.rule(asked, since)
    replay.play(trades(12), [*range(since + 10_000, end, 10_000), end, end + 7_000], since)
    values = reference(asked, closes(replay, legs, "5s"))
    events = replay.events(rule_id)
    assert len(events) >= 2
    assert [bar for bar, _ in events] == expected(asked, values, at(since))
    by_bar = dict(values)
    for bar, value in events:
        assert value == pytest.approx(by_bar[bar], rel=1e-6)


def test_a_range_fires_at_the_p_value_that_pair_gives(tmp_path: Path) -> None:
    rule = Rule("coint_p", *PAIR, "below", 1.1, timeframe="1s", range_s=900.0)
    replay = Replay(tmp_path / "r.duckdb")
    rule_id = replay.rule(rule, BEGIN_MS + 600_000)
    end = BEGIN_MS + 720_000
    replay.play(trades(12), [BEGIN_MS + 600_000, end], BEGIN_MS)
    replay.settle(end + 2_000)
    with replay.store.read() as con:
        (event,) = load_events(con, rule_id=rule_id).iter_rows(named=True)
    as_of = datetime.fromisoformat(json.loads(event["inputs"])["as_of"].rstrip("Z"))
    assert event["bar_ts"] == as_of - timedelta(seconds=1)
    spec = plain_spec(rule.spec)
    frame = aligned(spec, closes(replay, PAIR, "1s"))
    inside = pl.col("ts").is_between(as_of - timedelta(seconds=900), as_of, closed="left")
    found = verdict(spec, frame.filter(inside), span_s=900.0)
    assert found.bootstrap is not None
    assert event["value"] == pytest.approx(found.bootstrap.p)


def look(replay: Replay, now: datetime, **heard: float) -> None:
    """Let the worker write nothing but what it heard."""
    flush(
        replay.store,
        Work(trades(1).clear(), (), status_row(), (),
             heard=Heard(now, watchlist=frozenset(PAIR), **heard)),
        now_ms=0, started_at=STARTED, watchlist_version=-1, wait_s=5.0, alerts=replay.watch,
    )  # fmt: skip


def test_settlements_fire_once_each(tmp_path: Path) -> None:
    replay = Replay(tmp_path / "r.duckdb")
    one = replay.rule(Rule("funding", PAIR[0], op="above", threshold=5.0), BEGIN_MS)
    both = replay.rule(Rule("funding_diff", *PAIR, "outside", 2.0, -2.0), BEGIN_MS)
    # Hours before and after it was made, rates of y and x; settlements are some ms late.
    told = [(-8, 9.0, 1.0), (1, 1.0, 1.0), (9, 6.0, 1.0), (17, 7.0, 1.0), (25, 1.0, 1.5),
            (33, 1.0, 4.0)]  # fmt: skip
    for hours, y, x in told:
        ts = at(BEGIN_MS + hours * 3_600_000 + 7)
        with replay.store.write() as con:
            con.executemany(
                "insert into funding_rates values (?, ?, ?, null)",
                [(PAIR[0], ts, y / 1e4), (PAIR[1], ts, x / 1e4)],
            )
        now = max(ts, at(BEGIN_MS)) + timedelta(minutes=5)
        for minute in (0, 1):
            look(replay, now + timedelta(minutes=minute))
    hour = [at(BEGIN_MS + hours * 3_600_000) for hours, *_ in told]
    assert replay.events(one) == [(hour[2], pytest.approx(6.0))]
    assert replay.events(both) == [(hour[2], pytest.approx(5.0)), (hour[5], pytest.approx(-3.0))]
    with replay.store.read() as con:
        newest = load_events(con, rule_id=both).sort("bar_ts")["inputs"][-1]
    assert json.loads(newest) == {
        "rate_bps_arbusdt": pytest.approx(1.0), "rate_bps_opusdt": pytest.approx(4.0),
    }  # fmt: skip


def test_a_contract_that_stops_trading_fires_once(tmp_path: Path) -> None:
    replay = Replay(tmp_path / "r.duckdb")
    rule_id = replay.rule(Rule("contract", PAIR[0], threshold=0.5), BEGIN_MS)
    for minute, status in enumerate(["TRADING", "SETTLING", "SETTLING", "TRADING", "CLOSE"]):
        listed = SymbolInfo(PAIR[0], status, "PERPETUAL", "ARB", "USDT", 1e-4, 0.1, 5.0)
        with replay.store.write() as con:
            write_symbols(con, [listed])
        look(replay, at(BEGIN_MS + minute * 60_000))
    minutes = [
        round((bar - at(BEGIN_MS)).total_seconds() / 60) for bar, _ in replay.events(rule_id)
    ]
    assert minutes == [1, 4]
    with replay.store.read() as con:
        events = load_events(con, rule_id=rule_id).sort("bar_ts")
    assert [json.loads(one)["status"] for one in events["inputs"]] == ["SETTLING", "CLOSE"]


def test_a_hole_a_full_disk_and_silence_fire_from_the_worker(tmp_path: Path) -> None:
    replay = Replay(tmp_path / "r.duckdb")
    gap = replay.rule(Rule("gap", op="above", threshold=0.0), BEGIN_MS)
    disk = replay.rule(Rule("disk", op="below", threshold=5.0), BEGIN_MS)
    silent = replay.rule(Rule("silent", op="above", threshold=30.0), BEGIN_MS)
    ids = [gap, disk, silent]
    look(replay, at(BEGIN_MS), free_gb=9.0, silent_s=1.0)
    assert [replay.events(one) for one in ids] == [[], [], []]
    whole = trades(1).filter(pl.col("symbol") == PAIR[0])
    holed = pl.concat([whole.head(50), whole.slice(57)])
    replay.bring(holed, BEGIN_MS + 60_000, is_heard=False)
    look(replay, at(BEGIN_MS + 60_000), free_gb=4.0, silent_s=31.0)
    found = [[value for _, value in replay.events(one)] for one in ids]
    assert found == [[7.0], [4.0], [31.0]]
    replay.bring(whole.slice(50, 7), BEGIN_MS + 61_000, is_heard=False)
    look(replay, at(BEGIN_MS + 62_000), free_gb=4.0, silent_s=33.0)
    with replay.store.read() as con:
        assert load_standings(con)[gap].value == 0.0
    assert [len(replay.events(one)) for one in ids] == [1, 1, 1]


def test_flush_sizes_change_nothing_for_held_fits_and_studies(tmp_path: Path) -> None:
    minutes, since = 58, BEGIN_MS + 52 * 60_000
    end = BEGIN_MS + minutes * 60_000 + 2_000
    band = {"timeframe": "1s", "window_bars": 60, "range_s": 3600.0}
    rules = [
        Rule("zscore", *PAIR, "outside", 1.5, -1.5, method="kalman", **band),  # type: ignore[arg-type]
        Rule("zscore", *PAIR, "outside", 1.5, -1.5, method="tls", **band),  # type: ignore[arg-type]
        Rule("beta_drift", *PAIR, "outside", 2.0, -2.0, method="kalman", reference=1.0, **band),  # type: ignore[arg-type]
        Rule("coint_p", *PAIR, "below", 1.1, timeframe="1s", range_s=900.0),
    ]
    found = []
    for step in (3_000, 60_000, 3_600_000):
        replay = Replay(tmp_path / f"{step}.duckdb")
        ids = [replay.rule(rule, since) for rule in rules]
        if step < 3_600_000:
            replay.play(trades(minutes), [*range(since, end, step), end], BEGIN_MS)
        else:
            replay.play(trades(minutes), [end], BEGIN_MS)
        replay.settle(end)
        with replay.store.read() as con:
            standings = load_standings(con)
        found.append(
            [
                (replay.events(rule_id), standings[rule_id].value_at, standings[rule_id].value)
                for rule_id in ids
            ]
        )
    for rule, *ways in zip(rules, *found, strict=True):
        (events, value_at, value), *others = ways
        assert events, rule
        for other_events, other_at, other in others:
            assert [bar for bar, _ in other_events] == [bar for bar, _ in events], rule
            assert [v for _, v in other_events] == pytest.approx([v for _, v in events]), rule
            assert (other_at, other) == (value_at, pytest.approx(value)), rule
