"""Pair's table of every statistic: the number, what it says, and what it stands on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import polars as pl

from core.pair_spec import Outcome
from core.pairs import PairAnalysis
from core.range_tests import VARIANCE_RATIO_BARS
from core.verdict import p_words, span_words
from pages.shared.cards import UNKNOWN
from pages.shared.frame import counted
from pages.shared.pair_cards import coverage_text, distance, now, number, significant, spread_text
from pages.shared.pair_view import PairView

Shown = Callable[[Any], tuple[str, str]]
Line = tuple[str, Outcome[Any], Shown]

COLUMNS = ["Statistic", "Value", "Detail", "Bars", "Window", "Basis", "Coverage", "Stale", "Until"]


def statistics(view: PairView) -> pl.DataFrame:
    """Return every statistic as a row of text."""
    lines = [*_slopes(view.analysis), *_tests(view), *_reversion(view.analysis), *_moves(view)]
    return pl.DataFrame([_row(*line) for line in lines], orient="row", schema=COLUMNS)


def _row(name: str, outcome: Outcome[Any], shown: Shown) -> list[str]:
    value, detail = (UNKNOWN, outcome.reason)
    if outcome.value is not None:
        value, detail = shown(outcome.value)
    found = outcome.provenance
    return [
        name,
        value,
        detail,
        f"{found.bars:,}",
        f"{found.window_bars:,}" if found.window_bars else "range",
        found.basis,
        UNKNOWN if found.coverage is None else coverage_text(found.coverage).split()[1],
        f"{found.stale_share:.1%}",
        UNKNOWN if found.end is None else f"{found.end:%H:%M:%S}",
    ]


def _slopes(a: PairAnalysis) -> Iterator[Line]:
    def line(r: Any) -> tuple[str, str]:
        deviation = spread_text(r.sigma, a.spec.is_log)
        detail = f"α {significant(r.alpha)}, R² {number(r.r_squared, 4)}, residual σ {deviation}"
        return significant(r.beta), detail

    yield "β OLS", a.ols, line
    yield (
        "β dynamic OLS",
        a.dynamic,
        lambda r: (
            significant(r.beta),
            f"95%: {significant(r.low)} to {significant(r.high)}, residual ρ {number(r.rho)}",
        ),
    )
    yield "β TLS", a.tls, line
    yield (
        "β Johansen",
        a.johansen,
        lambda r: (
            significant(r.beta),
            f"trace {number(r.trace_statistic[0], 2)}; 95% is {number(r.trace_critical[0][1], 2)}",
        ),
    )
    if a.spec.method not in ("ols", "tls"):
        yield (
            f"β {a.spec.method} now",
            a.last("beta"),
            lambda r: (significant(r), f"α {significant(a.series['alpha'][-1])}"),
        )
    if found := a.filter:
        life = found.innovation_half_life
        words = f"innovations' half-life {number(life, 1)} bars; {found.warning or 'in order'}"
        yield "Kalman sd(z)", Outcome(found.sd_z, a.trailing), lambda r: (number(r, 2), words)


def _tests(view: PairView) -> Iterator[Line]:
    a, judged = view.analysis, view.verdict
    yield (
        "ADF",
        a.adf,
        lambda r: (
            number(r.statistic),
            f"{counted(r.lag, 'lag')}; textbook p {p_words(r.p_value)} does not hold for residuals",
        ),
    )
    yield (
        "KPSS",
        a.kpss,
        lambda r: (
            number(r.statistic),
            f"{counted(r.lags, 'lag')}; 5% is {r.critical_5pct_residual} for residuals; "
            "a description",
        ),
    )
    for name, found in (("y on x", a.y_on_x), ("x on y", a.x_on_y)):
        yield (
            f"Engle-Granger {name}",
            found,
            lambda r: (
                number(r.statistic),
                f"asymptotic p {p_words(r.p_value)}, {counted(r.lag, 'lag')}",
            ),
        )
    provenance = replace(
        a.provenance, bars=judged.bars, start=view.moment.judged_from, end=view.moment.judged_at
    )
    yield (
        "Wild bootstrap",
        Outcome(judged.bootstrap, provenance, judged.reason),
        lambda r: (
            f"p {p_words(r.p)}",
            f"y on x {p_words(r.p_y_on_x)}, x on y {p_words(r.p_x_on_y)}; {r.replicates} redraws "
            f"of {r.n:,} rows; the verdict's",
        ),
    )


def _reversion(a: PairAnalysis) -> Iterator[Line]:
    life, known = a.half_life, a.half_life.value
    if known is not None and known.bars is None:
        life = Outcome(None, life.provenance, known.reason or "")
    yield (
        "Half-life",
        life,
        lambda r: (
            f"{number(r.bars, 1)} bars",
            f"{span_words(r.bars * a.spec.bar_s)}; φ {number(r.phi, 5)}",
        ),
    )
    yield (
        "Hurst exponent",
        a.hurst,
        lambda r: (number(r.value), f"lags {r.lags_low} to {r.lags_high}; advisory"),
    )
    yield (
        f"Variance ratio, {VARIANCE_RATIO_BARS} bars",
        a.variance_ratio,
        lambda r: (number(r.ratio), f"z* {number(r.z_star, 2)}, p {p_words(r.p_value)}; advisory"),
    )


def _moves(view: PairView) -> Iterator[Line]:
    a = view.analysis
    yield "ρ returns", a.corr_returns, lambda r: (number(r, 4), "Pearson, log returns")
    yield "ρ returns, ranks", a.rank_corr_returns, lambda r: (number(r, 4), "Spearman, log returns")
    yield (
        "ρ levels",
        a.corr_levels,
        lambda r: (number(r, 4), "Pearson; 40% of independent walks read beyond ±0.5"),
    )
    newest = "provisional: the bar still forms" if view.is_forming else "the last closed bar"
    yield "z now", now(view, "zscore"), lambda r: (number(r), newest)
    if found := distance(view):
        yield "Distance from the mean", now(view, "spread"), lambda _: (found.text, found.words)
