"""What a scan is asked to do."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, fields
from typing import Any, Literal

import msgspec

from core.bar_sql import timeframe_seconds
from core.errors import DataError

Span = Literal["6h", "1d", "3d", "7d", "30d"]
# The stretches that a scan may look at, training and test window together.
SPANS_S: dict[Span, float] = {
    "6h": 21_600.0, "1d": 86_400.0, "3d": 259_200.0, "7d": 604_800.0, "30d": 2_592_000.0,
}  # fmt: skip
MOST_LAG, MOST_FINALISTS, MOST_CARRY = 10, 500, 60
# A training window of fewer bars finds nothing that is worth finding.
LEAST_TRAIN_BARS = 200
# Below it the bootstrap would take minutes to say anything.
LEAST_LEVEL = 0.001


@dataclass(frozen=True, slots=True)
class ScanSettings:
    """One scan: which bars of which symbols, which test, and what a pair has to show.

    ``symbols``: none given means all that are stored. ``span``: training and test window together,
    ``test_share`` of it the test window. ``lag``: lags of the ADF regression, with ``is_aic`` the
    longest that AIC may choose. ``carry_bars``: how long a last price stands in for a bar without
    trades. ``min_turnover``: quote units a day; ``min_age_s``: since the first bar that is held;
    ``min_coverage``: share of bars with trades; ``min_correlation``: |ρ| of returns;
    ``correction``: q-values of Benjamini-Yekutieli (pairs share legs) or Benjamini-Hochberg;
    ``level``: where q-values, bootstrap and confirmation draw the line; ``fee_bps`` and
    ``slippage_bps``: of one fill; ``min_sigma_per_cost``: the spread's σ in round trips.
    Raises DataError.
    """

    symbols: tuple[str, ...] = ()
    timeframe: str = "1min"
    span: Span = "7d"
    test_share: float = 0.25
    lag: int = 1
    is_aic: bool = False
    carry_bars: int = 5
    min_coverage: float = 0.9
    min_turnover: float = 0.0
    min_age_s: float = 0.0
    min_correlation: float = 0.0
    max_half_life_bars: float = 0.0
    min_sigma_per_cost: float = 0.0
    correction: Literal["by", "bh"] = "by"
    level: float = 0.05
    finalists: int = 200
    fee_bps: float = 5.0
    slippage_bps: float = 1.0

    def __post_init__(self) -> None:
        timeframe_seconds(self.timeframe)
        if self.span not in SPANS_S:
            raise DataError(f"{self.span!r} is no range; use one of {', '.join(SPANS_S)}")
        for name, value, least, most in (
            ("test_share", self.test_share, 0.1, 0.5),
            ("lag", self.lag, 0, MOST_LAG),
            ("carry_bars", self.carry_bars, 0, MOST_CARRY),
            ("min_coverage", self.min_coverage, 0.0, 1.0),
            ("min_turnover", self.min_turnover, 0.0, 1e15),
            ("min_age_s", self.min_age_s, 0.0, 1e10),
            ("min_correlation", self.min_correlation, 0.0, 1.0),
            ("max_half_life_bars", self.max_half_life_bars, 0.0, 1e6),
            ("min_sigma_per_cost", self.min_sigma_per_cost, 0.0, 1e6),
            ("level", self.level, LEAST_LEVEL, 0.5),
            ("finalists", self.finalists, 1, MOST_FINALISTS),
            ("fee_bps", self.fee_bps, 0.0, 1000.0),
            ("slippage_bps", self.slippage_bps, 0.0, 1000.0),
        ):
            if not least <= value <= most:
                raise DataError(f"{name} is {value:g}; give {least:g} to {most:g}")
        if (bars := self.train_bars) < LEAST_TRAIN_BARS:
            raise DataError(
                f"{self.span} of {self.timeframe} bars leave {bars} to train on; a scan needs "
                f"{LEAST_TRAIN_BARS}: choose a longer range or shorter bars"
            )

    @property
    def replicates(self) -> int:
        """Replicates of the bootstrap: enough for p-values of half the level."""
        return max(200, math.ceil(4.0 / self.level)) - 1

    @property
    def bar_s(self) -> int:
        """Seconds a bar."""
        return timeframe_seconds(self.timeframe)

    @property
    def test_bars(self) -> int:
        """Bars of the test window."""
        return int(SPANS_S[self.span] * self.test_share) // self.bar_s

    @property
    def train_bars(self) -> int:
        """Bars of the training window."""
        return int(SPANS_S[self.span]) // self.bar_s - self.test_bars

    def as_json(self) -> str:
        """Return it as JSON, for the file."""
        return msgspec.json.encode(self).decode()

    def digest(self) -> str:
        """Return what is equal for two scans that ask the same."""
        return hashlib.blake2b(self.as_json().encode(), digest_size=8).hexdigest()


def settings_of(text: str) -> ScanSettings:
    """Return the settings that were written as JSON; what later versions dropped is left out.

    Raises DataError.
    """
    known = {field.name for field in fields(ScanSettings)}
    try:
        found: dict[str, Any] = msgspec.json.decode(text)
        kept = {name: value for name, value in found.items() if name in known}
        return msgspec.convert(kept, ScanSettings, strict=False)
    except (msgspec.MsgspecError, AttributeError) as error:
        raise DataError(f"the scan's settings cannot be read: {error}") from error
