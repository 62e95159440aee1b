"""What a question to the file is, what an answer, and which questions are open."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from core.errors import PerpduckError
from core.store import Connection

# A question that nobody asked for this long is not answered any more.
ASKED_S = 5.0
# One that failed is not tried again for so long, and then only if it is asked again.
FAILED_S = 5.0


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


class Asked:
    """The questions asked of late, and why some of them have no answer."""

    def __init__(self) -> None:
        self._asked_at: dict[Question, float] = {}
        self._failures: dict[Question, tuple[float, PerpduckError]] = {}

    def note(self, questions: Iterable[Question]) -> None:
        """Note that they are asked now."""
        now = time.monotonic()
        for question in questions:
            self._asked_at[question] = now

    def open(self) -> list[Question]:
        """Return what may be tried."""
        return [question for question in list(self._asked_at) if self.is_open(question)]

    def is_open(self, question: Question) -> bool:
        """Return whether it may be tried: it did not fail, or was asked again later on."""
        failed = self._failures.get(question)
        return failed is None or self._asked_at.get(question, 0.0) - failed[0] > FAILED_S

    def failure(self, question: Question) -> PerpduckError | None:
        """Return why it could not be answered when it was last tried."""
        failed = self._failures.get(question)
        return failed and failed[1]

    def failed(self, question: Question, error: PerpduckError) -> None:
        """Note that it could not be answered."""
        self._failures[question] = time.monotonic(), error

    def answered(self, question: Question) -> None:
        """Note that it was answered."""
        self._failures.pop(question, None)

    def forgive(self) -> None:
        """Forget all failures: they were another file's."""
        self._failures.clear()

    def forget(self) -> None:
        """Forget what nobody asked of late, and with it that it failed."""
        now = time.monotonic()
        for question, at in list(self._asked_at.items()):
            if now - at >= ASKED_S:
                self._asked_at.pop(question, None)
        for question in list(self._failures):
            if question not in self._asked_at:
                self._failures.pop(question, None)
