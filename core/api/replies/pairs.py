"""What programs are told of a pair."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta

from core.api.replies.alerts import Event
from core.api.replies.parts import Instant, Note, Reply, Series
from core.pair_spec import Basis, Method


class Pair(Reply):
    """The pair as it was looked at; y is the dependent leg."""

    y: str
    x: str
    timeframe: str
    is_log: bool
    method: Method
    window_bars: int
    min_turnover: float
    carry_bars: int
    refit_bars: int
    burn_in_bars: int
    is_in_sample: Annotated[
        bool, Meta(description="Whether the hedge is fitted on the very bars that it is shown on.")
    ]


class Rows(Reply):
    """From when to when, and how many common bars."""

    start: Instant
    end: Instant
    rows: int


class StandsOn(Reply):
    """What a number stands on."""

    bars: int
    possible_bars: Annotated[
        int, Meta(description="How many there were if both legs traded in each.")
    ]
    start: Instant | None
    end: Instant | None
    coverage: Annotated[
        float | None, Meta(description="Share of trade ids held, of the poorer leg.")
    ]
    stale_share: float | None
    window_bars: Annotated[int | None, Meta(description="null for the whole range.")]
    basis: Basis
    price_scale: Literal["log", "raw"]


class Verdict(Reply):
    """What can be said of the pair in a sentence, with what it does not say."""

    words: str
    kind: str
    level: float | None
    pvalue: float | None
    at: Instant | None
    bars: int
    caveats: list[str]


class Hedge(Reply):
    """The line y = intercept + beta · x at the last bar."""

    beta: float | None
    intercept: float | None
    rsq: float | None
    method: Method
    is_in_sample: bool
    note: str | None
    stands_on: StandsOn


class Adf(Reply):
    """Augmented Dickey-Fuller of the spread."""

    stat: float | None
    pvalue: float | None
    nobs: int | None
    lags: int | None
    critical_values: Annotated[list[float] | None, Meta(description="At 1%, 5% and 10%.")]
    stands_on: StandsOn
    note: Note = UNSET


class EngleGranger(Reply):
    """Engle-Granger one way, with its line."""

    stat: float | None
    pvalue: float | None
    nobs: int | None
    lags: int | None
    beta: float | None
    intercept: float | None
    rsq: float | None
    stands_on: StandsOn
    note: Note = UNSET


class Johansen(Reply):
    """Johansen's test: statistics by rank, critical values by rank at 90, 95 and 99%."""

    trace: list[float] | None
    trace_critical: list[list[float]] | None
    max_eig: list[float] | None
    max_eig_critical: list[list[float]] | None
    beta: float | None
    stands_on: StandsOn
    note: Note = UNSET


class Cointegration(Reply):
    """Both ways of Engle-Granger, and Johansen."""

    y_on_x: EngleGranger
    x_on_y: EngleGranger
    johansen: Johansen


class HalfLife(Reply):
    """How long half of a distance takes to go, with its 95% interval."""

    bars: float | None
    seconds: float | None
    low: float | None
    high: float | None
    phi: float | None
    nobs: int | None
    note: str | None
    stands_on: StandsOn


class ClassicTrade(Reply):
    """A trade of the classic mini backtest, in units of z."""

    side: Literal[-1, 1]
    entry_ts: Instant
    exit_ts: Instant
    z_in: float
    z_out: float
    gain: float


class ClassicBacktest(Reply):
    """The field's classic mini backtest, and what it leaves out."""

    trades: list[ClassicTrade]
    equity: Series
    note: str


class Last(Reply):
    """The newest bar's numbers."""

    ts: Instant
    zscore: float | None
    spread: float | None
    note: str | None


class PairAnalysis(Reply):
    """A pair's whole analysis, as the Pair page has it."""

    pair: Pair
    range: Rows
    verdict: Verdict
    hedge: Hedge
    adf: Adf
    cointegration: Cointegration
    half_life: HalfLife
    spread: Series
    zscore: Series
    corr: Series
    backtest: ClassicBacktest
    last: Last
    alerts: list[Event]
