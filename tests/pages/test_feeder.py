"""The reading thread: what it does with a file whose worker is gone, and with one that lives."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from core.alerts.questions import Numbers
from core.errors import StoreBusy
from core.live.feeder import LEFT_WAL_BYTES, Feeder
from core.live.questions import newest
from core.store import Store
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
    feed._asked.clear()
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
    monkeypatch.setattr("core.live.feeder.worker_health", lambda *_: STOPPED)
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
