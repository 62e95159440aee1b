"""A pair as it stands now: the analysis of closed bars, and the rows since, for all who look."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from core.live.feeder import Feeder
from core.live.memo import Memo
from core.live.pulse import Pulse
from core.live.questions import NewCloses, newest
from core.live.window import RANGES, epoch_ms, utc
from core.pair_spec import PairSpec
from core.pairs import Legs, PairAnalysis, analyse, extended, read_legs
from core.verdict import (
    ANALYSES_A_RANGE,
    SETTLE_S,
    Verdict,
    fixed_step_s,
    judged_pair,
    plain_spec,
)

_analyses = Memo(12)
_verdicts = Memo(64)
_newest = Memo(64)


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
class Stand:
    """What a look at a pair stands on; ``origin`` and ``version`` tell it from every other.

    ``mark`` tells what the analysis was made of: late trades change one without a newer bar.
    """

    origin: Hashable
    analysis: PairAnalysis
    verdict: Verdict
    moment: Moment
    series: pl.DataFrame
    version: tuple[float, ...]
    tick_sizes: tuple[float | None, float | None]
    mark: str = ""


def pair_stand(
    feed: Feeder, pulse: Pulse, spec: PairSpec, range_name: str, *, is_waited_for: bool = False
) -> Stand | None:
    """Return the pair over the newest stretch of that range, None while it has no closed bar.

    A page shows the analysis before while a newer one is made; ``is_waited_for`` waits. Raises
    StoreError where nothing can be read, DataError where the bars allow no answer.
    """
    now = moment(pulse, spec, range_name)
    if now is None:
        return None
    analysis, judged, now, mark = _judged(feed, spec, range_name, now, is_waited_for)
    newer, version = _newer(feed, spec, analysis)
    series = pl.concat([analysis.series, newer]) if newer.height else analysis.series
    ticks = (pulse.tick_sizes.get(spec.y), pulse.tick_sizes.get(spec.x))
    return Stand(feed.store.path, analysis, judged, now, series, version, ticks, mark)


def moment(pulse: Pulse, spec: PairSpec, range_name: str) -> Moment | None:
    """Return the fixed times of now, None while a leg has no trade or nothing is closed yet."""
    found = [pulse.bounds(symbol, spec.timeframe) for symbol in (spec.y, spec.x)]
    if None in found:
        return None
    firsts, lasts = zip(*(bound for bound in found if bound), strict=True)
    bar_ms = spec.bar_s * 1000
    first_ms = math.ceil(epoch_ms(max(firsts)) / bar_ms) * bar_ms
    newest_ms = epoch_ms(max(lasts)) - SETTLE_S * 1000
    held_ms = newest_ms - first_ms
    span_ms = min(RANGES[range_name] * 1000, max(held_ms, bar_ms))

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


def _judged(
    feed: Feeder, spec: PairSpec, range_name: str, now: Moment, is_waited_for: bool
) -> tuple[PairAnalysis, Verdict, Moment, str]:
    """Return the newest analysis and verdict; while a newer one is made, the one before."""
    # Late trades and filled gaps change bars of the past: they are looked at again in a while.
    bars = now.span_s / spec.bar_s
    turn = int(
        datetime.now(UTC).timestamp() / (10 if bars <= 20_000 else 60 if bars < 2e5 else 300)
    )
    place = (feed.store.path, spec, range_name)

    def build() -> tuple[PairAnalysis, Verdict, Moment, str]:
        legs = read_legs(feed.store, spec, now.start, now.as_of, since=now.judged_from)
        analysis = analyse(spec, legs)
        judged = _verdicts.get(
            (feed.store.path, plain_spec(spec), range_name, now.judged_at, now.judged_from),
            lambda: judged_pair(
                spec, legs.closes, now.judged_from, now.judged_at, span_s=now.judged_span_s
            ),
        )
        return analysis, judged, now, _mark(legs, judged, now)

    key = (place, now.as_of, turn)
    found: tuple[PairAnalysis, Verdict, Moment, str] = (
        _analyses.get(key, build) if is_waited_for else _analyses.latest(place, key, build)
    )
    return found


def _mark(legs: Legs, judged: Verdict, now: Moment) -> str:
    """Return what tells an analysis of these bars and times from any other: 600,000 in 10 ms."""
    rows = legs.closes.hash_rows().to_numpy().tobytes()
    found = hashlib.blake2b(rows, digest_size=12)
    found.update(repr((legs.coverage, judged, now)).encode())
    return found.hexdigest()


def _newer(
    feed: Feeder, spec: PairSpec, analysis: PairAnalysis
) -> tuple[pl.DataFrame, tuple[float, ...]]:
    """Return the rows since the analysis, and the version of the data behind them."""
    since = analysis.series["ts"][-1] - timedelta(seconds=spec.carry_bars * spec.bar_s)
    symbols = tuple(sorted({spec.y, spec.x}))
    answer = newest(feed, NewCloses(symbols, spec.timeframe, since))
    place = (feed.store.path, spec, "newer", since, analysis.provenance)
    rows: pl.DataFrame = _newest.get(
        (place, answer.version), lambda: extended(analysis, answer.value)
    )
    return rows, answer.version
