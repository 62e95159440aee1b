"""What pages and programs ask of the file about alerts; read once for all, when it changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import polars as pl

from core.alerts.happened import load_dead, load_last_fired
from core.alerts.kept import (
    EVENTS,
    RULES,
    Counts,
    KeptRule,
    Standing,
    load_counts,
    load_deliveries,
    load_events,
    load_rules,
    load_standings,
)
from core.live.questions import clock
from core.store import Connection
from core.trade_writer import utc_now

RECENT = timedelta(hours=24)
# The newest events that a session may hear of at a time.
HEARD = 30
MOST = 500


@dataclass(frozen=True, slots=True)
class Held:
    """All rules in order of time, where each stands, and the newest bar it ever fired on."""

    rules: tuple[KeptRule, ...] = ()
    standings: Mapping[str, Standing] = field(default_factory=dict)
    fired: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules and their standings; standings have no version: at most once a second."""

    def version(self, versions: Mapping[str, int]) -> tuple[float, ...]:
        """Return the rules' and the events' versions, and the time's."""
        return versions.get(RULES, 0), versions.get(EVENTS, 0), clock(1)

    def answer(self, con: Connection) -> Held:
        """Read them."""
        return Held(tuple(load_rules(con)), load_standings(con), load_last_fired(con))


@dataclass(frozen=True, slots=True)
class Numbers:
    """How many events and deliveries there are; the last day moves on by itself."""

    def version(self, versions: Mapping[str, int]) -> tuple[float, ...]:
        """Return the events' version and the minute."""
        return versions.get(EVENTS, 0), clock(60)

    def answer(self, con: Connection) -> Counts:
        """Count them."""
        return load_counts(con, utc_now() - RECENT)


@dataclass(frozen=True, slots=True)
class Events:
    """The newest events; of one pair or one rule where it is named."""

    limit: int = MOST
    y: str | None = None
    x: str | None = None
    rule_id: str | None = None

    def version(self, versions: Mapping[str, int]) -> tuple[int, ...]:
        """Return the events' version."""
        return (versions.get(EVENTS, 0),)

    def answer(self, con: Connection) -> pl.DataFrame:
        """Read the list."""
        return load_events(con, limit=self.limit, rule_id=self.rule_id, y=self.y, x=self.x)


@dataclass(frozen=True, slots=True)
class Deliveries:
    """The newest deliveries."""

    def version(self, versions: Mapping[str, int]) -> tuple[int, ...]:
        """Return the events' version, which deliveries share."""
        return (versions.get(EVENTS, 0),)

    def answer(self, con: Connection) -> pl.DataFrame:
        """Read the list."""
        return load_deliveries(con, limit=MOST)


@dataclass(frozen=True, slots=True)
class Dead:
    """The newest dead deliveries, however many came after them."""

    def version(self, versions: Mapping[str, int]) -> tuple[int, ...]:
        """Return the events' version, which deliveries share."""
        return (versions.get(EVENTS, 0),)

    def answer(self, con: Connection) -> pl.DataFrame:
        """Read the list."""
        return load_dead(con, limit=MOST)


@dataclass(frozen=True, slots=True)
class Heard:
    """What every page hears of: how many events nobody acknowledged, and the newest ones."""

    unseen: int
    newest: pl.DataFrame


@dataclass(frozen=True, slots=True)
class News:
    """The same for all sessions, read only when an event came or was acknowledged."""

    def version(self, versions: Mapping[str, int]) -> tuple[int, ...]:
        """Return the events' version."""
        return (versions.get(EVENTS, 0),)

    def answer(self, con: Connection) -> Heard:
        """Read both."""
        newest = load_events(con, limit=HEARD)
        return Heard(load_counts(con, utc_now()).unseen, newest)
