"""What a question to the file is, and what an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from core.store import Connection


class Question(Protocol):
    """Something to ask of the file: hashable, and answered anew when its versions change.

    Those of one ``together``, where they have it, are asked in one by ``answer_all``.
    """

    def version(self, versions: Mapping[str, int]) -> tuple[float, ...]:
        """Return the versions that the answer depends on."""
        ...

    def answer(self, con: Connection) -> Any:
        """Read the answer."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What was read, of which version, and when (monotonic seconds)."""

    value: Any
    version: tuple[float, ...]
    read_at: float
