"""Which ids are asked for, and what an answer settles."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import polars as pl
import pytest
from made import START_MS, trades_frame

from core import backfill
from core.backfill import GapFiller, Request, next_request, settled
from core.errors import BadMessage, FeedError, FeedLost, Refused
from core.feed.gaps import Gap
from core.feed.rest_messages import RestPage
from core.trade_writer import Missing

OLD, NEW = START_MS, START_MS + 100_000


def page(ids: list[int], unusable: list[int] | None = None) -> RestPage:
    seen = sorted([*ids, *(unusable or [])])
    first, last = (seen[0], seen[-1]) if seen else (None, None)
    return RestPage(trades_frame("a", ids, source="rest"), unusable or [], first, last, len(seen))


def asked(gaps: list[Gap], pending: list[Gap]) -> tuple[int, int] | None:
    found = next_request("a", gaps, pending)
    return found and (found.part.first_id, found.part.last_id)


def whole(first_id: int, last_id: int, after_ms: int, before_ms: int) -> Request:
    gap = Gap(first_id, last_id, after_ms, before_ms)
    return Request("a", gap, gap)


def test_the_newest_ids_of_the_newest_gap_come_first() -> None:
    gaps = [Gap(10, 20, OLD, OLD + 5), Gap(100, 2600, OLD + 10, NEW)]
    assert asked(gaps, []) == (1601, 2600)
    assert asked(gaps, [Gap(1601, 2600, 0, 0)]) == (601, 1600)
    assert asked(gaps, [Gap(100, 2600, 0, 0)]) == (10, 20)
    assert asked(gaps, [Gap(0, 9999, 0, 0)]) is None
    assert asked([], []) is None


def test_the_times_of_a_page_are_estimated_from_its_place_in_the_gap() -> None:
    day = 86_400_000
    found = next_request("a", [Gap(1, 100_000, OLD, OLD + 10 * day)], [])
    assert found is not None
    assert OLD + 9.8 * day < found.part.after_ms < found.part.before_ms <= OLD + 10 * day
    oldest = next_request("a", [Gap(1, 100_000, OLD, OLD + 10 * day)], [Gap(1001, 100_000, 0, 0)])
    assert oldest is not None
    assert OLD <= oldest.part.after_ms < oldest.part.before_ms < OLD + 0.2 * day


def test_ids_in_the_answer_are_not_missing() -> None:
    assert settled(whole(1, 3, NEW, NEW), page([1, 2, 3]), horizon_ms=OLD) == []


def test_unusable_and_absent_ids_are_void() -> None:
    found = settled(whole(1, 5, NEW, NEW), page([1, 4, 5], unusable=[2]), horizon_ms=OLD)
    assert found == [Missing("a", 2, 3, "void")]


def test_ids_before_what_the_exchange_keeps_are_lost_with_all_before_them() -> None:
    gap = Gap(1, 5000, OLD - 1000, OLD)
    request = Request("a", gap, gap._replace(first_id=4001))
    found = settled(request, page([4998, 4999, 5000]), horizon_ms=NEW)
    assert found == [Missing("a", 1, 4997, "lost")]


def test_young_ids_are_never_lost_however_old_the_gap_began() -> None:
    """The worker was off for a week: the newest page is seconds old, the gap's start is not."""
    gap = Gap(1, 1_000_000, NEW - 7 * 86_400_000, NEW)
    request = next_request("a", [gap], [])
    assert request is not None
    found = settled(request, page([]), horizon_ms=NEW - 86_400_000)
    assert [item.state for item in found] == ["void"]


class FakeRest:
    """Answers from a list of pages or errors, and remembers what was asked."""

    def __init__(self, *answers: RestPage | FeedError) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[int, int]] = []

    async def fetch_trades(self, symbol: str, *, from_id: int, limit: int) -> RestPage:
        self.asked.append((from_id, limit))
        await asyncio.sleep(0.001)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, FeedError):
            raise answer
        return answer


def fill(
    rest: FakeRest,
    gap: Gap | dict[str, list[Gap]],
    *,
    horizon_ms: int,
    done: Callable[[list], bool],
) -> list:
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
        filler.update(gap if isinstance(gap, dict) else {"a": [gap]})
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
            yield 0.02

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


def test_a_repeated_refusal_of_ids_that_are_too_old_makes_them_lost() -> None:
    rest = FakeRest(Refused("too old", status=400, code=-1128))
    found = fill(rest, Gap(1, 3, OLD, OLD), horizon_ms=OLD + 1, done=len)
    assert found == [([], [Missing("a", 1, 3, "lost")])]
    assert len(rest.asked) == backfill.ASKED_OFTEN


@pytest.mark.parametrize(
    "error", [BadMessage("a portal's page"), Refused("no", status=400, code=-1121)]
)
def test_garbled_answers_and_refusals_of_young_ids_lose_nothing(error: FeedError) -> None:
    horizon_ms = OLD + 1 if isinstance(error, BadMessage) else OLD
    rest = FakeRest(error)
    found = fill(rest, Gap(1, 3, OLD, OLD), horizon_ms=horizon_ms, done=lambda found: False)
    assert found == []
    assert len(rest.asked) > backfill.ASKED_OFTEN


def test_one_symbols_refusal_does_not_keep_the_others_waiting() -> None:
    class Rest(FakeRest):
        async def fetch_trades(self, symbol: str, *, from_id: int, limit: int) -> RestPage:
            if symbol == "delisted":
                await asyncio.sleep(0.001)
                raise Refused("Invalid symbol.", status=400, code=-1121)
            return page([1, 2, 3])

    rest = Rest()
    gaps = {"delisted": [Gap(7, 9, NEW, NEW + 5)], "a": [Gap(1, 3, NEW, NEW)]}
    found = fill(rest, gaps, horizon_ms=OLD, done=len)
    assert found == [([1, 2, 3], [])]


def test_ids_on_their_way_are_not_asked_for_twice() -> None:
    rest = FakeRest(page([1, 2, 3]))
    fill(rest, Gap(1, 3, NEW, NEW), horizon_ms=OLD, done=lambda found: False)
    assert rest.asked == [(1, 3)]
