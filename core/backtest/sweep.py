"""Many backtests: over entry levels and windows, and walked forward in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.backtest.engine import Backtest, Signals, backtest
from core.backtest.market import Market, stretch
from core.backtest.measures import MIN_DAYS, daily_returns, deflated_sharpe, sharpe_ratio
from core.backtest.pairing import signals
from core.backtest.settings import BacktestSettings
from core.cluster import run_tasks
from core.errors import DataError, NotEnoughData
from core.pair_spec import PairSpec

Grid = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """Results over entries × windows, arrays (entries, windows), NaN where there is none.

    ``sharpe`` is annualised, of daily returns, where there are at least 20 days; ``net`` the
    return of the capital; ``trades`` how many. ``deflated``: the chance that the best Sharpe is
    more than the luck of so many trials.
    """

    entries: tuple[float, ...]
    windows: tuple[int, ...]
    net: Grid
    sharpe: Grid
    trades: Grid
    best: tuple[float, int] | None
    deflated: float | None
    tried: int


@dataclass(frozen=True, slots=True)
class Fold:
    """One step of walking forward: what was best on the training rows, and how it did after."""

    train: tuple[int, int]
    test: tuple[int, int]
    enter: float
    window_bars: int
    train_net: float
    test_net: float
    train_trades: int
    test_trades: int


def sweep(
    at: Market,
    spec: PairSpec,
    settings: BacktestSettings,
    rows: pl.DataFrame,
    lead: pl.DataFrame | None,
    entries: Sequence[float],
    windows: Sequence[int],
    *,
    going_on: Callable[[int], bool] = lambda done: True,
    run: Callable[..., list[Any]] = run_tasks,
) -> Sweep:
    """Return the net results of every entry level with every window.

    A window is one task of ``run``: here, or on a cluster where there is one. ``going_on`` is told
    after each window, and a few times a second, how many backtests are done, and ends it by False;
    what was not reached stays NaN. Raises DataError for an empty grid.
    """
    if not entries or not windows:
        raise DataError("a sweep needs at least one entry level and one window")
    shape = (len(entries), len(windows))
    net, sharpe, trades = (np.full(shape, np.nan) for _ in range(3))
    days: dict[tuple[int, int], NDArray[np.float64]] = {}
    shared = _Swept(at, spec, settings, rows, lead, tuple(entries))
    columns = run(
        _column, shared, windows, going_on=lambda done, total: going_on(done * len(entries))
    )
    for j, found in enumerate(columns):
        for i, (end, daily, number) in enumerate(found or ()):
            net[i, j], trades[i, j] = end, number
            ratio = sharpe_ratio(daily) if len(daily) >= MIN_DAYS else None
            sharpe[i, j] = np.nan if ratio is None else ratio
            days[i, j] = daily
    chosen = sharpe if np.isfinite(sharpe).any() else net
    if not np.isfinite(chosen).any():
        return Sweep(tuple(entries), tuple(windows), net, sharpe, trades, None, None, 0)
    i, j = divmod(int(np.nanargmax(chosen)), len(windows))
    deflated = deflated_sharpe(days[i, j], sharpe.ravel()) if np.isfinite(sharpe).any() else None
    return Sweep(
        tuple(entries), tuple(windows), net, sharpe, trades,
        (entries[i], windows[j]), deflated, int(np.isfinite(net).sum()),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Swept:
    """What every window of a sweep needs."""

    at: Market
    spec: PairSpec
    settings: BacktestSettings
    rows: pl.DataFrame
    lead: pl.DataFrame | None
    entries: tuple[float, ...]


def _column(shared: _Swept, window: int) -> list[tuple[float, NDArray[np.float64], int]]:
    made = _signals(shared.spec, window, shared.rows, shared.lead, shared.settings)
    return [_one(shared.at, made, shared.settings, enter) for enter in shared.entries]


def _one(
    at: Market, made: Signals, settings: BacktestSettings, enter: float
) -> tuple[float, NDArray[np.float64], int]:
    done = _entered(at, made, settings, enter)
    books = done.books
    daily = daily_returns(books.equity, at.start_s + at.bar_s, books.start)
    return books.end / books.start - 1.0, daily, books.trades.height


def _entered(at: Market, made: Signals, settings: BacktestSettings, enter: float) -> Backtest:
    """Return the backtest with another entry level; a stop keeps its distance from it."""
    rules = settings.rules
    stop = None if rules.stop is None else rules.stop - rules.enter + enter
    level = min(rules.exit, 0.99 * enter) if rules.exit > 0 else max(rules.exit, -0.99 * enter)
    changed = replace(rules, enter=enter, exit=level, stop=stop)
    return backtest(at, made, replace(settings, rules=changed))


def walk_forward(
    at: Market,
    spec: PairSpec,
    settings: BacktestSettings,
    rows: pl.DataFrame,
    lead: pl.DataFrame | None,
    entries: Sequence[float],
    windows: Sequence[int],
    *,
    train_rows: int,
    test_rows: int,
    going_on: Callable[[int], bool] = lambda done: True,
) -> list[Fold]:
    """Return what choosing on the past would have given after: one fold a test stretch.

    Each fold takes the entry and window with the best net result on ``train_rows`` rows and runs
    it on the ``test_rows`` after them. Signals are trailing, so they are made once; an in-sample
    method is refused. ``going_on`` is told after each fold how many are done, and ends it by
    False. Raises NotEnoughData where not even one fold fits.
    """
    if spec.is_in_sample:
        raise DataError("walking forward needs a trailing hedge; choose refit, rolling or Kalman")
    if at.rows < train_rows + test_rows:
        raise NotEnoughData(
            f"{at.rows} common bars; one fold needs {train_rows:,} to train and {test_rows:,} "
            "to test"
        )
    made = {window: _signals(spec, window, rows, lead, settings) for window in windows}
    folds = []
    for begin in range(0, at.rows - train_rows - test_rows + 1, test_rows):
        middle, end = begin + train_rows, begin + train_rows + test_rows
        best: tuple[float, float, int, int] | None = None
        for window, found in made.items():
            for enter in entries:
                net, _, trades = _one(
                    stretch(at, begin, middle), found.part(begin, middle), settings, enter
                )
                if best is None or net > best[0]:
                    best = (net, enter, window, trades)
        assert best is not None
        net, enter, window, trades = best
        after, _, later = _one(
            stretch(at, middle, end), made[window].part(middle, end), settings, enter
        )
        folds.append(Fold((begin, middle), (middle, end), enter, window, net, after, trades, later))
        if not going_on(len(folds)):
            break
    return folds


def _signals(
    spec: PairSpec,
    window: int,
    rows: pl.DataFrame,
    lead: pl.DataFrame | None,
    settings: BacktestSettings,
) -> Signals:
    return signals(
        replace(spec, window_bars=window), rows, lead, lives=settings.rules.needs_half_lives
    )
