"""The pair's figure: five linked panels, from the pair frame's rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from core.charts import Spec, epoch_ms, price_decimals
from core.errors import DataError
from core.line_panels import (
    Label,
    LinePanel,
    Rows,
    band,
    carried,
    labels,
    line,
    newest,
    panels_figure,
)

# From here on a z-score is called stretched; the spread's band is as many deviations wide.
STRETCHED = 2.0
# Two-sided 95% of the normal distribution.
SE_WIDTH = 1.96
_LEAST_PX = (120, 130)


@dataclass(frozen=True, slots=True)
class Look:
    """What the pair's figure has to know beside its rows."""

    legs: tuple[str, str]
    decimals: tuple[int, int]
    rebase: tuple[float, float]
    is_log: bool
    in_sample: bool
    window_bars: int
    beta_fixed: bool


def pair_chart(
    series: pl.DataFrame,
    *,
    y: str,
    x: str,
    timeframe_s: int,
    is_log: bool,
    in_sample: bool,
    window_bars: int,
    decimals_y: int,
    decimals_x: int,
    rebase: tuple[float, float],
    forming_from_ms: float | None,
    beta_fixed: bool,
) -> Spec:
    """Return five linked panels: both prices, spread, z-score, correlation, hedge ratio.

    ``series`` holds ``ts`` (UTC, bar start), ``price_y price_x is_stale spread spread_mean
    spread_sd zscore corr beta se_beta``, ordered by ``ts``, null where undefined; and
    ``rolling_beta rolling_se_beta`` where the method has no error of its own. ``rebase`` is
    the price of y and of x that counts as 0%. Spreads of log prices are shown in bps, others in
    quote units. A row that starts at or after ``forming_from_ms`` is provisional. Raises
    DataError where a price to rebase on is not above 0.
    """
    for symbol, price in ((y, rebase[0]), (x, rebase[1])):
        if not (math.isfinite(price) and price > 0):
            raise DataError(
                f"cannot show {symbol} as a change against the price {price}: "
                "rebase on a price above 0"
            )
    look = Look(
        (y, x), (decimals_y, decimals_x), rebase, is_log, in_sample, window_bars, beta_fixed
    )
    stale = series["is_stale"].fill_null(False).to_numpy()
    rows = Rows(series, epoch_ms(series["ts"]), stale)
    panels = [build(rows, look) for build in (_prices, _spread, _zscore, _correlation, _beta)]
    return panels_figure(
        panels,
        rows.at,
        timeframe_s=timeframe_s,
        least_px=_LEAST_PX,
        forming_from_ms=forming_from_ms,
    )


def _prices(rows: Rows, look: Look) -> LinePanel:
    traces: list[Spec] = []
    ends: tuple[Label, ...] = ()
    of_leg = zip(look.legs, ("y", "x"), look.rebase, look.decimals, strict=True)
    for symbol, leg, base, decimals in of_leg:
        change = 100.0 * (rows.column(f"price_{leg}") / base - 1.0)
        traces.append(
            line(
                rows,
                change,
                f"$leg_{leg}",
                label=symbol.upper(),
                base=base,
                base_decimals=decimals,
            )
        )
        ends += labels(change, f"$leg_{leg}", 2, unit="%")
    return LinePanel(
        share=0.26,
        traces=traces + carried(rows, traces),
        facts={"title": "Prices", "unit": "%", "decimals": 2, "signed": True},
        axis={"ticksuffix": "%", "nticks": 6, "zeroline": True, "zerolinecolor": "$line"},
        labels=ends,
    )


def _decimals(typical: float) -> int:
    """Return the decimals that show a value of this size with two digits."""
    if not math.isfinite(typical) or typical <= 0:
        return 2
    return min(12, max(0, 1 - math.floor(math.log10(typical))))


def _spread(rows: Rows, look: Look) -> LinePanel:
    scale = 1e4 if look.is_log else 1.0
    spread, mean, deviation = (
        scale * rows.column(name) for name in ("spread", "spread_mean", "spread_sd")
    )
    known = deviation[~np.isnan(deviation)]
    decimals = _decimals(float(np.median(known)) if len(known) else math.nan)
    drawn = line(rows, spread, "$spread")
    middle = line(rows, mean, "$muted", width=1, label="mean") | {"hollow": False}
    middle["line"]["dash"] = "dash"
    return LinePanel(
        share=0.22,
        traces=[
            band(rows, mean, STRETCHED * deviation, "$band", "±2σ"),
            middle,
            drawn,
            *carried(rows, [drawn]),
        ],
        facts={
            "title": "Spread",
            "note": "log prices" if look.is_log else "raw prices",
            "unit": " bps" if look.is_log else "",
            "decimals": decimals,
            "signed": True,
        },
        axis={"nticks": 5, "zeroline": True, "zerolinecolor": "$line"},
        labels=labels(spread, "$spread", decimals),
        is_hatched=look.in_sample,
    )


def _zscore(rows: Rows, look: Look) -> LinePanel:
    zscore = rows.column("zscore")
    drawn = line(rows, zscore, "$spread", beyond=STRETCHED, beyond_word="stretched")
    ends = labels(zscore, "$spread", 2)
    if ends and abs(ends[0].value) >= STRETCHED:
        mark = "▲" if ends[0].value > 0 else "▼"
        ends = (Label(ends[0].value, f"{mark} {ends[0].text}", "$spread"),)
    return LinePanel(
        share=0.22,
        traces=[drawn, *carried(rows, [drawn])],
        facts={
            "title": "z-score",
            "note": f"{look.window_bars} bars",
            "decimals": 2,
            "signed": True,
            "include": [-STRETCHED, STRETCHED],
        },
        axis={"nticks": 5},
        labels=ends,
        levels=(STRETCHED, 0.0, -STRETCHED),
        is_hatched=look.in_sample,
    )


def _correlation(rows: Rows, look: Look) -> LinePanel:
    corr = rows.column("corr")
    return LinePanel(
        share=0.15,
        # A return across a missing bar does not exist: the line goes on over such rows.
        traces=[line(rows, corr, "$corr") | {"connect": True}],
        facts={
            "title": "ρ",
            "note": f"log returns, {look.window_bars} bars",
            "decimals": 2,
            "signed": True,
            "range": [-1, 1],
        },
        axis={"tickmode": "array", "tickvals": [-1, 0, 1], "ticktext": ["−1", "0", "1"]},
        labels=labels(corr, "$corr", 2),
        levels=(0.0,),
    )


def _beta(rows: Rows, look: Look) -> LinePanel:
    beta, error = rows.column("beta"), rows.column("se_beta")
    last = newest(beta)
    known = math.isfinite(last)
    decimals = max(2, price_decimals(None, last or None) - 1) if known else 2
    facts: Spec = {"title": "β", "decimals": decimals}
    traces = [line(rows, beta, "$ink")]
    if look.beta_fixed:
        facts |= {
            "mark": "held for the range",
            "min_span": (0.1 * abs(last) if known else 0) or 0.1,
        }
    if "rolling_beta" in rows.frame.columns:
        # A method without an error of its own is seen against the windows' own slopes.
        rolling, error = rows.column("rolling_beta"), rows.column("rolling_se_beta")
        facts["note"] = f"rolling, {look.window_bars} bars"
        traces.insert(
            0,
            line(rows, rolling, "$muted", label="rolling", width=1)
            | {"hollow": False, "connect": True},
        )
        middle = rolling
    else:
        middle = beta
    if not np.isnan(error).all():
        traces.insert(0, band(rows, middle, SE_WIDTH * error, "$muted", "±1.96 s.e."))
    text = f"{last:,.{decimals}f}".replace("-", "−")
    return LinePanel(
        share=0.15,
        traces=traces,
        facts=facts,
        axis={"nticks": 3},
        labels=(Label(last, text, "$ink"),) if known else (),
        is_hatched=look.in_sample and look.beta_fixed,
    )
