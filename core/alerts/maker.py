"""Fits and studies made beside the flush: a bootstrap must not keep trades waiting."""

from __future__ import annotations

import time
from collections.abc import Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TypeVar

from core.alerts.rules import Rule
from core.alerts.stands import Stand, Study, make_stand, make_study
from core.errors import DataError, StoreError
from core.pairs import read_legs
from core.store import Store

KEPT = 500
# What could not be made for want of bars is tried again: history may still be coming in.
AGAIN_S = 30.0
T = TypeVar("T")
Made = Stand | Study


class Maker:
    """Makes what is asked for in a thread of its own; each thing once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, "alerts")
        self._made: dict[Hashable, Future[Made]] = {}
        self._asked_s: dict[Hashable, float] = {}

    def stand(self, rule: Rule, at: datetime) -> Made | None:
        """Return the rule's held fit of the range that ends ``at``; None while it is made.

        A `Study` without a value gives the reason where there is no fit.
        """
        return self._get((rule.spec, rule.range_s, at), self._make_stand, rule, at)

    def study(self, rule: Rule, at: datetime) -> Made | None:
        """Return the rule's value of the range that ends ``at``; None while it is made."""
        key = (rule.metric, rule.spec_by("ols"), rule.range_s, at)
        return self._get(key, self._make_study, rule, at)

    def finish(self) -> None:
        """Wait for all that was asked for."""
        for future in list(self._made.values()):
            future.exception()

    def close(self) -> None:
        """Let go of the thread; what it has begun it ends."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _get(self, key: Hashable, make: object, rule: Rule, at: datetime) -> Made | None:
        future = self._made.get(key)
        if future is None:
            while len(self._made) >= KEPT:
                oldest = next(iter(self._made))
                del self._made[oldest], self._asked_s[oldest]
            future = self._made[key] = self._thread.submit(make, rule, at)  # type: ignore[arg-type]
            self._asked_s[key] = time.monotonic()
        if not future.done():
            return None
        try:
            made = future.result()
        except StoreError:
            # The file was busy: it is tried again at the next look.
            self._forget(key)
            return None
        is_lacking = isinstance(made, Study) and made.value is None
        if is_lacking and time.monotonic() - self._asked_s[key] > AGAIN_S:
            self._forget(key)
        return made

    def _forget(self, key: Hashable) -> None:
        del self._made[key], self._asked_s[key]

    def _make_stand(self, rule: Rule, at: datetime) -> Made:
        start = at - timedelta(seconds=rule.range_s)
        try:
            return make_stand(
                rule.spec, read_legs(self._store, rule.spec, start, at).closes, start, at
            )
        except DataError as error:
            return Study(None, {}, str(error))

    def _make_study(self, rule: Rule, at: datetime) -> Made:
        start = at - timedelta(seconds=rule.range_s)
        spec = rule.spec_by("ols")
        return make_study(rule, read_legs(self._store, spec, start, at).closes, start, at)
