"""What one connection has asked for, and what it should ask next; pure, no socket, no clock.

Control messages: Binance USDⓈ-M "Live Subscribing/Unsubscribing to streams". All times are
seconds of one monotonic clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from core.feed.backoff import backoff_delays
from core.feed.messages import Reply, control_message

# Streams in one control message; the exchange names no limit, and 50 names stay under 4 KB.
_CHUNK = 50


class ControlRate:
    """At most ``per_s`` messages in any second."""

    def __init__(self, per_s: int) -> None:
        self.per_s = per_s
        self._sent: deque[float] = deque(maxlen=per_s)

    def delay_s(self, now: float) -> float:
        """Return how long the next message has to wait."""
        if len(self._sent) < self.per_s:
            return 0.0
        return max(self._sent[0] + 1.0 - now, 0.0)

    def spend(self, now: float) -> None:
        """Count a message that is about to be sent."""
        self._sent.append(now)


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    streams: tuple[str, ...]
    due: float


class Subscriptions:
    """Follows the wanted streams with SUBSCRIBE and UNSUBSCRIBE, whatever the replies.

    A request that is refused, or not answered within ``reply_s``, is tried again after a growing
    delay, in halves, so that one bad name does not keep its neighbours out.
    """

    def __init__(
        self,
        *,
        reply_s: float = 10.0,
        delays: Callable[[], Iterator[float]] = backoff_delays,
    ) -> None:
        self.wanted: frozenset[str] = frozenset()
        self.confirmed: set[str] = set()
        self._reply_s = reply_s
        self._new_delays = delays
        self._delays = delays()
        self._asked: set[str] = set()
        self._pending: dict[int, _Request] = {}
        self._retry_at: dict[str, float] = {}
        self._chunk: dict[str, int] = {}
        self._last_id = 0

    @property
    def is_complete(self) -> bool:
        """Whether every wanted stream has been acknowledged (which proves nothing yet)."""
        return self.wanted <= self.confirmed

    def want(self, streams: Iterable[str]) -> None:
        """Replace the wanted streams."""
        self.wanted = frozenset(streams)

    def next_message(self, now: float) -> str | None:
        """Return the control message to send now, None when there is none; it counts as sent."""
        for method, streams in (
            ("SUBSCRIBE", self.wanted - self._asked),
            ("UNSUBSCRIBE", self._asked - self.wanted),
        ):
            ready = sorted(name for name in streams if self._retry_at.get(name, now) <= now)
            if ready:
                size = min(self._chunk.get(name, _CHUNK) for name in ready[:_CHUNK])
                return self._request(method, tuple(ready[:size]), now)
        return None

    def next_due(self, now: float) -> float | None:
        """Return when something may be due with no event in between, None for never."""
        changes = (self.wanted - self._asked) | (self._asked - self.wanted)
        dues = [self._retry_at.get(name, now) for name in changes]
        dues += [request.due for request in self._pending.values()]
        return min(dues, default=None)

    def expire(self, now: float) -> str | None:
        """Give up requests that were not answered in time; return what to say about it."""
        late = [number for number, request in self._pending.items() if request.due <= now]
        for number in late:
            self._failed(self._pending.pop(number), now)
        if not late:
            return None
        return f"no reply to {len(late)} control messages within {self._reply_s:g} s"

    def on_reply(self, reply: Reply, now: float) -> str | None:
        """Take a reply in; return what to say about it when it is a refusal.

        A refusal without a number is about the oldest request, since replies come in order.
        """
        number = reply.id
        if number is None and reply.error is not None:
            number = min(self._pending, default=None)
        request = self._pending.pop(number, None) if number is not None else None
        if reply.error is None:
            if request is not None:
                self._succeeded(request)
            return None
        about = "a control message"
        if request is not None:
            self._failed(request, now)
            about = f"{request.method} {request.streams[0]}"
            if len(request.streams) > 1:
                about += f" and {len(request.streams) - 1} more"
        return f"the exchange refused {about}: {reply.error_code} {reply.error}"

    def _request(self, method: str, streams: tuple[str, ...], now: float) -> str:
        self._last_id += 1
        self._pending[self._last_id] = _Request(method, streams, now + self._reply_s)
        if method == "SUBSCRIBE":
            self._asked.update(streams)
        else:
            self._asked.difference_update(streams)
            self.confirmed.difference_update(streams)
        return control_message(method, streams, self._last_id)

    def _failed(self, request: _Request, now: float) -> None:
        if request.method == "SUBSCRIBE":
            self._asked.difference_update(request.streams)
        else:
            self._asked.update(request.streams)
        retry_at = now + next(self._delays)
        for name in request.streams:
            self._retry_at[name] = retry_at
            self._chunk[name] = max(1, len(request.streams) // 2)

    def _succeeded(self, request: _Request) -> None:
        if request.method == "SUBSCRIBE":
            self.confirmed.update(self._asked.intersection(request.streams))
        for name in request.streams:
            self._retry_at.pop(name, None)
            self._chunk.pop(name, None)
        self._delays = self._new_delays()
