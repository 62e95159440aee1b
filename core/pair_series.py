"""One pair over time: aligned bars, the spread, its z-score and what belongs to each bar.

Legs are centred and scaled by the first aligned bar before any product: logs become
ln(P / P₀), prices P / P₀ − 1. So a price of 1e-8 is as good as one of 1e8. Everything shown is
turned back into the pair's own units; ``spread = y − alpha − beta · x`` holds in every row.

The same functions serve many pairs at once: their frame has a column ``pair`` and the rows of one
pair after those of another, origin and held line are arrays with a value a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.pair_spec import PairSpec
from core.queries import PairRolling, pair_frame_sql, pair_frames_sql, pair_rolling_sql
from core.stats.hedge import HedgeFit
from core.stats.kalman import KalmanFit, KalmanState, continue_kalman, kalman
from core.stats.rolling import refit_ols, rolling_ols
from core.workbench import compute

Floats = NDArray[np.float64]

SERIES = (
    "ts", "price_y", "price_x", "is_stale", "spread", "spread_mean", "spread_sd", "zscore",
    "corr", "corr_levels", "alpha", "beta", "se_beta",
)  # fmt: skip
# Below this share of unexplained variance cross-products lose too many digits.
_DIRECT = 1e-5


@dataclass(frozen=True, slots=True)
class Origin:
    """The first aligned bar's prices, which every later one is measured against."""

    # Floats, or arrays with a value a row.
    price_y: Any
    price_x: Any
    is_log: bool

    def legs(self, frame: pl.DataFrame) -> tuple[Floats, Floats]:
        """Return y and x of the frame's rows, centred and scaled."""
        y = frame["price_y"].to_numpy() / self.price_y
        x = frame["price_x"].to_numpy() / self.price_x
        return (np.log(y), np.log(x)) if self.is_log else (y - 1.0, x - 1.0)

    @property
    def spread_scale(self) -> Any:
        """What turns a centred spread into the pair's own units."""
        return 1.0 if self.is_log else self.price_y

    @property
    def beta_scale(self) -> Any:
        """What turns a centred slope into the pair's own units."""
        return 1.0 if self.is_log else self.price_y / self.price_x

    def alpha(self, alpha: Floats, beta: Floats) -> Floats:
        """Return the intercept in the pair's own units; ``beta`` is the centred slope."""
        if self.is_log:
            return np.asarray(alpha + np.log(self.price_y) - beta * np.log(self.price_x))
        return np.asarray(self.price_y * (1.0 + alpha - beta))


@dataclass(frozen=True, slots=True)
class Line:
    """A held hedge in centred units: one, or one a row."""

    alpha: float | Floats
    beta: float | Floats


@dataclass(frozen=True, slots=True)
class PairSeries:
    """The rows (`SERIES`, one a bar), and the Kalman filter where it made them."""

    rows: pl.DataFrame
    filter: KalmanFit | None = None


def aligned(spec: PairSpec, closes: pl.DataFrame) -> pl.DataFrame:
    """Return ts, price_y, price_x, is_stale of the bars that both legs have.

    ``closes`` is `load_closes`' frame: symbol, ts, close, volume.
    """
    parameters: dict[str, object] = {"y": spec.y, "x": spec.x, "min_turnover": spec.min_turnover}
    if spec.carry_bars:
        parameters["carry_s"] = spec.carry_bars * spec.bar_s
    return compute(pair_frame_sql(carried=spec.carry_bars > 0), {"legs": closes}, parameters)


def aligned_many(pairs: Sequence[tuple[str, str]], closes: pl.DataFrame) -> pl.DataFrame:
    """Return the same of each pair (y, x), its number in the column ``pair``, by pair and ts."""
    named = pl.DataFrame(
        [(number, *legs) for number, legs in enumerate(pairs)],
        schema={"pair": pl.Int64, "y": pl.String, "x": pl.String},
        orient="row",
    )
    return compute(pair_frames_sql(), {"legs": closes, "pairs": named})


def origins_of(frame: pl.DataFrame, *, is_log: bool) -> Origin:
    """Return each row's origin: its pair's first row."""
    first = frame.select(pl.col("price_y", "price_x").first().over("pair"))
    return Origin(first["price_y"].to_numpy(), first["price_x"].to_numpy(), is_log)


def origin_of(spec: PairSpec, frame: pl.DataFrame) -> Origin:
    """Return the origin that the frame's first row gives."""
    return Origin(frame["price_y"][0], frame["price_x"][0], spec.is_log)


def pair_series(
    spec: PairSpec,
    frame: pl.DataFrame,
    origin: Origin,
    fit: HedgeFit | None = None,
    going_on: tuple[KalmanState, int] | None = None,
) -> PairSeries:
    """Return the pair's rows over time; nothing but an in-sample ``fit`` looks ahead.

    ``fit`` (in centred units) is needed by ``ols`` and ``tls``; ``going_on`` lets the Kalman
    filter go on from a state, at the row of that number.
    """
    rolled = pair_correlations(spec, frame, origin)
    hedged = pair_hedge(spec, frame, origin, fit, going_on)
    rows = hedged.rows.with_columns(rolled["corr"], rolled["corr_levels"])
    return PairSeries(rows.select(SERIES), hedged.filter)


def pair_correlations(spec: PairSpec, frame: pl.DataFrame, origin: Origin) -> pl.DataFrame:
    """Return ts, corr (of returns), corr_levels over the window, a row each of the frame's."""
    table = _table(frame, origin, *origin.legs(frame))
    return _rolled("rolling_correlations", table, _window(spec) | {"bar_s": spec.bar_s})


def pair_hedge(
    spec: PairSpec,
    frame: pl.DataFrame,
    origin: Origin,
    fit: HedgeFit | Line | None = None,
    going_on: tuple[KalmanState, int] | None = None,
) -> PairSeries:
    """Return the same rows without the correlations: all that a trade follows."""
    y, x = origin.legs(frame)
    found = None
    if spec.method == "rolling":
        made = _columns(**_windows(spec, _table(frame, origin, y, x), y, x))
    elif spec.method == "refit":
        made = _refit(spec, frame, y, x)
    elif spec.method == "kalman":
        made, found = _kalman(spec, y, x, going_on)
    else:
        assert fit is not None, f"{spec.method} needs its fit"
        made = _held(spec, _table(frame, origin, y, x), y, x, fit)
    return PairSeries(_in_own_units(frame.with_columns(*made), origin), found)


def _table(frame: pl.DataFrame, origin: Origin, y: Floats, x: Floats) -> pl.DataFrame:
    logs = Origin(origin.price_y, origin.price_x, True).legs(frame)
    numbers = {"pair": frame["pair"]} if "pair" in frame.columns else {}
    return pl.DataFrame(
        numbers
        | {
            "ts": frame["ts"].dt.cast_time_unit("us"),
            "y": y,
            "x": x,
            "y_log": logs[0],
            "x_log": logs[1],
        }
    )


def _rolled(name: PairRolling, table: pl.DataFrame, parameters: dict[str, object]) -> pl.DataFrame:
    text = pair_rolling_sql(name, many="pair" in table.columns)
    return compute(text, {"pair": table}, parameters)


def _window(spec: PairSpec) -> dict[str, object]:
    return {"window": spec.window_bars, "before": spec.window_bars - 1}


def _held(
    spec: PairSpec, table: pl.DataFrame, y: Floats, x: Floats, fit: HedgeFit | Line
) -> list[pl.Series]:
    """One slope for all rows; the z-score is the spread against its own trailing window."""
    spread = y - fit.alpha - fit.beta * x
    rolled = _rolled("rolling_spread", table.with_columns(spread=pl.Series(spread)), _window(spec))
    rows = len(y)
    return _columns(
        spread=spread,
        mean=rolled["spread_mean"].to_numpy(),
        sd=rolled["spread_sd"].to_numpy(),
        alpha=np.full(rows, fit.alpha),
        beta=np.full(rows, fit.beta),
    )


def _windows(spec: PairSpec, table: pl.DataFrame, y: Floats, x: Floats) -> dict[str, Floats]:
    """Return rolling OLS of every bar's own window; NaN where it is not defined."""
    rolled = _rolled("rolling_hedge", table, _window(spec))
    found = {
        name: rolled[name].cast(pl.Float64).fill_null(np.nan).to_numpy(writable=True)
        for name in ("spread", "spread_sd", "alpha", "beta", "se_beta")
    }
    unexplained = rolled["unexplained"].fill_null(1.0).to_numpy()
    doubtful = np.flatnonzero((unexplained < _DIRECT) & np.isfinite(found["beta"]))
    if doubtful.size:
        direct = rolling_ols(y, x, spec.window_bars, rows=doubtful)
        for name in ("spread", "alpha", "beta", "se_beta"):
            found[name][doubtful] = getattr(direct, name)[doubtful]
        with np.errstate(divide="ignore", invalid="ignore"):
            found["spread_sd"][doubtful] = (direct.spread / direct.zscore)[doubtful]
    found["sd"] = found.pop("spread_sd")
    return found | {"mean": np.where(np.isfinite(found["sd"]), 0.0, np.nan)}


def _refit(spec: PairSpec, frame: pl.DataFrame, y: Floats, x: Floats) -> list[pl.Series]:
    # Refits happen at times of the clock, not so many bars after wherever the range begins.
    seconds = frame["ts"].dt.epoch("s").to_numpy()
    found = refit_ols(y, x, seconds // (spec.refit_bars * spec.bar_s), spec.window_bars)
    mean = np.where(np.isfinite(found.sigma), 0.0, np.nan)
    return _columns(found.spread, mean, found.sigma, found.alpha, found.beta)


def _kalman(
    spec: PairSpec, y: Floats, x: Floats, going_on: tuple[KalmanState, int] | None
) -> tuple[list[pl.Series], KalmanFit]:
    if going_on is None:
        found, before = kalman(y, x, bar_s=spec.bar_s, burn_in=spec.burn_in_bars), 0
    else:
        state, before = going_on
        found = continue_kalman(state, y[before:], x[before:], bar_s=spec.bar_s)
    unknown = np.full(before, np.nan)
    spread, zscore, alpha, beta, se_beta = (
        np.concatenate([unknown, values])
        for values in (found.spread, found.zscore, found.alpha, found.beta, found.se_beta)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        deviation = spread / zscore
    mean = np.where(np.isfinite(deviation), 0.0, np.nan)
    return _columns(spread, mean, deviation, alpha, beta, se_beta), found


def _columns(
    spread: Floats,
    mean: Floats,
    sd: Floats,
    alpha: Floats,
    beta: Floats,
    se_beta: Floats | None = None,
) -> list[pl.Series]:
    """Return the columns, nulls for what is not defined."""
    with np.errstate(divide="ignore", invalid="ignore"):
        flat = ~(sd > 1e-12 * np.maximum(1.0, np.abs(mean)))
        zscore = np.where(flat, np.nan, (spread - mean) / sd)
    named = {
        "spread": spread,
        "spread_mean": mean,
        "spread_sd": sd,
        "zscore": zscore,
        "alpha": alpha,
        "beta": beta,
        "se_beta": np.full(len(spread), np.nan) if se_beta is None else se_beta,
    }
    return [pl.Series(name, values).fill_nan(None) for name, values in named.items()]


def _in_own_units(rows: pl.DataFrame, origin: Origin) -> pl.DataFrame:
    """Turn centred spreads, intercepts and slopes into the pair's own units."""
    alpha, beta = (rows[name].fill_null(np.nan).to_numpy() for name in ("alpha", "beta"))
    scale, slope = origin.spread_scale, origin.beta_scale
    return rows.with_columns(
        pl.col("spread", "spread_mean", "spread_sd") * scale,
        pl.col("beta", "se_beta") * slope,
        alpha=pl.Series(origin.alpha(alpha, beta)).fill_nan(None),
    )
