"""From the controls to what Pair shows: the analysis of closed bars, and the rows since."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from core.bundle import Times, write_bundle
from core.charts import price_decimals
from core.downsample import thinned
from core.exporting import pair_columns
from core.pair_charts import pair_chart
from core.pair_spec import PairSpec
from core.pairs import PairAnalysis, analyse, extended, read_legs, rolling_slopes
from core.store import Store
from core.verdict import (
    ANALYSES_A_RANGE,
    SETTLE_S,
    Verdict,
    fixed_step_s,
    judged_pair,
    plain_spec,
)
from pages.shared.feeder import Feeder
from pages.shared.live_chart import Frame, View
from pages.shared.memo import Memo
from pages.shared.pulse import WRITING, Pulse
from pages.shared.questions import NewCloses
from pages.shared.window import RANGES, epoch_ms, utc, window

POINTS = 2400
# Values that the windows of the rolling slopes beside a held one may hold in all: some 30 ms.
ROLLING_VALUES = 2_000_000
_analyses = Memo(12)
_verdicts = Memo(64)
_charts = Memo(64)


@dataclass(frozen=True, slots=True)
class PairChoice:
    """What the controls say."""

    spec: PairSpec
    range_name: str
    zone: str

    @property
    def nonce(self) -> str:
        """What the browser's own view belongs to: another range or timeframe starts it anew."""
        return f"{self.range_name}-{self.spec.timeframe}"


@dataclass(frozen=True, slots=True)
class Moment:
    """The fixed times that a look at the pair stands on; all UTC."""

    start: datetime
    as_of: datetime
    judged_from: datetime
    judged_at: datetime
    next_at: datetime
    span_s: float
    judged_span_s: float


@dataclass(frozen=True, slots=True)
class PairView:
    """Everything one refresh of Pair shows."""

    frame: Frame
    span_ms: float
    analysis: PairAnalysis
    verdict: Verdict
    moment: Moment
    series: pl.DataFrame
    seen: tuple[datetime, datetime]
    is_forming: bool
    decimals: tuple[int, int]
    tick_sizes: tuple[float | None, float | None]

    def shown(self) -> pl.DataFrame:
        """Return exactly the bars in view, as they are downloaded."""
        begin, end = self.seen
        step = timedelta(seconds=self.analysis.spec.bar_s)
        seen = self.series.filter(pl.col("ts") + step > begin, pl.col("ts") < end)
        return pair_columns(seen)

    def bundle(self, store: Store, range_name: str) -> bytes:
        """Return this view in one ZIP: its bars, what was asked, the results."""
        now = self.moment
        times = Times(now.start, now.as_of, now.judged_from, now.judged_at, now.judged_span_s)
        return write_bundle(store, self.analysis.spec, range_name, times, self.tick_sizes)


@dataclass(frozen=True, slots=True)
class Stand:
    """What a look at a pair stands on; ``origin`` and ``version`` tell it from every other."""

    origin: Hashable
    analysis: PairAnalysis
    verdict: Verdict
    moment: Moment
    series: pl.DataFrame
    version: tuple[int, ...]
    tick_sizes: tuple[float | None, float | None]


def moment(pulse: Pulse, choice: PairChoice) -> Moment | None:
    """Return the fixed times of now, None while a leg has no trade or nothing is closed yet."""
    spec = choice.spec
    found = [pulse.bounds(symbol, spec.timeframe) for symbol in (spec.y, spec.x)]
    if None in found:
        return None
    firsts, lasts = zip(*(bound for bound in found if bound), strict=True)
    bar_ms = spec.bar_s * 1000
    first_ms = math.ceil(epoch_ms(max(firsts)) / bar_ms) * bar_ms
    newest_ms = epoch_ms(max(lasts)) - SETTLE_S * 1000
    held_ms = newest_ms - first_ms
    span_ms = min(RANGES[choice.range_name] * 1000, max(held_ms, bar_ms))

    def last_step(parts: int) -> tuple[float, float]:
        step_ms = fixed_step_s(span_ms / 1000, spec.bar_s, parts) * 1000
        return math.floor(newest_ms / step_ms) * step_ms, step_ms

    as_of, _ = last_step(ANALYSES_A_RANGE)
    judged_at, judged_step = last_step(24)
    if as_of <= first_ms:
        return None
    judged_at = min(judged_at, as_of)
    start = max(as_of - span_ms, first_ms)
    judged_from = max(judged_at - span_ms, first_ms)
    return Moment(
        start=utc(start),
        as_of=utc(as_of),
        judged_from=utc(judged_from),
        judged_at=utc(judged_at),
        next_at=utc(judged_at + judged_step),
        span_s=(as_of - start) / 1000,
        judged_span_s=max(judged_at - judged_from, 0.0) / 1000,
    )


def pair_view(feed: Feeder, pulse: Pulse, choice: PairChoice, seen: View | None) -> PairView | None:
    """Return what to show, None while the pair has no closed bar.

    Raises StoreError where nothing can be read, DataError where the bars allow no answer.
    """
    now = moment(pulse, choice)
    if now is None:
        return None
    analysis, judged, now = _judged(feed, choice, now)
    newer, version = _newer(feed, choice.spec, analysis)
    series = pl.concat([analysis.series, newer]) if newer.height else analysis.series
    ticks = (pulse.tick_sizes.get(choice.spec.y), pulse.tick_sizes.get(choice.spec.x))
    stand = Stand(feed.store.path, analysis, judged, now, series, version, ticks)
    return shown(stand, choice, seen, _forming_ms(series, choice.spec, pulse))


def shown(stand: Stand, choice: PairChoice, seen: View | None, forming: float | None) -> PairView:
    """Return what is shown of a pair's analysis and the rows since."""
    analysis, series = stand.analysis, stand.series
    place = (stand.origin, choice.spec, choice.range_name)
    decimals = tuple(
        price_decimals(tick, price)
        for tick, price in zip(
            stand.tick_sizes, (series["price_y"][-1], series["price_x"][-1]), strict=True
        )
    )
    begin, end, looking = _seen(series, choice, seen)
    key = (place, stand.moment.as_of, stand.version, forming, looking)
    spec = _charts.get(key, lambda: _figure(analysis, series, looking, forming, decimals))
    last_ms = epoch_ms(series["ts"][-1]) + choice.spec.bar_s * 1000
    return PairView(
        frame=Frame((place, looking[0]), key, spec, last_ms),
        span_ms=last_ms - epoch_ms(series["ts"][0]),
        analysis=analysis,
        verdict=stand.verdict,
        moment=stand.moment,
        series=series,
        seen=(begin, end),
        is_forming=forming is not None,
        decimals=(decimals[0], decimals[1]),
        tick_sizes=stand.tick_sizes,
    )


def _judged(feed: Feeder, choice: PairChoice, now: Moment) -> tuple[PairAnalysis, Verdict, Moment]:
    """Return the newest analysis and verdict; while a newer one is made, the one before."""
    spec = choice.spec
    # Late trades and filled gaps change bars of the past: they are looked at again in a while.
    bars = now.span_s / spec.bar_s
    turn = int(
        datetime.now(UTC).timestamp() / (10 if bars <= 20_000 else 60 if bars < 2e5 else 300)
    )
    place = (feed.store.path, spec, choice.range_name)

    def build() -> tuple[PairAnalysis, Verdict, Moment]:
        legs = read_legs(feed.store, spec, now.start, now.as_of, since=now.judged_from)
        analysis = analyse(spec, legs)
        judged = _verdicts.get(
            (feed.store.path, plain_spec(spec), choice.range_name, now.judged_at, now.judged_from),
            lambda: judged_pair(
                spec, legs.closes, now.judged_from, now.judged_at, span_s=now.judged_span_s
            ),
        )
        return analysis, judged, now

    found: tuple[PairAnalysis, Verdict, Moment] = _analyses.latest(
        place, (place, now.as_of, turn), build
    )
    return found


def _newer(
    feed: Feeder, spec: PairSpec, analysis: PairAnalysis
) -> tuple[pl.DataFrame, tuple[int, ...]]:
    """Return the rows since the analysis, and the version of the data behind them."""
    since = analysis.series["ts"][-1] - timedelta(seconds=spec.carry_bars * spec.bar_s)
    symbols = tuple(sorted({spec.y, spec.x}))
    answer = feed.ask(NewCloses(symbols, spec.timeframe, since))
    place = (feed.store.path, spec, "newer", since, analysis.provenance)
    rows: pl.DataFrame = _charts.get(
        (place, answer.version), lambda: extended(analysis, answer.value)
    )
    return rows, answer.version


def _forming_ms(series: pl.DataFrame, spec: PairSpec, pulse: Pulse) -> float | None:
    """Return the start of the bar that still forms: the newest one's, while a worker writes."""
    if pulse.health.state not in WRITING:
        return None
    newest = epoch_ms(series["ts"][-1])
    now_ms = datetime.now(UTC).timestamp() * 1000
    return newest if newest + spec.bar_s * 1000 + 1000 * SETTLE_S > now_ms else None


def _seen(
    series: pl.DataFrame, choice: PairChoice, seen: View | None
) -> tuple[datetime, datetime, tuple[datetime, datetime | None]]:
    """Return what is in view, and the snapped stretch around it whose points are sent."""
    first, last = series["ts"][0], series["ts"][-1] + timedelta(seconds=choice.spec.bar_s)
    if seen is None:
        return first, last, (first, None)
    begin, end = seen.start_ms, seen.end_ms
    if seen.follow:
        begin, end = epoch_ms(last) - (end - begin), epoch_ms(last)
    looking = window(choice.spec.timeframe, begin, end, follow=seen.follow)
    return utc(max(0.0, begin)), utc(end), (looking.start, looking.end)


def _figure(
    analysis: PairAnalysis,
    series: pl.DataFrame,
    looking: tuple[datetime, datetime | None],
    forming_ms: float | None,
    decimals: tuple[int, ...],
) -> dict[str, object]:
    spec = analysis.spec
    begin, end = looking
    inside = series["ts"] >= begin
    if end is not None:
        inside &= series["ts"] < end
    places = inside.arg_true().to_numpy()
    columns = [series[name].fill_null(math.nan).to_numpy()[places] for name in _SHAPES]
    rows = places[thinned(columns, POINTS)].astype(np.int64)
    shown = series[rows]
    if spec.method in ("ols", "tls", "refit"):
        # Every so many of the rows, where the windows are long: they overlap anyway.
        every = max(1, spec.window_bars * len(rows) // ROLLING_VALUES)
        slopes = rolling_slopes(analysis, series, rows[::every])
        shown = shown.with_row_index("row").join(
            slopes.with_columns(row=pl.Series(np.arange(0, len(rows), every), dtype=pl.UInt32)),
            on="row", how="left", maintain_order="left",
        )  # fmt: skip
    return pair_chart(
        shown,
        y=spec.y,
        x=spec.x,
        timeframe_s=spec.bar_s,
        is_log=spec.is_log,
        in_sample=spec.is_in_sample,
        window_bars=spec.window_bars,
        decimals_y=decimals[0],
        decimals_x=decimals[1],
        rebase=(series["price_y"][0], series["price_x"][0]),
        forming_from_ms=forming_ms,
        beta_fixed=spec.is_in_sample,
    )


# What the eye must not miss: the rows to draw are chosen by these.
_SHAPES = ("price_y", "price_x", "spread", "zscore", "corr", "beta")
