"""Which ids are asked for, and what an answer settles."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import polars as pl
import pytest
from made import START_MS, trades_frame

from core import backfill
from core.backfill import GapFiller, next_request, settled
from core.errors import FeedError, FeedLost
from core.feed.gaps import Gap
from core.feed.rest_messages import RestPage
from core.trade_writer import Missing

OLD, NEW = START_MS, START_MS + 100_000


def page(ids: list[int], unusable: list[int] | None = None) -> RestPage:
    seen = sorted([*ids, *(unusable or [])])
    first, last = (seen[0], seen[-1]) if seen else (None, None)
    return RestPage(trades_frame("a", ids, source="rest"), unusable or [], first, last, len(seen))


def test_the_newest_ids_of_the_newest_gap_come_first() -> None:
    gaps = [Gap(10, 20, OLD, OLD + 5), Gap(100, 2600, OLD + 10, NEW)]
    assert next_request(gaps, [])[:2] == (1601, 2600)
    assert next_request(gaps, [Gap(1601, 2600, 0, 0)])[:2] == (601, 1600)
    assert next_request(gaps, [Gap(100, 2600, 0, 0)])[:2] == (10, 20)
    assert next_request(gaps, [Gap(0, 9999, 0, 0)]) is None
    assert next_request([], []) is None


def test_ids_in_the_answer_are_not_missing() -> None:
    assert settled("a", Gap(1, 3, NEW, NEW), page([1, 2, 3]), horizon_ms=OLD) == []


def test_unusable_and_absent_ids_are_void() -> None:
    found = settled("a", Gap(1, 5, NEW, NEW), page([1, 4, 5], unusable=[2]), horizon_ms=OLD)
    assert found == [Missing("a", 2, 3, "void")]


def test_ids_before_what_the_exchange_keeps_are_lost() -> None:
    found = settled("a", Gap(1, 9, OLD, NEW), page([8, 9]), horizon_ms=OLD + 1)
    assert found == [Missing("a", 1, 7, "lost")]


class FakeRest:
    """Answers from a list of pages or errors, and remembers what was asked."""

    def __init__(self, *answers: RestPage | FeedError) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[int, int]] = []

    async def fetch_trades(self, symbol: str, *, from_id: int, limit: int) -> RestPage:
        self.asked.append((from_id, limit))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, FeedError):
            raise answer
        return answer


def fill(rest: FakeRest, gap: Gap, *, horizon_ms: int, done: Callable[[list], bool]) -> list:
    accepted: list[tuple[list[int], list[Missing]]] = []

    def accept(trades: pl.DataFrame, missing: list[Missing]) -> None:
        accepted.append((trades["agg_id"].to_list() if len(trades) else [], missing))

    async def run() -> None:
        filler = GapFiller(
            rest,  # type: ignore[arg-type]
            horizon_ms=lambda: horizon_ms,
            exchange_ms=lambda: NEW + 3_600_000,
            accept=accept,
        )
        filler.update({"a": [gap]})
        task = asyncio.create_task(filler.run())
        for _ in range(200):
            await asyncio.sleep(0.005)
            if done(accepted):
                break
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
    return accepted


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_delay():
        while True:
            yield 0.0

    monkeypatch.setattr(backfill, "backoff_delays", no_delay)


def test_an_answer_that_leaves_ids_out_is_not_believed_at_once() -> None:
    rest = FakeRest(page([1, 3]))
    found = fill(rest, Gap(1, 3, NEW, NEW), horizon_ms=OLD, done=len)
    assert found == [([1, 3], [Missing("a", 2, 2, "void")])]
    assert len(rest.asked) == backfill.ASKED_OFTEN


def test_an_empty_answer_now_and_a_full_one_later_loses_nothing() -> None:
    rest = FakeRest(page([]), page([1, 2, 3]))
    found = fill(rest, Gap(1, 3, NEW, NEW), horizon_ms=OLD, done=len)
    assert found == [([1, 2, 3], [])]


def test_a_failure_is_tried_again() -> None:
    rest = FakeRest(FeedLost("down"), FeedLost("down"), page([1, 2, 3]))
    assert fill(rest, Gap(1, 3, NEW, NEW), horizon_ms=OLD, done=len) == [([1, 2, 3], [])]


def test_a_refusal_of_ids_that_are_too_old_makes_them_lost() -> None:
    rest = FakeRest(FeedError("code -1128"))
    found = fill(rest, Gap(1, 3, OLD, OLD), horizon_ms=OLD + 1, done=len)
    assert found == [([], [Missing("a", 1, 3, "lost")])]


def test_ids_on_their_way_are_not_asked_for_twice() -> None:
    rest = FakeRest(page([1, 2, 3]))
    fill(rest, Gap(1, 3, NEW, NEW), horizon_ms=OLD, done=lambda found: False)
    assert rest.asked == [(1, 3)]
