"""What stands beside a result: noise, the look-ahead audit, costs, sweeps, walking forward."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from pair_bars import START
from stats.series import cointegrated, independent

from core.backtest import (
    Backtest,
    BacktestSettings,
    Execution,
    Funding,
    Market,
    Money,
    Rules,
    backtest,
    leg,
    market,
)
from core.backtest.audit import audit
from core.backtest.measures import MIN_DAYS
from core.backtest.noise import blocks, noise
from core.backtest.pairing import signals
from core.backtest.sweep import sweep, walk_forward
from core.backtest.toll import costs_view
from core.errors import DataError, NotEnoughData
from core.pair_spec import METHODS, PairSpec

FREE = Execution(taker_bps=0.0, slippage=0.0, least_ticks=0.0)
NO_COST = BacktestSettings(execution=FREE)


def spec_of(method: str = "refit", **more: object) -> PairSpec:
    options: dict[str, object] = {"window_bars": 60, "refit_bars": 30, "burn_in_bars": 300}
    return PairSpec("yusdt", "xusdt", method=method, **(options | more))  # type: ignore[arg-type]


def made(
    logs: tuple[np.ndarray, np.ndarray], *, bar_s: int = 60, funding: Funding | None = None
) -> tuple[Market, pl.DataFrame]:
    """Both legs' bars, each opening near the close before, and their common rows."""
    rng = np.random.default_rng(1)
    legs = []
    ts = pl.Series(np.datetime64(START, "ms") + np.arange(len(logs[0])) * bar_s * 1000)
    for one in logs:
        close = 100 * np.exp(one)
        open_ = np.concatenate((close[:1], close[:-1])) * np.exp(rng.normal(0, 1e-5, len(one)))
        high = np.maximum(open_, close) * np.exp(rng.uniform(0, 1e-3, len(one)))
        low = np.minimum(open_, close) * np.exp(-rng.uniform(0, 1e-3, len(one)))
        columns = {"ts": ts, "open": open_, "high": high, "low": low, "close": close}
        frame = pl.DataFrame(columns).with_columns(volume=2.0, quote_volume=open_ + close)
        legs.append(frame)
    rows = pl.DataFrame(
        {"ts": ts, "price_y": legs[0]["close"], "price_x": legs[1]["close"], "is_stale": False}
    )
    given = {} if funding is None else {"funding_y": funding}
    return market(rows, leg(legs[0]), leg(legs[1]), bar_s=bar_s, **given), rows


PAIR, ROWS = made(cointegrated(3, 3_000, half_life=12.0, sigma=0.006))


def done(method: str = "refit", settings: BacktestSettings = NO_COST) -> Backtest:
    return backtest(PAIR, signals(spec_of(method), ROWS), settings)


# -- noise ------------------------------------------------------------------------------------


def test_blocks_are_whole_runs_of_neighbours() -> None:
    places = blocks(100, 30, np.random.default_rng(4))
    assert len(places) == 100
    assert places.min() >= 1
    assert places.max() < 100
    for begin in range(0, 100, 30):
        part = places[begin : begin + 30]
        assert (np.diff(part) == 1).all()


def test_a_pair_that_belongs_together_beats_its_noise_and_independent_legs_do_not() -> None:
    real = done().books
    told = noise(PAIR, spec_of(), NO_COST, real.end / real.start - 1.0, runs=60)
    assert told.better_than > 0.95
    assert told.returns.shape == (60,)
    assert told.traded == 60
    shares = []
    for seed in range(6):
        apart, rows = made(independent(seed, 3_000))
        books = backtest(apart, signals(spec_of(), rows), NO_COST).books
        found = noise(apart, spec_of(), NO_COST, books.end / books.start - 1.0, runs=40)
        shares.append(found.better_than)
    assert 0.15 < float(np.mean(shares)) < 0.85


def test_the_same_seed_gives_the_same_noise_and_it_can_be_ended() -> None:
    one, two = (noise(PAIR, spec_of(), NO_COST, 0.0, runs=8, seed=5).returns for _ in range(2))
    np.testing.assert_array_equal(one, two)
    other = noise(PAIR, spec_of(), NO_COST, 0.0, runs=8, seed=6).returns
    assert (one != other).any()
    cut = noise(PAIR, spec_of(), NO_COST, 0.0, runs=8, seed=5, going_on=lambda count: count < 3)
    np.testing.assert_array_equal(cut.returns, one[:3])


def test_noise_is_timed_by_its_own_half_lives() -> None:
    rules = Rules(time_stop_half_lives=1.0)
    timed, free = (
        noise(PAIR, spec_of(), replace(NO_COST, rules=one), 0.0, runs=3) for one in (rules, Rules())
    )
    assert (timed.returns != free.returns).all()


def test_ties_count_half() -> None:
    never = replace(NO_COST, rules=Rules(enter=50.0))
    found = noise(PAIR, spec_of(), never, 0.0, runs=10)
    assert (found.better_than, found.traded) == (0.5, 0)


def test_noise_pays_the_same_settlements() -> None:
    at = PAIR.start_s[::60].copy()
    paying, _ = made(
        cointegrated(3, 3_000, half_life=12.0, sigma=0.006),
        funding=Funding(at, np.full(len(at), 0.001), np.full(len(at), np.nan)),
    )
    free = noise(PAIR, spec_of(), NO_COST, 0.0, runs=10).returns
    paid = noise(paying, spec_of(), NO_COST, 0.0, runs=10).returns
    assert (free != paid).any()


def test_too_few_bars_for_noise_are_refused() -> None:
    short, _ = made(cointegrated(3, 299, half_life=12.0, sigma=0.006))
    with pytest.raises(NotEnoughData, match="300 at least"):
        noise(short, spec_of(), NO_COST, 0.0)


# -- look-ahead -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_the_audit_passes_what_trails_and_catches_what_does_not(method: str) -> None:
    found = audit(done(method), spec_of(method), ROWS)
    assert found.cuts == 20
    assert found.is_clean == (method not in ("ols", "tls"))
    listed = found.signals
    assert listed.is_empty() == found.is_clean
    if not found.is_clean:
        assert len(found.changes) == 20
        assert all(change.signals for change in found.changes)
        # Every bar that any cut changed is listed, as the first cut that changed it has it.
        assert listed.height == max(change.rows for change in found.changes)
        assert listed["cuts"].sum() == sum(change.signals for change in found.changes)
        early = listed.filter(pl.col("cuts") == 20)
        assert early["first_cut"].unique().to_list() == [
            datetime.fromtimestamp(found.changes[0].cut_ms / 1000, UTC).replace(tzinfo=None)
        ]
        assert (listed["zscore"] != listed["zscore_then"]).any()


def test_the_audit_catches_a_planted_look_ahead() -> None:
    trailing = signals(spec_of(), ROWS)
    early = np.append(trailing.zscore[1:], np.nan)
    cheat = backtest(PAIR, replace(trailing, zscore=early), NO_COST)
    found = audit(cheat, spec_of(), ROWS)
    assert len(found.changes) == 20
    assert found.changes[0].first_changed_row is not None


# -- costs ------------------------------------------------------------------------------------


def test_more_cost_never_helps_and_the_break_even_cost_leaves_nothing() -> None:
    costly = replace(NO_COST, execution=Execution(slippage=1.0, least_ticks=0.0))
    view = costs_view(done(settings=costly))
    assert view.nets[0.0] > view.nets[1.0] > view.nets[2.0]
    assert view.nets[0.0] == pytest.approx(done().books.end - done().books.start)
    assert view.paid_bps == pytest.approx(6.0, rel=0.01)
    # Slippage moves the sizes a little; with fees alone the break-even cost is exact.
    fees = Execution(taker_bps=5.0, slippage=0.0, least_ticks=0.0)
    view = costs_view(done(settings=replace(NO_COST, execution=fees)))
    assert view.break_even_bps is not None
    at_it = Execution(taker_bps=view.break_even_bps, slippage=0.0, least_ticks=0.0)
    left = done(settings=replace(NO_COST, execution=at_it)).books
    assert left.end - left.start == pytest.approx(0.0, abs=1e-6)


def test_the_promise_is_more_than_what_comes() -> None:
    view = costs_view(done())
    assert len(view.predicted_bps) == done().books.trades.height
    assert (view.predicted_bps > 0).all()
    assert view.capture is not None
    assert 0 < view.capture < 1.2


def test_without_trades_costs_are_not_known() -> None:
    view = costs_view(done(settings=replace(NO_COST, rules=Rules(enter=50.0))))
    assert (view.break_even_bps, view.paid_bps, view.capture) == (None, None, None)


# -- sweeps -----------------------------------------------------------------------------------

ENTRIES, WINDOWS = (1.0, 1.5, 2.0, 2.5), (30, 60, 90)
LONG, LONG_ROWS = made(cointegrated(8, 2_400, half_life=6.0, sigma=0.01), bar_s=900)


@pytest.mark.parametrize("lives", [None, 1.5])
def test_a_sweep_is_each_backtest_by_itself(lives: float | None) -> None:
    spec, free = spec_of(), replace(NO_COST, rules=Rules(time_stop_half_lives=lives))
    found = sweep(LONG, spec, free, LONG_ROWS, None, ENTRIES, WINDOWS)
    assert found.tried == 12
    for i, enter in enumerate(ENTRIES):
        for j, window in enumerate(WINDOWS):
            alone = backtest(
                LONG,
                signals(replace(spec, window_bars=window), LONG_ROWS),
                replace(free, rules=replace(free.rules, enter=enter)),
            ).books
            assert found.net[i, j] == alone.end / alone.start - 1.0
            assert found.trades[i, j] == alone.trades.height
    assert LONG.rows * 900 / 86_400 >= MIN_DAYS
    i, j = divmod(int(np.nanargmax(found.sharpe)), len(WINDOWS))
    assert found.best == (ENTRIES[i], WINDOWS[j])
    assert found.deflated is not None
    assert 0 < found.deflated <= 1


def test_a_sweep_that_is_ended_leaves_what_was_not_reached_unknown() -> None:
    told: list[int] = []

    def until_one_is_done(done: int) -> bool:
        told.append(done)
        return done == 0

    found = sweep(
        LONG, spec_of(), NO_COST, LONG_ROWS, None, ENTRIES, WINDOWS, going_on=until_one_is_done
    )
    # Which window is ready first is the machine's affair: one is, whole, and the others are not.
    assert told[-1] == len(ENTRIES)
    reached = np.isfinite(found.net).all(axis=0)
    assert reached.sum() == 1
    assert np.isnan(found.net[:, ~reached]).all()
    assert found.tried == len(ENTRIES)
    with pytest.raises(DataError, match="at least one"):
        sweep(LONG, spec_of(), NO_COST, LONG_ROWS, None, (), WINDOWS)


def test_short_ranges_are_swept_without_a_sharpe_ratio() -> None:
    found = sweep(PAIR, spec_of(), NO_COST, ROWS, None, (1.5, 2.0), (60,))
    assert np.isnan(found.sharpe).all()
    assert found.deflated is None
    assert found.best is not None


def test_walking_forward_chooses_on_the_past_alone() -> None:
    folds = walk_forward(
        LONG, spec_of(), NO_COST, LONG_ROWS, None, ENTRIES, WINDOWS, train_rows=900, test_rows=400
    )
    assert [fold.test for fold in folds] == [(900, 1300), (1300, 1700), (1700, 2100)]
    assert all(fold.train == (fold.test[0] - 900, fold.test[0]) for fold in folds)
    assert all(fold.test_trades > 0 for fold in folds)
    # With other prices after the first choice, the choice and its training result are the same.
    y, x = cointegrated(8, 2_400, half_life=6.0, sigma=0.01)
    y = np.concatenate((y[:900], y[899] + np.cumsum(np.full(1_500, 1e-4))))
    other, rows = made((y, x), bar_s=900)
    again = walk_forward(
        other, spec_of(), NO_COST, rows, None, ENTRIES, WINDOWS, train_rows=900, test_rows=400
    )
    first = [(fold.enter, fold.window_bars, fold.train_trades) for fold in (folds[0], again[0])]
    assert first[0] == first[1]
    assert folds[0].test_net != again[0].test_net


def test_walking_forward_needs_a_trailing_hedge_and_room() -> None:
    with pytest.raises(DataError, match="trailing"):
        walk_forward(
            LONG, spec_of("ols"), NO_COST, LONG_ROWS, None, ENTRIES, WINDOWS,
            train_rows=900, test_rows=400,
        )  # fmt: skip
    with pytest.raises(NotEnoughData, match="one fold"):
        walk_forward(
            LONG, spec_of(), NO_COST, LONG_ROWS, None, ENTRIES, WINDOWS,
            train_rows=2_300, test_rows=400,
        )  # fmt: skip


def test_capital_scales_money_and_leaves_ratios() -> None:
    one = done()
    two = done(settings=replace(NO_COST, money=Money(capital=20_000.0)))
    assert two.books.end == pytest.approx(2 * one.books.end)
    assert two.books.trades.height == one.books.trades.height
