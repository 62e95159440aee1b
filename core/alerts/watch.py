"""The worker's eye on the rules: at every write it looks, remembers, and tells what fired.

All that it writes belongs to the transaction of the trades that caused it: after a crash the file
holds both or neither.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import timedelta

from core.alerts.bars import Pace, look_at_bars
from core.alerts.events import Event, write_events
from core.alerts.fence import Fence, Look
from core.alerts.kept import (
    LOOKED,
    RULES,
    Standing,
    load_rules,
    load_standings,
    write_standings,
)
from core.alerts.machine import advance
from core.alerts.maker import Maker
from core.alerts.others import (
    look_at_contracts,
    look_at_ranges,
    look_at_settlements,
    look_at_system,
)
from core.alerts.seen import Heard, Sight, Watched
from core.queries import load_version
from core.store import Connection, Store

logger = logging.getLogger(__name__)

# A value that changed nothing is written this often.
SHOWN_S = 2.0


class Watch:
    """Follows the file's rules. ``default_urls`` serve rules that have no targets of their own."""

    def __init__(self, store: Store, default_urls: Sequence[str] = ()) -> None:
        self._default_urls = tuple(default_urls)
        self._version = self._looked = -1
        self._watched: dict[str, Watched] = {}
        self._shown_s = 0.0
        self.maker = Maker(store)
        self.pace = Pace()
        self.fence = Fence(judge)

    def look(self, con: Connection, heard: Heard) -> int:
        """Look at what is due, inside the caller's transaction; returns how many rules fired.

        After an error, or when the transaction fails, `forget` must be called.
        """
        self._follow(con)
        active = [one for one in self._watched.values() if not one.kept.is_paused]
        if not active:
            return 0
        sights = self._sights(con, active, heard)
        events, changed = [], {}
        is_shown = time.monotonic() - self._shown_s >= SHOWN_S
        if is_shown:
            self._shown_s = time.monotonic()
        for sight in sights:
            fired, is_due = self.fence.judged(sight, is_shown=is_shown)
            events += fired
            if is_due:
                changed[sight.watched.kept.id] = sight.watched.standing
        write_standings(con, changed)
        return write_events(con, events, self._default_urls, heard.now)

    def forget(self) -> None:
        """Drop what is remembered: it is read from the file again."""
        self._version, self._watched = -1, {}

    def _follow(self, con: Connection) -> None:
        version, looked = load_version(con, RULES), load_version(con, LOOKED)
        if (version, looked) == (self._version, self._looked):
            return
        standings = load_standings(con)
        before = self._watched if looked == self._looked else {}
        self._watched = {}
        for kept in load_rules(con):
            known = before.get(kept.id)
            if known is not None and known.kept == kept:
                self._watched[kept.id] = known
            else:
                self._watched[kept.id] = Watched(kept, standings.get(kept.id, Standing()))
        self._version, self._looked = version, looked

    def _sights(self, con: Connection, active: list[Watched], heard: Heard) -> list[Sight]:
        by_basis: dict[str, list[Watched]] = {}
        for one in active:
            basis = one.rule.metric if one.rule.metric == "contract" else one.rule.measure.basis
            by_basis.setdefault(basis, []).append(one)
        system = {
            "silent": heard.silent_s,
            "gap": float(sum(gap.missing for gaps in heard.gaps.values() for gap in gaps)),
            "disk": heard.free_gb,
            # Whoever looks here lives.
            "stopped": 0.0,
        }
        looks: dict[str, Look] = {
            "bars": lambda rules: look_at_bars(con, rules, heard, self.maker, self.pace),
            "range": lambda rules: look_at_ranges(rules, heard, self.maker),
            "settled": lambda rules: look_at_settlements(con, rules, heard),
            "contract": lambda rules: look_at_contracts(con, rules, heard),
            "now": lambda rules: look_at_system(rules, heard.now, system),
        }
        return [
            sight
            for basis, rules in by_basis.items()
            for sight in self.fence.sights(looks[basis], rules)
        ]


def judge(sight: Sight, *, is_shown: bool = True) -> tuple[list[Event], bool]:
    """Bring a rule's standing up to date; returns what fired, and whether to write the standing.

    ``is_shown``: what is new to look at, and to nothing else, is to be written as well.
    """
    watched = sight.watched
    before = watched.standing
    since = before.since or watched.kept.since
    state, fired = advance(watched.rule, before.state, sight.observations, since=since)
    watched.standing = Standing(state, sight.value_at, sight.value, sight.reason, before.since)
    events = [Event(watched.kept, one, dict(sight.inputs(one.at))) for one in fired]
    if sight.reason != before.reason or _is_news(before, watched.standing):
        watched.is_unwritten = False
        return events, True
    watched.is_unwritten = watched.is_unwritten or watched.standing != before
    if not (is_shown and watched.is_unwritten):
        return events, False
    watched.is_unwritten = False
    return events, True


def _is_news(before: Standing, after: Standing) -> bool:
    """Return whether a restart would go on otherwise without what is new.

    What only repeats the state at a later bar is seen again from the bars; what is of the moment
    (a system rule, once a second) is not worth a write.
    """
    old, new = before.state, after.state
    if (old.is_armed, old.held, old.fired_at, old.has_crossed) != (
        new.is_armed, new.held, new.fired_at, new.has_crossed,
    ):  # fmt: skip
        return True
    if old.last_at is None or new.last_at is None:
        return old.last_at != new.last_at
    return new.last_at - old.last_at > timedelta(seconds=1)
