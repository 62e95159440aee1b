"""What rules watch, bar by bar: many rules over the same closes, one query a kind of statistic.

The functions are those of the Pair page (`core.pair_series`), so that what fires is what the
chart shows. Nothing here reads the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from core.alerts.rows import Rows, Values
from core.alerts.rules import Rule
from core.alerts.stands import Stand
from core.pair_series import (
    Line,
    Origin,
    aligned,
    aligned_many,
    origins_of,
    pair_correlations,
    pair_hedge,
)
from core.queries import alert_breakdown_sql, alert_symbols_sql
from core.stats.arrays import Floats, Ints
from core.workbench import compute

BPS = 1e4
# A breakdown is measured against the mean of so many windows.
BREAK_WINDOWS = 10
_HEDGED = ("zscore", "spread", "beta_drift")
_SYMBOL_COLUMN = {
    "price": "close", "return": "change_pct", "volume": "volume", "volatility": "volatility",
}  # fmt: skip
_SYMBOL_INPUTS = {
    "price": ("close",),
    "return": ("close", "close_before"),
    "volume": ("close", "volume", "volume_mean"),
    "volatility": ("close", "volatility", "volatility_mean"),
}
_SYMBOL_COLUMNS = sorted({"change_pct", *(n for names in _SYMBOL_INPUTS.values() for n in names)})
_HEDGE_INPUTS = ("price_y", "price_x", "spread", "spread_mean", "spread_sd", "zscore", "alpha",
                 "beta", "se_beta")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """A rule, and the held fit that its method stands on, where it has one."""

    rule: Rule
    stand: Stand | None = None


@dataclass(slots=True)
class Legs:
    """The closes of a look; the common bars that several statistics ask for are found once."""

    closes: pl.DataFrame
    _known: dict[tuple[tuple[str, str], ...], pl.DataFrame] = field(default_factory=dict)

    def aligned(self, pairs: Sequence[tuple[str, str]]) -> pl.DataFrame:
        """Return `aligned_many` of the pairs."""
        key = tuple(pairs)
        if key not in self._known:
            self._known[key] = aligned_many(pairs, self.closes)
        return self._known[key]


def warm_bars(rule: Rule) -> int:
    """Return how many bars before a value it stands on."""
    if rule.metric == "corr_break":
        return (BREAK_WINDOWS + 1) * rule.window_bars + 2
    if rule.metric == "volatility":
        return BREAK_WINDOWS * rule.window_bars + 2
    if rule.metric == "price":
        return 1
    if rule.measure.scope == "pair" and rule.metric in _HEDGED:
        # A held filter goes on from its stand, which has its own bars before.
        return rule.window_bars + 2 if rule.method == "kalman" else hedge_spec(rule).warm_bars
    return rule.window_bars + 2


def hedge_spec(rule: Rule) -> Any:
    """Return the pair as the rule's values look at it.

    Drift is of the rolling slope, which has a trailing error, unless the filter's is asked for.
    """
    return rule.spec_by("rolling") if needs_rolling_slope(rule) else rule.spec


def needs_rolling_slope(rule: Rule) -> bool:
    """Return whether the rule's own regression has no trailing error of its slope."""
    return rule.metric == "beta_drift" and rule.method != "kalman"


def bar_values(asked: Sequence[Asked], closes: pl.DataFrame) -> list[Values]:
    """Return the values of each rule over the closes (`load_closes`' columns) of one timeframe."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for place, one in enumerate(asked):
        groups.setdefault(_recipe(one.rule), []).append(place)
    found: dict[int, Values] = {}
    legs = Legs(closes)
    for recipe, places in groups.items():
        made = _MAKERS[recipe[0]]([asked[place] for place in places], legs)
        found |= dict(zip(places, made, strict=True))
    return [found[place] for place in range(len(asked))]


def _recipe(rule: Rule) -> tuple[Any, ...]:
    """Return what rules must have in common to be computed in one query."""
    if rule.metric in _HEDGED:
        spec = hedge_spec(rule)
        return ("hedge", spec.method, spec.window_bars, spec.is_log)
    if rule.metric in ("corr", "corr_break"):
        return (rule.metric, rule.window_bars)
    return ("symbol", rule.window_bars)


def _hedges(asked: Sequence[Asked], legs: Legs) -> Iterator[Values]:
    keys = [(one.rule.y, one.rule.x, id(one.stand)) for one in asked]
    firsts: dict[tuple[str, str, int], Asked] = {}
    for key, one in zip(keys, asked, strict=True):
        firsts.setdefault(key, one)
    made = dict(zip(firsts, _hedge_rows(list(firsts.values()), legs), strict=True))
    for key, one in zip(keys, asked, strict=True):
        rows = made[key]
        if one.rule.metric == "beta_drift":
            reference = one.rule.reference
            assert reference is not None
            with np.errstate(divide="ignore", invalid="ignore"):
                drift = (rows.columns["beta"] - reference) / rows.columns["se_beta"]
            yield rows.values(drift, _HEDGE_INPUTS, {"reference": reference})
        else:
            scale = BPS if one.rule.is_in_bps else 1.0
            yield rows.values(rows.columns[one.rule.metric] * scale, _HEDGE_INPUTS)


def _hedge_rows(asked: Sequence[Asked], legs: Legs) -> list[Rows]:
    """Return `pair_hedge`'s rows of each; one query for all but the recursive methods."""
    spec = hedge_spec(asked[0].rule)
    if spec.method == "kalman":
        return [Rows.of(_filtered(one, legs.closes), _HEDGE_INPUTS) for one in asked]
    frame = legs.aligned([(one.rule.y, one.rule.x) for one in asked])
    counts = _counts(frame, len(asked))
    if spec.method == "refit":
        return [Rows.of(_refitted(spec, part), _HEDGE_INPUTS) for part in _split(frame, counts)]
    stands = [one.stand for one in asked]
    if spec.method in ("ols", "tls"):
        held = [stand for stand in stands if stand and stand.fit]
        assert len(held) == len(asked), "a held method needs its stand"

        def each(name: str) -> Floats:
            return np.repeat([getattr(stand.fit, name) for stand in held], counts)

        origin = Origin(
            np.repeat([stand.origin.price_y for stand in held], counts),
            np.repeat([stand.origin.price_x for stand in held], counts),
            spec.is_log,
        )
        rows = pair_hedge(spec, frame, origin, Line(each("alpha"), each("beta"))).rows
    else:
        rows = pair_hedge(spec, frame, origins_of(frame, is_log=spec.is_log)).rows
    return Rows.of(rows, _HEDGE_INPUTS).cut(counts)


def _refitted(spec: Any, part: pl.DataFrame) -> pl.DataFrame:
    if part.is_empty():
        return part
    origin = Origin(part["price_y"][0], part["price_x"][0], spec.is_log)
    return pair_hedge(spec, part, origin).rows


def _filtered(one: Asked, closes: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of a Kalman filter that goes on from its stand."""
    stand = one.stand
    assert stand is not None
    assert stand.state is not None
    newer = aligned(one.rule.spec, closes).filter(pl.col("ts") > stand.context["ts"][-1])
    frame = pl.concat([stand.context, newer])
    going_on = (stand.state, stand.context.height)
    return pair_hedge(one.rule.spec, frame, stand.origin, None, going_on).rows.tail(newer.height)


def _correlations(asked: Sequence[Asked], legs: Legs) -> Iterator[Values]:
    pairs = list(dict.fromkeys((one.rule.y, one.rule.x) for one in asked))
    frame = legs.aligned(pairs)
    rolled = pair_correlations(asked[0].rule.spec, frame, origins_of(frame, is_log=True))
    rows = frame.with_columns(corr=rolled["corr"])
    rule = asked[0].rule
    is_break = rule.metric == "corr_break"
    if is_break:
        long = BREAK_WINDOWS * rule.window_bars
        parameters: dict[str, object] = {"window": rule.window_bars, "long_before": long - 1}
        mean = compute(alert_breakdown_sql(), {"pair": rows}, parameters)["corr_mean"]
        rows = rows.with_columns(corr_mean=mean)
    names = ("price_y", "price_x", "corr", *(("corr_mean",) if is_break else ()))
    cut = Rows.of(rows, names).cut(_counts(frame, len(pairs)))
    parts = dict(zip(pairs, cut, strict=True))
    for one in asked:
        part = parts[one.rule.y, one.rule.x]
        corr = part.columns["corr"]
        yield part.values(part.columns["corr_mean"] - corr if is_break else corr, names)


def _of_symbols(asked: Sequence[Asked], legs: Legs) -> Iterator[Values]:
    rule = asked[0].rule
    window = rule.window_bars
    symbols = sorted({one.rule.y for one in asked})
    rows = compute(
        alert_symbols_sql(),
        {"legs": legs.closes.filter(pl.col("symbol").is_in(symbols))},
        {"window": window, "bar_s": rule.bar_s, "before": window - 1,
         "long_before": BREAK_WINDOWS * window - 1},
    )  # fmt: skip
    found = {symbol: part for (symbol,), part in rows.partition_by("symbol", as_dict=True).items()}
    parts = {
        symbol: Rows.of(found.get(symbol, rows.clear()), _SYMBOL_COLUMNS) for symbol in symbols
    }
    for one in asked:
        part, metric = parts[one.rule.y], one.rule.metric
        values = part.columns[_SYMBOL_COLUMN[metric]]
        if metric in ("volume", "volatility"):
            with np.errstate(divide="ignore", invalid="ignore"):
                values = values / part.columns[f"{metric}_mean"]
        yield part.values(values, _SYMBOL_INPUTS[metric])


_MAKERS: dict[str, Callable[[Sequence[Asked], Legs], Iterator[Values]]] = {
    "hedge": _hedges,
    "corr": _correlations,
    "corr_break": _correlations,
    "symbol": _of_symbols,
}


def _counts(frame: pl.DataFrame, pairs: int) -> Ints:
    return np.bincount(frame["pair"].to_numpy(), minlength=pairs)


def _split(rows: pl.DataFrame, counts: Ints) -> list[pl.DataFrame]:
    ends = np.cumsum(counts)
    return [
        rows.slice(int(end - count), int(count)) for end, count in zip(ends, counts, strict=True)
    ]
