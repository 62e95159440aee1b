"""Faults on demand: what can go wrong between an exchange and its client, switchable at run time.

`FaultSettings` is the whole state; `Faults` applies it to batches of trade frames and answers
the server's questions.  Skipped, cut and reordered trades stay in the REST history, as they do
on the real exchange.
"""

import json
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from core.feed.practice.wire import BINARY, framed, payload_of

MALFORMED_KINDS = (
    "cut",
    "types",
    "nan",
    "zero",
    "negative",
    "huge",
    "zero_size",
    "symbol",
    "array",
    "utf8",
    "binary",
)


@dataclass(frozen=True)
class FaultSettings:
    """All faults; the default is none.

    Trade frames: `skip_prob`, `skip_next` (the next n), `duplicate_prob`, `reorder` (shuffle
    each batch), `malformed_prob`, `malformed_next` (replace by one of `malformed_kinds`).
    Connections: `drop_every_frames` (abort after each n trade frames), `stall` (all connections
    silent), `stall_next` (the next n connections to be served fall silent), `refuse` ("503" or
    "close"), `close_after_s` (server close; 0 leaves it to the exchange's 24 h).
    REST: `rest_status` (429, 418, 451, 500, ...) for `rest_fail_next` calls (-1: until changed),
    `slow_rest_s` before each answer, `void_ids` as "symbol:id" whose rows have price and size 0.
    `seed` fixes the random choices.
    """

    skip_prob: float = 0.0
    skip_next: int = 0
    duplicate_prob: float = 0.0
    reorder: bool = False
    malformed_prob: float = 0.0
    malformed_next: int = 0
    malformed_kinds: tuple[str, ...] = MALFORMED_KINDS
    drop_every_frames: int = 0
    stall: bool = False
    stall_next: int = 0
    refuse: str = ""
    close_after_s: float = 0.0
    rest_status: int = 0
    rest_fail_next: int = -1
    slow_rest_s: float = 0.0
    void_ids: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = set(self.malformed_kinds) - set(MALFORMED_KINDS)
        if unknown or not self.malformed_kinds:
            raise ValueError(f"malformed_kinds {self.malformed_kinds}: use {MALFORMED_KINDS}")
        if self.refuse not in ("", "503", "close"):
            raise ValueError(f'refuse {self.refuse!r}: use "503", "close" or ""')
        if self.rest_status and not 400 <= self.rest_status <= 599:
            raise ValueError(f"rest_status {self.rest_status}: use 0 or 400 to 599")


def parsed(changes: Mapping[str, str]) -> dict[str, Any]:
    """Settings from texts (a query or the command line); lists are comma-separated.

    Raises ValueError for an unknown name or a text that is not of the setting's type.
    """
    kinds = {name: type(value) for name, value in asdict(FaultSettings()).items()}
    values: dict[str, Any] = {}
    for name, text in changes.items():
        if name not in kinds:
            raise ValueError(f"unknown fault {name!r}: there are {', '.join(kinds)}")
        if kinds[name] is tuple:
            values[name] = tuple(part for part in text.split(",") if part)
        elif kinds[name] is bool:
            values[name] = text.lower() in ("1", "true", "yes", "on")
        else:
            values[name] = kinds[name](text)
    return values


class Faults:
    """The settings in force and the counters that they use up."""

    def __init__(self, settings: FaultSettings | None = None) -> None:
        self._settings = settings or FaultSettings()
        self._random = random.Random(self._settings.seed)

    @property
    def settings(self) -> FaultSettings:
        """The settings in force (counters as far as they are used up)."""
        return self._settings

    def set(self, **changes: Any) -> FaultSettings:
        """Change some settings; returns the settings in force.  TypeError on an unknown name."""
        self._settings = replace(self._settings, **changes)
        if "seed" in changes:
            self._random = random.Random(self._settings.seed)
        return self._settings

    def clear(self) -> None:
        """No faults any more."""
        self._settings = FaultSettings()

    def as_json(self) -> dict[str, Any]:
        """The settings as a plain dict, for the control page."""
        return asdict(self._settings)

    def on_frames(self) -> bool:
        """Whether any fault touches trade frames now."""
        s = self._settings
        return bool(
            s.skip_prob
            or s.skip_next
            or s.duplicate_prob
            or s.reorder
            or s.malformed_prob
            or s.malformed_next
        )

    def applied(self, frames: list[bytes]) -> list[bytes]:
        """A batch of trade frames after skipping, malforming, duplicating and reordering."""
        s = self._settings
        skipped = min(s.skip_next, len(frames))
        kept = frames[skipped:]
        if s.skip_prob:
            kept = [f for f in kept if self._random.random() >= s.skip_prob]
        bad = min(s.malformed_next, len(kept))
        if skipped or bad:
            self.set(skip_next=s.skip_next - skipped, malformed_next=s.malformed_next - bad)
        out: list[bytes] = []
        for n, frame in enumerate(kept):
            hit = n < bad or (s.malformed_prob and self._random.random() < s.malformed_prob)
            out.append(self._malformed(frame) if hit else frame)
            if s.duplicate_prob and self._random.random() < s.duplicate_prob:
                out.append(out[-1])
        if s.reorder:
            self._random.shuffle(out)
        return out

    def take_stall(self) -> bool:
        """Whether a connection that is served now falls silent (uses up `stall_next`)."""
        if self._settings.stall_next > 0:
            self.set(stall_next=self._settings.stall_next - 1)
            return True
        return False

    def take_rest_status(self) -> int:
        """The status that a REST call must fail with now, or 0."""
        s = self._settings
        if not s.rest_status or s.rest_fail_next == 0:
            return 0
        if s.rest_fail_next > 0:
            self.set(rest_fail_next=s.rest_fail_next - 1)
        return s.rest_status

    def void_ids(self, symbol: str) -> frozenset[int]:
        """The ids of a symbol whose REST rows are unusable."""
        pairs = (text.rpartition(":") for text in self._settings.void_ids)
        return frozenset(int(agg_id) for name, _, agg_id in pairs if name == symbol)

    def _malformed(self, frame: bytes) -> bytes:
        kind = self._random.choice(self._settings.malformed_kinds)
        payload = payload_of(frame)
        if kind == "cut":
            return framed(payload[: self._random.randrange(1, len(payload))])
        if kind == "utf8":
            return framed(payload[:40] + b"\xff\xfe" + payload[40:])
        if kind == "binary":
            return framed(self._random.randbytes(64), BINARY)
        message = json.loads(payload)
        trade = message.get("data", message)
        if kind == "array":
            return framed(json.dumps([trade]).encode())
        _spoil(trade, kind)
        return framed(json.dumps(message, ensure_ascii=False).encode())


def _spoil(trade: dict[str, Any], kind: str) -> None:
    """Change one trade payload in place."""
    changes: dict[str, dict[str, Any]] = {
        "types": {"a": "x", "p": 1.5, "T": None, "m": "yes"},
        "nan": {"p": "NaN"},
        "zero": {"p": "0.00"},
        "negative": {"p": "-" + str(trade["p"])},
        "huge": {"q": "1e400"},
        "zero_size": {"q": "0"},
        "symbol": {"s": "NOSUCHUSDT"},
    }
    trade.update(changes[kind])
