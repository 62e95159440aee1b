"""The worker's way in: frames are parsed, checked, counted and put into the buffer."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from core.buffer import TradeBuffer
from core.errands import Errands
from core.feed.checks import plausible_ids
from core.feed.messages import Parsed, parse_frames
from core.vitals import Vitals

logger = logging.getLogger(__name__)


class Intake:
    """Takes frames of the symbols in ``known`` (None: of all)."""

    def __init__(self, vitals: Vitals, errands: Errands, buffer: TradeBuffer) -> None:
        self._vitals = vitals
        self._errands = errands
        self._buffer = buffer
        self._last_ids: dict[str, int] = {}
        self._known: frozenset[str] | None = None

    def expect(self, symbols: Iterable[str]) -> None:
        """Take frames of these symbols only."""
        self._known = frozenset(symbols)

    def note_last_ids(self, last_ids: Mapping[str, int]) -> None:
        """Take note of the highest ids held: one far beyond them is not believed."""
        for symbol, last_id in last_ids.items():
            self._last_ids[symbol] = max(last_id, self._last_ids.get(symbol, -1))

    def take(self, frames: list[bytes]) -> None:
        """Take frames as they came from the socket."""
        parsed = parse_frames(frames, self._known)
        self._count_rejects(parsed)
        self._vitals.heard(parsed.marks)
        self._errands.heard_marks(parsed.marks)
        trades, absurd = plausible_ids(parsed.trades, self._last_ids)
        self._vitals.rejected["bad_id"] += absurd
        if len(trades):
            self._vitals.received(trades, parsed.event_ms)
            self._buffer.add(trades)
            self.note_last_ids({s: self._vitals.last_id(s) for s in parsed.event_ms})
            self._errands.heard(parsed.event_ms)

    def _count_rejects(self, parsed: Parsed) -> None:
        for kind, count in parsed.rejects.items():
            if not self._vitals.rejected[kind]:
                logger.warning(
                    "left out a frame (%s): %s; further ones of this kind are only counted",
                    kind,
                    parsed.samples.get(kind, ""),
                )
            self._vitals.rejected[kind] += count
