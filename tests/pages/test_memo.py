"""What sessions share: built once, newer values in the background, failures not kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from core.errors import NotEnoughData
from core.live.memo import Memo


def until(condition: Callable[[], bool], wait_s: float = 5.0) -> None:
    end = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def test_many_threads_that_ask_at_once_build_once() -> None:
    memo, built, gate = Memo(4), [], threading.Event()

    def build() -> int:
        built.append(1)
        gate.wait(5)
        return 7

    found: list[int] = []
    ask = lambda: found.append(memo.get("k", build))  # noqa: E731
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: bool(built))
    gate.set()
    for thread in threads:
        thread.join(5)
    assert (found, len(built)) == ([7] * 8, 1)


def test_a_failure_reaches_who_asked_and_is_tried_again() -> None:
    memo = Memo(4)

    def fail() -> int:
        raise NotEnoughData("3 bars")

    with pytest.raises(NotEnoughData, match="3 bars"):
        memo.get("k", fail)
    assert memo.get("k", lambda: 5) == 5


def test_only_the_last_used_are_kept() -> None:
    memo = Memo(2)
    for key in "abc":
        memo.get(key, lambda: 1)
    assert memo.get("c", lambda: 2) == 1
    assert memo.get("a", lambda: 2) == 2


def test_a_newer_value_is_made_while_the_one_before_is_shown() -> None:
    memo, gate = Memo(4), threading.Event()
    assert memo.latest("place", 1, lambda: "old") == "old"

    def slow() -> str:
        gate.wait(5)
        return "new"

    assert memo.latest("place", 2, slow) == "old"
    assert memo.latest("place", 2, slow) == "old"
    gate.set()
    until(lambda: memo.latest("place", 2, slow) == "new")


def test_a_failed_renewal_leaves_the_last_value() -> None:
    memo, asked = Memo(4), []

    def fail() -> str:
        asked.append(1)
        raise NotEnoughData("none")

    assert memo.latest("place", 1, lambda: "old") == "old"
    assert memo.latest("place", 2, fail) == "old"
    until(lambda: bool(asked))
    assert memo.latest("place", 2, fail) == "old"
