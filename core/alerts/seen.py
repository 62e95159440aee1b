"""What those who look tell those who judge: the feed's state, the rules, what was seen."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from core.alerts.kept import KeptRule, Standing
from core.alerts.machine import Observation
from core.alerts.rules import Rule
from core.feed.gaps import Gap
from core.verdict import SETTLE_S

# Bars that an open gap touches wait for it to be filled, but not for ever.
PATIENCE_S = 60.0
# A rule that was not looked at for longer begins this far back.
MOST_LATE_BARS = 2_000


@dataclass(frozen=True, slots=True)
class Heard:
    """What the worker knows as it writes.

    ``closed_ms``: up to when (epoch ms) all trades of a symbol are known, as far as the feed goes;
    ``touched``: the symbols that this write brings trades of. ``silent_s``: since anything was
    heard.
    """

    now: datetime
    closed_ms: Mapping[str, int] = field(default_factory=dict)
    touched: Collection[str] = ()
    gaps: Mapping[str, Sequence[Gap]] = field(default_factory=dict)
    watchlist: Collection[str] = ()
    silent_s: float = 0.0
    free_gb: float = 0.0

    @property
    def now_ms(self) -> int:
        """The local clock, epoch milliseconds."""
        return epoch_ms(self.now)


@dataclass(slots=True)
class Watched:
    """A rule and where it stands; what else is remembered saves work only.

    ``begin_ms``: where a rule that has seen nothing yet begins. ``looked_ms``: closed bars that end
    up to here were looked at. ``back_ms``: so far back its last read had to go, 0 before the first.
    ``own_reason``: why the newest value is not known, beside what keeps from looking.
    ``is_unwritten``: the file has an older value, which differs in nothing but that.
    """

    kept: KeptRule
    standing: Standing = field(default_factory=Standing)
    begin_ms: int = 0
    looked_ms: int = 0
    back_ms: int = 0
    own_reason: str = ""
    is_unwritten: bool = False

    @property
    def rule(self) -> Rule:
        """What is watched."""
        return self.kept.rule

    @property
    def bar_ms(self) -> int:
        """Milliseconds a bar."""
        return self.kept.rule.bar_s * 1000

    @property
    def last_ms(self) -> int | None:
        """The newest closed bar that was seen."""
        last = self.standing.state.last_at
        return None if last is None else epoch_ms(last)

    def first_new_ms(self, closed_ms: int) -> int:
        """Return the first bar that was not seen; a new rule sees a few to know where it stands."""
        last, bar = self.last_ms, self.bar_ms
        if last is not None:
            first = last + bar
        else:
            first = self.begin_ms // bar * bar - (self.rule.hold_bars + 1) * bar
        return max(first, closed_ms - MOST_LATE_BARS * bar)


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen of a rule: new observations in order, and what to show of it.

    ``inputs`` gives what the value at a bar was computed from. ``closed_ms``: up to when bars were
    closed, where it stands on bars.
    """

    watched: Watched
    observations: Sequence[Observation] = ()
    value_at: datetime | None = None
    value: float | None = None
    reason: str = ""
    inputs: Callable[[datetime], Mapping[str, object]] = lambda at: {}
    closed_ms: int | None = None


def note_begin(watched: Watched, heard: Heard) -> None:
    """Fix from when on a rule fires, by the clock of its bars, and where it begins to look.

    The user's clock made the rule and may be wrong: what counts is how long ago that was.
    """
    closed = min(heard.closed_ms[symbol] for symbol in watched.rule.symbols)
    if watched.standing.since is None:
        newest_ms = max(heard.closed_ms[symbol] for symbol in watched.rule.symbols)
        age_ms = heard.now_ms - epoch_ms(watched.kept.since)
        since = utc(newest_ms + int(SETTLE_S * 1000) - age_ms)
        watched.standing = replace(watched.standing, since=since)
    if not watched.begin_ms:
        assert watched.standing.since is not None
        watched.begin_ms = min(closed, epoch_ms(watched.standing.since))


def told_why_not(watched: Watched, heard: Heard) -> Sight | None:
    """Return what keeps from looking at a rule's symbols; None where nothing does.

    A sight that brings no news is given again: it costs nothing to judge.
    """
    symbols = watched.rule.symbols
    if all(symbol in heard.closed_ms and symbol in heard.watchlist for symbol in symbols):
        return None
    absent = [symbol.upper() for symbol in symbols if symbol not in heard.watchlist]
    unheard = [symbol.upper() for symbol in symbols if symbol not in heard.closed_ms]
    if absent:
        reason = f"{' and '.join(absent)} is not watched: add it to the watchlist on Data"
    else:
        reason = f"nothing was heard of {' and '.join(unheard)} yet"
    return unblocked(watched, reason)


def unblocked(watched: Watched, reason: str = "") -> Sight:
    """Return the sight of a rule of which there is nothing new, but perhaps a reason for that."""
    standing = watched.standing
    return Sight(watched, (), standing.value_at, standing.value, reason or watched.own_reason)


def closed_until(watched: Watched, heard: Heard) -> int:
    """Return the end of the last bar that can be judged now, epoch ms.

    Bars with trades that are known to be missing wait for them, for a while.
    """
    rule, bar = watched.rule, watched.bar_ms
    until = min(heard.closed_ms[symbol] for symbol in rule.symbols)
    last = watched.last_ms
    seen = until - (rule.hold_bars + 2) * bar if last is None else last
    for symbol in rule.symbols:
        for gap in heard.gaps.get(symbol, ()):
            waits = heard.now_ms - gap.opened_ms < PATIENCE_S * 1000
            if waits and gap.before_ms > seen:
                until = min(until, gap.after_ms)
    return until // bar * bar


def touched_gap(rule: Rule, heard: Heard, at_ms: int) -> bool:
    """Return whether trades of a bar are known to be missing."""
    end = at_ms + rule.bar_s * 1000
    return any(
        gap.after_ms < end and gap.before_ms >= at_ms
        for symbol in rule.symbols
        for gap in heard.gaps.get(symbol, ())
    )


def epoch_ms(at: datetime) -> int:
    """Return the milliseconds since 1970 of a naive UTC time."""
    return round(at.replace(tzinfo=UTC).timestamp() * 1000)


def utc(at_ms: int) -> datetime:
    """Return the naive UTC time of milliseconds since 1970."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).replace(tzinfo=None)
