"""Pair's row of numbers: formatted, each with what it stands on or why it is not known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from core.costs import TAKER_BPS, round_trip_bps
from core.pair_spec import Outcome, Provenance
from core.pairs import PairAnalysis
from core.verdict import p_words, span_words
from pages.shared.cards import UNKNOWN, Card
from pages.shared.frame import counted
from pages.shared.pair_view import PairView

IN_SAMPLE = "in-sample"
_SIGMA = 1.96


def number(value: float | None, digits: int = 3) -> str:
    """Return a statistic with that many decimals and a true minus; a dash where unknown."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{value:,.{digits}f}".replace("-", "−")


def significant(value: float | None, digits: int = 4) -> str:
    """Return a value of any size with that many significant digits."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    places = 0 if not value else max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return number(value, min(places, 10))


def pair_cards(view: PairView) -> tuple[Card, ...]:
    """Return the cards in reading order: hedge ratio, tests, half-life, correlation, z now."""
    analysis = view.analysis
    return (
        _beta(view),
        _alpha(view),
        _card(
            "R²",
            number(analysis.ols.value.r_squared, 4) if analysis.ols.value else UNKNOWN,
            IN_SAMPLE,
            "Share of y's variance that the least-squares line through the range explains: "
            "1 − Σ(y − α − βx)² / Σ(y − ȳ)².",
            analysis.ols,
        ),
        _adf(analysis),
        _engle_granger(view),
        _half_life(analysis),
        _correlation(analysis),
        _zscore(view),
    )


def _card(label: str, value: str, below: str | None, words: str, outcome: Outcome[Any]) -> Card:
    text = f"{words}\n\n{provenance_words(outcome.provenance)}"
    if outcome.value is None:
        text += f"\n\nNot known: {outcome.reason}."
    return Card(label, value, below, (), "", text)


def _beta(view: PairView) -> Card:
    analysis = view.analysis
    spec = analysis.spec
    last = view.series.row(-1, named=True)
    value, dynamic = last["beta"], analysis.dynamic.value
    words = "Units of x's move that one of y's is held against: the slope of y on x."
    if spec.method == "ols":
        error = dynamic.se if dynamic else None
        words += (
            " The interval is dynamic OLS' (two leads and lags of Δx, errors for slowly reverting "
            "residuals); plain OLS errors are far too small. Stock & Watson (1993)."
        )
    else:
        error = last["se_beta"]
        words += " The interval is ±1.96 standard errors, where the method has one."
    below = f"±{significant(_SIGMA * error, 2)}" if error is not None else ""
    if spec.is_in_sample:
        below = f"{below} {IN_SAMPLE}".strip()
        outcome: Outcome[Any] = analysis.ols if spec.method == "ols" else analysis.tls
    else:
        below = f"{below} trailing".strip()
        outcome = now(view, "beta")
    return _card("β", significant(value), below, words, outcome)


def _alpha(view: PairView) -> Card:
    analysis = view.analysis
    below = IN_SAMPLE if analysis.spec.is_in_sample else "trailing"
    words = "Intercept of y on x: spread = y − α − β·x. In log units, or quote units for raw."
    outcome = (
        (analysis.ols if analysis.spec.method == "ols" else analysis.tls)
        if analysis.spec.is_in_sample
        else now(view, "alpha")
    )
    return _card("α", significant(view.series["alpha"][-1]), below, words, outcome)


def now(view: PairView, name: str) -> Outcome[float]:
    found = view.analysis.last(name)
    return Outcome(view.series[name][-1], found.provenance, found.reason)


def _adf(analysis: PairAnalysis) -> Card:
    found = analysis.adf.value
    words = (
        "Augmented Dickey-Fuller statistic of the constant-β residual, lags by AIC. A "
        "description: its textbook p-value does not hold for estimated residuals. "
        "Engle & Granger (1987), MacKinnon (2010)."
    )
    below = f"{counted(found.lag, 'lag')} {IN_SAMPLE}" if found else None
    return _card("ADF", number(found.statistic if found else None, 2), below, words, analysis.adf)


def _engle_granger(view: PairView) -> Card:
    analysis, bootstrap = view.analysis, view.verdict.bootstrap
    first, second = analysis.y_on_x.value, analysis.x_on_y.value
    words = (
        "Engle-Granger: p that residuals this mean-reverting come from no relation, y on x · x "
        "on y. Large: wild bootstrap (199 random-sign redraws of the joint returns), at the "
        "verdict's time. Small: asymptotic (MacKinnon), which rejects too often on real minutes. "
        "Cavaliere, Rahbek & Taylor (2010)."
    )
    value = (
        f"{p_words(bootstrap.p_y_on_x)} · {p_words(bootstrap.p_x_on_y)}" if bootstrap else UNKNOWN
    )
    below = None
    if first or second:
        below = "asymptotic " + " · ".join(
            p_words(one.p_value) if one else UNKNOWN for one in (first, second)
        )
    outcome: Outcome[Any] = Outcome(bootstrap, analysis.y_on_x.provenance, view.verdict.reason)
    return _card("EG p (y|x · x|y)", value, below, words, outcome)


def _half_life(analysis: PairAnalysis) -> Card:
    found, bar_s = analysis.half_life.value, analysis.spec.bar_s
    words = (
        "Bars until half of a deviation is gone: −ln 2 / ln φ, φ = 1 + λ from Δsₜ = a + λ·sₜ₋₁ of "
        "the constant-β residual. Means something only after a rejection: noise has one too."
    )
    if found is None or found.bars is None:
        reason = analysis.half_life.reason or (found.reason if found else "") or ""
        return _card("Half-life", UNKNOWN, None, words,
                     Outcome(None, analysis.half_life.provenance, reason))  # fmt: skip
    value = f"{number(found.bars, 1 if found.bars < 100 else 0)} bars"
    below = span_words(found.bars * bar_s)
    if found.low is not None and found.high is not None:
        high = "∞" if math.isinf(found.high) else span_words(found.high * bar_s)
        below = f"{below} ({span_words(found.low * bar_s)} – {high})"
    return _card("Half-life", value, below, words, analysis.half_life)


def _correlation(analysis: PairAnalysis) -> Card:
    words = (
        "Pearson correlation of log returns between neighbouring bars; below it the ranks' "
        "(Spearman). Short bars read too low where the legs trade at different moments (Epps "
        "1979): see the signature plot on Correlation."
    )
    ranks = analysis.rank_corr_returns.value
    below = f"ranks {number(ranks, 2)}" if ranks is not None else None
    value = number(analysis.corr_returns.value, 3)
    return _card("ρ returns", value, below, words, analysis.corr_returns)


def _zscore(view: PairView) -> Card:
    outcome = now(view, "zscore")
    found = distance(view)
    below = found.text if found else ""
    if view.is_forming:
        below = f"{below} provisional".strip()
    value = outcome.value
    text = UNKNOWN if value is None else f"{value:+.2f}".replace("-", "−")
    words = (
        "(spread − mean) / deviation over the trailing window, the newest bar last; below it the "
        "distance from the mean. A bar that still forms is provisional. |z|·σ is an upper bound "
        "of what comes back, not the expected capture."
    )
    if found:
        words += f" {found.words}"
    return _card("z now", text, below or None, words, outcome)


@dataclass(frozen=True, slots=True)
class Distance:
    """How far the spread is from its mean, as text, and what that is worth."""

    text: str
    words: str


def distance(view: PairView) -> Distance | None:
    """Return the spread's distance from its trailing mean: bps, ticks, and against its cost."""
    row = view.series.row(-1, named=True)
    if row["spread"] is None or row["spread_mean"] is None or row["beta"] is None:
        return None
    is_log = view.analysis.spec.is_log
    away = row["spread"] - row["spread_mean"]
    y, x = row["price_y"], row["price_x"]
    bps = away * 1e4 if is_log else away / y * 1e4
    text = spread_text(away, is_log, signed=True)
    if None in view.tick_sizes:
        return Distance(text, "In ticks and against its cost: not known, the tick sizes are not.")
    tick_y, tick_x = (float(size or 0.0) for size in view.tick_sizes)
    cost = round_trip_bps(
        row["beta"] if is_log else row["beta"] * x / y,
        slippage_y_bps=tick_y / y * 1e4,
        slippage_x_bps=tick_x / x * 1e4,
    )
    ticks = abs(bps) / 1e4 * y / tick_y
    symbol = view.analysis.spec.y.upper()
    words = (
        f"The distance is {ticks:,.1f} ticks of {symbol} and {abs(bps) / cost:.2f} times a round "
        f"trip's cost of {cost:.1f} bps (four taker fills at {TAKER_BPS:g} bps, a tick of "
        "slippage each)."
    )
    return Distance(f"{text} · {abs(bps) / cost:.1f}× cost", words)


def spread_text(value: float | None, is_log: bool, *, signed: bool = False) -> str:
    """Return a spread in bps for logs, in quote units for prices."""
    if value is None:
        return UNKNOWN
    sign = "+" if signed else ""
    text = f"{value * 1e4:{sign},.1f} bps" if is_log else f"{value:{sign},.4g}"
    return text.replace("-", "−")


def provenance_words(found: Provenance) -> str:
    """Return what a number stands on, in one line."""
    window = f"window {found.window_bars:,}" if found.window_bars else "whole range"
    coverage = "coverage not known" if found.coverage is None else coverage_text(found.coverage)
    return (
        f"{found.bars:,} of {found.possible_bars:,} bars · {coverage} · "
        f"stale {found.stale_share:.1%} · {window} · {found.basis} · {found.price_scale} prices"
    )


def coverage_text(share: float) -> str:
    """Return how complete the trades are: never 100% while one is missing."""
    return "coverage 100%" if share >= 1 else f"coverage {min(100 * share, 99.99):.2f}%"
