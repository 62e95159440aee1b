"""Does anything known at a time change when more is known later? Recomputed on cut-off history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from core.backtest.engine import Backtest, Signals, backtest
from core.backtest.market import Floats, stretch
from core.backtest.pairing import signals
from core.backtest.signals import Bools
from core.errors import NotEnoughData
from core.pair_spec import PairSpec

CUTS = 20
_TRADE = ("side", "decided_row", "entry_ts", "exit_ts", "reason", "size_y", "size_x",
          "price_y_in", "price_x_in", "price_y_out", "price_x_out")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """What one cut changed: rows whose signal differs, and trades that had ended by then."""

    rows: int
    cut_ms: int
    signals: int
    first_changed_row: int | None
    trades: int


@dataclass(frozen=True, slots=True)
class Audit:
    """All cuts, and those that changed anything; ``is_clean`` where there is none.

    ``signals`` has a row for every bar whose signal changed at any cut: ``ts``, ``zscore`` and
    ``beta`` of the whole history, both as the first cut that changed them has them (``…_then``),
    that cut's time, ``first_cut``, and at how many ``cuts`` it was another.
    """

    cuts: int
    changes: tuple[Change, ...]
    signals: pl.DataFrame

    @property
    def is_clean(self) -> bool:
        """Whether nothing known before a cut depends on what came after it."""
        return not self.changes


def audit(
    done: Backtest,
    spec: PairSpec,
    rows: pl.DataFrame,
    lead: pl.DataFrame | None = None,
    *,
    cuts: int = CUTS,
    going_on: Callable[[int], bool] = lambda done: True,
) -> Audit:
    """Recompute signals and trades on histories that end at evenly spaced rows.

    ``rows`` and ``lead`` are what the backtest's signals were made of. ``going_on`` is told after
    each cut how many are done, and ends it by False.
    """
    total = done.market.rows
    found = []
    seen = _Seen(done)
    ends = np.unique(np.linspace(total / (cuts + 1), total, cuts, endpoint=False).astype(int))
    ends = ends[ends >= 3]
    for count, end in enumerate(ends.tolist(), start=1):
        again = _known(spec, rows[:end], lead)
        changed = _changed(done.signals.until(end), again)
        part = backtest(stretch(done.market, 0, end), again, done.settings).books.trades
        trades = _changed_trades(done.books.trades, part, int(done.market.start_s[end - 1]))
        if changed.any() or trades:
            first = int(np.argmax(changed)) if changed.any() else None
            at_ms = int(done.market.start_s[end - 1] + done.market.bar_s) * 1000
            found.append(Change(end, at_ms, int(changed.sum()), first, trades))
            seen.add(changed, again, at_ms)
        if not going_on(count):
            return Audit(count, tuple(found), seen.frame())
    return Audit(len(ends), tuple(found), seen.frame())


class _Seen:
    """Every bar whose signal changed, as the first cut that changed it has it."""

    def __init__(self, done: Backtest) -> None:
        self._done = done
        rows = done.market.rows
        self._cuts = np.zeros(rows, np.int64)
        self._first_ms = np.zeros(rows, np.int64)
        self._then = np.full((2, rows), np.nan)

    def add(self, changed: Bools, again: Signals, at_ms: int) -> None:
        new = np.flatnonzero(changed & (self._cuts[: len(changed)] == 0))
        self._first_ms[new] = at_ms
        self._then[:, new] = again.zscore[new], again.beta[new]
        self._cuts[: len(changed)] += changed

    def frame(self) -> pl.DataFrame:
        rows = np.flatnonzero(self._cuts)
        before = self._done.signals
        return pl.DataFrame(
            {
                "ts": pl.Series(self._done.market.start_s[rows] * 1000).cast(pl.Datetime("ms")),
                "zscore": before.zscore[rows],
                "zscore_then": self._then[0, rows],
                "beta": before.beta[rows],
                "beta_then": self._then[1, rows],
                "first_cut": pl.Series(self._first_ms[rows]).cast(pl.Datetime("ms")),
                "cuts": self._cuts[rows],
            }
        )


def _changed(before: Signals, after: Signals) -> Bools:
    """Return which rows differ, to the last bit."""
    return _differ(before.zscore, after.zscore) | _differ(before.beta, after.beta)


def _known(spec: PairSpec, rows: pl.DataFrame, lead: pl.DataFrame | None) -> Signals:
    """Return what could be known of the rows; nothing where they are too few for the method."""
    try:
        return signals(spec, rows, lead)
    except NotEnoughData:
        nothing = np.full(rows.height, np.nan)
        return Signals(
            nothing, nothing, nothing, spec.is_log, spec.is_in_sample, nothing, spec.window_bars
        )


def _differ(one: Floats, other: Floats) -> Bools:
    return np.asarray(~((one == other) | (np.isnan(one) & np.isnan(other))))


def _changed_trades(whole: pl.DataFrame, part: pl.DataFrame, last_s: int) -> int:
    """Return how many trades filled by ``last_s`` one of the two has and the other has not."""

    def ended(trades: pl.DataFrame) -> set[tuple[object, ...]]:
        filled = trades.filter(pl.col("exit_ts").dt.epoch("s") <= last_s)
        return set(filled.select(_TRADE).rows())

    return len(ended(whole) ^ ended(part))
