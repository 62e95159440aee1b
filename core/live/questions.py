"""What pages and programs ask of the file: hashable questions, answered once for all."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from core import queries
from core.live.asking import Answer, Question
from core.live.feeder import Feeder
from core.models import CoverageSummary
from core.store import Connection

# How old an answer may be where there is none to be had of the file as it is now.
STALE_S = 5.0
_START_OF_TIME = datetime(1970, 1, 1)  # noqa: DTZ001
_END_OF_TIME = datetime(2200, 1, 1)  # noqa: DTZ001 - naive UTC, as the store keeps it


def newest(feed: Feeder, question: Question) -> Answer:
    """Return the answer of the file as the pulse knows it.

    One that nobody asked for in a while may be of an older file: it is waited for once more. What
    follows the clock as well (`clock`) is as old as it may be. Where it cannot be read any more,
    the answer before counts for a moment; then the reason is raised.
    """
    wanted = question.version(feed.pulse().versions)

    def is_current(answer: Answer | None) -> bool:
        held = zip(answer.version, wanted, strict=False) if answer else ()
        return answer is not None and not any(
            type(known) is int and before < known for before, known in held
        )

    found = feed.ask(question)
    if not is_current(found):
        feed.refresh(lambda: is_current(feed.known(question)))
        found = feed.ask(question)
    error = feed.failure(question)
    if error and not is_current(found) and time.monotonic() - found.read_at > STALE_S:
        raise error
    return found


def _of(symbols: tuple[str, ...], versions: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(versions.get(symbol, 0) for symbol in symbols)


def _every(seconds: int) -> tuple[float, ...]:
    """Return a version that changes with time: for what is too dear to follow every write."""
    return (clock(seconds),)


def clock(seconds: int) -> float:
    """Return the part of a version that changes so often; versions of data are whole numbers."""
    return float(time.monotonic() // seconds)


@dataclass(frozen=True, slots=True)
class Bars:
    """The bars of some symbols in [start, end), by symbol; no end means up to the newest."""

    symbols: tuple[str, ...]
    timeframe: str
    start: datetime
    end: datetime | None

    def version(self, versions: Mapping[str, int]) -> tuple[int, ...]:
        """Return the versions of the symbols."""
        return _of(self.symbols, versions)

    @property
    def together(self) -> Hashable:
        """The stretch: ten symbols' bars by a query each take five times as long as by one."""
        return (Bars, self.timeframe, self.start, self.end)

    def answer(self, con: Connection) -> dict[str, pl.DataFrame]:
        """Read one frame a symbol, in the order given; a symbol without bars has an empty one."""
        return self.answer_all([self], con)[0]

    @staticmethod
    def answer_all(asked: Sequence[Bars], con: Connection) -> list[dict[str, pl.DataFrame]]:
        """Read the answers of some questions about one stretch."""
        symbols = list(dict.fromkeys(symbol for one in asked for symbol in one.symbols))
        first = asked[0]
        end = first.end or _END_OF_TIME
        bars = queries.load_bars(con, symbols, first.timeframe, first.start, end)
        found = {symbol: bars.filter(pl.col("symbol") == symbol) for symbol in symbols}
        return [{symbol: found[symbol] for symbol in one.symbols} for one in asked]


@dataclass(frozen=True, slots=True)
class NewCloses:
    """The closes of some symbols' bars from ``since`` up to the newest."""

    symbols: tuple[str, ...]
    timeframe: str
    since: datetime

    def version(self, versions: Mapping[str, int]) -> tuple[int, ...]:
        """Return the versions of the symbols."""
        return _of(self.symbols, versions)

    def answer(self, con: Connection) -> pl.DataFrame:
        """Read them."""
        return queries.load_closes(con, self.symbols, self.timeframe, self.since, _END_OF_TIME)


@dataclass(frozen=True, slots=True)
class Origins:
    """How many bars of some symbols in [start, end) come from where; every ten seconds."""

    symbols: tuple[str, ...]
    timeframe: str
    start: datetime
    end: datetime

    def version(self, versions: Mapping[str, int]) -> tuple[float, ...]:
        """Return the time's version."""
        return _every(10)

    def answer(self, con: Connection) -> pl.DataFrame:
        """Read origin and bars, a row a symbol and origin; none where all are from trades.

        Counting a week of seconds takes longer than reads may, and the blend tells in 1 ms.
        """
        blend = queries.load_blend(con, self.symbols, self.timeframe, self.start, self.end)
        if not blend.is_mixed(self.timeframe):
            return pl.DataFrame(schema={"origin": pl.String, "bars": pl.Int64})
        found = queries.load_origins(con, self.symbols, self.timeframe, self.start, self.end)
        return found.select("origin", "bars")


@dataclass(frozen=True, slots=True)
class Coverage:
    """How complete one symbol's trades are in [start, end); every four seconds."""

    symbol: str
    start: datetime
    end: datetime | None

    def version(self, versions: Mapping[str, int]) -> tuple[float, ...]:
        """Return the time's version."""
        return _every(4)

    def answer(self, con: Connection) -> CoverageSummary:
        """Read the summary."""
        return queries.load_coverage(con, self.symbol, self.start, self.end or _END_OF_TIME)


@dataclass(frozen=True, slots=True)
class Gaps:
    """The newest gaps in the given states."""

    states: tuple[str, ...] = ("open", "lost")
    limit: int = 200

    def version(self, versions: Mapping[str, int]) -> tuple[int, ...]:
        """Return every version: a gap may open or close in any symbol."""
        return tuple(versions.values())

    def answer(self, con: Connection) -> pl.DataFrame:
        """Read the list."""
        return queries.load_gaps(con, self.states, limit=self.limit)


@dataclass(frozen=True, slots=True)
class AllCoverage:
    """How complete each symbol's trades are over all that is stored; every ten seconds."""

    symbols: tuple[str, ...]

    def version(self, versions: Mapping[str, int]) -> tuple[float, ...]:
        """Return the time's version."""
        return _every(10)

    def answer(self, con: Connection) -> list[CoverageSummary]:
        """Read one summary a symbol."""
        return [
            queries.load_coverage(con, symbol, _START_OF_TIME, _END_OF_TIME)
            for symbol in self.symbols
        ]


@dataclass(frozen=True, slots=True)
class TableCounts:
    """How many rows each table holds; every five seconds."""

    def version(self, versions: Mapping[str, int]) -> tuple[float, ...]:
        """Return the time's version."""
        return _every(5)

    def answer(self, con: Connection) -> pl.DataFrame:
        """Read the counts."""
        return queries.load_table_counts(con)


@dataclass(frozen=True, slots=True)
class Datasets:
    """When each uploaded dataset was made."""

    def version(self, versions: Mapping[str, int]) -> tuple[int, ...]:
        """Return the datasets' version, of `core.importing.ticks.DATASETS`."""
        return (versions.get("datasets", 0),)

    def answer(self, con: Connection) -> dict[str, datetime]:
        """Read the times by name."""
        return dict(queries.load_dataset_times(con))
