"""What a rule would have done: the same machine over the bars that are there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from core.alerts.kept import KeptRule, Standing
from core.alerts.machine import Firing, Observation, State, advance
from core.alerts.others import look_at_settlements
from core.alerts.reach import known, most_back_ms
from core.alerts.rules import Rule
from core.alerts.seen import Heard, Watched, epoch_ms, utc
from core.alerts.stands import last_step, make_stand, make_study, needs_stand, step_s
from core.alerts.values import Asked, bar_values, warm_bars
from core.errors import DataError
from core.queries import load_closes
from core.store import Store
from core.trade_writer import utc_now
from core.verdict import SETTLE_S

DAY_S = 86_400.0
# Where each value stands on a fit or a study of its own, so many are made for a preview.
MOST_FITS = {"coint_p": 24}
MOST_FITS_ELSE = 150
MOST_BARS = 100_000


@dataclass(frozen=True, slots=True)
class Preview:
    """What would have fired from ``start`` to ``end`` (UTC), and the values that it stands on.

    ``series`` has ``ts`` (start of the bar) and ``value`` (null where not known). ``bars`` counts
    the known values. ``note`` says why it covers less than was asked for, or nothing.
    """

    start: datetime
    end: datetime
    firings: list[Firing] = field(default_factory=list)
    series: pl.DataFrame = field(default_factory=lambda: _series([]))
    note: str = ""

    @property
    def bars(self) -> int:
        """How many values are known."""
        return self.series["value"].drop_nulls().len()


def preview(
    store: Store, rule: Rule, *, end: datetime | None = None, span_s: float = DAY_S
) -> Preview:
    """Return what the rule would have done in the ``span_s`` seconds before ``end``, now if None.

    Only closed bars are looked at: a rule that fires live may fire within one as well. Raises
    StoreError where the file cannot be read.
    """
    end = end or utc_now() - timedelta(seconds=SETTLE_S)
    start = end - timedelta(seconds=span_s)
    basis = rule.measure.basis
    if rule.metric == "contract" or basis == "now":
        return Preview(start, end, note="What it watches is known at the moment only.")
    note, notes = "", set[str]()
    if basis != "settled":
        start, note = _shorter(rule, start, end)
        end = utc(epoch_ms(end) // (rule.bar_s * 1000) * rule.bar_s * 1000)
    if basis == "settled":
        seen = _settled(store, rule, start, end)
    elif basis == "range":
        seen = list(_studied(rule, _closes(store, rule, start, end), start, end, notes))
    elif needs_stand(rule):
        seen = list(_held(rule, _closes(store, rule, start, end), start, end, notes))
    else:
        seen = _plain(rule, _closes(store, rule, start, end), start, notes)
    _, fired = advance(rule, State(), seen, since=start)
    shown = [one for one in seen if one.at + timedelta(seconds=rule.bar_s) > start]
    told = " ".join([note, *sorted(notes)]) if all(one.value is None for one in shown) else note
    if not told:
        told = _nothing(rule, shown)
    return Preview(start, end, fired, _series(shown), told.strip())


def _nothing(rule: Rule, shown: list[Observation]) -> str:
    """Return why no value is known where nothing else says it; empty where one is."""
    if not shown:
        return f"There is no {rule.timeframe} bar of {rule.subject} in it."
    if any(one.value is not None for one in shown):
        return ""
    return (
        f"None of the {len(shown):,} bars has a value: one stands on {warm_bars(rule):,} bars "
        f"before it, without a gap. Choose a shorter window or timeframe, or gather more."
    )


def _shorter(rule: Rule, start: datetime, end: datetime) -> tuple[datetime, str]:
    """Return where to begin so that it stays quick, and what to say of it."""
    most, why = MOST_BARS * rule.bar_s, f"{MOST_BARS:,} bars"
    if rule.measure.basis == "range" or needs_stand(rule):
        fits = MOST_FITS.get(rule.metric, MOST_FITS_ELSE)
        most, why = fits * step_s(rule), f"each value stands on a fit of its own, and {fits} fit in"
    if (end - start).total_seconds() <= most:
        return start, ""
    return end - timedelta(seconds=most), f"Covers less than was asked for: {why}."


def _closes(store: Store, rule: Rule, start: datetime, end: datetime) -> pl.DataFrame:
    """Return all closes that the values between stand on."""
    bar = timedelta(seconds=rule.bar_s)
    before = timedelta(milliseconds=most_back_ms(rule))
    if rule.measure.basis == "range" or needs_stand(rule):
        before = max(before, bar * 3 * rule.spec.warm_bars)
        before += timedelta(seconds=rule.range_s + step_s(rule))
    before += bar * (rule.hold_bars + 2)
    with store.read() as con:
        return load_closes(con, sorted(rule.symbols), rule.timeframe, start - before, end)


def _plain(rule: Rule, closes: pl.DataFrame, start: datetime, notes: set[str]) -> list[Observation]:
    begin = start - timedelta(seconds=(rule.hold_bars + 1) * rule.bar_s)
    return _values(rule, Asked(rule), closes, begin, notes)


def _held(
    rule: Rule, closes: pl.DataFrame, start: datetime, end: datetime, notes: set[str]
) -> Iterator[Observation]:
    """Yield the values as the worker makes them: each stretch on the last fit before it."""
    step, bar = timedelta(seconds=step_s(rule)), timedelta(seconds=rule.bar_s)
    span, most_back = timedelta(seconds=rule.range_s), timedelta(milliseconds=most_back_ms(rule))
    at = last_step(rule, start)
    while at < end:
        # As the worker reads them for a fit.
        before = at - span - bar * 3 * rule.spec.warm_bars
        near = closes.filter(pl.col("ts").is_between(before, at + step - bar, closed="left"))
        try:
            stand = make_stand(rule.spec, near, at - span, at)
        except DataError as error:
            notes.add(str(error))
        else:
            # The bars that end in [at, at + step) stand on the fit of ``at``.
            is_whole = stand.context.height >= rule.spec.warm_bars
            back = stand.context["ts"][0] if is_whole else at - most_back
            recent = closes.filter(pl.col("ts").is_between(back, at + step - bar, closed="left"))
            yield from _values(rule, Asked(rule, stand), recent, at - bar, notes)
        at += step


def _values(
    rule: Rule, asked: Asked, closes: pl.DataFrame, begin: datetime, notes: set[str]
) -> list[Observation]:
    try:
        found = known(rule, bar_values([asked], closes)[0])
    except DataError as error:
        notes.add(str(error))
        return []
    first = int(np.searchsorted(found.ts_ms, epoch_ms(begin)))
    return [
        Observation(utc(int(at)), None if np.isnan(value) else float(value))
        for at, value in zip(found.ts_ms[first:], found.values[first:], strict=True)
    ]


def _studied(
    rule: Rule, closes: pl.DataFrame, start: datetime, end: datetime, notes: set[str]
) -> Iterator[Observation]:
    step, bar = timedelta(seconds=step_s(rule)), timedelta(seconds=rule.bar_s)
    at = last_step(rule, start) + step
    while at <= end:
        study = make_study(rule, closes, at - timedelta(seconds=rule.range_s), at)
        if study.reason:
            notes.add(study.reason)
        yield Observation(at - bar, study.value)
        at += step


def _settled(store: Store, rule: Rule, start: datetime, end: datetime) -> list[Observation]:
    kept = KeptRule("", "", rule, (), False, start, start)
    watched = Watched(kept, Standing(State(last_at=start)))
    with store.read() as con:
        return list(look_at_settlements(con, [watched], Heard(end))[0].observations)


def _series(seen: list[Observation]) -> pl.DataFrame:
    return pl.DataFrame(
        {"ts": [one.at for one in seen], "value": [one.value for one in seen]},
        schema={"ts": pl.Datetime("ms"), "value": pl.Float64},
    )
