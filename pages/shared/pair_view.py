"""From the controls to what Pair shows: the analysis of closed bars, and the rows since."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from core.bundle import Times, write_bundle
from core.charts import price_decimals
from core.downsample import thinned
from core.exporting import pair_columns
from core.live.feeder import Feeder
from core.live.memo import Memo
from core.live.pair import Moment, Stand, pair_stand
from core.live.pulse import WRITING, Pulse
from core.live.window import epoch_ms, utc, window
from core.pair_charts import pair_chart
from core.pair_spec import PairSpec
from core.pairs import PairAnalysis, rolling_slopes
from core.store import Store
from core.verdict import SETTLE_S, Verdict
from pages.shared.live_chart import Frame, View

POINTS = 2400
# Values that the windows of the rolling slopes beside a held one may hold in all: some 30 ms.
ROLLING_VALUES = 2_000_000
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


def pair_view(feed: Feeder, pulse: Pulse, choice: PairChoice, seen: View | None) -> PairView | None:
    """Return what to show, None while the pair has no closed bar.

    Raises StoreError where nothing can be read, DataError where the bars allow no answer.
    """
    stand = pair_stand(feed, pulse, choice.spec, choice.range_name)
    if stand is None:
        return None
    return shown(stand, choice, seen, _forming_ms(stand.series, choice.spec, pulse))


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
