"""When a connection has been silent too long; pure, no clock."""

from __future__ import annotations


class SilenceWatch:
    """Counts how long a connection has delivered no data; times are monotonic seconds.

    Only time in which the program was running counts: no step between two ticks is taken for
    more than ``longest_step_s``, so that a blocked event loop or a sleeping laptop does not
    condemn a connection whose frames wait in the socket.
    """

    def __init__(self, silence_s: float, now: float, *, longest_step_s: float = 1.0) -> None:
        self.silence_s = silence_s
        self.silent_s = 0.0
        self.has_heard = False
        self._longest_step_s = longest_step_s
        self._last = now

    def heard(self, now: float) -> None:
        """Note that data has come; acknowledgements are none."""
        self.silent_s = 0.0
        self.has_heard = True
        self._last = now

    def tick(self, now: float) -> bool:
        """Return whether the connection has now been silent for too long."""
        self.silent_s += min(max(now - self._last, 0.0), self._longest_step_s)
        self._last = now
        return self.silent_s >= self.silence_s
