"""A pair's view in one ZIP: its bars, what was asked, and the results; the same anywhere.

``manifest.json`` says what was asked and holds the sha256 of the other members: ``closes.parquet``
(both legs' bars), ``series.parquet`` (a row a bar) and ``results.json`` (every number with what
it stands on, floats in hexadecimal). Restoring computes all of it again from the bars and tells
what differs, to the last digit.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import msgspec
import polars as pl

from core.bundle_members import (
    CLOSES,
    FORMAT,
    RESULTS,
    SERIES,
    Manifest,
    Times,
    closes_of,
    differences,
    json_bytes,
    packed,
    parquet_bytes,
    plain,
    series_of,
    unpacked,
)
from core.errors import BadFile
from core.pair_spec import PairSpec
from core.pairs import Legs, PairAnalysis, analyse, read_legs
from core.store import Store
from core.verdict import Verdict, judged_pair

__all__ = [
    "Bundle",
    "Restored",
    "Times",
    "read_bundle",
    "restored",
    "results",
    "write_bundle",
]

# Frames and states; the series has a member of its own.
_LEFT_OUT = ("series", "lead", "context", "filter", "fit", "spec")
# What the page says of the Kalman filter; its rows are in the series.
_OF_THE_FILTER = ("burn_in", "sd_z", "innovation_half_life", "warning", "state")


@dataclass(frozen=True, slots=True)
class Bundle:
    """One view: what was asked, its bars, and the results as they were."""

    spec: PairSpec
    range_name: str
    times: Times
    tick_sizes: tuple[float | None, float | None]
    made_at: datetime
    made_by: str
    legs: Legs
    series: pl.DataFrame
    results: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Restored:
    """A bundle's view computed again; ``differences`` names what is not the same to the bit."""

    bundle: Bundle
    analysis: PairAnalysis
    verdict: Verdict
    differences: tuple[str, ...]


def write_bundle(
    store: Store,
    spec: PairSpec,
    range_name: str,
    times: Times,
    tick_sizes: tuple[float | None, float | None] = (None, None),
) -> bytes:
    """Return the ZIP of a view, made of what the file holds of its bars now.

    Raises what `core.pairs.analyse_pair` raises.
    """
    legs = read_legs(store, spec, times.start, times.as_of, since=times.judged_from)
    analysis, verdict = _computed(spec, legs, times)
    members = {
        CLOSES: parquet_bytes(legs.closes),
        SERIES: parquet_bytes(analysis.series),
        RESULTS: json_bytes(results(analysis, verdict)),
    }
    manifest = Manifest(
        format=FORMAT,
        made_at=datetime.now(UTC).replace(tzinfo=None),
        made_by=f"perpduck {version('perpduck')}",
        spec=spec,
        range=range_name,
        times=times,
        tick_sizes=tick_sizes,
        coverage=legs.coverage,
        sha256={name: hashlib.sha256(data).hexdigest() for name, data in members.items()},
    )
    return packed(manifest, members)


def read_bundle(data: bytes) -> Bundle:
    """Return the view in a ZIP; raises BadFile for anything that is not a whole bundle."""
    manifest, members = unpacked(data)
    spec, times = manifest.spec, manifest.times
    try:
        told = msgspec.json.decode(members[RESULTS], type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadFile(f"{RESULTS} in the bundle cannot be read ({error})") from error
    closes = closes_of(members[CLOSES], spec, times)
    return Bundle(
        spec=spec,
        range_name=manifest.range,
        times=times,
        tick_sizes=manifest.tick_sizes,
        made_at=manifest.made_at,
        made_by=manifest.made_by,
        legs=Legs(closes, times.start, times.as_of, manifest.coverage),
        series=series_of(members[SERIES]),
        results=told,
    )


def restored(bundle: Bundle) -> Restored:
    """Return the view computed again from the bundle's bars, and what differs from its results."""
    analysis, verdict = _computed(bundle.spec, bundle.legs, bundle.times)
    others = differences(bundle.results, results(analysis, verdict))
    if not analysis.series.equals(bundle.series):
        others.insert(0, "series")
    return Restored(bundle, analysis, verdict, tuple(others))


def results(analysis: PairAnalysis, verdict: Verdict) -> dict[str, Any]:
    """Return every number of a view, floats in hexadecimal, by name."""
    fields = [one.name for one in dataclasses.fields(analysis) if one.name not in _LEFT_OUT]
    found = {name: plain(getattr(analysis, name)) for name in fields}
    if made := analysis.filter:
        found["filter"] = {name: plain(getattr(made, name)) for name in _OF_THE_FILTER}
    return found | {"verdict": plain(verdict)}


def _computed(spec: PairSpec, legs: Legs, times: Times) -> tuple[PairAnalysis, Verdict]:
    return analyse(spec, legs), judged_pair(
        spec, legs.closes, times.judged_from, times.judged_at, span_s=times.judged_span_s
    )
