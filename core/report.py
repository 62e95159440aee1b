"""What the worker says of itself: one row in the file, and plain words where something is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.backfill import GapFiller
from core.buffer import TradeBuffer
from core.errands import Errands
from core.feed.rest import RestClient
from core.feed.stream import StreamPool
from core.models import WorkerStatus
from core.trade_writer import utc_now
from core.vitals import Vitals

# Trades that arrive later than this are told of.
BEHIND_S = 5.0


@dataclass(frozen=True, slots=True)
class Report:
    """Looks at the worker's parts and sums them up."""

    pool: StreamPool
    filler: GapFiller
    errands: Errands
    vitals: Vitals
    buffer: TradeBuffer
    rest: RestClient

    def worker_row(self, state: str, *, note: str, writing: int) -> WorkerStatus:
        """Return the worker's own row; ``writing`` rows of the buffer are on their way."""
        connections = self.pool.status()
        self.vitals.connections = sum(c.is_carrying for c in connections)
        self.vitals.reconnects = sum(c.reconnects for c in connections)
        self.vitals.weight_used = self.rest.weight_used
        return self.vitals.worker_row(
            state=state,
            now=utc_now(),
            buffered=max(0, self.buffer.rows - writing),
            spilled=self.buffer.spilled_rows,
            note=note,
        )

    def note(self, watchlist: Sequence[str], file_trouble: str, job_trouble: str) -> str:
        """Say what is wrong now, the worst first; empty when nothing is."""
        connections = self.pool.status()
        if any(c.restricted for c in connections) or self.filler.restricted:
            return "The exchange does not serve this location (451)."
        if file_trouble:
            return file_trouble
        if watchlist and connections and not any(c.is_carrying for c in connections):
            return f"The exchange cannot be reached: {connections[0].last_error or 'connecting'}"
        lags = [lag for s in watchlist if (lag := self.vitals.lag_s(s)) is not None]
        if lags and min(lags) > BEHIND_S:
            return f"Trades arrive {min(lags):.0f} s late."
        return self.filler.trouble or self.errands.trouble or job_trouble

    def refusals(self, watchlist: Sequence[str]) -> dict[str, str]:
        """Return why a watched symbol is not followed, for those that are not."""
        tradable = self.errands.tradable
        if tradable is None:
            return {}
        return {
            symbol: "not a perpetual that is trading on this exchange"
            for symbol in watchlist
            if symbol not in tradable
        }
