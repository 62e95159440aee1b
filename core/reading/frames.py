"""What the readers pass on: rows, rejects with their lines, and how many lines were rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from core.errors import BadFile
from core.models import REJECT_SCHEMA

Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]
# One line that was left out: its number, the reason, its text.
Reject = tuple[int, str, str]

TEXT_CHARS = 200


class Refused(BadFile):
    """A file with too many rejects: how many rows it has, and those of them that are at hand."""

    def __init__(self, message: str, *, read: int, rejected: int, rejects: pl.DataFrame) -> None:
        super().__init__(message)
        self.read = read
        self.rejected = rejected
        self.rejects = rejects


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a file, in the file's order.

    ``rows`` has core.models.TICK_SCHEMA (ticks, raw trades), TRADE_SCHEMA (aggTrades) or
    KLINE_SCHEMA; ``rejects`` has REJECT_SCHEMA, ``read`` counts the data rows seen, rejects
    included (header and blank lines are none), ``done`` is the share of the file consumed, 0 to 1.
    """

    rows: pl.DataFrame
    rejects: pl.DataFrame
    read: int
    done: float


@dataclass(frozen=True, slots=True)
class Parsed:
    """What one block of a file held; as in `Batch`."""

    rows: pl.DataFrame
    rejects: list[Reject]
    read: int


@dataclass(frozen=True, slots=True)
class Sifted:
    """Good rows, and the places of the others with a reason each."""

    rows: pl.DataFrame
    bad: Places
    reasons: list[str]


def sifted(frame: pl.DataFrame, checks: Sequence[tuple[str, Mask]]) -> Sifted:
    """Leave out the rows that a check marks; the first check that does gives the reason."""
    failed = np.zeros(frame.height, dtype=np.bool_)
    for _, marked in checks:
        failed |= marked
    if not failed.any():
        return Sifted(frame, np.empty(0, dtype=np.int64), [])
    bad = np.flatnonzero(failed)
    code = np.full(len(bad), -1)
    for number, (_, marked) in enumerate(checks):
        code[(code < 0) & marked[bad]] = number
    names = [reason for reason, _ in checks]
    return Sifted(frame.filter(pl.Series(~failed)), bad, [names[number] for number in code])


def reject_frame(rejects: Sequence[Reject]) -> pl.DataFrame:
    """Return the rejects by line, as a frame of core.models.REJECT_SCHEMA."""
    return pl.DataFrame(sorted(rejects), schema=REJECT_SCHEMA, orient="row")


def shown(line: bytes | str) -> str:
    """Return the start of a line as text, as a report shows it."""
    if isinstance(line, bytes):
        line = line[: 4 * TEXT_CHARS].decode("utf-8", errors="replace")
    return line[:TEXT_CHARS]
