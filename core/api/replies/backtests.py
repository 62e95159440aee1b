"""What programs are told of a backtest."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from core.api.replies.pairs import Pair
from core.api.replies.parts import Instant, Reply, Series
from core.backtest.measures import Measures
from core.backtest.settings import BacktestSettings


class Traded(Reply):
    """From when to when was traded, on how many common bars."""

    start: Instant
    end: Instant
    bars: int
    klines_share: Annotated[
        float | None, Meta(description="Share of bars that are the exchange's, not made of trades.")
    ]


class Trade(Reply):
    """A trade of the backtest; money in quote units, signed sizes."""

    side: Literal["long", "short"]
    decided_row: int
    entry_ts: Instant
    exit_ts: Instant | None
    reason: str
    size_y: float
    price_y_in: float
    price_y_out: float | None
    size_x: float
    price_x_in: float
    price_x_out: float | None
    gross: float
    fees: float
    slippage: float
    funding: float
    net: float
    bars_held: float
    max_adverse: float
    hedge_error: float | None


class ClassicSum(Reply):
    """What the classic mini backtest says of the same rows."""

    trades: int
    gain: float
    note: str


class Noise(Reply):
    """The same rules on noise that looks like the market."""

    runs: int
    better_than: float | None
    traded: float | None
    block_bars: int


class Audit(Reply):
    """Whether cutting the future off changed anything."""

    cuts: int
    is_clean: bool


class Costs(Reply):
    """The result at other costs."""

    net_by_cost_factor: dict[str, float | None]
    break_even_bps: float | None
    paid_bps: float | None
    capture: float | None


class Fold(Reply):
    """One step of walking forward; rows as [from, to)."""

    train: tuple[int, int]
    test: tuple[int, int]
    enter: float
    window_bars: int
    train_net: float
    test_net: float
    train_trades: int
    test_trades: int


class WalkForward(Reply):
    """What choosing on the past would have given after."""

    folds: list[Fold]
    out_of_sample: float | None


class Sweep(Reply):
    """Many entries and windows tried, and the chance that the best is more than luck."""

    entries: list[float]
    windows: list[int]
    best: tuple[float, int] | None
    deflated_sharpe: float | None
    tried: int


class Checks(Reply):
    """What speaks against the result; a check that could not be done is null, with its reason."""

    done: bool
    note: str | UnsetType = UNSET
    noise: Noise | UnsetType | None = UNSET
    audit: Audit | UnsetType | None = UNSET
    costs: Costs | UnsetType | None = UNSET
    walk_forward: WalkForward | UnsetType | None = UNSET
    sweep: Sweep | UnsetType | None = UNSET
    reasons: dict[str, str] | UnsetType = UNSET


class Backtested(Reply):
    """A backtest after every cost; ``checks`` say what speaks against it."""

    pair: Pair
    range: Traded
    settings: BacktestSettings
    measures: Measures
    trades: list[Trade]
    equity: Series
    open_mark: float | None
    refused: dict[str, int]
    assumptions: list[str]
    classic: ClassicSum
    checks: Checks
