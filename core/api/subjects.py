"""Which file a request is about, and which key of it a symbol is."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from core.api.parameters import PairAsked, timeframe_of
from core.api.problems import Problem, bad_parameter
from core.errors import StoreBusy
from core.live import sources
from core.live.feeder import Feeder, feeder
from core.live.pulse import Pulse, dataset_of
from core.live.questions import Datasets, newest
from core.pair_spec import PairSpec

# Names that an error lists, before it only counts.
_NAMED = 20
# A busy file is looked at again once a second or so.
FRESH_S = 5.0
_NEVER = datetime(1970, 1, 1)  # noqa: DTZ001 - naive UTC, as the store keeps it


@dataclass(frozen=True, slots=True)
class Subject:
    """One source's file with its reader, and its state as just read."""

    source: sources.Source
    feed: Feeder
    pulse: Pulse

    def key(self, name: str, dataset: str | None = None) -> str:
        """Return the symbol's key; raises Problem 404 where nothing of it is stored.

        ``dataset`` chooses one; else the symbol's own trades count, or its newest dataset.
        """
        asked = name.strip().lower()
        if dataset and "@" not in asked:
            asked = f"{asked}@{dataset.strip().lower()}"
        if asked in self.pulse.spans:
            return asked
        if "@" not in asked and (newest := self._newest_dataset(asked)):
            return newest
        raise Problem(404, f"Nothing is stored of {asked!r}; there is {self._there()}.")

    def keys(self, names: Sequence[str], dataset: str | None) -> list[str]:
        """Return the keys of several symbols, each once, in their order."""
        return list(dict.fromkeys(self.key(name, dataset) for name in names))

    def bounds(self, key: str, timeframe: str) -> tuple[datetime, datetime]:
        """Return from when to when there are bars; raises Problem where of that length none is."""
        found = self.pulse.bounds(key, timeframe)
        if found is None:
            raise Problem(422, f"{key.upper()} has no {timeframe} bars; choose longer ones.")
        return found

    def versions(self, keys: Sequence[str]) -> tuple[int, ...]:
        """Return the versions of the keys' data."""
        return tuple(self.pulse.versions.get(key, 0) for key in keys)

    def _newest_dataset(self, symbol: str) -> str | None:
        own = [key for key in self.pulse.spans if key.startswith(f"{symbol}@")]
        if len(own) < 2:
            return own[0] if own else None
        made: Mapping[str, datetime] = newest(self.feed, Datasets()).value
        return max(own, key=lambda key: (made.get(dataset_of(key), _NEVER), key))

    def _there(self) -> str:
        known = sorted(self.pulse.spans)
        more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
        return f"{', '.join(known[:_NAMED])}{more}" if known else "nothing at all yet"


def source_of(name: str | None) -> sources.Source:
    """Return the source of that name, or the one in use."""
    return sources.named(name) if name else sources.default()


def subject_of(name: str | None) -> Subject:
    """Return the file that a request is about; raises what the store raises.

    While the file is busy, what was read of it a moment ago counts.
    """
    source = source_of(name)
    feed = feeder(source.store)
    pulse = feed.pulse()
    is_fresh = time.monotonic() - pulse.read_at < FRESH_S
    if pulse.error is not None and not (is_fresh and isinstance(pulse.error, StoreBusy)):
        raise pulse.error
    return Subject(source, feed, pulse)


def location(source: sources.Source, *place: str) -> dict[str, str]:
    """Return the header that leads to what was made, in the very file in which it was made."""
    return {"Location": f"/api/{'/'.join(place)}?source={source.name}"}


def pair_of(subject: Subject, asked: PairAsked) -> PairSpec:
    """Return the pair that was asked for; raises Problem, DataError."""
    y, x = (subject.key(name, asked.dataset) for name in (asked.y, asked.x))
    if y == x:
        raise bad_parameter("x", f"x and y are both {x.upper()}; give two different symbols")
    return PairSpec(
        y, x, timeframe_of(asked.timeframe), asked.price_scale == "log", asked.regression,
        asked.roll_window, asked.min_volume, asked.carry, asked.hold, asked.burn_in,
    )  # fmt: skip


def range_of(asked: str | None, bar_s: int) -> str:
    """Return the range's name: the one given, or what suits the bars."""
    return asked or ("1h" if bar_s < 60 else "1d")
