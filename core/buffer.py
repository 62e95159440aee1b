"""Trades between the socket and the file: bounded in memory, spilling to disk, never dropped.

The buffer outlives a locked file and a full disk. Rows leave it only when the transaction that
stored them has committed. Beyond ``max_rows`` in memory they go to Parquet files beside the
database; a worker that was killed finds those at its next start, and storing a trade twice is
impossible anyway, so nothing needs to be remembered about them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from core.models import TRADE_SCHEMA

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Batch:
    trades: pl.DataFrame
    path: Path | None = None


class TradeBuffer:
    """A queue of trade frames; used from one thread only, except for `write_spill`."""

    def __init__(self, spill_dir: Path, *, max_rows: int) -> None:
        self._dir = spill_dir
        self._max_rows = max_rows
        self._batches: deque[_Batch] = deque()
        self._rows = 0
        self._spilled: deque[tuple[Path, int]] = deque()
        self._serial = 0
        # The oldest batches, which a transaction has right now: they are not to be moved.
        self.in_flight = 0
        self._find_leftovers()

    @property
    def rows(self) -> int:
        """Rows in memory."""
        return self._rows

    @property
    def spilled_rows(self) -> int:
        """Rows on disk."""
        return sum(rows for _, rows in self._spilled)

    def __len__(self) -> int:
        return self._rows + self.spilled_rows

    def add(self, trades: pl.DataFrame) -> None:
        """Append a frame of TRADE_SCHEMA."""
        if len(trades):
            self._batches.append(_Batch(trades))
            self._rows += len(trades)

    def peek(self, limit: int) -> tuple[pl.DataFrame, int]:
        """Return up to about ``limit`` of the oldest rows and the number of batches they are.

        The rows stay in the buffer until `drop` is called with that number.
        """
        if self._rows < limit // 2:
            self._refill()
        count = rows = 0
        for batch in self._batches:
            if count and rows + len(batch.trades) > limit:
                break
            count, rows = count + 1, rows + len(batch.trades)
        frames = [self._batches[i].trades for i in range(count)]
        return (pl.concat(frames) if frames else pl.DataFrame(schema=TRADE_SCHEMA)), count

    def drop(self, count: int) -> None:
        """Forget the oldest ``count`` batches: they are stored."""
        self.in_flight = 0
        for _ in range(count):
            batch = self._batches.popleft()
            self._rows -= len(batch.trades)
            if batch.path is not None:
                # What is stored may be found again at the next start: it is stored once anyway.
                with contextlib.suppress(OSError):
                    batch.path.unlink(missing_ok=True)

    def is_over(self) -> bool:
        """Return whether memory holds more than it should."""
        return self._rows > self._max_rows

    async def keep_within_memory(self) -> None:
        """Move rows to disk, for ever, whenever memory holds too many."""
        while True:
            await asyncio.sleep(0.5)
            if not self.is_over() or (taken := self.take_for_spill(self.in_flight)) is None:
                continue
            try:
                path = await asyncio.to_thread(self.write_spill, taken)
            except OSError as error:
                logger.warning("the buffer stays in memory: %s", error)
                self.add(taken)
                await asyncio.sleep(5.0)
            else:
                self.note_spilled(path, len(taken))

    async def keep_the_rest(self) -> None:
        """Put what is in memory only into files, for the next start."""
        if (rest := self.take_unspilled()) is None:
            return
        try:
            path = await asyncio.to_thread(self.write_spill, rest)
        except OSError as error:
            logger.error(
                "%d trades could not be kept and will be fetched again: %s", len(rest), error
            )
        else:
            logger.warning("%d trades wait in %s for the next start", len(rest), path)

    def take_for_spill(self, keep: int) -> pl.DataFrame | None:
        """Take the rows behind the oldest ``keep`` batches out of memory, to be spilled."""
        moved: list[pl.DataFrame] = []
        while len(self._batches) > keep and self._batches[-1].path is None:
            moved.append(self._batches.pop().trades)
        if not moved:
            return None
        taken = pl.concat(reversed(moved))
        self._rows -= len(taken)
        return taken

    def take_unspilled(self) -> pl.DataFrame | None:
        """Take all rows that are in memory only, to be spilled at the end."""
        frames = [batch.trades for batch in self._batches if batch.path is None]
        self._batches = deque(batch for batch in self._batches if batch.path is not None)
        self._rows = sum(len(batch.trades) for batch in self._batches)
        return pl.concat(frames) if frames else None

    def write_spill(self, trades: pl.DataFrame) -> Path:
        """Write a frame to a file of its own, complete or not at all; any thread may call it.

        Raises OSError where the disk refuses it.
        """
        self._dir.mkdir(parents=True, exist_ok=True)
        self._serial += 1
        path = self._dir / f"{self._serial:08d}.parquet"
        draft = path.with_suffix(".draft")
        try:
            trades.write_parquet(draft, compression="zstd")
            draft.replace(path)
        except (OSError, pl.exceptions.PolarsError) as error:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise OSError(f"{path} could not be written: {error}") from error
        return path

    def note_spilled(self, path: Path, rows: int) -> None:
        """Remember a file that `write_spill` wrote."""
        self._spilled.append((path, rows))

    def _refill(self) -> None:
        if not self._spilled:
            return
        path, _ = self._spilled.popleft()
        try:
            trades = pl.read_parquet(path).select(list(TRADE_SCHEMA)).cast(pl.Schema(TRADE_SCHEMA))
        except (OSError, pl.exceptions.PolarsError) as error:
            logger.error("the spill file %s cannot be read and is set aside: %s", path, error)
            with contextlib.suppress(OSError):
                path.replace(path.with_suffix(".unreadable"))
            return
        self._batches.append(_Batch(trades, path))
        self._rows += len(trades)

    def _find_leftovers(self) -> None:
        if not self._dir.is_dir():
            return
        for path in sorted(p for p in self._dir.glob("*.parquet") if p.stem.isdecimal()):
            with contextlib.suppress(pl.exceptions.PolarsError, OSError):
                rows = pl.scan_parquet(path).select(pl.len()).collect().item()
                self._spilled.append((path, rows))
            self._serial = max(self._serial, int(path.stem))
        for draft in self._dir.glob("*.draft"):
            draft.unlink(missing_ok=True)
