"""An eye on the worker from outside it: a dead worker cannot say that it is dead.

The app and ``ingest_worker.py --check`` look at rules on the worker and on the feed, and deliver
what waits, while no worker lives or the one that does has not written for `SILENT_S`; a worker that
writes does both itself. No event is doubled by one that comes back: whoever looks reads where the
rules stand, and asks whether the worker is stuck, inside the transaction that writes it; and
where others looked, the worker reads that again before it looks (`LOOKED`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime

from core.alerts.delivery import deliver_due
from core.alerts.events import write_events
from core.alerts.kept import (
    LOOKED,
    KeptRule,
    Standing,
    load_rules,
    load_standings,
    write_standings,
)
from core.alerts.others import look_at_system
from core.alerts.seen import Sight, Watched
from core.alerts.watch import judge
from core.config import Settings
from core.queries import load_symbol_status, load_worker_status
from core.store import Connection, Store
from core.supervisor import SILENT_S, WorkerLock
from core.trade_writer import bump_versions, utc_now

logger = logging.getLogger(__name__)

METRICS = ("stopped", "silent")
LOOK_S = 5.0


def keep_watch(store: Store, settings: Settings, *, now: datetime | None = None) -> int:
    """Do what the worker of the file would do for its alerts, if none lives or it is stuck.

    Returns how many rules fired. Raises StoreError where the file cannot be read or written.
    """
    now = now or utc_now()
    if not store.exists() or _is_cared_for(store, now):
        return 0
    fired = _look(store, settings.alert_urls, now)
    deliver_due(store, settings)
    return fired


def _is_cared_for(store: Store, now: datetime, con: Connection | None = None) -> bool:
    """Return whether a worker lives that has written lately, or is just starting."""
    lock = WorkerLock(store.path)
    if not lock.is_held():
        return False
    if con is None:
        with store.read() as con:
            return _is_cared_for(store, now, con)
    status = load_worker_status(con)
    if status is None or status.pid != lock.read_pid():
        return True
    return (now - status.updated_at).total_seconds() <= SILENT_S


def _look(store: Store, default_urls: Sequence[str], now: datetime) -> int:
    with store.read() as con:
        if not _rules(con):
            return 0
    with store.write() as con:
        if _is_cared_for(store, now, con):
            return 0
        known = _known(con, now)
        standings = load_standings(con)
        watched = [Watched(kept, standings.get(kept.id, Standing())) for kept in _rules(con)]
        sights = look_at_system(watched, now, known)
        sights += [
            Sight(one, reason="no worker has run on this file yet")
            for one in watched
            if one.rule.metric not in known
        ]
        events = [event for sight in sights for event in judge(sight)[0]]
        write_standings(con, {one.kept.id: one.standing for one in watched})
        bump_versions(con, [LOOKED])
        return write_events(con, events, default_urls, now)


def _rules(con: Connection) -> list[KeptRule]:
    kept = load_rules(con)
    return [one for one in kept if one.rule.metric in METRICS and not one.is_paused]


def _known(con: Connection, now: datetime) -> dict[str, float]:
    """Return the seconds since the last sign of the worker, and of any symbol."""
    status = load_worker_status(con)
    if status is None:
        return {}
    gone_s = max(0.0, (now - status.updated_at).total_seconds())
    newest = load_symbol_status(con)["last_trade_ts"].max()
    silent_s = (now - newest).total_seconds() if isinstance(newest, datetime) else gone_s
    return {"stopped": gone_s, "silent": max(gone_s, silent_s)}


class Sentry:
    """Keeps watch over some files, in a thread of its own, until it is told to end."""

    def __init__(self, files: Callable[[], Sequence[tuple[Store, Settings]]]) -> None:
        self._files = files
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="sentry", daemon=True)
        self._trouble = ""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; what is being sent may still come to its end."""
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_S):
            try:
                for store, settings in self._files():
                    keep_watch(store, settings)
                self._trouble = ""
            except Exception as error:
                # It must outlive whatever befalls a file; the same thing is told once.
                if str(error) != self._trouble:
                    logger.warning("alerts are not looked after meanwhile: %s", error)
                self._trouble = str(error)
