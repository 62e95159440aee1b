"""What a backtest is asked to do: signals, execution, sizing; frozen, and checked at the door."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from core.errors import DataError

Fill = Literal["vwap", "open"]
Sizing = Literal["beta", "dollar", "volatility"]
Sides = Literal["both", "long", "short"]
Slippage = Literal["bps", "ticks", "range"]
Reentry = Literal["level", "cross"]

TAKER_BPS, MAKER_BPS = 5.0, 2.0
LOWEST_BETA, HIGHEST_BETA = 0.2, 5.0


@dataclass(frozen=True, slots=True)
class Contract:
    """One leg's grid: tick (price), step (size) and the least notional, all 0 where unknown."""

    tick_size: float = 0.0
    step_size: float = 0.0
    min_notional: float = 0.0


@dataclass(frozen=True, slots=True)
class Rules:
    """When to trade; |z| in deviations, durations in bars.

    Long the spread below −enter, short above +enter; out when z comes back to ``exit`` (0: crosses
    zero; 0.5: half a deviation before; −0.5: beyond), when |z| > ``stop`` on the wrong side, or
    after ``time_stop_bars`` or ``time_stop_half_lives`` (of the spread's trailing window at the
    decision), whichever comes first. ``cooldown_bars`` pass after an exit. ``reentry`` by level
    takes the next |z| > enter; by cross only once |z| was below it in between. After a stop it is
    always by cross. Raises DataError for levels that contradict each other.
    """

    enter: float = 2.0
    exit: float = 0.0
    stop: float | None = None
    time_stop_bars: int | None = None
    time_stop_half_lives: float | None = None
    sides: Sides = "both"
    cooldown_bars: int = 0
    reentry: Reentry = "level"
    rebalance_bars: int | None = None

    @property
    def needs_half_lives(self) -> bool:
        """Whether a trade lasts by the spread's half-life."""
        return self.time_stop_half_lives is not None

    def __post_init__(self) -> None:
        if not 0 < self.enter < math.inf:
            raise DataError(f"an entry level of {self.enter}: give a number above 0")
        if not -self.enter < self.exit < self.enter:
            raise DataError(f"an exit at {self.exit}: it must lie within ±{self.enter}, the entry")
        if self.stop is not None and not self.stop > self.enter:
            raise DataError(f"a stop at {self.stop}: it must lie beyond the entry, {self.enter}")
        lives = self.time_stop_half_lives
        if lives is not None and not 0 < lives < math.inf:
            raise DataError(f"a time stop of {lives} half-lives: give a number above 0")
        for name, bars, least in (
            ("time stop", self.time_stop_bars, 1),
            ("cooldown", self.cooldown_bars, 0),
            ("rebalancing", self.rebalance_bars, 1),
        ):
            if bars is not None and bars < least:
                raise DataError(f"{name} of {bars} bars: give {least} or more")


@dataclass(frozen=True, slots=True)
class Execution:
    """How orders are filled, and what that costs.

    ``slippage`` is bps of the price, ticks, or a share of the fill bar's range, and at least
    ``least_ticks``. A maker fills at the decision's close, pays no slippage, and is optimistic
    wherever the price did not trade through. ``apart_bars``: how far apart the legs' fill bars
    may be.
    """

    fill: Fill = "vwap"
    is_maker: bool = False
    taker_bps: float = TAKER_BPS
    maker_bps: float = MAKER_BPS
    slippage: float = 1.0
    slippage_kind: Slippage = "bps"
    least_ticks: float = 1.0
    apart_bars: int = 1

    def __post_init__(self) -> None:
        for name, value in (
            ("taker fee", self.taker_bps),
            ("slippage", self.slippage),
        ):
            if not 0 <= value < 10_000:
                raise DataError(f"{name} of {value}: give 0 to 10,000")
        if not -100 < self.maker_bps < 10_000:
            raise DataError(f"maker fee of {self.maker_bps} bps: give −100 to 10,000")
        if self.apart_bars < 0:
            raise DataError(f"legs {self.apart_bars} bars apart: give 0 or more")

    @property
    def fee_bps(self) -> float:
        """The fee of a fill, in bps of its notional."""
        return self.maker_bps if self.is_maker else self.taker_bps

    def scaled(self, factor: float) -> Execution:
        """Return the same with fees and slippage times ``factor``."""
        return replace(
            self,
            taker_bps=self.taker_bps * factor,
            maker_bps=self.maker_bps * factor,
            slippage=self.slippage * factor,
            least_ticks=self.least_ticks * factor,
        )


@dataclass(frozen=True, slots=True)
class Money:
    """How large positions are; quote units. A trade's gross notional is capital · leverage.

    By ``beta`` the legs hedge each other, by ``dollar`` they are equally large, by ``volatility``
    the gross is such that the spread's trailing deviation makes ``target_volatility`` a year, and
    capital · leverage at most. ``gate``: enter only where the expected capture exceeds the cost of
    the round trip this many times, once 30 trades are known; None for no gate.
    """

    capital: float = 10_000.0
    leverage: float = 1.0
    sizing: Sizing = "beta"
    target_volatility: float = 0.2
    gate: float | None = None
    lowest_beta: float = LOWEST_BETA
    highest_beta: float = HIGHEST_BETA

    def __post_init__(self) -> None:
        for name, value in (
            ("capital", self.capital),
            ("leverage", self.leverage),
            ("target volatility", self.target_volatility),
        ):
            if not 0 < value < math.inf:
                raise DataError(f"{name} of {value}: give a number above 0")
        if not self.lowest_beta < self.highest_beta:
            raise DataError(
                f"β from {self.lowest_beta} to {self.highest_beta}: the first must be the smaller"
            )

    @property
    def gross(self) -> float:
        """The gross notional of a full-size trade."""
        return self.capital * self.leverage


@dataclass(frozen=True, slots=True)
class BacktestSettings:
    """All of it together."""

    rules: Rules = field(default_factory=Rules)
    execution: Execution = field(default_factory=Execution)
    money: Money = field(default_factory=Money)
    contract_y: Contract = field(default_factory=Contract)
    contract_x: Contract = field(default_factory=Contract)
