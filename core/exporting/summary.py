"""Every number of a pair's analysis as a table: a row a number, with what it stands on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import polars as pl

from core.pair_spec import Outcome
from core.pairs import PairAnalysis
from core.verdict import Verdict

# The newest row's values; everything else is of the whole range.
_NEWEST = ("spread", "zscore", "corr", "beta", "alpha")
_SCHEMA: dict[str, Any] = {
    "name": pl.String,
    "value": pl.Float64,
    "text": pl.String,
    "bars": pl.Int64,
    "possible_bars": pl.Int64,
    "start": pl.Datetime("ms"),
    "end": pl.Datetime("ms"),
    "coverage": pl.Float64,
    "stale_share": pl.Float64,
    "window_bars": pl.Int64,
    "basis": pl.String,
    "price_scale": pl.String,
}


def summary_table(
    analysis: PairAnalysis, verdict: Verdict, judged: tuple[datetime, datetime]
) -> pl.DataFrame:
    """Return name, value or text, and the columns of `core.pair_spec.Provenance`.

    A number is named by its place (``ols.beta``, ``johansen.trace_statistic.0``, ``now.zscore``);
    one that is not known has the reason as its text. ``judged`` is the verdict's range.
    """
    rows: list[tuple[Any, ...]] = []
    for name, outcome in _outcomes(analysis, verdict, judged):
        stands = dataclasses.astuple(outcome.provenance)
        if outcome.value is None:
            rows.append((name, None, outcome.reason or None, *stands))
        rows += [(*leaf, *stands) for leaf in _leaves(name, outcome.value)]
    return pl.DataFrame(rows, orient="row", schema=_SCHEMA)


def _outcomes(
    analysis: PairAnalysis, verdict: Verdict, judged: tuple[datetime, datetime]
) -> Iterator[tuple[str, Outcome[Any]]]:
    start, end = judged
    basis = dataclasses.replace(analysis.provenance, bars=verdict.bars, start=start, end=end)
    yield "verdict", Outcome(verdict, basis)
    for name in _NEWEST:
        yield f"now.{name}", analysis.last(name)
    for one in dataclasses.fields(analysis):
        if isinstance(found := getattr(analysis, one.name), Outcome):
            yield one.name, found
    if made := analysis.filter:
        for name in ("sd_z", "innovation_half_life", "warning"):
            yield f"filter.{name}", Outcome(getattr(made, name), analysis.trailing)


def _leaves(name: str, value: Any) -> Iterator[tuple[str, float | None, str | None]]:
    """Yield the numbers and words inside a result, each with its place."""
    if dataclasses.is_dataclass(value):
        for one in dataclasses.fields(value):
            yield from _leaves(f"{name}.{one.name}", getattr(value, one.name))
    elif isinstance(value, list | tuple):
        for number, one in enumerate(value):
            yield from _leaves(f"{name}.{number}", one)
    elif isinstance(value, bool | str):
        yield name, None, str(value)
    elif isinstance(value, datetime):
        yield name, None, f"{value.isoformat()}Z"
    elif value is not None:
        yield name, float(value), None
