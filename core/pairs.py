"""The whole analysis of one pair as one result, each number with what it stands on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import numpy as np
import polars as pl

from core.errors import DataError, NotEnoughData
from core.models import CoverageSummary
from core.pair_series import Floats, Origin, PairSeries, aligned, origin_of, pair_series
from core.pair_spec import Basis, Outcome, PairSpec, Provenance
from core.queries import load_closes, load_coverage
from core.stats.adf import AdfResult, adf
from core.stats.cointegration import EngleGranger, Johansen, engle_granger, johansen
from core.stats.correlation import pearson, spearman
from core.stats.hedge import DynamicFit, HedgeFit, dynamic_ols, ols, residuals, tls
from core.stats.kalman import KalmanFit
from core.stats.reversion import (
    HalfLife,
    Hurst,
    KpssResult,
    VarianceRatio,
    half_life,
    hurst,
    kpss,
    variance_ratio,
)
from core.store import Connection, Store

T = TypeVar("T")

# Bars over which the variance ratio compares; it is advisory.
VARIANCE_RATIO_BARS = 10


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
    ``context`` are the aligned bars that later rows stand on. Slopes and intercepts are in the
    pair's own units.
    """

    spec: PairSpec
    series: pl.DataFrame
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
    with store.read() as con:
        legs = load_legs(con, spec, start, end)
    return analyse(spec, legs)


def load_legs(
    con: Connection,
    spec: PairSpec,
    start: datetime,
    end: datetime,
    *,
    since: datetime | None = None,
) -> Legs:
    """Read what `analyse` needs of [start, end), and the bars before it that it stands on.

    ``since`` asks for still earlier ones.
    """
    # Where a leg trades seldom, so many bars take longer.
    early = start - timedelta(seconds=(3 * spec.warm_bars + spec.carry_bars) * spec.bar_s)
    early = min(early, since or early)
    closes = load_closes(con, sorted({spec.y, spec.x}), spec.timeframe, early, end)
    symbols = dict.fromkeys((spec.y, spec.x))
    return Legs(closes, start, end, tuple(load_coverage(con, s, start, end) for s in symbols))


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
    tests = _Tests(spec, inside, origin, y, x, provenance)
    fit = tests.chosen()
    made = pair_series(spec, frame, origin, fit)
    rows = made.rows.filter(pl.col("ts") >= legs.start)
    return tests.analysis(made, rows, frame.tail(spec.warm_bars), fit, legs)


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


@dataclass(frozen=True, slots=True)
class _Tests:
    """The range's bars in centred units, and one question a method."""

    spec: PairSpec
    inside: pl.DataFrame
    origin: Origin
    y: Floats
    x: Floats
    provenance: Provenance

    def tried(self, question: Callable[..., T], *arguments: Any, **options: Any) -> Outcome[T]:
        """Return the answer, or why there is none."""
        try:
            return Outcome(question(*arguments, **options), self.provenance)
        except DataError as error:
            return Outcome(None, self.provenance, str(error))

    def chosen(self) -> HedgeFit | None:
        """Return the fit that the series holds, in centred units; None for trailing methods."""
        if self.spec.method == "ols":
            return ols(self.y, self.x)
        if self.spec.method == "tls":
            return self.tls()
        return None

    def tls(self) -> HedgeFit:
        """Fit in the pair's own units: total least squares depends on the legs' scales."""
        if self.spec.is_log:
            return tls(self.y, self.x)
        own = self.origin
        slope = own.price_x / own.price_y
        fit = tls((self.y + 1) * own.price_y, (self.x + 1) * own.price_x)
        beta = fit.beta * slope
        alpha = fit.alpha / own.price_y - 1 + beta
        return replace(fit, alpha=alpha, beta=beta, sigma=fit.sigma / own.price_y)

    def own(self, fit: HedgeFit) -> HedgeFit:
        """Return the fit in the pair's own units."""
        alpha = self.origin.alpha(np.array(fit.alpha), np.array(fit.beta))
        scale = self.origin.spread_scale
        return replace(
            fit,
            alpha=float(alpha),
            beta=fit.beta * self.origin.beta_scale,
            sigma=fit.sigma * scale,
        )

    def own_dynamic(self, fit: DynamicFit) -> DynamicFit:
        """Return the slope and its interval in the pair's own units."""
        scale = self.origin.beta_scale
        named = {name: getattr(fit, name) * scale for name in ("beta", "se", "low", "high")}
        return replace(fit, **named)

    def steps(self) -> tuple[Floats, Floats]:
        """Return both legs' log returns between neighbouring bars."""
        logs = replace(self.origin, is_log=True).legs(self.inside)
        seconds = np.diff(self.inside["ts"].dt.epoch("s").to_numpy())
        near = seconds == self.spec.bar_s
        return np.diff(logs[0])[near], np.diff(logs[1])[near]

    def reversion(self) -> dict[str, Outcome[Any]]:
        """Ask how the constant-slope residual comes back: descriptions of the range."""
        try:
            fit = ols(self.y, self.x)
            if fit.is_same_asset:
                raise DataError(f"the legs are the same asset: 1 − R² = {1 - fit.r_squared:.1g}")
        except DataError as error:
            nothing: Outcome[Any] = Outcome(None, self.provenance, str(error))
            return dict.fromkeys(_REVERSION, nothing)
        spread = residuals(self.y, self.x, fit.alpha, fit.beta)
        return {name: self.tried(question, spread) for name, question in _REVERSION.items()}

    def johansen(self) -> Johansen:
        """Return Johansen's test with its slope in the pair's own units."""
        found = johansen(self.y, self.x)
        return replace(found, beta=found.beta * self.origin.beta_scale)

    def analysis(
        self,
        made: PairSeries,
        rows: pl.DataFrame,
        context: pl.DataFrame,
        fit: HedgeFit | None,
        legs: Legs,
    ) -> PairAnalysis:
        """Ask every question and put the answers together."""
        y, x, tried = self.y, self.x, self.tried
        steps = self.steps()
        window = self.spec.window_bars
        return PairAnalysis(
            spec=self.spec,
            series=rows,
            context=context,
            origin=self.origin,
            provenance=self.provenance,
            ols=tried(lambda: self.own(ols(y, x))),
            tls=tried(lambda: self.own(self.tls())),
            dynamic=tried(lambda: self.own_dynamic(dynamic_ols(y, x))),
            **self.reversion(),
            johansen=tried(self.johansen),
            y_on_x=tried(engle_granger, y, x),
            x_on_y=tried(engle_granger, x, y),
            corr_returns=tried(pearson, *steps),
            corr_levels=tried(pearson, y, x),
            rank_corr_returns=tried(spearman, *steps),
            trailing=_provenance(self.spec, rows, legs, window=window, basis="trailing"),
            filter=made.filter,
            fit=fit,
        )


_REVERSION: dict[str, Callable[[Floats], Any]] = {
    "adf": adf,
    "kpss": kpss,
    "half_life": half_life,
    "hurst": hurst,
    "variance_ratio": lambda spread: variance_ratio(spread, VARIANCE_RATIO_BARS),
}
