"""Which files there are: the live exchange's, and the practice exchange's own."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from core.config import Settings, load_settings
from core.store import Store, open_store
from core.supervisor import WorkerLock, start_worker

BINANCE, PRACTICE = "binance", "practice"
LABELS = {BINANCE: "Binance", PRACTICE: "Practice"}
# What a first click starts with: liquid enough that candles move at once.
FIRST_SYMBOLS = {
    BINANCE: ("btcusdt", "ethusdt", "solusdt"),
    PRACTICE: ("btcusdt", "ethusdt", "solusdt", "arbusdt", "opusdt"),
}


@dataclass(frozen=True, slots=True)
class Source:
    """One file and the worker that fills it."""

    name: str
    store: Store

    @property
    def is_practice(self) -> bool:
        """Whether the trades are made up by the practice exchange."""
        return self.name == PRACTICE

    @property
    def label(self) -> str:
        """The name on the screen."""
        return LABELS[self.name]

    def start(self, symbols: tuple[str, ...] = ()) -> int:
        """Start the worker detached from this process; returns its pid."""
        settings = replace(load_settings(), practice=self.is_practice)
        return start_worker(settings, practice=self.is_practice, symbols=symbols)


def in_order(symbols: Iterable[str]) -> list[str]:
    """Return the symbols with the best known first, the rest by name."""
    known = {symbol: place for place, symbol in enumerate(FIRST_SYMBOLS[PRACTICE])}
    return sorted(set(symbols), key=lambda symbol: (known.get(symbol, len(known)), symbol))


def named(name: str) -> Source:
    """Return the source of that name: ``binance`` or ``practice``."""
    return _of(name, load_settings())


def _of(name: str, settings: Settings) -> Source:
    return _source(name, settings.practice_db() if name == PRACTICE else settings.db)


def prepare(source: Source) -> None:
    """Make the source's file where no worker has made it yet."""
    if not source.store.exists():
        settings = load_settings()
        source.store.prepare(settings.practice_venue() if source.is_practice else settings.venue)


@functools.lru_cache(maxsize=64)
def _source(name: str, path: Path) -> Source:
    return Source(name, open_store(path))


def files() -> list[tuple[Store, Settings]]:
    """Return the file of each source, with the settings that its alerts go by."""
    settings = load_settings()
    return [(_of(name, settings).store, settings) for name in (BINANCE, PRACTICE)]


def default() -> Source:
    """Return the source with a live worker, else the one with data, the main one first."""
    settings = load_settings()
    known = [_of(name, settings) for name in (BINANCE, PRACTICE)]
    for source in known:
        if WorkerLock(source.store.path).is_held():
            return source
    return next((source for source in known if source.store.exists()), known[0])
