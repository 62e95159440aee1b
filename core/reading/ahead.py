"""Bytes read one step ahead, in a thread: unfolding and parsing share the machine's cores."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from core.reading.text import Readable


class Ahead:
    """Reads from another source what will be asked for next; sizes must stay the same."""

    def __init__(self, inner: Readable) -> None:
        self._inner = inner
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="read ahead")
        self._coming: Future[bytes] | None = None

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end; raises what the source raises."""
        data = self._coming.result() if self._coming else self._inner.read(size)
        self._coming = self._pool.submit(self._inner.read, size) if data else None
        return data

    def close(self) -> None:
        """Wait for what is being read; more than once does no harm."""
        self._pool.shutdown()
