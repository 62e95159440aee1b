"""What can be subscribed to: each topic makes its messages once a second for all who listen."""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from core.alerts.kept import EVENTS, load_events
from core.alerts.questions import Events
from core.api.alerts import events_told
from core.api.answers import rows_json, written_time
from core.api.parameters import PairAsked, timeframe_of
from core.api.problems import Problem
from core.api.subjects import Subject, pair_of, range_of, source_of, subject_of
from core.bar_sql import timeframe_seconds
from core.errors import PerpduckError
from core.live.pair import pair_stand
from core.live.questions import Bars, newest
from core.live.window import epoch_ms, utc
from core.queries import load_trades
from core.store import Connection

logger = logging.getLogger(__name__)

KINDS = "trades:SYMBOL, bars:SYMBOL:TIMEFRAME, pair:Y:X:TIMEFRAME or alerts"
# A busy second has some hundred trades of a symbol; of more the newest are told.
MOST_TRADES = 1_000
BACK_S = 20
# Trades that come later than this are counted as left out.
MOST_BACK_S = 300
# Messages of one turn: a client for whom more wait than that is dropped. What is more comes next.
_EVENTS, _MOST_EVENTS = 50, 10_000
_EVER = datetime(1970, 1, 1)  # noqa: DTZ001 - naive UTC, as the store keeps it
# Each is looked at once a second, whoever listens; the feeder remembers 256 answers.
MOST_TOPICS = 200


@dataclass(frozen=True, slots=True)
class NewTrades:
    """The newest trades of one symbol since a time."""

    symbol: str
    since: datetime

    def version(self, versions: Mapping[str, int]) -> tuple[int, ...]:
        """Return the symbol's version."""
        return (versions.get(self.symbol, 0),)

    def answer(self, con: Connection) -> pl.DataFrame:
        """Read them."""
        end = self.since + timedelta(days=1)
        return load_trades(con, self.symbol, self.since, end, limit=500 * MOST_TRADES)


@dataclass(frozen=True, slots=True)
class NewEvents:
    """The alert events that were noticed at a time or later, newest first."""

    since: datetime

    def version(self, versions: Mapping[str, int]) -> tuple[int, ...]:
        """Return the events' version."""
        return (versions.get(EVENTS, 0),)

    def answer(self, con: Connection) -> pl.DataFrame:
        """Read them."""
        return load_events(con, limit=_MOST_EVENTS, since=self.since)


Turn = Callable[[Subject], list[dict[str, Any]]]


class Topic:
    """One thing that is listened to; ``turn`` returns the messages since the turn before."""

    def __init__(self, source: str, name: str, turn: Turn) -> None:
        self._source = source
        self._name = name
        self._turn = turn
        self._trouble = ""

    def turn(self) -> list[str]:
        """Return what is new; trouble is told once."""
        try:
            found = self._turn(subject_of(self._source))
            self._trouble = ""
        except Exception as error:
            is_ours = isinstance(error, PerpduckError | Problem)
            words = str(error) if is_ours else type(error).__name__
            if words == self._trouble:
                return []
            self._trouble = words
            if not is_ours:
                logger.exception("the topic %s failed", self._name)
                words = f"{words}; please report this with the log."
            found = [{"type": "error", "detail": words}]
        return [msgspec.json.encode({"topic": self._name, **one}).decode() for one in found]


_topics: weakref.WeakValueDictionary[tuple[Path, str], Topic] = weakref.WeakValueDictionary()


def topic_of(source: str, name: str) -> Topic:
    """Return the topic of that name, the same for all; raises Problem, PerpduckError."""
    place = source_of(source).store.path, name
    known = _topics.get(place)
    if known is None:
        if len(_topics) >= MOST_TOPICS:
            raise Problem(503, f"{MOST_TOPICS} topics are listened to already; choose one of them.")
        known = Topic(source, name, _turn_of(subject_of(source), name))
        known = _topics.setdefault(place, known)
    return known


def _turn_of(subject: Subject, name: str) -> Turn:
    kind, *rest = name.split(":")
    if kind == "alerts" and not rest:
        return _alerts(subject)
    if kind == "trades" and len(rest) == 1:
        return _trades(subject.key(rest[0]))
    if kind == "bars" and len(rest) == 2:
        return _bars(subject.key(rest[0]), timeframe_of(rest[1]))
    if kind == "pair" and len(rest) == 3:
        return _pair(subject, PairAsked(y=rest[0], x=rest[1], timeframe=rest[2]))
    raise Problem(400, f"There is no topic {name[:80]!r}; use {KINDS}.")


def _trades(key: str) -> Turn:
    """Tell of every trade whose id is beyond the last one's; what is not told is counted."""
    last_id: int | None = None
    last_at_s: float | None = None
    is_begun = False
    number = "id" if "@" in key else "agg_id"

    def turn(subject: Subject) -> list[dict[str, Any]]:
        nonlocal last_id, last_at_s, is_begun
        question = NewTrades(key, _trades_since(last_at_s))
        rows: pl.DataFrame = newest(subject.feed, question).value
        if number not in rows.columns or rows[number].null_count():
            return []
        if last_id is not None:
            rows = rows.filter(pl.col(number) > last_id)
        is_first, is_begun = not is_begun, True
        if rows.is_empty():
            return []
        told = rows.tail(1 if is_first else MOST_TRADES)
        newest_id = int(rows[number].max())  # type: ignore[arg-type]
        # Our own trades' ids are consecutive: those of a gap that is filled later are known, too.
        there_are = rows.height if last_id is None or "@" in key else newest_id - last_id
        last_id, last_at_s = newest_id, epoch_ms(rows["ts"][-1]) / 1000
        columns = [one for one in (number, "ts", "price", "size", "buyer_is_maker", "side")
                   if one in told.columns]  # fmt: skip
        return [
            {
                "type": "trades",
                "symbol": key,
                "left_out": 0 if is_first else there_are - told.height,
                "trades": msgspec.Raw(rows_json(told.select(columns))),
            }
        ]

    return turn


def _trades_since(last_at_s: float | None) -> datetime:
    """Return from when to look: the last trade that was told, on a grid, and not long ago."""
    now_s = (time.time() // BACK_S - 1) * BACK_S
    if last_at_s is None:
        return utc(now_s * 1000)
    last_s = last_at_s // BACK_S * BACK_S
    return utc(max(min(now_s, last_s), now_s - MOST_BACK_S) * 1000)


def _bars(key: str, timeframe: str) -> Turn:
    """Tell of every bar that is new or has changed, among the newest few."""
    known: pl.DataFrame | None = None
    seconds = timeframe_seconds(timeframe)

    def turn(subject: Subject) -> list[dict[str, Any]]:
        nonlocal known
        _, last = subject.bounds(key, timeframe)
        grid = max(BACK_S, 4 * seconds) * 1000
        start = utc((int(epoch_ms(last)) // grid - 1) * grid)
        rows: pl.DataFrame = newest(subject.feed, Bars((key,), timeframe, start, None)).value[key]
        changed = rows.tail(1) if known is None else rows.join(
            known, on=rows.columns, how="anti", nulls_equal=True
        ).filter(pl.col("ts") >= known["ts"][0] if known.height else True)  # fmt: skip
        known = rows
        if changed.is_empty():
            return []
        bars = msgspec.Raw(rows_json(changed.sort("ts").drop("symbol")))
        return [{"type": "bars", "symbol": key, "timeframe": timeframe, "bars": bars}]

    return turn


def _pair(subject: Subject, asked: PairAsked) -> Turn:
    spec = pair_of(subject, asked)
    told: object = None

    def turn(now: Subject) -> list[dict[str, Any]]:
        nonlocal told
        stand = pair_stand(now.feed, now.pulse, spec, range_of(None, spec.bar_s))
        if stand is None or (mark := (stand.version, stand.mark)) == told:
            return []
        told = mark
        row = stand.series.row(-1, named=True)
        return [
            {
                "type": "pair",
                "y": spec.y,
                "x": spec.x,
                "timeframe": spec.timeframe,
                "ts": written_time(row["ts"]),
                **{name: row[name] for name in ("spread", "zscore", "corr", "beta", "alpha")},
                "method": spec.method,
                "is_in_sample": spec.is_in_sample,
            }
        ]

    return turn


def _alerts(subject: Subject) -> Turn:
    """Tell of every event from the subscription on, some a turn, in their order."""
    before: pl.DataFrame = newest(subject.feed, Events(1)).value
    # What was noticed a moment earlier may be written a moment later.
    moment = timedelta(seconds=BACK_S)
    since: datetime = before["noticed_at"][0] - moment if before.height else _EVER
    told: set[str] = set(newest(subject.feed, NewEvents(since)).value["id"])

    def turn(now: Subject) -> list[dict[str, Any]]:
        nonlocal since
        found: pl.DataFrame = newest(now.feed, NewEvents(since)).value.reverse()
        new = found.filter(~pl.col("id").is_in(list(told))).head(_EVENTS)
        if new.is_empty():
            return []
        told.update(new["id"])
        since = max(since, new["noticed_at"][-1] - moment)
        told.intersection_update(found.filter(pl.col("noticed_at") >= since)["id"])
        return [{"type": "alert", **one} for one in events_told(new, "iso")]

    return turn
