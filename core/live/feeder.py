"""What the sessions of this process read of one file, read once for all of them.

While a session asks, one thread a file looks every half second whether the file changed, and
if so answers all questions asked of late in one short lease. A refresh of a page therefore
reads memory: twenty sessions cost the worker no more waiting than one. Answers are kept by the
versions of what they depend on, and stay when the file cannot be read, with the reason. A question
that takes too long, or fails, fails for those alone who ask it.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from core.errors import PerpduckError, ReadStopped, StoreBusy, StoreMissing
from core.live.asking import ASKED_S, Answer, Asked, Question
from core.live.pulse import Pulse, judged, read_pulse
from core.store import Connection, Fingerprint, Store
from core.supervisor import WorkerLock

logger = logging.getLogger(__name__)

PERIOD_S = 0.5
# A page waits this long for its first answer before it says that the file is busy.
FIRST_WAIT_S = 2.0
ANSWERS = 256
# Questions (or what is asked in one with others) under one lease; the worker waits meanwhile.
AT_ONCE = 8
# A WAL larger than this, left by a worker that is gone, is folded into the file: every opening
# would replay it.
LEFT_WAL_BYTES = 64 << 10


class Feeder:
    """Reads one file for all sessions of the process."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._changed = threading.Condition()
        self._wake = threading.Event()
        self._answers: dict[Question, Answer] = {}
        self._asked = Asked()
        self._pulse: Pulse | None = None
        self._seen: Fingerprint | None = None
        self._seen_at = 0.0
        self._folded: tuple[int, int] | None = None
        self._wanted_at = 0.0
        self._begun = 0
        self._done = 0
        self._thread: threading.Thread | None = None
        self._is_over = False
        # Python ends threads inside DuckDB in a way that aborts the process: end it before.
        atexit.register(self._end)

    def pulse(self) -> Pulse:
        """Return the state of the file and worker, at most about a second old."""
        asleep = time.monotonic() - self._wanted_at > ASKED_S
        self._want()
        if self._pulse is None or asleep:
            self.refresh()
        assert self._pulse is not None
        return self._pulse

    def ask(self, question: Question, *besides: Question) -> Answer:
        """Return the newest answer; waits for a first one, together with whoever else waits.

        ``besides`` are asked in the same breath and can then be had by `known`, mostly at once.
        Raises what the store raises when there is no answer to fall back on.
        """
        self._want()
        self._asked.note((question, *besides))
        if question not in self._answers and self._asked.is_open(question):
            self.refresh(lambda: question in self._answers)
        if found := self._answers.get(question):
            return found
        if error := self.failure(question) or (self._pulse and self._pulse.error):
            raise error
        raise self._late()

    def known(self, question: Question) -> Answer | None:
        """Return the newest answer without waiting, None where there is none yet."""
        return self._answers.get(question)

    def failure(self, question: Question) -> PerpduckError | None:
        """Return why the question could not be answered when it was last tried."""
        return self._asked.failure(question)

    def refresh(self, is_enough: Callable[[], bool] = bool) -> None:
        """Wait until the file was looked at once, from now, or ``is_enough`` before that.

        Failures stay in the pulse.
        """
        with self._changed:
            target = self._begun + 1
            self._want()
            self._wake.set()
            self._changed.wait_for(
                lambda: self._done >= target or is_enough(), timeout=2 * FIRST_WAIT_S + 1
            )

    # -- the thread --

    def _want(self) -> None:
        self._wanted_at = time.monotonic()
        if self._thread and self._thread.is_alive():
            return
        with self._changed:
            if not (self._thread and self._thread.is_alive()):
                name = f"feeder {self.store.path.name}"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()

    def _end(self) -> None:
        self._is_over = True
        self._wake.set()
        if thread := self._thread:
            thread.join(2.0)

    def _run(self) -> None:
        while True:
            self._wake.wait(PERIOD_S)
            self._wake.clear()
            with self._changed:
                if self._is_over or time.monotonic() - self._wanted_at > ASKED_S:
                    self._thread = None
                    return
                self._begun += 1
                begun = self._begun
            try:
                self._look()
            except Exception as error:  # the pages must hear of it, whatever it is
                logger.exception("the file could not be looked at")
                self._pulse = judged(self.store.path, self._pulse, PerpduckError(str(error)))
            with self._changed:
                self._done = begun
                self._changed.notify_all()
            self._fold()

    def _look(self) -> None:
        before = self._pulse
        try:
            seen = self.store.fingerprint()
            if before is None or before.error or seen != self._seen or self._is_behind(before):
                if seen != self._seen:
                    self._seen_at = time.monotonic()
                self._read(FIRST_WAIT_S if before is None else 1.0)
                self._seen = seen
            else:
                self._pulse = judged(self.store.path, before, None)
        except PerpduckError as error:
            if isinstance(error, StoreMissing):
                self._answers.clear()
                self._asked.forgive()
                self._seen = before = None
            # The range of a question has no part in how long the pulse takes.
            ours = self._late() if isinstance(error, ReadStopped) else error
            self._pulse = judged(self.store.path, before, ours)

    def _late(self) -> StoreBusy:
        return StoreBusy(
            f"{self.store.path} could not be read in time; it is tried again by itself"
        )

    def _is_behind(self, before: Pulse) -> bool:
        """Return whether a question was never answered, or last by an older state of the file.

        The file may have changed while nobody asked that question.
        """
        return any(
            (known := self._answers.get(one)) is None
            or (known.read_at < self._seen_at and known.version != one.version(before.versions))
            for one in self._asked.open()
        )

    def _fold(self) -> None:
        """Fold the WAL that a worker left behind into the file; once, however that ends."""
        pulse = self._pulse
        if pulse is None or pulse.error or pulse.health.state not in ("stopped", "dead"):
            return
        _, wal = self.store.fingerprint()
        if wal[1] <= LEFT_WAL_BYTES or wal == self._folded:
            return
        # The pulse may be half a second old, and a worker may have started since.
        if WorkerLock(self.store.path).is_held():
            return
        self._folded = wal
        try:
            self.store.checkpoint(wait_s=PERIOD_S)
        except (PerpduckError, OSError) as error:
            logger.info("the WAL of %s stays: %s", self.store.path, error)

    def _read(self, wait_s: float) -> None:
        """Read the pulse and what is due, a few questions a lease: the worker waits meanwhile.

        What ends its lease is asked by itself after all others. The pulse counts in any case.
        """
        self._asked.forget()
        pulse: Pulse | None = None
        due: list[list[Question]] = []
        alone: list[Question] = []
        try:
            with self.store.read(wait_s=wait_s) as con:
                pulse = read_pulse(con, self.store.path, self._pulse)
                due = self._due(pulse.versions)
                if len(due) <= AT_ONCE:
                    self._answer_some(due, con, pulse.versions)
        except Exception:
            if pulse is None or not due:
                raise
            alone += due.pop(0)
        self._pulse = pulse
        while due:
            self._tell()
            try:
                with self.store.read(wait_s=wait_s) as con:
                    self._answer_some(due, con, pulse.versions)
            except Exception as error:
                if _is_held(error) or not due:
                    return
                alone += due.pop(0)
        for question in alone:
            self._tell()
            self._answer_alone(question, pulse.versions, wait_s)

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _due(self, versions: Mapping[str, int]) -> list[list[Question]]:
        """Return the questions to answer, those that one query answers together."""
        found: dict[object, list[Question]] = {}
        for question in self._asked.open():
            known = self._answers.get(question)
            if known is None or known.version != question.version(versions):
                found.setdefault(getattr(question, "together", question), []).append(question)
        return list(found.values())

    def _answer_some(
        self, due: list[list[Question]], con: Connection, versions: Mapping[str, int]
    ) -> None:
        """Answer the first of what is due; what is answered leaves the list."""
        for _ in range(min(AT_ONCE, len(due))):
            self._answer(due[0], con, versions)
            del due[0]

    def _answer_alone(self, question: Question, versions: Mapping[str, int], wait_s: float) -> None:
        """Answer under a lease of its own; a failure is kept for those who ask this question."""
        try:
            with self.store.read(wait_s=wait_s) as con:
                self._answer([question], con, versions)
        except Exception as error:  # who asks must hear of it, whatever it is
            if _is_held(error):
                return
            if not isinstance(error, PerpduckError):
                logger.exception("%r could not be answered", question)
                error = PerpduckError(str(error))
            self._asked.failed(question, error)

    def _answer(
        self, together: list[Question], con: Connection, versions: Mapping[str, int]
    ) -> None:
        if len(together) == 1:
            values = [together[0].answer(con)]
        else:
            values = together[0].answer_all(together, con)  # type: ignore[attr-defined]
        for question, value in zip(together, values, strict=True):
            self._answers[question] = Answer(value, question.version(versions), time.monotonic())
            self._asked.answered(question)
        while len(self._answers) > ANSWERS:
            del self._answers[next(iter(self._answers))]


def _is_held(error: Exception) -> bool:
    """Return whether somebody else holds the file: the next look tries again."""
    return isinstance(error, StoreBusy) and not isinstance(error, ReadStopped)


_feeders: dict[Path, Feeder] = {}
_feeders_guard = threading.Lock()


def feeder(store: Store) -> Feeder:
    """Return this process's one Feeder for the store."""
    with _feeders_guard:
        found = _feeders.get(store.path)
        if found is None or found.store is not store:
            found = _feeders[store.path] = Feeder(store)
        return found
