"""REST weights: the minute's budget, 429 while it is spent, 418 for those who go on regardless."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class LimitSettings:
    """The exchange's limits; small numbers make tests quick.

    `warnings` is how many refused calls within a ban turn it into 418, `ban_s` how long that
    lasts; `retry_after` adds the header that the exchange does not promise.
    """

    weight_per_minute: int = 2_400
    warnings: int = 20
    ban_s: float = 120.0
    retry_after: bool = False
    funding_calls: int = 500
    funding_window_s: float = 300.0


@dataclass(frozen=True)
class Refusal:
    """A refused call: HTTP status, JSON body and optional Retry-After seconds."""

    status: int
    body: dict[str, object]
    retry_after_s: int | None


class WeightLimiter:
    """Counts weight in wall-clock minutes (bans are told in the client's own time)."""

    def __init__(self, settings: LimitSettings, wall_s: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self._wall_s = wall_s
        self._minute = 0
        self._refused = 0
        self._banned_until_s = 0.0
        self._status = 429
        self._funding: deque[float] = deque()
        self.used = 0

    def charge(self, weight: int, funding: bool = False) -> Refusal | None:
        """Count a call, or say why it is refused."""
        now = self._wall_s()
        if int(now // 60) != self._minute:
            self._minute, self.used = int(now // 60), 0
        if now < self._banned_until_s:
            return self._refuse_again(now)
        self._refused, self._status = 0, 429
        if funding and self._funding_spent(now):
            return self.refusal(429, now, now + self.settings.funding_window_s)
        self.used += weight
        if self.used > self.settings.weight_per_minute:
            self._banned_until_s = (now // 60 + 1) * 60
            return self.refusal(429, now, self._banned_until_s)
        return None

    def refused_now(self, status: int) -> Refusal:
        """A refusal as of now for a fault that is asked for, counting nothing."""
        now = self._wall_s()
        until = now + self.settings.ban_s if status == 418 else (now // 60 + 1) * 60
        return self.refusal(status, now, until)

    def refusal(self, status: int, now_s: float, until_s: float) -> Refusal:
        """The exchange's words for 429 and 418."""
        limit = self.settings.weight_per_minute
        until = int(until_s * 1000)
        if status == 418:
            text = f"Way too many requests; IP(127.0.0.1) banned until {until}."
        else:
            text = (
                f"Too many requests; current limit is {limit} requests per minute. "
                f"IP(127.0.0.1) banned until {until}."
            )
        wait = max(1, round(until_s - now_s)) if self.settings.retry_after else None
        return Refusal(status, {"code": -1003, "msg": text}, wait)

    def _refuse_again(self, now: float) -> Refusal:
        self._refused += 1
        if self._refused >= self.settings.warnings and self._status == 429:
            self._status = 418
            self._banned_until_s = now + self.settings.ban_s
        return self.refusal(self._status, now, self._banned_until_s)

    def _funding_spent(self, now: float) -> bool:
        while self._funding and self._funding[0] <= now - self.settings.funding_window_s:
            self._funding.popleft()
        if len(self._funding) >= self.settings.funding_calls:
            return True
        self._funding.append(now)
        return False
