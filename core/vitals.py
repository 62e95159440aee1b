"""What the worker knows of itself and of its symbols, for the status rows. Pure bookkeeping."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version

import polars as pl

from core.feed.gaps import Gap
from core.feed.line import ConnectionStatus
from core.models import MarkPrice, SymbolStatus, WorkerStatus

# The rate shown is an exponential mean over about this many seconds.
RATE_S = 5.0


@dataclass(slots=True)
class _SymbolVitals:
    last_id: int = -1
    last_price: float | None = None
    last_trade_ts: datetime | None = None
    event_ms: int | None = None
    received_ms: int = 0
    pending: int = 0
    rate: float = 0.0
    stored: int = 0


class Vitals:
    """Counts and last values, fed by the worker; rows for the file come out.

    ``now_ms`` is the local clock in epoch milliseconds; `offset_ms` is what the exchange's
    clock is ahead of it. A symbol of which no frame came for ``silence_s`` seconds is silent;
    mark prices come every second, so they tell one that is dead from one that does not trade.
    """

    def __init__(
        self,
        venue: str,
        started_at: datetime,
        now_ms: Callable[[], int],
        *,
        silence_s: float = 20.0,
    ) -> None:
        self._venue = venue
        self._started_at = started_at
        self._now_ms = now_ms
        self._silence_s = silence_s
        self._symbols: dict[str, _SymbolVitals] = {}
        self._rated_ms = self._begun_ms = now_ms()
        self.offset_ms = 0
        self.rejected: Counter[str] = Counter()
        self.flush_s = 0.0
        self.worst_flush_s = 0.0
        self.reconnects = 0
        self.connections = 0
        self.weight_used = 0

    def received(self, trades: pl.DataFrame, event_ms: Mapping[str, int]) -> None:
        """Take note of trades that came from the socket."""
        self._heard(event_ms)
        # Plain Python: a Polars expression costs 0.8 ms a batch, however small, and small
        # batches come twenty times a second.
        symbols = trades["symbol"].to_list()
        counts, last = Counter(symbols), {symbol: row for row, symbol in enumerate(symbols)}
        ids, prices, times = trades["agg_id"], trades["price"], trades["ts"]
        for symbol, row in last.items():
            known = self._symbols.setdefault(symbol, _SymbolVitals())
            known.pending += counts[symbol]
            if ids[row] > known.last_id:
                known.last_id, known.last_price = ids[row], prices[row]
                known.last_trade_ts = times[row]

    def heard(self, marks: Iterable[MarkPrice]) -> None:
        """Take note of mark prices that came from the socket: the heartbeat of their symbols."""
        latest: dict[str, int] = {}
        for mark in marks:
            latest[mark.symbol] = max(mark.event_ms, latest.get(mark.symbol, 0))
        self._heard(latest)

    def _heard(self, event_ms: Mapping[str, int]) -> None:
        now_ms = self._now_ms()
        for symbol, newest in event_ms.items():
            known = self._symbols.setdefault(symbol, _SymbolVitals())
            known.event_ms, known.received_ms = newest, now_ms

    def stored(self, counts: Mapping[str, int]) -> None:
        """Take note of trades that a transaction stored."""
        for symbol, count in counts.items():
            self._symbols.setdefault(symbol, _SymbolVitals()).stored += count

    def flushed(self, seconds: float) -> None:
        """Take note of how long a write took."""
        self.flush_s = seconds
        self.worst_flush_s = max(self.worst_flush_s, seconds)

    def heard_ms(self, symbols: Iterable[str]) -> dict[str, int]:
        """Return the newest event time of each symbol that was heard of, epoch milliseconds."""
        known = {symbol: self._symbols.get(symbol) for symbol in symbols}
        return {s: one.event_ms for s, one in known.items() if one and one.event_ms is not None}

    @property
    def silent_s(self) -> float:
        """Seconds since anything was heard of any symbol, or since the start."""
        newest = max((one.received_ms for one in self._symbols.values()), default=0)
        return max(0.0, (self._now_ms() - max(newest, self._begun_ms)) / 1000)

    def last_id(self, symbol: str) -> int:
        """Return the highest id seen of a symbol, -1 where none was."""
        known = self._symbols.get(symbol)
        return known.last_id if known else -1

    def exchange_ms(self) -> int:
        """Return the exchange's clock in epoch milliseconds, as far as it is known."""
        return self._now_ms() + self.offset_ms

    def lag_s(self, symbol: str) -> float | None:
        """Return how old the newest event was when it arrived.

        None before the first, and when nothing has come for so long that it tells nothing.
        """
        known = self._symbols.get(symbol)
        if known is None or known.event_ms is None or not self._is_fresh(known):
            return None
        return max(0.0, (known.received_ms + self.offset_ms - known.event_ms) / 1000)

    def worker_row(
        self, *, state: str, now: datetime, buffered: int, spilled: int, note: str
    ) -> WorkerStatus:
        """Return the worker's own row; also brings the rates up to date."""
        self._rate()
        return WorkerStatus(
            pid=os.getpid(),
            host=socket.gethostname(),
            version=program_version(),
            venue=self._venue,
            state=state,
            started_at=self._started_at,
            updated_at=now,
            buffered_trades=buffered,
            spilled_trades=spilled,
            flush_s=round(self.flush_s, 4),
            worst_flush_s=round(self.worst_flush_s, 4),
            trades_per_s=round(sum(known.rate for known in self._symbols.values()), 2),
            connections=self.connections,
            reconnects=self.reconnects,
            rejected=sum(self.rejected.values()),
            weight_used=self.weight_used,
            note=note,
        )

    def symbol_rows(
        self,
        watched: Iterable[str],
        gaps: Mapping[str, list[Gap]],
        notes: Mapping[str, str],
        *,
        lines: Mapping[str, ConnectionStatus] | None = None,
    ) -> list[SymbolStatus]:
        """Return one row a watched symbol.

        States: refused (``notes`` says why), waiting (nothing has come yet), live, silent.
        ``lines`` tells the connection of each symbol; without it all are taken to be up.
        """
        rows = []
        for symbol in watched:
            known = self._symbols.setdefault(symbol, _SymbolVitals())
            holes = gaps.get(symbol, [])
            note = notes.get(symbol, "")
            is_up, reconnects = self._connection(symbol, lines)
            state = "refused" if note else self._state(known, is_up)
            lag_s = self.lag_s(symbol) if state == "live" else None
            rows.append(
                SymbolStatus(
                    symbol=symbol,
                    state=state,
                    last_price=known.last_price,
                    last_trade_ts=known.last_trade_ts,
                    lag_s=None if lag_s is None else round(lag_s, 3),
                    trades_per_s=round(known.rate, 2),
                    trades_stored=known.stored,
                    reconnects=reconnects,
                    open_gaps=len(holes),
                    missing_trades=sum(gap.missing for gap in holes),
                    note=note,
                )
            )
        return rows

    def _connection(
        self, symbol: str, lines: Mapping[str, ConnectionStatus] | None
    ) -> tuple[bool, int]:
        """Return whether a symbol's connection carries data, and how often it was lost."""
        if lines is None:
            return True, self.reconnects
        line = lines.get(symbol)
        return (False, 0) if line is None else (line.is_carrying, line.reconnects)

    def _state(self, known: _SymbolVitals, is_up: bool) -> str:
        if known.event_ms is None:
            return "waiting"
        return "live" if is_up and self._is_fresh(known) else "silent"

    def _is_fresh(self, known: _SymbolVitals) -> bool:
        # The local clock may be set back: a frame from the future is no proof of life either.
        return abs(self._now_ms() - known.received_ms) <= self._silence_s * 1000

    def _rate(self) -> None:
        now_ms = self._now_ms()
        passed_s = (now_ms - self._rated_ms) / 1000
        if passed_s < 0.2:
            return
        self._rated_ms = now_ms
        weight = min(1.0, passed_s / RATE_S)
        for known in self._symbols.values():
            known.rate += weight * (known.pending / passed_s - known.rate)
            known.pending = 0


def program_version() -> str:
    """Return Perpduck's version, as installed."""
    try:
        return version("perpduck")
    except PackageNotFoundError:
        return "not installed"
