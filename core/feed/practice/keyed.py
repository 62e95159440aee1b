"""Keyed randomness: every number is a function of (seed, kind, symbol, index), in any order."""

import hashlib
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# An AR(1) started this many half-lives back has forgotten its start to 2**-50 < 1e-15.
_WARM_UP_HALF_LIVES = 50


def philox(seed: int, kind: str, symbol: str, index: int) -> np.random.Philox:
    """The counter-based generator that belongs to this key alone.

    The key is a BLAKE2 digest: stable over processes and versions, unlike Python's hash().
    """
    text = f"{seed}/{kind}/{symbol}/{index}".encode()
    digest = hashlib.blake2b(text, digest_size=16).digest()
    return np.random.Philox(key=int.from_bytes(digest, "little"))


def normals(seed: int, kind: str, symbol: str, index: int, n: int) -> Floats:
    """`n` standard normal draws of one key."""
    return np.random.Generator(philox(seed, kind, symbol, index)).standard_normal(n)


def exponentials(seed: int, kind: str, symbol: str, index: int, n: int) -> Floats:
    """`n` standard exponential draws of one key."""
    return np.random.Generator(philox(seed, kind, symbol, index)).standard_exponential(n)


def ar1_scan(innovations: Floats, phi: float) -> Floats:
    """s[t] = phi * s[t-1] + e[t] from s[-1] = 0, by doubling (element-wise, so reproducible)."""
    out = innovations.copy()
    shift, power = 1, phi
    while shift < len(out) and power > 1e-18:
        out[shift:] += power * out[:-shift]
        shift, power = shift * 2, power * power
    return out


def stationary_ar1(
    draw: Callable[[int], Floats], day: int, steps: int, half_life_steps: float
) -> Floats:
    """One day of a unit-variance AR(1): values at steps 0..steps (steps + 1 of them).

    `draw(day)` gives the day's `steps` keyed standard normals.  The state at step 0 is summed
    from the innovations of the days before, so no day depends on a recursion over history.
    """
    phi = 0.5 ** (1.0 / half_life_steps)
    scale = math.sqrt(1.0 - phi * phi)
    reach = math.ceil(_WARM_UP_HALF_LIVES * half_life_steps)
    days = math.ceil(reach / steps)
    past = np.concatenate([draw(day - back) for back in range(days, 0, -1)])[-reach:]
    start = float(np.sum(past * phi ** np.arange(len(past) - 1, -1, -1.0)))
    body = ar1_scan(draw(day), phi) + start * phi ** np.arange(1.0, steps + 1)
    return np.concatenate(([start], body)) * scale


class LruCache:
    """A small least-recently-used cache bounded by total weight; safe to share over threads."""

    def __init__(self, max_weight: int) -> None:
        self._max = max_weight
        self._weight = 0
        self._lock = threading.Lock()
        self._items: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any], weight: int = 1) -> Any:
        """The cached value of `key`, made (outside the lock) when missing."""
        with self._lock:
            hit = self._items.get(key)
            if hit is not None:
                self._items.move_to_end(key)
                return hit[0]
        value = make()
        with self._lock:
            if key not in self._items:
                self._items[key] = (value, weight)
                self._weight += weight
            while self._weight > self._max and len(self._items) > 1:
                _, (_, gone) = self._items.popitem(last=False)
                self._weight -= gone
        return value
