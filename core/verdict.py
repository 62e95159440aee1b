"""One plain sentence on a pair: does it come back, and where does it stand now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import polars as pl

from core.errors import DataError
from core.pair_series import aligned, origin_of
from core.pair_spec import PairSpec
from core.stats.cointegration import BootstrapResult, wild_bootstrap
from core.stats.hedge import ols, residuals
from core.stats.reversion import HalfLife, half_life

Kind = Literal["cointegrated", "noise", "short", "same"]

# Fewer bars than this say nothing about coming back, whatever the test prints.
MIN_BARS = 100
LEVELS = (0.01, 0.05)
STRETCHED = 2.0
# Lengths that divide a day: a verdict at 14:00 is a verdict at 14:00 on every screen.
STEPS_S = (
    1, 5, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 28800, 43200, 86400,
)  # fmt: skip
VERDICTS_A_RANGE = 24
# Fits, and the tests that cost little, are made anew so many times a range, on closed bars; the
# rows since then follow bar by bar, by the fit that is held.
ANALYSES_A_RANGE = 120
# A trade needs this long from the exchange into the file: bars are called closed after it.
SETTLE_S = 2.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a pair comes back, judged on the closed bars up to ``at`` (UTC).

    ``level`` is the significance passed, 0.01 or 0.05, None where none is. ``half_life`` is
    known only after a rejection.
    """

    kind: Kind
    at: datetime | None
    bars: int
    span_s: float
    level: float | None = None
    bootstrap: BootstrapResult | None = None
    half_life: HalfLife | None = None
    reason: str = ""


def fixed_step_s(span_s: float, bar_s: int, parts: int = VERDICTS_A_RANGE) -> int:
    """Return the least step, of those that divide a day, that cuts the span into ≤ ``parts``."""
    least = max(span_s / parts, bar_s)
    return next((step for step in STEPS_S if step >= least), STEPS_S[-1])


def verdict(spec: PairSpec, frame: pl.DataFrame, *, span_s: float) -> Verdict:
    """Judge a pair on closed, aligned bars (`core.pair_series.aligned`), the last of ``span_s``.

    Stands on the wild-bootstrap p-value of the Engle-Granger statistic, the smaller of both
    directions doubled: asymptotic p-values reject too often on real minutes.
    """
    bars = frame.height
    at = frame["ts"][-1] if bars else None
    if bars < MIN_BARS:
        return Verdict("short", at, bars, span_s, reason=f"{bars:,} bars; {MIN_BARS} are needed")
    y, x = origin_of(spec, frame).legs(frame)
    try:
        fit = ols(y, x)
        if fit.is_same_asset:
            share = 1 - fit.r_squared
            return Verdict("same", at, bars, span_s, reason=f"1 − R² = {share:.1g}")
        bootstrap = wild_bootstrap(y, x)
        level = next((level for level in LEVELS if bootstrap.p <= level), None)
        found = half_life(residuals(y, x, fit.alpha, fit.beta)) if level else None
    except DataError as error:
        return Verdict("short", at, bars, span_s, reason=str(error))
    kind: Kind = "cointegrated" if level else "noise"
    return Verdict(kind, at, bars, span_s, level, bootstrap, found)


def judged_pair(
    spec: PairSpec, closes: pl.DataFrame, start: datetime, end: datetime, *, span_s: float
) -> Verdict:
    """Return the verdict on the bars of [start, end); it is the same whatever the hedge's method.

    ``closes`` is `core.queries.load_closes`' frame of both legs.
    """
    plain = plain_spec(spec)
    frame = aligned(plain, closes).filter(pl.col("ts").is_between(start, end, closed="left"))
    return verdict(plain, frame, span_s=span_s)


def plain_spec(spec: PairSpec) -> PairSpec:
    """Return the part of the view that the verdict depends on."""
    return PairSpec(
        spec.y, spec.x, spec.timeframe, spec.is_log,
        min_turnover=spec.min_turnover, carry_bars=spec.carry_bars,
    )  # fmt: skip


def verdict_words(found: Verdict, *, bar_s: int, zscore: float | None) -> str:
    """Return the verdict as one plain sentence, with where the spread stands now."""
    over = f"over the last {span_words(found.span_s)}"
    if found.kind == "short":
        words = f"Too short to say {over}: {found.reason}"
    elif found.kind == "same":
        words = f"Practically the same asset {over} ({found.reason}): not tested"
    elif found.kind == "noise":
        assert found.bootstrap is not None
        words = f"Indistinguishable from noise {over} (bootstrap p {p_words(found.bootstrap.p)})"
    else:
        assert found.bootstrap is not None
        words = (
            f"Cointegrated at {found.level:.0%} {over} (bootstrap p {p_words(found.bootstrap.p)})"
        )
        if found.half_life and found.half_life.bars is not None:
            words += f"; reverts by half in about {span_words(found.half_life.bars * bar_s)}"
    return f"{words}; {z_words(zscore)}." if zscore is not None else f"{words}."


def z_words(zscore: float) -> str:
    """Return the z-score, signed, and whether that is far out."""
    text = f"z = {zscore:+.2f}".replace("-", "−")
    return f"{text}, stretched" if abs(zscore) >= STRETCHED else text


def p_words(p: float) -> str:
    """Return a p-value as it is read: three decimals, never 0."""
    return f"{max(p, 0.001):.3f}" if p < 0.1 else f"{p:.2f}"


def span_words(seconds: float) -> str:
    """Return a length of time in its natural unit: 45 s, 14 min, 24 h, 7 d."""
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            value = seconds / size
            return f"{value:.0f} {unit}" if value >= 10 else f"{value:.2g} {unit}"
    days = seconds / 86400
    return f"{days:.0f} d" if days >= 10 else f"{days:.2g} d"


def caveats(found: Verdict, *, bar_s: int) -> tuple[str, ...]:
    """Return what a reader of the verdict has to know, shortest first."""
    said = [
        "A statement about the bars shown, not about tomorrow; it is re-evaluated on closed bars "
        "at fixed times, because watching a test on every tick finds p < 1% by chance on one day "
        "in six."
    ]
    if found.kind == "noise":
        length = span_words(found.bars * bar_s / 10)
        said.append(
            f"Not proof of independence: with {found.bars:,} bars a half-life much longer than "
            f"about {length} would rarely be found."
        )
    if found.kind == "cointegrated":
        said.append(
            "The hedge ratio of the test is fitted on the same bars (in-sample); costs and the "
            "expected capture are not part of it."
        )
    return tuple(said)
