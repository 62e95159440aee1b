"""What the sessions of this process read of one file, read once for all of them.

While a session asks, one thread a file looks every half second whether the file changed, and
if so answers all questions asked of late in one short lease. A refresh of a page therefore
reads memory: twenty sessions cost the worker no more waiting than one. Answers are kept by the
versions of what they depend on, and stay when the file cannot be read, with the reason.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from core import queries
from core.errors import PerpduckError, StoreBusy, StoreMissing
from core.live.asking import Answer, Question
from core.live.pulse import Pulse, judged, spans_by_symbol
from core.store import Connection, Fingerprint, Store
from core.supervisor import WorkerLock, worker_health

logger = logging.getLogger(__name__)

PERIOD_S = 0.5
# A question that nobody asked for this long is not answered any more.
ASKED_S = 5.0
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
        self._failures: dict[Question, PerpduckError] = {}
        self._asked: dict[Question, float] = {}
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
        now = time.monotonic()
        for one in (question, *besides):
            self._asked[one] = now
        if question not in self._answers:
            self.refresh()
        if found := self._answers.get(question):
            return found
        if error := self._failures.get(question) or (self._pulse and self._pulse.error):
            raise error
        raise StoreBusy(f"{self.store.path} could not be read in time; it is tried again by itself")

    def known(self, question: Question) -> Answer | None:
        """Return the newest answer without waiting, None where there is none yet."""
        return self._answers.get(question)

    def refresh(self) -> None:
        """Wait until the file was looked at once, from now; failures stay in the pulse."""
        with self._changed:
            target = self._begun + 1
            self._want()
            self._wake.set()
            self._changed.wait_for(lambda: self._done >= target, timeout=2 * FIRST_WAIT_S + 1)

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
                self._pulse = self._read(FIRST_WAIT_S if before is None else 1.0)
                self._seen = seen
            else:
                self._pulse = judged(self.store.path, before, None)
        except PerpduckError as error:
            if isinstance(error, StoreMissing):
                self._answers.clear()
                self._seen = before = None
            self._pulse = judged(self.store.path, before, error)

    def _is_behind(self, before: Pulse) -> bool:
        """Return whether a question was never answered, or last by an older state of the file.

        The file may have changed while nobody asked that question.
        """
        return any(
            (known := self._answers.get(one)) is None
            or (known.read_at < self._seen_at and known.version != one.version(before.versions))
            for one in list(self._asked)
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

    def _read(self, wait_s: float) -> Pulse:
        """Read the pulse and what is due, a few questions a lease: the worker waits meanwhile."""
        now = time.monotonic()
        self._asked = {q: at for q, at in list(self._asked.items()) if now - at < ASKED_S}
        with self.store.read(wait_s=wait_s) as con:
            pulse = self._read_pulse(con)
            due = self._due(pulse.versions)
            first, rest = due[:AT_ONCE], due[AT_ONCE:]
            for together in first if not rest else ():
                self._answer(together, con, pulse.versions)
        for at in range(0, len(due), AT_ONCE) if rest else ():
            self._answer_some(due[at : at + AT_ONCE], pulse.versions, wait_s)
        return pulse

    def _due(self, versions: Mapping[str, int]) -> list[list[Question]]:
        """Return the questions to answer, those that one query answers together."""
        found: dict[object, list[Question]] = {}
        for question in self._asked:
            known = self._answers.get(question)
            if known is None or known.version != question.version(versions):
                found.setdefault(getattr(question, "together", question), []).append(question)
        return list(found.values())

    def _answer_some(
        self, due: list[list[Question]], versions: Mapping[str, int], wait_s: float
    ) -> None:
        """Answer under one lease; where that takes too long, one by one, and keep the failures."""
        questions = [question for together in due for question in together]
        try:
            with self.store.read(wait_s=wait_s) as con:
                for together in due:
                    self._answer(together, con, versions)
            return
        except StoreBusy:
            if len(questions) == 1:
                raise
        for question in questions:
            try:
                with self.store.read(wait_s=wait_s) as con:
                    self._answer([question], con, versions)
            except StoreBusy as error:
                self._failures[question] = error

    def _read_pulse(self, con: Connection) -> Pulse:
        versions = queries.load_versions(con)
        status = queries.load_worker_status(con)
        known = self._pulse
        if known and known.contracts.height and _same(known.versions, versions, "symbols"):
            contracts, tick_sizes = known.contracts, known.tick_sizes
        else:
            contracts = queries.load_symbols(con)
            tick_sizes = dict(contracts.select("symbol", "tick_size").iter_rows())
        if known and known.watchlist and _same(known.versions, versions, "watchlist"):
            watchlist = known.watchlist
        else:
            watchlist = tuple(queries.load_watchlist(con)["symbol"])
        spans = spans_by_symbol(queries.load_spans(con))
        return Pulse(
            health=worker_health(self.store.path, status),
            status=status,
            symbols=queries.load_symbol_status(con),
            watchlist=watchlist,
            stored=tuple(spans),
            spans=spans,
            contracts=contracts,
            tick_sizes=tick_sizes,
            versions=versions,
            read_at=time.monotonic(),
        )

    def _answer(
        self, together: list[Question], con: Connection, versions: Mapping[str, int]
    ) -> None:
        if len(together) == 1:
            values = [together[0].answer(con)]
        else:
            values = together[0].answer_all(together, con)  # type: ignore[attr-defined]
        for question, value in zip(together, values, strict=True):
            self._answers[question] = Answer(value, question.version(versions), time.monotonic())
            self._failures.pop(question, None)
        while len(self._answers) > ANSWERS:
            del self._answers[next(iter(self._answers))]


def _same(old: Mapping[str, int], new: Mapping[str, int], scope: str) -> bool:
    return old.get(scope) == new.get(scope)


_feeders: dict[Path, Feeder] = {}
_feeders_guard = threading.Lock()


def feeder(store: Store) -> Feeder:
    """Return this process's one Feeder for the store."""
    with _feeders_guard:
        found = _feeders.get(store.path)
        if found is None or found.store is not store:
            found = _feeders[store.path] = Feeder(store)
        return found
