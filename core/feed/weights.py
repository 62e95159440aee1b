"""How much may be asked of the exchange, and when again after a refusal; pure, no clock.

The exchange counts request weight by address and minute of its own clock, and tells the count in
the header X-MBX-USED-WEIGHT-1M. Source: Binance USDⓈ-M "General Info", limits.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

USED_WEIGHT_HEADER = "X-MBX-USED-WEIGHT-1M"
_WINDOW_S = 60.0
# Used when a refusal names no time.
DEFAULT_PAUSE_S = 60.0
_LONGEST_PAUSE_S = 7 * 86400.0
_EPOCH_MS = re.compile(r"(?<!\d)1\d{12}(?!\d)")


class WeightBudget:
    """Keeps what is spent under ``limit`` in any minute; all times are epoch seconds.

    Our own weight is summed over the last 60 s, so that no clock difference can put two of our
    minutes into one of the exchange's. The header counts what others behind the same address
    spend, until the minute ends.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._spent: deque[tuple[float, int]] = deque()
        self._in_flight = 0
        self._told = 0
        self._told_minute = -1

    def used(self, now_s: float) -> int:
        """Return the weight that counts against the limit now, requests under way included."""
        self._forget(now_s)
        told = self._told if int(now_s // _WINDOW_S) == self._told_minute else 0
        return max(sum(weight for _, weight in self._spent), told + self._in_flight)

    def delay_s(self, weight: int, now_s: float) -> float:
        """Return how long to wait before asking again whether ``weight`` fits; 0 when it does."""
        if self.used(now_s) + weight <= self.limit:
            return 0.0
        own = sum(spent for _, spent in self._spent)
        for at_s, spent in self._spent:
            if own + weight <= self.limit:
                break
            own -= spent
            if own + weight <= self.limit:
                return max(at_s + _WINDOW_S - now_s, 0.01)
        return max(_WINDOW_S - now_s % _WINDOW_S, 0.01)

    def reserve(self, weight: int, now_s: float) -> None:
        """Count a request that is about to be sent."""
        self._spent.append((now_s, weight))
        self._in_flight += weight

    def settle(self, weight: int, now_s: float, told: int | None) -> None:
        """Note that a request has ended, and the weight that its answer told, if any."""
        self._in_flight -= weight
        if told is not None:
            self._told, self._told_minute = told, int(now_s // _WINDOW_S)

    def _forget(self, now_s: float) -> None:
        while self._spent and self._spent[0][0] <= now_s - _WINDOW_S:
            self._spent.popleft()


def used_weight(headers: Mapping[str, str]) -> int | None:
    """Return the weight that an answer's headers tell, None where they do not."""
    text = headers.get(USED_WEIGHT_HEADER, "")
    return int(text) if text.isdecimal() and len(text) < 10 else None


def retry_at_ms(headers: Mapping[str, str], message: str, now_s: float) -> int:
    """Return the epoch in ms from which asking again is allowed after a 429 or 418.

    From Retry-After where there is one, else from the epoch in the message of error -1003, else
    a minute from now; never in the past, never more than a week ahead.
    """
    pause_s = _retry_after_s(headers.get("Retry-After", ""), now_s)
    if pause_s is None and (epoch := _EPOCH_MS.search(message)):
        pause_s = int(epoch[0]) / 1000 - now_s
    if pause_s is None:
        pause_s = DEFAULT_PAUSE_S
    return int((now_s + min(max(pause_s, 1.0), _LONGEST_PAUSE_S)) * 1000)


def _retry_after_s(text: str, now_s: float) -> float | None:
    if text.isdecimal():
        return float(text)
    try:
        return parsedate_to_datetime(text).timestamp() - now_s
    except (ValueError, OverflowError, OSError):
        # A year or an offset beyond what the platform counts in.
        return None
