"""What the Data page asks of the file beside the live trades; answered once for all sessions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from core import queries, stored
from core.store import Connection

_SHORT: dict[str, Callable[[Connection], pl.DataFrame]] = {
    "datasets": stored.load_datasets,
    "bar sets": stored.load_bar_sets,
    "funding": stored.load_funding,
    "lake": stored.load_lake,
    "files": stored.load_imported_files,
}


@dataclass(frozen=True, slots=True)
class Listed:
    """A short list, one of `stored`'s by name: read anew when any version changed."""

    name: str

    def version(self, versions: Mapping[str, int]) -> tuple[int, ...]:
        """Return every version."""
        return tuple(versions.values())

    def answer(self, con: Connection) -> pl.DataFrame:
        """Read the list."""
        return _SHORT[self.name](con)


DATASETS, BAR_SETS = Listed("datasets"), Listed("bar sets")
FUNDING, LAKE, FILES = Listed("funding"), Listed("lake"), Listed("files")


@dataclass(frozen=True, slots=True)
class KlinesHeld:
    """The exchange's own minutes by symbol; every ten seconds, since it counts all rows."""

    def version(self, versions: Mapping[str, int]) -> tuple[int, ...]:
        """Return the time's version."""
        return (int(time.monotonic() / 10),)

    def answer(self, con: Connection) -> pl.DataFrame:
        """Read the list."""
        return stored.load_klines_held(con)


@dataclass(frozen=True, slots=True)
class KlineCheck:
    """Our minutes of one symbol against the exchange's; every half a minute.

    One symbol a question, so that no lease is held for a long watchlist.
    """

    symbol: str

    def version(self, versions: Mapping[str, int]) -> tuple[int, ...]:
        """Return the time's version."""
        return (int(time.monotonic() / 30),)

    def answer(self, con: Connection) -> pl.DataFrame:
        """Compare."""
        return queries.load_kline_check(con, [self.symbol])
