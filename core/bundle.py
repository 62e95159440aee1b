"""A pair's view in one ZIP: its bars, what was asked, and the results; the same anywhere.

``manifest.json`` says what was asked and holds the sha256 of the other members: ``closes.parquet``
(both legs' bars), ``series.parquet`` (a row a bar) and ``results.json`` (every number with what
it stands on, floats in hexadecimal). Restoring computes all of it again from the bars and tells
what differs, to the last digit.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from core.errors import BadFile
from core.models import CoverageSummary
from core.pair_spec import PairSpec
from core.pairs import Legs, PairAnalysis, analyse, read_legs
from core.store import Store
from core.verdict import Verdict, judged_pair

FORMAT = 1
MANIFEST, CLOSES, SERIES, RESULTS = (
    "manifest.json",
    "closes.parquet",
    "series.parquet",
    "results.json",
)
MEMBERS = {MANIFEST, CLOSES, SERIES, RESULTS}
# A month of seconds of two legs is 100 MB; more than this is no view of a pair.
MOST_BYTES = 1 << 30
_CLOSES = {"symbol": pl.String, "ts": pl.Datetime("ms"), "close": pl.Float64, "volume": pl.Float64}
# Frames and states; the series has a member of its own.
_LEFT_OUT = ("series", "lead", "context", "filter", "fit", "spec")


@dataclass(frozen=True, slots=True)
class Times:
    """What a view of a pair stands on; UTC. Judged on [judged_from, judged_at)."""

    start: datetime
    as_of: datetime
    judged_from: datetime
    judged_at: datetime
    judged_span_s: float


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
        CLOSES: _parquet(legs.closes),
        SERIES: _parquet(analysis.series),
        RESULTS: _json(results(analysis, verdict)),
    }
    manifest = {
        "format": FORMAT,
        "made_at": datetime.now(UTC).replace(tzinfo=None).isoformat(),
        "made_by": f"perpduck {version('perpduck')}",
        "spec": dataclasses.asdict(spec),
        "range": range_name,
        "times": _plain(times),
        "tick_sizes": list(tick_sizes),
        "coverage": [_plain(one) for one in legs.coverage],
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in members.items()},
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {MANIFEST: _json(manifest), **members}.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def read_bundle(data: bytes) -> Bundle:
    """Return the view in a ZIP; raises BadFile for anything that is not a whole bundle."""
    members = _members(data)
    try:
        manifest = json.loads(members[MANIFEST])
        if manifest["format"] != FORMAT:
            raise BadFile(
                f"the bundle has format {manifest['format']}; this program reads {FORMAT}"
            )
        for name, known in manifest["sha256"].items():
            if hashlib.sha256(members[name]).hexdigest() != known:
                raise BadFile(f"{name} in the bundle is not as it was written: its sha256 differs")
        return _bundle(manifest, members)
    except BadFile:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, pl.exceptions.PolarsError) as error:
        raise BadFile(
            f"the ZIP is no bundle of a pair ({type(error).__name__}: {error})"
        ) from error


def restored(bundle: Bundle) -> Restored:
    """Return the view computed again from the bundle's bars, and what differs from its results."""
    analysis, verdict = _computed(bundle.spec, bundle.legs, bundle.times)
    differences = list(_differences(bundle.results, results(analysis, verdict)))
    if not analysis.series.equals(bundle.series):
        differences.insert(0, "series")
    return Restored(bundle, analysis, verdict, tuple(differences))


def results(analysis: PairAnalysis, verdict: Verdict) -> dict[str, Any]:
    """Return every number of a view, floats in hexadecimal, by name."""
    fields = [one.name for one in dataclasses.fields(analysis) if one.name not in _LEFT_OUT]
    return {name: _plain(getattr(analysis, name)) for name in fields} | {"verdict": _plain(verdict)}


def is_bundle(path: Path) -> bool:
    """Return whether a file is a ZIP with a bundle's members."""
    try:
        with zipfile.ZipFile(path) as archive:
            return set(archive.namelist()) == MEMBERS
    except (OSError, zipfile.BadZipFile):
        return False


def bundle_folder(db: Path) -> Path:
    """Return where bundles of that database's owner are kept."""
    return Path(f"{db}.bundles")


def keep(db: Path, data: bytes) -> str:
    """Keep a bundle beside the database; returns the name by which `kept` finds it.

    Raises BadFile for what is no whole bundle; the same bundle twice is one.
    """
    read_bundle(data)
    name = hashlib.sha256(data).hexdigest()[:16]
    folder = bundle_folder(db)
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{name}.part"
    part.write_bytes(data)
    part.replace(folder / f"{name}.zip")
    return name


def kept(db: Path, name: str) -> Bundle:
    """Return a kept bundle; raises BadFile where there is none of that name."""
    path = bundle_folder(db) / f"{name}.zip"
    if not name.isalnum() or not path.is_file():
        raise BadFile(f"no bundle {name!r} is kept here; open its ZIP on the Data page first")
    return read_bundle(path.read_bytes())


def _computed(spec: PairSpec, legs: Legs, times: Times) -> tuple[PairAnalysis, Verdict]:
    return analyse(spec, legs), judged_pair(
        spec, legs.closes, times.judged_from, times.judged_at, span_s=times.judged_span_s
    )


def _bundle(manifest: dict[str, Any], members: dict[str, bytes]) -> Bundle:
    told = manifest["times"]
    times = Times(
        start=_at(told["start"]),
        as_of=_at(told["as_of"]),
        judged_from=_at(told["judged_from"]),
        judged_at=_at(told["judged_at"]),
        judged_span_s=float.fromhex(told["judged_span_s"]),
    )
    closes = pl.read_parquet(members[CLOSES])
    if dict(closes.schema) != _CLOSES:
        raise BadFile(f"{CLOSES} has {dict(closes.schema)}; it should have {_CLOSES}")
    coverage = tuple(
        CoverageSummary(
            one["symbol"],
            one["held"],
            one["missing"],
            None if one["since"] is None else _at(one["since"]),
            None if one["until"] is None else _at(one["until"]),
        )
        for one in manifest["coverage"]
    )
    y, x = manifest["tick_sizes"]
    return Bundle(
        spec=PairSpec(**manifest["spec"]),
        range_name=str(manifest["range"]),
        times=times,
        tick_sizes=(y, x),
        made_at=_at(manifest["made_at"]),
        made_by=str(manifest["made_by"]),
        legs=Legs(closes, times.start, times.as_of, coverage),
        series=pl.read_parquet(members[SERIES]),
        results=json.loads(members[RESULTS]),
    )


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _members(data: bytes) -> dict[str, bytes]:
    """Return the four members; no path in a name is ever followed, no size taken on trust."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = set(archive.namelist())
            if names != MEMBERS:
                raise BadFile(
                    f"the ZIP holds {', '.join(sorted(names)[:6]) or 'nothing'}; a bundle of a "
                    f"pair holds {', '.join(sorted(MEMBERS))}"
                )
            found, left = {}, MOST_BYTES
            for name in MEMBERS:
                with archive.open(name) as member:
                    found[name] = member.read(left + 1)
                left -= len(found[name])
                if left < 0:
                    raise BadFile(f"the bundle unpacks to more than {MOST_BYTES:,} bytes")
            return found
    except (zipfile.BadZipFile, zipfile.LargeZipFile, OSError, EOFError, RuntimeError) as error:
        raise BadFile(f"the file is no whole ZIP ({error})") from error


def _differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Return the names of what differs between two results."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [
            name for key in one
            for name in _differences(one[key], other[key], f"{place}.{key}".lstrip("."))
        ]  # fmt: skip
    return [] if one == other else [place]


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it without losing a digit."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, datetime):
        return value.isoformat()
    return {str(k): _plain(v) for k, v in value.items()} if isinstance(value, dict) else value


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode()
