"""How long to wait before trying again: a plain generator, no clock and no sleep."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator


def backoff_delays(
    first_s: float = 0.5,
    factor: float = 2.0,
    limit_s: float = 60.0,
    *,
    uniform: Callable[[float, float], float] = random.uniform,
) -> Iterator[float]:
    """Yield growing delays in seconds, for ever; each is drawn from the upper half of its step.

    The jitter keeps connections that were lost together from coming back together.
    ``uniform`` draws from a range, for tests.
    """
    step = first_s
    while True:
        yield uniform(step / 2, step)
        step = min(step * factor, limit_s)
