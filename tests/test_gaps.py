"""Interval arithmetic against plain sets of ids."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.feed.gaps import (
    LOST,
    VOID,
    Gap,
    Interval,
    held_mask,
    holes,
    marked,
    merged,
    reconcile,
    runs,
    without,
)

ID_SETS = st.sets(st.integers(0, 60), max_size=40)


def intervals_of(ids: set[int]) -> list[Interval]:
    ordered = np.array(sorted(ids), dtype=np.int64)
    return runs(ordered, ordered * 10)


def ids_of(gaps: list[Gap]) -> list[int]:
    return [i for gap in gaps for i in range(gap.first_id, gap.last_id + 1)]


@given(ID_SETS)
def test_runs_cover_exactly_the_ids_and_carry_their_times(ids: set[int]) -> None:
    found = intervals_of(ids)
    assert [i for r in found for i in range(r.first_id, r.last_id + 1)] == sorted(ids)
    assert all(r.first_ms == r.first_id * 10 and r.last_ms == r.last_id * 10 for r in found)


@given(ID_SETS, ID_SETS)
def test_merging_is_the_union(left: set[int], right: set[int]) -> None:
    assert merged([*intervals_of(left), *intervals_of(right)]) == intervals_of(left | right)


@given(ID_SETS, st.lists(st.integers(-5, 70)))
def test_held_mask_is_membership(ids: set[int], asked: list[int]) -> None:
    mask = held_mask(np.array(asked, dtype=np.int64), intervals_of(ids))
    assert mask.tolist() == [i in ids for i in asked]


@given(ID_SETS)
def test_holes_are_the_ids_between_that_are_missing(ids: set[int]) -> None:
    missing = [i for i in range(min(ids, default=0), max(ids, default=-1)) if i not in ids]
    assert ids_of(holes(intervals_of(ids))) == missing


@given(ID_SETS, ID_SETS, ID_SETS)
def test_reconciling_twice_keeps_every_missing_id_in_exactly_one_gap(
    first: set[int], second: set[int], void: set[int]
) -> None:
    known = reconcile([], intervals_of(first), now_ms=1).remaining
    for i in sorted(void):
        known = marked(known, i, i, VOID, now_ms=2)
    after = reconcile(known, intervals_of(first | second), now_ms=3)
    missing = ids_of(holes(intervals_of(first | second)))
    assert sorted(ids_of(after.remaining)) == missing
    still_void = {
        i for g in after.remaining if g.state == VOID for i in range(g.first_id, g.last_id + 1)
    }
    was_missing = set(ids_of(holes(intervals_of(first))))
    assert still_void == (void & was_missing) - second
    assert sorted(ids_of(after.filled)) == sorted(was_missing - set(missing))
    neighbours = zip(after.remaining, after.remaining[1:], strict=False)
    assert not any(a.last_id + 1 == b.first_id and a.state == b.state for a, b in neighbours)


def test_a_gap_that_shrinks_keeps_when_it_opened() -> None:
    opened = reconcile([], intervals_of({0, 10}), now_ms=5).remaining
    assert opened == [Gap(1, 9, 0, 100, "open", 5)]
    shrunk = reconcile(opened, intervals_of({0, 8, 9, 10}), now_ms=6)
    assert shrunk.remaining == [Gap(1, 7, 0, 80, "open", 5)]
    assert [(g.first_id, g.last_id, g.state) for g in shrunk.filled] == [(8, 9, "filled")]
    closed = reconcile(shrunk.remaining, intervals_of(set(range(11))), now_ms=7)
    assert closed.remaining == []
    assert [(g.first_id, g.last_id, g.state) for g in closed.filled] == [(1, 7, "filled")]


def test_marking_splits_the_gap_around_the_ids() -> None:
    gap = Gap(10, 20, 0, 0, "open", 1)
    parts = marked([gap], 13, 15, LOST, now_ms=9)
    assert [(g.first_id, g.last_id, g.state) for g in parts] == [
        (10, 12, "open"),
        (13, 15, "lost"),
        (16, 20, "open"),
    ]


@given(ID_SETS)
def test_without_is_set_difference(ids: set[int]) -> None:
    gap = Gap(5, 50, 0, 0)
    others = [Gap(r.first_id, r.last_id, 0, 0) for r in intervals_of(ids)]
    assert ids_of(without(gap, others)) == [i for i in range(5, 51) if i not in ids]
