"""What is asked about a pair, and how every answer says what it stands on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Generic, Literal, TypeVar

from core.bar_sql import timeframe_seconds
from core.errors import DataError

Method = Literal["ols", "rolling", "refit", "tls", "kalman"]
METHODS: tuple[Method, ...] = ("ols", "rolling", "refit", "kalman", "tls")
Basis = Literal["in-sample", "trailing"]
MIN_BURN_IN = 200
MAX_WINDOW = 100_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PairSpec:
    """One pair and how it is looked at; y is the dependent leg, x the other.

    ``is_log``: logs of prices, else prices. ``window_bars``: rolling statistics, and the
    lookback of refit OLS. ``min_turnover``: quote units (close · volume) that a bar of either leg
    needs to count. ``carry_bars``: how many bars a last price is carried on where one leg has
    none; 0 is the inner join. ``refit_bars``: how long a refit holds. ``burn_in_bars``: what the
    Kalman filter starts from. Raises DataError for what cannot be computed.
    """

    y: str
    x: str
    timeframe: str = "1min"
    is_log: bool = True
    method: Method = "ols"
    window_bars: int = 60
    min_turnover: float = 0.0
    carry_bars: int = 0
    refit_bars: int = 60
    burn_in_bars: int = 1440

    def __post_init__(self) -> None:
        timeframe_seconds(self.timeframe)
        if self.method not in METHODS:
            raise DataError(f"{self.method!r} is no regression; use one of {', '.join(METHODS)}")
        for name, value, least in (
            ("window", self.window_bars, 3),
            ("refit", self.refit_bars, 1),
            ("burn-in", self.burn_in_bars, MIN_BURN_IN),
            ("carry", self.carry_bars, 0),
        ):
            if not least <= value <= MAX_WINDOW:
                raise DataError(f"{name} of {value:,} bars: give {least:,} to {MAX_WINDOW:,}")
        if not 0 <= self.min_turnover < float("inf"):
            raise DataError(f"a least turnover of {self.min_turnover}: give 0 or more")

    @property
    def bar_s(self) -> int:
        """Seconds a bar."""
        return timeframe_seconds(self.timeframe)

    @property
    def is_in_sample(self) -> bool:
        """Whether the hedge ratio is fitted on the very bars it is shown on."""
        return self.method in ("ols", "tls")

    @property
    def warm_bars(self) -> int:
        """Bars before the range that its first value stands on."""
        before = {"refit": self.window_bars + self.refit_bars, "kalman": self.burn_in_bars}
        return max(before.get(self.method, 0), self.window_bars) + 2

    @property
    def swapped(self) -> PairSpec:
        """The same view of the pair with its legs exchanged; it is fitted anew."""
        return replace(self, y=self.x, x=self.y)


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a number stands on: bars, their times, completeness, and whether they were fitted.

    ``end`` is the end of the last bar used. ``coverage`` is the share of trade ids held, of the
    poorer leg, None where it is not known. ``window_bars`` is None for the whole range.
    ``possible_bars``: how many bars the time between would hold if both legs traded in each.
    """

    bars: int
    possible_bars: int
    start: datetime | None
    end: datetime | None
    coverage: float | None
    stale_share: float
    window_bars: int | None
    basis: Basis
    price_scale: Literal["log", "raw"]


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """A result with what it stands on, or no result and the reason."""

    value: T | None
    provenance: Provenance
    reason: str = ""
