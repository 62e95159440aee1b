"""What is asked of a pair's range as a whole: hedge ratios, tests, correlations. All in-sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import polars as pl

from core.errors import DataError
from core.pair_series import Floats, Origin
from core.pair_spec import Outcome, PairSpec, Provenance
from core.stats.adf import adf
from core.stats.cointegration import EngleGranger, Johansen, engle_granger, johansen
from core.stats.correlation import pearson, spearman
from core.stats.hedge import DynamicFit, HedgeFit, dynamic_ols, ols, residuals, tls
from core.stats.reversion import half_life, hurst, kpss, variance_ratio

T = TypeVar("T")

# Bars over which the variance ratio compares; it is advisory.
VARIANCE_RATIO_BARS = 10


def held_fit(spec: PairSpec, origin: Origin, y: Floats, x: Floats) -> HedgeFit | None:
    """Return the line through a range that its series holds, centred; None for trailing methods."""
    if spec.method == "ols":
        return ols(y, x)
    return _own_tls(origin, y, x) if spec.method == "tls" else None


def _own_tls(origin: Origin, y: Floats, x: Floats) -> HedgeFit:
    if origin.is_log:
        return tls(y, x)
    slope = origin.price_x / origin.price_y
    fit = tls((y + 1) * origin.price_y, (x + 1) * origin.price_x)
    beta = fit.beta * slope
    alpha = fit.alpha / origin.price_y - 1 + beta
    return replace(fit, alpha=alpha, beta=beta, sigma=fit.sigma / origin.price_y)


@dataclass(frozen=True, slots=True)
class RangeTests:
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
        return held_fit(self.spec, self.origin, self.y, self.x)

    def tls(self) -> HedgeFit:
        """Fit in the pair's own units: total least squares depends on the legs' scales."""
        return _own_tls(self.origin, self.y, self.x)

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

    def engle_granger(self, origin: Origin, y: Floats, x: Floats) -> EngleGranger:
        """Return the test of one leg on the other, its line in the pair's own units."""
        found = engle_granger(y, x)
        alpha = origin.alpha(np.array(found.alpha), np.array(found.beta))
        return replace(found, alpha=float(alpha), beta=found.beta * origin.beta_scale)

    def johansen(self) -> Johansen:
        """Return Johansen's test with its slope in the pair's own units."""
        found = johansen(self.y, self.x)
        return replace(found, beta=found.beta * self.origin.beta_scale)

    def outcomes(self) -> dict[str, Outcome[Any]]:
        """Ask every question of the range; each answer, or the reason why there is none."""
        y, x, tried = self.y, self.x, self.tried
        steps = self.steps()
        swapped = Origin(self.origin.price_x, self.origin.price_y, self.origin.is_log)
        return {
            "ols": tried(lambda: self.own(ols(y, x))),
            "tls": tried(lambda: self.own(self.tls())),
            "dynamic": tried(lambda: self.own_dynamic(dynamic_ols(y, x))),
            **self.reversion(),
            "johansen": tried(self.johansen),
            "y_on_x": tried(self.engle_granger, self.origin, y, x),
            "x_on_y": tried(self.engle_granger, swapped, x, y),
            "corr_returns": tried(pearson, *steps),
            "corr_levels": tried(pearson, y, x),
            "rank_corr_returns": tried(spearman, *steps),
        }


_REVERSION: dict[str, Callable[[Floats], Any]] = {
    "adf": adf,
    "kpss": kpss,
    "half_life": half_life,
    "hurst": hurst,
    "variance_ratio": lambda spread: variance_ratio(spread, VARIANCE_RATIO_BARS),
}
