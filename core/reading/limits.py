"""How much a file may unfold to."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what comes out of a compressed file, counted while it is read.

    ``ratio`` is the decompressed size over the file's own, and is held from ``free_bytes`` on
    (small files of equal lines compress very well); ``member_bytes`` bounds the member of a zip,
    ``total_bytes`` every file.
    """

    ratio: float = 200.0
    total_bytes: int = 200 * GIB
    member_bytes: int = 64 * GIB
    free_bytes: int = 16 * 2**20
