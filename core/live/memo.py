"""What one session computed, kept for all of them: built once, however many ask at a time."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from core.errors import PerpduckError

logger = logging.getLogger(__name__)

# One thread: what it computes uses all cores by itself, and pages must stay quick meanwhile.
_later = ThreadPoolExecutor(max_workers=1, thread_name_prefix="memo")


class Memo:
    """Values by key, the ``kept`` last used of them; a failure is not kept."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._guard = threading.Lock()
        self._values: OrderedDict[Hashable, Future[Any]] = OrderedDict()
        self._newest: OrderedDict[Hashable, tuple[Hashable, Any]] = OrderedDict()

    def get(self, key: Hashable, build: Callable[[], Any]) -> Any:
        """Return the value of the key; who comes first builds it, the others wait for that."""
        mine = False
        with self._guard:
            found = self._values.get(key)
            if found is None:
                found, mine = Future(), True
                self._values[key] = found
            self._values.move_to_end(key)
            while len(self._values) > self._kept:
                self._values.popitem(last=False)
        if mine:
            self._fill(key, found, build)
        return found.result()

    def latest(self, place: Hashable, key: Hashable, build: Callable[[], Any]) -> Any:
        """Return the newest value of the place, and see to it that ``key``'s is built.

        Only the first value of a place is waited for; later ones come when they are ready.
        """
        with self._guard:
            known = self._newest.get(place)
            is_asked = key in self._values
        if known is None:
            return self._settle(place, key, self.get(key, build))
        if known[0] != key and not is_asked:
            _later.submit(self._renew, place, key, build)
        return known[1]

    def _renew(self, place: Hashable, key: Hashable, build: Callable[[], Any]) -> None:
        try:
            self._settle(place, key, self.get(key, build))
        except PerpduckError as error:
            logger.info("the last result stays: %s", error)
        except Exception:
            logger.exception("the last result stays")

    def _settle(self, place: Hashable, key: Hashable, value: Any) -> Any:
        with self._guard:
            self._newest[place] = (key, value)
            self._newest.move_to_end(place)
            while len(self._newest) > self._kept:
                self._newest.popitem(last=False)
        return value

    def _fill(self, key: Hashable, place: Future[Any], build: Callable[[], Any]) -> None:
        try:
            place.set_result(build())
        except BaseException as error:
            with self._guard:
                self._values.pop(key, None)
            place.set_exception(error)
