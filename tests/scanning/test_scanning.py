"""A scan from the file to its table: planted pairs confirmed, the rest noise, all of it honest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from statsmodels.tsa.stattools import adfuller, coint

from core.errors import DataError, NotEnoughData
from core.scanning import finals, pairing
from core.scanning.kept import load_scan, load_scans, load_survivals
from core.scanning.panel import carried, read_scan_panel
from core.scanning.report import (
    CONFIRMED,
    EXPLAINED,
    FILTERED,
    NOISE,
    PASSED,
    SAME,
    SURVIVED,
    ScanReport,
)
from core.scanning.running import CANCELLED, DONE, FAILED, ScanRun, scanned
from core.scanning.settings import ScanSettings, settings_of
from core.scanning.words import headline, level_words, noise_words, power_words
from core.stats.cointegration import engle_granger
from core.store import Store
from tests.scanning.markets import LAST_DAY, market_store, planted, practice_logs, walks

Make = Callable[..., Store]
SHORT = ScanSettings(span="6h")


def of(store: Store, settings: ScanSettings) -> ScanReport:
    *_, report = scanned(store, settings)
    return report


def stages(report: ScanReport, stage: str) -> set[tuple[str, str]]:
    rows = report.pairs.filter(pl.col("stage") == stage)
    return {tuple(sorted(pair)) for pair in rows.select("y", "x").iter_rows()}  # type: ignore[misc]


def test_the_planted_pairs_are_confirmed_and_nothing_else(scan: ScanReport) -> None:
    assert stages(scan, CONFIRMED) == {("arbusdt", "opusdt"), ("bchusdt", "ltcusdt")}
    assert scan.confirmed == 2
    assert scan.tested == 23 * 22
    assert scan.compared == 23
    assert scan.is_final
    assert scan.pairs["place"].to_list() == list(range(1, scan.pairs.height + 1))
    assert set(scan.pairs.head(2)["stage"]) == {CONFIRMED}
    assert headline(scan).startswith("Tested 506 ordered pairs of 23 symbols: ")
    assert headline(scan).endswith("2 confirmed out of sample.")


@pytest.mark.parametrize("seed", [12, 13])
def test_other_markets_confirm_their_planted_pairs_alone(seed: int, tmp_path: Path) -> None:
    store = market_store(tmp_path / "market.duckdb", practice_logs(7, seed=seed))
    assert stages(of(store, ScanSettings()), CONFIRMED) == {
        ("arbusdt", "opusdt"),
        ("bchusdt", "ltcusdt"),
    }


def test_a_row_is_what_statsmodels_says_of_the_pair(scan: ScanReport, practice: Store) -> None:
    panel = read_scan_panel(practice, scan.settings)
    row = scan.pairs.row(0, named=True)
    y, x = (panel.names.index(row[name]) for name in ("y", "x"))
    train, test = panel.train, panel.test
    statistic, p, _ = coint(train[:, y], train[:, x], maxlag=1, autolag=None)
    assert row["statistic"] == pytest.approx(statistic, rel=1e-8)
    assert row["p_value"] == pytest.approx(p, abs=1e-12)
    beta, alpha = np.polyfit(train[:, x], train[:, y], 1)
    assert row["beta"] == pytest.approx(beta, rel=1e-9)
    frozen = test[:, y] - alpha - beta * test[:, x]
    found = adfuller(frozen, autolag="AIC", result_object=False)
    assert row["frozen_statistic"] == pytest.approx(found[0], rel=1e-6)
    level = adfuller(frozen, autolag="AIC", regression="n", result_object=False)
    assert row["level_p"] == pytest.approx(level[1], rel=1e-4, abs=1e-12)
    spread = train[:, y] - alpha - beta * train[:, x]
    assert row["spread_sd_bps"] == pytest.approx(1e4 * spread.std(ddof=1), rel=1e-8)
    assert row["zscore"] == pytest.approx(frozen[-1] / spread.std(ddof=1), rel=1e-6)
    assert row["crossings"] == np.count_nonzero(np.diff(spread > 0.0))
    assert row["cost_bps"] == pytest.approx(12 * (1 + abs(beta)))
    assert row["engle_granger_p"] == engle_granger(train[:, y], train[:, x]).p_value


def test_the_windows_meet_and_the_test_window_changes_no_training_number(
    scan: ScanReport, practice: Store, tmp_path: Path
) -> None:
    windows = scan.windows
    assert windows.train_start < windows.train_end < windows.test_end
    share = (windows.test_end - windows.train_end) / (windows.test_end - windows.train_start)
    assert share == pytest.approx(0.25)
    logs = {name: series.copy() for name, series in practice_logs(12).items()}
    bars = (windows.test_end - windows.train_end) // timedelta(minutes=1)
    rng = np.random.default_rng(5)
    for series in logs.values():
        series[-bars:] += np.cumsum(1e-3 * rng.standard_normal(bars))
    other = of(market_store(tmp_path / "other.duckdb", logs), scan.settings)
    assert other.windows == windows
    names = ["y", "x", "beta", "alpha", "statistic", "p_value", "q_value", "half_life_bars",
             "spread_sd_bps", "bootstrap_p", "explained_p"]  # fmt: skip
    chosen = pl.col("stage") != NOISE
    before = scan.pairs.filter(chosen).select(names).sort("y", "x")
    after = other.pairs.join(before.select("y", "x"), on=("y", "x")).select(names).sort("y", "x")
    assert after.equals(before)


def test_a_leg_that_returns_by_itself_is_explained_by_its_better_pair(tmp_path: Path) -> None:
    logs = walks(8, 10_080, seed=4, volatility=4e-4)
    # Far more deviation than walk: against any symbol it seems to come back.
    logs["hubusdt"] = planted(logs["s000usdt"], half_life=8, sigma=0.02)
    report = of(market_store(tmp_path / "hub.duckdb", logs), ScanSettings())
    assert stages(report, CONFIRMED) == {("hubusdt", "s000usdt")}
    shadows = report.pairs.filter(pl.col("stage") == EXPLAINED)
    assert shadows.height >= 2
    assert set(shadows["explained_by"]) == {"hubusdt/s000usdt"}
    assert (shadows["bootstrap_p"] <= 0.05).all()
    assert (shadows["explained_p"] > 0.05).all()


def test_three_that_move_together_do_not_explain_each_other(tmp_path: Path) -> None:
    logs = walks(6, 10_080, seed=2)
    for number, name in enumerate(("aausdt", "bbusdt")):
        logs[name] = planted(logs["s001usdt"], half_life=10, sigma=0.005, seed=20 + number)
    report = of(market_store(tmp_path / "three.duckdb", logs), ScanSettings())
    names = ("aausdt", "bbusdt", "s001usdt")
    assert {pair for pair in stages(report, CONFIRMED)} == {
        (a, b) for a in names for b in names if a < b
    }


def test_walks_are_noise(small: Make) -> None:
    report = of(small(10, 3000), ScanSettings(span="1d"))
    assert report.confirmed == 0
    assert report.noise.tested == 90
    assert report.noise.share is not None
    assert report.noise.share <= 0.05
    assert "cannot be cointegrated" in noise_words(report)
    assert "1/150" in power_words(report)


def test_the_same_asset_is_set_aside(tmp_path: Path) -> None:
    logs = walks(4, 700)
    logs["twinusdt"] = logs["s001usdt"] + 1e-7
    report = of(market_store(tmp_path / "twin.duckdb", logs), SHORT)
    assert stages(report, SAME) == {("s001usdt", "twinusdt")}
    assert report.same_asset == 2
    assert report.tested == 5 * 4 - 2
    assert report.pairs["stage"].to_list()[-1] == SAME
    assert report.pairs.row(-1, named=True)["statistic"] is None


def test_filters_leave_out_symbols_and_pairs_and_say_why(tmp_path: Path) -> None:
    logs = walks(5, 700)
    logs["thinusdt"] = logs["s001usdt"].copy()
    logs["thinusdt"][::2] = np.nan
    logs["youngusdt"] = walks(1, 200, seed=9)["s000usdt"]
    logs["deadusdt"] = np.full(700, 2.0)
    store = market_store(tmp_path / "some.duckdb", logs)
    report = of(store, replace(SHORT, carry_bars=0))
    left = dict(report.symbols.select("symbol", "left_out").iter_rows())
    assert left["thinusdt"] == "bars for 50% of the training window; 90% are asked for"
    assert left["youngusdt"].startswith("bars for")
    assert left["deadusdt"] == "its price does not move"
    assert report.compared == 5
    assert report.symbols.filter(pl.col("left_out") != "")["map_x"].is_null().all()
    assert of(store, replace(SHORT, min_correlation=0.999)).passed == 0
    richer = replace(SHORT, min_turnover=1e12)
    with pytest.raises(NotEnoughData, match="turned over"):
        of(store, richer)
    with pytest.raises(NotEnoughData, match="held for"):
        of(store, replace(SHORT, min_age_s=30 * 86_400.0))


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"min_correlation": 0.999}, "|ρ| of returns below 0.999"),
        ({"max_half_life_bars": 0.5}, "half-life above 0.5 bars"),
        ({"min_sigma_per_cost": 5e3}, "σ below 5000 round trips"),
    ],
)
def test_what_a_filter_takes_is_not_called_noise(
    tmp_path: Path, asked: dict[str, float], why: str
) -> None:
    logs = walks(5, 700)
    logs["hubusdt"] = planted(logs["s000usdt"], half_life=3, sigma=0.001)
    store = market_store(tmp_path / "filtered.duckdb", logs)
    pair = {("hubusdt", "s000usdt")}
    assert stages(of(store, SHORT), CONFIRMED) == pair
    report = of(store, replace(SHORT, **asked))  # type: ignore[arg-type]
    assert pair <= stages(report, FILTERED)
    assert report.passed == 0
    assert report.filtered == len(stages(report, FILTERED))
    row = report.pairs.filter(pl.col("stage") == FILTERED).row(0, named=True)
    assert row["note"] == why
    assert row["q_value"] <= 0.05
    assert "and none of them the filters" in headline(report)
    assert "without pairs looks like" not in headline(report)
    # A weak pair lacks what the filter asks as well; it is noise all the same.
    noise = report.pairs.filter(pl.col("stage") == NOISE)
    assert noise["q_value"].min() > 0.05  # type: ignore[operator]
    assert set(noise["note"]) == {""}


def test_a_small_level_can_be_reached_and_is_said_with_its_digits(tmp_path: Path) -> None:
    logs = walks(4, 700)
    logs["hubusdt"] = planted(logs["s000usdt"], half_life=2, sigma=0.001)
    report = of(market_store(tmp_path / "level.duckdb", logs), replace(SHORT, level=0.001))
    assert report.pairs["bootstrap_p"][0] <= 0.001
    assert stages(report, SURVIVED) == {("hubusdt", "s000usdt")}
    assert "q ≤ 0.1%" in headline(report)
    assert [level_words(level) for level in (0.05, 0.025, 0.5)] == ["5%", "2.5%", "50%"]
    with pytest.raises(DataError, match=r"level is 0\.0001; give 0\.001 to 0\.5"):
        replace(SHORT, level=1e-4)


def test_what_a_symbol_does_on_the_test_window_decides_nothing_before_it(tmp_path: Path) -> None:
    logs = walks(5, 700)
    whole = of(market_store(tmp_path / "whole.duckdb", logs), SHORT)
    # It stops in the middle of the test window, for more bars than coverage would allow.
    logs["s003usdt"] = logs["s003usdt"].copy()
    logs["s003usdt"][-80:] = np.nan
    report = of(market_store(tmp_path / "stops.duckdb", logs), SHORT)
    assert report.tested == whole.tested == 20
    names = ["y", "x", "beta", "p_value", "q_value"]
    assert (
        report.pairs.select(names).sort("y", "x").equals(whole.pairs.select(names).sort("y", "x"))
    )
    columns = ["symbol", "left_out", "coverage", "turnover"]
    assert report.symbols.select(columns).equals(whole.symbols.select(columns))


def test_turnover_a_day_is_of_the_days_that_a_symbol_was_there(tmp_path: Path) -> None:
    logs = {name: np.full(700, 1.0) + 1e-3 * series for name, series in walks(3, 700).items()}
    logs["s002usdt"] = logs["s002usdt"][-200:]
    report = of(market_store(tmp_path / "young.duckdb", logs), replace(SHORT, min_coverage=0.2))
    found = dict(report.symbols.select("symbol", "turnover").iter_rows())
    # 1,000 units a minute at a price of about e.
    for name, turnover in found.items():
        assert turnover == pytest.approx(1_000 * 1_440 * np.e, rel=0.02), name


def test_a_pair_that_was_not_tested_has_no_numbers_of_a_test(tmp_path: Path) -> None:
    logs = walks(3, 700)
    logs["twinusdt"] = logs["s001usdt"] + 1e-7
    report = of(market_store(tmp_path / "twin.duckdb", logs), SHORT)
    row = report.pairs.filter(pl.col("stage") == SAME).row(0, named=True)
    assert [row[name] for name in ("lag", "n_obs", "crossings", "q_value")] == [None] * 4
    both = {"s001usdt": logs["s001usdt"], "twinusdt": logs["twinusdt"]}
    alone = of(market_store(tmp_path / "two.duckdb", both), SHORT)
    assert alone.tested == 0
    assert "none of them can be" in headline(alone)
    one = market_store(tmp_path / "one.duckdb", {"s001usdt": logs["s001usdt"]})
    with pytest.raises(NotEnoughData, match="1 symbol to scan; a scan needs at least 2"):
        of(one, SHORT)


def test_the_bootstrap_and_what_explains_its_survivors_are_told_apart(tmp_path: Path) -> None:
    logs = walks(8, 900, seed=2)
    logs["hubusdt"] = planted(logs["s000usdt"], half_life=3, sigma=0.02)
    report = of(market_store(tmp_path / "hub.duckdb", logs), replace(SHORT, correction="bh"))
    assert report.explained == len(stages(report, EXPLAINED)) > 0
    survived = report.survived + report.explained
    words = f"{survived} survived the bootstrap ({report.explained} explained by a better pair)"
    assert words in headline(report)


def test_the_sparkline_is_of_even_time(small: Make) -> None:
    spread = np.linspace(0.0, 1e-4, 1_000)
    spread[:100] = spread[500:700] = np.nan
    spark = np.array(pairing._spark(spread))
    # The first tenth is the first value, the hole the last one before it.
    assert len(spark) <= 1.3 * pairing.SPARK_POINTS
    assert spark[0] == pytest.approx(0.1, abs=0.01)
    assert np.mean(spark <= 0.11) == pytest.approx(0.1, abs=0.05)
    assert np.mean(np.abs(spark - 0.5) < 0.01) == pytest.approx(0.2, abs=0.07)
    assert pairing._spark(np.full(50, np.nan)) == []


def test_short_holes_are_carried_and_counted(tmp_path: Path) -> None:
    logs = walks(4, 700)
    logs["s002usdt"][5::10] = np.nan
    report = of(market_store(tmp_path / "holes.duckdb", logs), SHORT)
    row = report.pairs.filter(pl.col("y") == "s002usdt").row(0, named=True)
    assert row["stale_share"] == pytest.approx(0.1, abs=0.01)
    assert report.tested == 12
    kept, stale = carried(np.array([[1.0], [np.nan], [np.nan], [np.nan], [2.0]]), 2)
    assert kept[:, 0].tolist()[:3] == [1, 1, 1]
    assert np.isnan(kept[3, 0])
    assert stale[:, 0].tolist() == [False, True, True, False, False]


def test_too_little_says_what_to_do(small: Make) -> None:
    with pytest.raises(NotEnoughData, match="choose shorter bars"):
        of(small(3, 150), SHORT)
    with pytest.raises(DataError, match="a scan needs 200"):
        ScanSettings(span="6h", timeframe="5min")
    with pytest.raises(DataError, match=r"test_share is 0\.9"):
        ScanSettings(test_share=0.9)
    with pytest.raises(NotEnoughData, match="watch it first"):
        of(small(3, 700), replace(SHORT, symbols=("s000usdt", "nousdt")))


def test_less_than_the_range_is_scanned_in_proportion_and_said(small: Make) -> None:
    report = of(small(4, 700), ScanSettings(span="1d"))
    windows = report.windows
    assert (windows.test_end - windows.train_start) == timedelta(minutes=699)
    assert "699 of 1,440 bars are held" in report.note


def test_a_scan_is_kept_as_it_was_and_survivals_are_counted(
    scan: ScanReport, practice: Store
) -> None:
    again = of(practice, scan.settings)
    with practice.read() as con:
        kept = load_scan(con, scan.id)
        newest = load_scan(con)
        listed = load_scans(con)
        scans, counts = load_survivals(con, scan.settings.digest())
    assert kept is not None
    assert newest is not None
    assert newest.id == again.id
    assert kept.pairs.equals(scan.pairs)
    assert kept.symbols.equals(scan.symbols.sort("symbol"))
    assert kept.settings == scan.settings
    assert (kept.windows, kept.noise, kept.passed) == (scan.windows, scan.noise, scan.passed)
    assert again.pairs.equals(scan.pairs)
    assert scans >= 2
    assert counts["arbusdt", "opusdt"] == scans
    assert listed["id"][0] == again.id
    assert settings_of(scan.settings.as_json()) == scan.settings


def test_a_run_tells_how_far_it_is_and_can_be_cancelled(small: Make) -> None:
    store = small(6, 700)
    run = ScanRun(store, SHORT).start()
    done = run.wait(60)
    assert done.state == DONE
    assert done.report is not None
    assert done.report.id == run.id
    cancelled = ScanRun(store, SHORT)
    cancelled.cancel()
    assert cancelled.start().wait(60).state == CANCELLED
    failed = ScanRun(store, replace(SHORT, min_turnover=1e14)).start().wait(60)
    assert failed.state == FAILED
    assert "turned over" in str(failed.error)
    with store.read() as con:
        assert load_scans(con).height == 1


def test_the_order_of_symbols_changes_nothing(tmp_path: Path) -> None:
    logs = walks(9, 1500, seed=6)
    first = of(market_store(tmp_path / "a.duckdb", logs), SHORT)
    # Other names put them in another order.
    turned = {f"z{99 - at}{name}": series for at, (name, series) in enumerate(logs.items())}
    second = of(market_store(tmp_path / "b.duckdb", turned), SHORT)
    names = {name: name[3:] for name in turned}
    renamed = second.pairs.with_columns(pl.col("y", "x").replace(names))
    columns = ["y", "x", "statistic", "beta", "q_value", "half_life_bars", "crossings"]
    assert renamed.select(columns).sort("y", "x").equals(first.pairs.select(columns).sort("y", "x"))


def test_noise_legs_are_of_two_windows(scan: ScanReport, practice: Store) -> None:
    panel = read_scan_panel(practice, scan.settings)
    y, x = panel.noise_legs()
    # Twelve days hold seven of training and test, and as many before as training has, or less.
    assert len(y) == len(x) == scan.noise.bars
    assert np.array_equal(y, panel.train[-len(y) :])
    first = panel.first_train + panel.train_bars - 2 * len(y)
    assert np.array_equal(x, panel.logs[first : first + len(y)])
    assert scan.noise.tested == 506
    assert LAST_DAY - scan.windows.test_end < timedelta(minutes=2)
    assert {SURVIVED, PASSED} & set(scan.pairs["stage"]) <= {SURVIVED, PASSED}


def test_only_pairs_without_a_better_partner_explain_others(
    monkeypatch: pytest.MonkeyPatch, scan: ScanReport, practice: Store
) -> None:
    asked: list[tuple[tuple[int, int], tuple[int, int]]] = []
    left = {(0, 1): 0.01, (2, 3): 0.4}

    def scripted(train: object, task: finals._Task, better: finals._Task, _: int) -> float:
        asked.append(((task.y, task.x), (better.y, better.x)))
        return left[better.y, better.x]

    monkeypatch.setattr(finals, "_left", scripted)
    # The second has a leg of the first, the third one of the second: it is nobody's shadow.
    tasks = [finals._Task(y, x, 0.0, 1.0) for y, x in ((0, 1), (0, 2), (2, 3), (4, 5))]
    panel = read_scan_panel(practice, scan.settings)
    survives = np.array([True, True, True, False])
    found = finals._explained(panel, tasks, survives, 199, lambda share: None)
    assert asked == [((0, 2), (0, 1)), ((0, 2), (2, 3))]
    assert set(found) == {1}
    assert (found[1].y, found[1].x, found[1].p) == (2, 3, 0.4)
