"""When to enter and leave: from z-scores to decisions, one trade at a time.

A decision is made at the close of a row and filled later; only rows up to it are looked at. The
rows at which each thing could happen are found once; the path then jumps from event to event, so
a year of minutes costs as much as its trades, not as its bars.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.backtest.market import Floats, Ints
from core.backtest.settings import Rules

Bools = NDArray[np.bool_]
OPEN, EXIT, STOP, TIME = "open", "exit", "stop", "time stop"


@dataclass(frozen=True, slots=True)
class Decision:
    """One trade's decisions: rows of entry and exit (``rows`` where it is open), ±1, and why."""

    entry: int
    exit: int
    side: int
    reason: str


def decisions(
    zscore: Floats,
    rules: Rules,
    *,
    may_long: Bools,
    may_short: Bools,
    held: Ints,
    timeout: Ints | None,
    accept: Callable[[int, int, list[Decision]], bool] | None = None,
) -> list[Decision]:
    """Return the trades that the rules make of ``zscore`` (n,), NaN where there is none.

    ``may_long``/``may_short`` (n,): where an entry could be filled and sized. ``held`` (n,): the
    row by whose close an order decided at that row is filled, n for never. ``timeout`` (n,): the
    row at which a trade held from that row on has lasted too long. ``accept`` may refuse an entry
    (row, side, trades so far).
    """
    rows = len(zscore)
    events = _Events(zscore, rules, may_long, may_short)
    waits = held.tolist()
    times = None if timeout is None else timeout.tolist()
    found: list[Decision] = []
    at = 0
    while True:
        entry, side = events.entry(at)
        if entry >= rows:
            return found
        if accept is not None and not accept(entry, side, found):
            at = entry + 1
            continue
        begin = waits[entry]
        leave, reason = events.leave(begin, side, None if times is None else times[begin])
        if leave >= rows or waits[leave] >= rows:
            found.append(Decision(entry, rows, side, OPEN))
            return found
        found.append(Decision(entry, leave, side, reason))
        at = waits[leave] + rules.cooldown_bars
        if reason == STOP or rules.reentry == "cross":
            at = max(at, events.inside(leave))


class _Events:
    """Sorted rows of everything that can happen, and what comes next."""

    def __init__(self, zscore: Floats, rules: Rules, may_long: Bools, may_short: Bools) -> None:
        self._rows = len(zscore)
        nothing: list[int] = []
        with np.errstate(invalid="ignore"):
            below, above = zscore < -rules.enter, zscore > rules.enter
            self._long = _where(below & may_long) if rules.sides != "short" else nothing
            self._short = _where(above & may_short) if rules.sides != "long" else nothing
            self._inside = np.flatnonzero(np.abs(zscore) < rules.enter)
            self._out = {1: _where(zscore >= -rules.exit), -1: _where(zscore <= rules.exit)}
            self._stop = {1: nothing, -1: nothing}
            if rules.stop is not None:
                self._stop = {1: _where(zscore < -rules.stop), -1: _where(zscore > rules.stop)}

    def entry(self, at: int) -> tuple[int, int]:
        """Return the next row from ``at`` on where a trade begins, and its side."""
        low, high = self._next(self._long, at), self._next(self._short, at)
        return (low, 1) if low <= high else (high, -1)

    def leave(self, at: int, side: int, timeout: int | None) -> tuple[int, str]:
        """Return the first row from ``at`` on where a trade of that side ends, and why."""
        back, stop = self._next(self._out[side], at), self._next(self._stop[side], at)
        row, reason = (back, EXIT) if back < stop else (stop, STOP)
        if timeout is not None and timeout < row:
            return timeout, TIME
        return row, reason

    def inside(self, at: int) -> int:
        """Return the first row from ``at`` on where |z| is below the entry level."""
        place = int(np.searchsorted(self._inside, at))
        return int(self._inside[place]) if place < len(self._inside) else self._rows

    def _next(self, rows: list[int], at: int) -> int:
        place = bisect_left(rows, at)
        return rows[place] if place < len(rows) else self._rows


def _where(mask: Bools) -> list[int]:
    found: list[int] = np.flatnonzero(mask).tolist()
    return found
