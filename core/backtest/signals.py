"""When to enter and leave: from z-scores to decisions, one trade at a time.

A decision is made at the close of a row and filled later; only rows up to it are looked at. Where
each thing happens next is found once for all rows; the path then jumps from event to event, so a
year of minutes costs as much as its trades, not as its bars.
"""

from __future__ import annotations

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
    row at which a trade decided at that row has lasted too long. ``accept`` may refuse an entry
    (row, side, trades so far).
    """
    rows = len(zscore)
    events = _Events(zscore, rules, may_long, may_short)
    found: list[Decision] = []
    at = 0
    while True:
        entry, side = events.entry(at)
        if entry >= rows:
            return found
        if accept is not None and not accept(entry, side, found):
            at = entry + 1
            continue
        begin = int(held[entry])
        leave, reason = events.leave(begin, side, None if timeout is None else int(timeout[entry]))
        if leave >= rows or held[leave] >= rows:
            found.append(Decision(entry, rows, side, OPEN))
            return found
        found.append(Decision(entry, leave, side, reason))
        at = min(int(held[leave]) + rules.cooldown_bars, rows)
        if reason == STOP or rules.reentry == "cross":
            at = max(at, events.inside(leave))


class _Events:
    """For everything that can happen, the row from each row on where it happens next, (n + 1,)."""

    def __init__(self, zscore: Floats, rules: Rules, may_long: Bools, may_short: Bools) -> None:
        never = np.full(len(zscore) + 1, len(zscore))
        with np.errstate(invalid="ignore"):
            below, above = zscore < -rules.enter, zscore > rules.enter
            self._long = _next(below & may_long) if rules.sides != "short" else never
            self._short = _next(above & may_short) if rules.sides != "long" else never
            self._inside = _next(np.abs(zscore) < rules.enter)
            self._out = {1: _next(zscore >= -rules.exit), -1: _next(zscore <= rules.exit)}
            self._stop = {1: never, -1: never}
            if rules.stop is not None:
                self._stop = {1: _next(zscore < -rules.stop), -1: _next(zscore > rules.stop)}

    def entry(self, at: int) -> tuple[int, int]:
        """Return the next row from ``at`` on where a trade begins, and its side."""
        low, high = int(self._long[at]), int(self._short[at])
        return (low, 1) if low <= high else (high, -1)

    def leave(self, at: int, side: int, timeout: int | None) -> tuple[int, str]:
        """Return the first row from ``at`` on where a trade of that side ends, and why."""
        back, stop = int(self._out[side][at]), int(self._stop[side][at])
        row, reason = (back, EXIT) if back < stop else (stop, STOP)
        if timeout is not None and timeout < row:
            return timeout, TIME
        return row, reason

    def inside(self, at: int) -> int:
        """Return the first row from ``at`` on where |z| is below the entry level."""
        return int(self._inside[at])


def _next(mask: Bools) -> Ints:
    """Return from each row on the first where the mask is set; n where there is none."""
    rows = len(mask)
    places = np.full(rows + 1, rows)
    np.copyto(places[:rows], np.arange(rows), where=mask)
    found: Ints = np.minimum.accumulate(places[::-1])[::-1]
    return found
