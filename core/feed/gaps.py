"""Which ids are held and which are missing: pure interval arithmetic.

An aggregate trade's id is consecutive per symbol, so a hole between two held intervals is a
number of lost trades that is known exactly. All intervals are closed: both ends belong.
Times are UTC epoch milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]

OPEN, FILLED, VOID, LOST = "open", "filled", "void", "lost"


class Interval(NamedTuple):
    """Ids that are held without a hole, with the times of the first and the last."""

    first_id: int
    last_id: int
    first_ms: int
    last_ms: int


class Gap(NamedTuple):
    """Ids that are missing between two held trades, and what is known of them.

    ``after_ms`` and ``before_ms`` are the times of the held trades on either side.
    """

    first_id: int
    last_id: int
    after_ms: int
    before_ms: int
    state: str = OPEN
    opened_ms: int = 0

    @property
    def missing(self) -> int:
        """The number of ids in the gap."""
        return self.last_id - self.first_id + 1


class Reconciled(NamedTuple):
    """The gaps after a change: what remains, and what was filled by it."""

    remaining: list[Gap]
    filled: list[Gap]


def runs(ids: Ids, ts_ms: Ids) -> list[Interval]:
    """Return the consecutive runs of ids that are sorted and unique, with their times."""
    if not len(ids):
        return []
    breaks = np.flatnonzero(np.diff(ids) != 1)
    starts = np.concatenate(([0], breaks + 1))
    ends = np.concatenate((breaks, [len(ids) - 1]))
    return [
        Interval(int(ids[i]), int(ids[j]), int(ts_ms[i]), int(ts_ms[j]))
        for i, j in zip(starts, ends, strict=True)
    ]


def held_mask(ids: Ids, intervals: Sequence[Interval]) -> npt.NDArray[np.bool_]:
    """Return for each id whether one of the intervals (sorted, disjoint) holds it."""
    if not intervals:
        return np.zeros(len(ids), dtype=np.bool_)
    firsts = np.fromiter((i.first_id for i in intervals), np.int64, len(intervals))
    lasts = np.fromiter((i.last_id for i in intervals), np.int64, len(intervals))
    at = np.searchsorted(firsts, ids, side="right") - 1
    return (at >= 0) & (ids <= lasts[np.maximum(at, 0)])


def overlap(some: Sequence[Interval], others: Sequence[Interval]) -> bool:
    """Return whether any id is in both; ``others`` are sorted and disjoint."""
    if not some or not others:
        return False
    firsts = np.fromiter((i.first_id for i in others), np.int64, len(others))
    lasts = np.fromiter((i.last_id for i in others), np.int64, len(others))
    begin = np.fromiter((i.first_id for i in some), np.int64, len(some))
    end = np.fromiter((i.last_id for i in some), np.int64, len(some))
    at = np.searchsorted(firsts, end, side="right") - 1
    return bool(((at >= 0) & (lasts[np.maximum(at, 0)] >= begin)).any())


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the union, sorted by id, neighbours that touch joined into one."""
    result: list[Interval] = []
    for new in sorted(intervals):
        if result and new.first_id <= result[-1].last_id + 1:
            old = result[-1]
            if new.last_id > old.last_id:
                result[-1] = Interval(old.first_id, new.last_id, old.first_ms, new.last_ms)
        else:
            result.append(new)
    return result


def holes(intervals: Sequence[Interval]) -> list[Gap]:
    """Return the gaps between neighbours of a sorted, disjoint list of intervals."""
    return [
        Gap(left.last_id + 1, right.first_id - 1, left.last_ms, right.first_ms)
        for left, right in pairwise(intervals)
    ]


def reconcile(known: Iterable[Gap], intervals: Sequence[Interval], now_ms: int) -> Reconciled:
    """Bring the known gaps (open, void or lost) in line with the ids now held.

    What is still missing keeps its state and its time of opening; what no known gap explains is
    a new open gap; the ids of known gaps that are held now are filled.
    """
    missing = holes(intervals)
    remaining: list[Gap] = []
    filled: list[Gap] = []
    for gap in sorted(known):
        remaining.extend(
            hole._replace(
                first_id=max(gap.first_id, hole.first_id),
                last_id=min(gap.last_id, hole.last_id),
                state=gap.state,
                opened_ms=gap.opened_ms,
            )
            for hole in missing
            if hole.first_id <= gap.last_id and gap.first_id <= hole.last_id
        )
        filled.extend(part._replace(state=FILLED) for part in without(gap, missing))
    for hole in missing:
        remaining.extend(
            part._replace(state=OPEN, opened_ms=now_ms) for part in without(hole, remaining)
        )
    return Reconciled(joined(remaining), joined(filled))


def joined(gaps: Iterable[Gap]) -> list[Gap]:
    """Return the gaps sorted, neighbours of the same state that touch made one."""
    result: list[Gap] = []
    for gap in sorted(gaps):
        last = result[-1] if result else None
        if last is not None and last.state == gap.state and last.last_id + 1 == gap.first_id:
            result[-1] = last._replace(
                last_id=gap.last_id,
                before_ms=gap.before_ms,
                opened_ms=min(last.opened_ms, gap.opened_ms),
            )
        else:
            result.append(gap)
    return result


def without(gap: Gap, others: Iterable[Gap]) -> list[Gap]:
    """Return the parts of the gap that none of the others covers."""
    parts: list[Gap] = []
    at = gap.first_id
    for other in sorted(others):
        if other.last_id < at or other.first_id > gap.last_id:
            continue
        if other.first_id > at:
            parts.append(gap._replace(first_id=at, last_id=other.first_id - 1))
        at = max(at, other.last_id + 1)
    if at <= gap.last_id:
        parts.append(gap._replace(first_id=at))
    return parts


def marked(known: Iterable[Gap], first_id: int, last_id: int, state: str, now_ms: int) -> list[Gap]:
    """Return the gaps with the ids of [first_id, last_id] set to ``state`` (void or lost)."""
    result: list[Gap] = []
    for gap in known:
        if gap.state != OPEN or gap.last_id < first_id or gap.first_id > last_id:
            result.append(gap)
            continue
        low, high = max(first_id, gap.first_id), min(last_id, gap.last_id)
        if gap.first_id < low:
            result.append(gap._replace(last_id=low - 1))
        result.append(gap._replace(first_id=low, last_id=high, state=state, opened_ms=now_ms))
        if high < gap.last_id:
            result.append(gap._replace(first_id=high + 1))
    return joined(result)
