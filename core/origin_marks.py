"""Which part of a chart stands on what: our trades, the exchange's klines, uploaded bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

ORIGIN_WORDS = {
    "klines": "exchange klines",
    "mixed": "trades and exchange klines",
    "upload": "uploaded bars",
}
# Shorter runs than these are too many to be told apart on a screen: the longest are marked.
MOST_MARKS = 24
# Of all that is marked.
NAMED_SHARE = 0.12


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring bars of one origin, [start, end) in milliseconds since the epoch, UTC."""

    origin: str
    start_ms: float
    end_ms: float
    bars: int


def origin_runs(bars: pl.DataFrame, timeframe_s: int) -> list[Run]:
    """Return the runs of one symbol's bars, ordered by ``ts``, that are not from trades alone."""
    if bars.is_empty() or (bars["origin"].n_unique() == 1 and bars["origin"][0] == "trades"):
        return []
    runs = bars["origin"].rle().struct.unnest()
    lengths = runs["len"].to_numpy().astype(np.int64)
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    at = bars["ts"].cast(pl.Datetime("ms")).to_physical().to_numpy()
    return [
        Run(origin, float(at[first]), float(at[first + length - 1] + timeframe_s * 1000), length)
        for first, length, origin in zip(
            starts.tolist(), lengths.tolist(), runs["value"], strict=True
        )
        if origin != "trades"
    ]


def origin_shapes(runs: list[Run], axis: str) -> list[dict[str, Any]]:
    """Return a faint ground under each run, over the whole height of the axis."""
    longest = sorted(runs, key=lambda run: run.start_ms - run.end_ms)[:MOST_MARKS]
    return [
        {
            "type": "rect",
            "layer": "below",
            "xref": "x",
            "yref": f"{axis} domain",
            "x0": run.start_ms,
            "x1": run.end_ms,
            "y0": 0,
            "y1": 1,
            "fillcolor": "$grid",
            "opacity": 0.55,
            "line": {"width": 0},
            "name": "origin",
        }
        for run in sorted(longest, key=lambda run: run.start_ms)
    ]


def origin_notes(runs: list[Run], axis: str) -> list[dict[str, Any]]:
    """Return the name of what lies on such a ground, at the end of each origin's longest run.

    A run too short for its name has none, which would lie over its neighbour's.
    """
    longest = {run.origin: run for run in sorted(runs, key=lambda run: run.end_ms - run.start_ms)}
    whole = max((run.end_ms for run in runs), default=0.0) - min(
        (run.start_ms for run in runs), default=0.0
    )
    return [
        {
            "xref": "x",
            "yref": f"{axis} domain",
            "x": run.end_ms,
            "y": 0,
            "xanchor": "right",
            "yanchor": "bottom",
            "showarrow": False,
            "text": ORIGIN_WORDS[run.origin],
            "font": {"color": "$muted", "size": 11},
            "name": "origin",
        }
        for run in longest.values()
        if run.end_ms - run.start_ms >= NAMED_SHARE * whole
    ]


def origin_words(frames: list[pl.DataFrame]) -> str:
    """Return how many bars are not from trades alone, by what they are; "" where all are."""
    counts: dict[str, int] = {}
    for frame in frames:
        for origin, count in frame["origin"].value_counts().iter_rows():
            counts[origin] = counts.get(origin, 0) + count
    return origin_count_words(counts)


def origin_count_words(counts: Mapping[str, int]) -> str:
    """Return the same words for bars that were counted by origin."""
    total = sum(counts.values())
    parts = [
        f"{counts[origin]:,} of {total:,} bars are {words}"
        for origin, words in ORIGIN_WORDS.items()
        if counts.get(origin)
    ]
    return " · ".join(parts)
