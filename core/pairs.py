"""The whole analysis of one pair as one result, each number with what it stands on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from core.errors import NotEnoughData
from core.models import CoverageSummary
from core.pair_series import Origin, aligned, origin_of, pair_series
from core.pair_spec import Basis, Outcome, PairSpec, Provenance
from core.queries import load_closes, load_coverage
from core.range_tests import RangeTests
from core.stats.adf import AdfResult
from core.stats.arrays import Ints
from core.stats.cointegration import EngleGranger, Johansen
from core.stats.hedge import DynamicFit, HedgeFit
from core.stats.kalman import KalmanFit
from core.stats.reversion import HalfLife, Hurst, KpssResult, VarianceRatio
from core.stats.rolling import rolling_ols
from core.store import Store

# What one lease reads of each leg: a day of seconds takes some 60 ms.
BARS_A_LEASE = 90_000


@dataclass(frozen=True, slots=True)
class Legs:
    """Both legs' closes with what came before the range [start, end), and their coverage."""

    closes: pl.DataFrame
    start: datetime
    end: datetime
    coverage: tuple[CoverageSummary, ...] = ()

    @property
    def held_share(self) -> float | None:
        """Share of the trade ids held in the range, of the poorer leg."""
        shares = [one.fraction for one in self.coverage]
        known = [share for share in shares if share is not None]
        return min(known) if known and len(known) == len(shares) else None


@dataclass(frozen=True, slots=True)
class PairAnalysis:
    """Everything about one pair over [start, end).

    ``series``: one row a bar of the range (`core.pair_series.SERIES`). The fits and tests stand
    on the same bars and are in-sample; ``zscore``, ``beta`` and ``alpha`` are the last row's.
    ``lead`` are the aligned bars before the range, ``context`` those that later rows stand on.
    Slopes and intercepts are in the
    pair's own units.
    """

    spec: PairSpec
    series: pl.DataFrame
    lead: pl.DataFrame
    context: pl.DataFrame
    origin: Origin
    provenance: Provenance
    ols: Outcome[HedgeFit]
    tls: Outcome[HedgeFit]
    dynamic: Outcome[DynamicFit]
    adf: Outcome[AdfResult]
    kpss: Outcome[KpssResult]
    y_on_x: Outcome[EngleGranger]
    x_on_y: Outcome[EngleGranger]
    johansen: Outcome[Johansen]
    half_life: Outcome[HalfLife]
    hurst: Outcome[Hurst]
    variance_ratio: Outcome[VarianceRatio]
    corr_returns: Outcome[float]
    corr_levels: Outcome[float]
    rank_corr_returns: Outcome[float]
    trailing: Provenance
    filter: KalmanFit | None = None
    fit: HedgeFit | None = field(default=None, repr=False)

    def last(self, name: str) -> Outcome[float]:
        """Return the last row's value of a column of ``series``, with its provenance."""
        value = self.series[name][-1]
        held = self.spec.is_in_sample and name in ("alpha", "beta")
        provenance = self.provenance if held else self.trailing
        reason = "" if value is not None else not_yet(self.spec, name)
        return Outcome(value, provenance, reason)


def analyse_pair(store: Store, spec: PairSpec, start: datetime, end: datetime) -> PairAnalysis:
    """Read a pair's bars of [start, end) from the file and analyse them.

    Raises NotEnoughData where the legs share too few bars, and what the store raises.
    """
    return analyse(spec, read_legs(store, spec, start, end))


def read_legs(
    store: Store,
    spec: PairSpec,
    start: datetime,
    end: datetime,
    *,
    since: datetime | None = None,
) -> Legs:
    """Read what `analyse` needs of [start, end), and the bars before it that it stands on.

    ``since`` asks for still earlier ones. Long ranges are read in parts, each under a lease of
    its own, so that the worker gets its turn between them.
    """
    # Where a leg trades seldom, so many bars take longer.
    early = start - timedelta(seconds=(3 * spec.warm_bars + spec.carry_bars) * spec.bar_s)
    at = min(early, since or early)
    length = timedelta(seconds=BARS_A_LEASE * spec.bar_s)
    symbols = tuple(dict.fromkeys((spec.y, spec.x)))
    parts = []
    while at < end:
        with store.read() as con:
            parts.append(load_closes(con, symbols, spec.timeframe, at, min(at + length, end)))
        at += length
    with store.read() as con:
        coverage = tuple(load_coverage(con, symbol, start, end) for symbol in symbols)
    return Legs(pl.concat(parts), start, end, coverage)


def analyse(spec: PairSpec, legs: Legs) -> PairAnalysis:
    """Return the whole analysis of the legs' range.

    Raises NotEnoughData with fewer than three shared bars in the range, or fewer than the Kalman
    filter's burn-in.
    """
    frame = aligned(spec, legs.closes)
    inside = frame.filter(pl.col("ts") >= legs.start)
    frame = frame.tail(inside.height + spec.warm_bars)
    if inside.height < 3:
        raise NotEnoughData(
            f"{spec.y.upper()} and {spec.x.upper()} share {inside.height} {spec.timeframe} bars "
            f"from {legs.start:%Y-%m-%d %H:%M:%S} to {legs.end:%Y-%m-%d %H:%M:%S} UTC; choose a "
            "longer range, a shorter timeframe, or carry the last price"
        )
    origin = origin_of(spec, frame)
    y, x = origin.legs(inside)
    provenance = _provenance(spec, inside, legs, window=None, basis="in-sample")
    tests = RangeTests(spec, inside, origin, y, x, provenance)
    fit = tests.chosen()
    # DuckDB and NumPy both let go of Python's lock: the tests run beside the windows.
    with ThreadPoolExecutor(1) as beside:
        outcomes = beside.submit(tests.outcomes)
        made = pair_series(spec, frame, origin, fit)
        rows = made.rows.filter(pl.col("ts") >= legs.start)
        return PairAnalysis(
            spec=spec,
            series=rows,
            lead=frame.head(frame.height - inside.height),
            context=frame.tail(spec.warm_bars),
            origin=origin,
            provenance=provenance,
            trailing=_provenance(spec, rows, legs, window=spec.window_bars, basis="trailing"),
            filter=made.filter,
            fit=fit,
            **outcomes.result(),
        )


def extended(analysis: PairAnalysis, closes: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that follow ``analysis``, from the closes of newer bars.

    The held fit, the filter's state and the bars before are those of the analysis, so that a
    row is the same whether its bar came before or after the analysis was made.
    """
    spec, context = analysis.spec, analysis.context
    last = analysis.series["ts"][-1]
    newer = aligned(spec, closes).filter(pl.col("ts") > last)
    if newer.is_empty():
        return analysis.series.clear()
    frame = pl.concat([context, newer])
    going_on = (analysis.filter.state, context.height) if analysis.filter else None
    made = pair_series(spec, frame, analysis.origin, analysis.fit, going_on)
    return made.rows.filter(pl.col("ts") > last)


def rolling_slopes(analysis: PairAnalysis, series: pl.DataFrame, rows: Ints) -> pl.DataFrame:
    """Return rolling_beta and rolling_se_beta at some rows of ``series``.

    ``series`` is the analysis' and what follows it. Each window is fitted by itself, as rolling
    OLS would have it: to draw some hundred of them beside another method takes milliseconds.
    """
    prices = ("price_y", "price_x")
    whole = pl.concat([analysis.lead.select(prices), series.select(prices)])
    at = np.asarray(rows) + analysis.lead.height
    found = rolling_ols(*analysis.origin.legs(whole), analysis.spec.window_bars, rows=at)
    scale = analysis.origin.beta_scale
    return pl.DataFrame(
        {"rolling_beta": found.beta[at] * scale, "rolling_se_beta": found.se_beta[at] * scale}
    ).fill_nan(None)


def not_yet(spec: PairSpec, name: str) -> str:
    """Return why a trailing value is not known at a bar."""
    if name == "se_beta" and spec.method in ("ols", "tls", "refit"):
        return f"{spec.method} has no trailing error of its slope"
    return (
        f"the {spec.window_bars:,} bars before are not all there, or too flat for a "
        "deviation: choose a shorter window or a longer range"
    )


def _provenance(
    spec: PairSpec, rows: pl.DataFrame, legs: Legs, *, window: int | None, basis: Basis
) -> Provenance:
    stale = rows["is_stale"].mean()
    return Provenance(
        bars=rows.height,
        possible_bars=int((rows["ts"][-1] - rows["ts"][0]).total_seconds()) // spec.bar_s + 1,
        start=rows["ts"][0],
        end=rows["ts"][-1] + timedelta(seconds=spec.bar_s),
        coverage=legs.held_share,
        stale_share=float(stale) if isinstance(stale, float) else 0.0,
        window_bars=window,
        basis=basis,
        price_scale="log" if spec.is_log else "raw",
    )
