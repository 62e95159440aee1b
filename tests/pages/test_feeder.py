"""The reading thread: what it does with a file whose worker is gone, and with one that lives."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from core.alerts.questions import Numbers
from core.errors import PerpduckError, ReadStopped, StoreBusy
from core.live import asking, questions
from core.live.asking import Asked
from core.live.feeder import LEFT_WAL_BYTES, Feeder
from core.live.questions import newest
from core.store import Connection, Store
from core.supervisor import Health
from tests.pages.alert_pages import fire, ruled, zscore

STOPPED = Health("stopped", "The worker was stopped.", "")


def leave_wal(store: Store) -> int:
    """Write until the WAL is as large as a killed worker leaves it; returns its bytes."""
    store.checkpoint()
    with store.write() as con:
        con.execute("insert into versions select 'v' || range, range from range(20000)")
    left = wal_bytes(store)
    assert left > LEFT_WAL_BYTES
    return left


def wal_bytes(store: Store) -> int:
    return store.fingerprint()[1][1]


def wait_for(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


@pytest.mark.parametrize("state", ["stopped", "live"])
def test_what_a_worker_left_in_the_wal_is_folded_into_the_file(full: Store, state: str) -> None:
    leave_wal(full)
    with full.write() as con:
        # No lock is held: "live" in its row is what a killed worker leaves.
        con.execute("update worker_status set state = $state", {"state": state})
    feed = Feeder(full)
    assert feed.pulse().health.state == ("stopped" if state == "stopped" else "dead")
    assert wait_for(lambda: wal_bytes(full) == 0)
    with full.read() as con:
        assert con.execute("select count(*) from versions").fetchall()[0][0] >= 20000
    feed.refresh()
    assert feed.pulse().error is None


def test_a_question_asked_again_is_answered_by_the_file_as_it_is_now(
    full: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The feeder folds a large WAL by itself, which would be a look of its own.
    full.checkpoint()
    feed = Feeder(full)
    assert feed.ask(Numbers()).value.unseen == 0
    # Nobody asks it for a while, as after a look at another page, and the file changes.
    feed._asked = Asked()
    fire(full, ruled(full, zscore()))
    feed.refresh()
    assert feed.known(Numbers()).value.unseen == 0
    reads = counted_reads(full, monkeypatch)
    assert newest(feed, Numbers()).value.unseen == 1
    assert len(reads) == 1
    # What is known already costs no further look into the file.
    for _ in range(3):
        assert newest(feed, Numbers()).value.unseen == 1
        feed.refresh()
    assert len(reads) == 1


def counted_reads(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Return a list that grows with each look into the file."""
    real, found = store.read, []

    def read(**more: Any) -> Any:
        found.append(None)
        return real(**more)

    monkeypatch.setattr(store, "read", read)
    return found


def test_the_wal_of_a_living_worker_is_left_alone(
    living: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = leave_wal(living)
    feed = Feeder(living)
    for _ in range(3):
        feed.refresh()
    # A worker that started after the last look has the lock, whatever the pulse says.
    monkeypatch.setattr("core.supervisor.WorkerLock.read_pid", lambda _: None)
    monkeypatch.setattr("core.live.pulse.worker_health", lambda *_: STOPPED)
    for _ in range(3):
        feed.refresh()
    assert feed.pulse().health.state == "stopped"
    assert wal_bytes(living) == left


def test_a_wal_that_cannot_be_folded_is_one_line_in_the_log(
    full: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    leave_wal(full)
    caplog.set_level(logging.INFO, logger="core.live.feeder")

    def busy(*_: object, **__: object) -> None:
        raise StoreBusy("held by a shell")

    monkeypatch.setattr(full, "checkpoint", busy)
    feed = Feeder(full)
    feed.pulse()
    assert wait_for(lambda: "held by a shell" in caplog.text)
    for _ in range(3):
        feed.refresh()
    assert caplog.text.count("held by a shell") == 1
    assert feed.pulse().error is None


@dataclass(frozen=True)
class Asks:
    """A question that is answered at once; that takes too long, or cannot be answered at all."""

    name: str
    how: str = "quick"

    def version(self, versions: Mapping[str, int]) -> tuple[int, ...]:
        return (versions.get("watchlist", 0),)

    def answer(self, con: Connection) -> str:
        tried.append(self.name)
        if self.how == "slow" or self.name in slow:
            con.execute("select sum(hash(range)) from range(100_000_000_000)").fetchall()
        if self.how == "wrong":
            raise KeyError("no such column")
        return self.name


tried: list[str] = []
slow: set[str] = set()


@pytest.fixture
def feed(full: Store, monkeypatch: pytest.MonkeyPatch) -> Feeder:
    # The feeder folds a large WAL by itself, which would be a look of its own.
    full.checkpoint()
    monkeypatch.setattr("core.live.feeder.PERIOD_S", 30.0)
    tried.clear()
    slow.clear()
    return Feeder(full)


def change(feed: Feeder) -> None:
    with feed.store.write() as con:
        con.execute("update versions set version = version + 1 where scope = 'watchlist'")


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [("slow", ReadStopped, "choose a shorter range"), ("wrong", PerpduckError, "no such column")],
)
@pytest.mark.parametrize("others", [1, 12])
def test_a_question_that_fails_fails_alone(
    feed: Feeder, how: str, kind: type[PerpduckError], words: str, others: int
) -> None:
    bad, good = Asks("bad", how), [Asks(f"good {number}") for number in range(others)]
    feed._asked.note([bad, *good])
    for question in good:
        assert feed.ask(question).value == question.name
    assert feed.pulse().error is None
    feed.refresh()
    with pytest.raises(kind, match=words):
        feed.ask(bad)
    change(feed)
    feed._asked.note(good)
    feed.refresh()
    assert feed.pulse().error is None
    assert feed.pulse().versions["watchlist"] == feed.known(good[0]).version[0]
    assert all(feed.known(one).version == feed.known(good[0]).version for one in good)


def test_what_was_stopped_is_tried_again_when_it_is_asked_again_later(
    feed: Feeder, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = Asks("bad")
    slow.add("bad")
    with pytest.raises(ReadStopped):
        feed.ask(bad)
    seen = len(tried)
    for _ in range(3):
        change(feed)
        feed.refresh()
        with pytest.raises(ReadStopped):
            feed.ask(bad)
    assert len(tried) == seen
    slow.clear()
    monkeypatch.setattr(asking, "FAILED_S", 0.0)
    assert feed.ask(bad).value == "bad"
    assert feed.failure(bad) is None
    assert len(tried) == seen + 1


def test_an_answer_that_cannot_be_had_anew_counts_for_a_moment(
    feed: Feeder, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = Asks("bad")
    before = newest(feed, question)
    slow.add("bad")
    change(feed)
    feed.refresh()
    assert newest(feed, question) == before
    monkeypatch.setattr(questions, "STALE_S", 0.0)
    with pytest.raises(ReadStopped, match="choose a shorter range"):
        newest(feed, question)
    assert feed.ask(question) == before
    slow.clear()
    monkeypatch.setattr(asking, "FAILED_S", 0.0)
    assert newest(feed, question).version > before.version


def test_a_pulse_that_takes_too_long_is_a_busy_file(
    feed: Feeder, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed.pulse()

    def stopped(*_: object) -> None:
        raise ReadStopped("choose a shorter range")

    monkeypatch.setattr("core.live.feeder.read_pulse", stopped)
    change(feed)
    feed.refresh()
    assert type(feed.pulse().error) is StoreBusy
    assert "tried again by itself" in str(feed.pulse().error)
