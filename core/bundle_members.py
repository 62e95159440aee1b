"""What a bundle's ZIP holds, and how it is read when nobody knows who wrote it.

A ZIP of another machine is input like any other: sizes, hashes, names, types and the range of
every value are checked before anything is computed from them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import BadFile
from core.models import CoverageSummary
from core.pair_series import SERIES as SERIES_COLUMNS
from core.pair_spec import PairSpec

FORMAT = 1
MANIFEST, CLOSES, SERIES, RESULTS = (
    "manifest.json",
    "closes.parquet",
    "series.parquet",
    "results.json",
)
MEMBERS = {MANIFEST, CLOSES, SERIES, RESULTS}
# A month of seconds of two legs is 5 million rows, 100 MB; more than this is no view of a pair.
MOST_BYTES = 1 << 30
MOST_JSON_BYTES = 4 << 20
MOST_ROWS = 6_000_000
_CLOSES = {"symbol": pl.String, "ts": pl.Datetime("ms"), "close": pl.Float64, "volume": pl.Float64}

M = TypeVar("M")
Time = Annotated[datetime, msgspec.Meta(tz=False)]
# These are shown as they are, so they must not say anything to what renders the page.
Word = Annotated[str, msgspec.Meta(max_length=60, pattern=r"^[\w .+-]*$")]


@dataclass(frozen=True, slots=True)
class Times:
    """What a view of a pair stands on; UTC. Judged on [judged_from, judged_at)."""

    start: Time
    as_of: Time
    judged_from: Time
    judged_at: Time
    judged_span_s: float


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was asked, when and by what; ``sha256`` of the other members by name."""

    format: int
    made_at: Time
    made_by: Word
    spec: PairSpec
    range: Word
    times: Times
    tick_sizes: tuple[float | None, float | None]
    coverage: tuple[CoverageSummary, ...]
    sha256: dict[str, str]


def packed(manifest: object, members: Mapping[str, bytes]) -> bytes:
    """Return the ZIP of a manifest, any dataclass, and the other members."""
    buffer = io.BytesIO()
    told = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {MANIFEST: told, **members}.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def unpacked(data: bytes) -> tuple[Manifest, dict[str, bytes]]:
    """Return a ZIP's manifest and members, with the hashes that it tells.

    Raises BadFile for what is no whole ZIP of a bundle.
    """
    members = zip_members(data, MEMBERS, "a pair")
    manifest = read_manifest(members[MANIFEST], Manifest)
    demand_symbols(manifest.spec)
    _check_times(manifest.spec, manifest.times)
    if any(tick is not None and not tick > 0 for tick in manifest.tick_sizes):
        raise BadFile(f"tick sizes {manifest.tick_sizes} in the bundle; they should be above 0")
    demand_hashes(manifest.sha256, members)
    return manifest, members


def demand_hashes(told: Mapping[str, str], members: Mapping[str, bytes]) -> None:
    """Raise BadFile unless every member but the manifest is as it was written."""
    others = members.keys() - {MANIFEST}
    if told.keys() != others:
        raise BadFile(
            f"{MANIFEST} tells the sha256 of {', '.join(sorted(told)) or 'nothing'}; "
            f"it should be of {', '.join(sorted(others))}"
        )
    for name, known in told.items():
        if hashlib.sha256(members[name]).hexdigest() != known:
            raise BadFile(f"{name} in the bundle is not as it was written: its sha256 differs")


def demand_symbols(spec: PairSpec) -> None:
    """Raise BadFile for legs that cannot be symbols."""
    for symbol in (spec.y, spec.x):
        if not 0 < len(symbol) <= 80 or not all(c.isalnum() or c in "@-_." for c in symbol):
            raise BadFile(f"{symbol[:80]!r} in the bundle is no symbol")


def read_manifest(data: bytes, kind: type[M]) -> M:
    """Return the manifest, checked by its types; raises BadFile for anything else."""
    try:
        # Another format may have other fields: its number is looked at before them.
        told = msgspec.json.decode(data)
        if isinstance(told, dict) and told.get("format", FORMAT) != FORMAT:
            raise BadFile(f"the bundle has format {told['format']}; this program reads {FORMAT}")
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadFile(f"{MANIFEST} in the bundle cannot be used ({error})") from error


def _check_times(spec: PairSpec, times: Times) -> None:
    bars = (times.as_of - times.start) / timedelta(seconds=spec.bar_s)
    if not (0 < bars <= MOST_ROWS and times.judged_from <= times.judged_at <= times.as_of):
        raise BadFile(
            f"the bundle's times make no view: bars from {times.start} to {times.as_of}, judged "
            f"from {times.judged_from} to {times.judged_at}"
        )
    if not 0 <= times.judged_span_s < math.inf:
        raise BadFile(f"judged over {times.judged_span_s} s in the bundle")


def zip_members(data: bytes, wanted: set[str], what: str) -> dict[str, bytes]:
    """Return the members of a bundle of ``what``; raises BadFile for other ones.

    No path in a name is ever followed, no size taken on trust.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            if sorted(names) != sorted(wanted):
                raise BadFile(
                    f"the ZIP holds {', '.join(sorted(names)[:6]) or 'nothing'}; a bundle of "
                    f"{what} holds {', '.join(sorted(wanted))}"
                )
            found, left = {}, MOST_BYTES
            for name in names:
                most = min(left, MOST_JSON_BYTES if name.endswith(".json") else MOST_BYTES)
                with archive.open(name) as member:
                    found[name] = member.read(most + 1)
                if len(found[name]) > most:
                    raise BadFile(f"{name} in the bundle unpacks to more than {most:,} bytes")
                left -= len(found[name])
            return found
    except (
        zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, OSError, EOFError, RuntimeError,
        ValueError,
    ) as error:  # fmt: skip
        if isinstance(error, BadFile):
            raise
        raise BadFile(f"the file is no whole ZIP ({error})") from error


def closes_of(data: bytes, spec: PairSpec, times: Times) -> pl.DataFrame:
    """Return both legs' bars: symbol, ts, close, volume, by symbol and ts.

    Raises BadFile where they could not have come from a file of ours.
    """
    # Held by its few words, since a word of a megabyte may stand in each of a million rows.
    table = parquet_table(CLOSES, data, list(_CLOSES), words=["symbol"])
    legs = {spec.y, spec.x}
    for chunk in table.column("symbol").chunks:
        if not set(chunk.dictionary.to_pylist()) <= legs:
            raise BadFile(f"{CLOSES} has other symbols than {spec.y} and {spec.x}")
    closes = pl.DataFrame(pl.from_arrow(table)).with_columns(pl.col("symbol").cast(pl.String))
    if dict(closes.schema) != _CLOSES:
        raise BadFile(f"{CLOSES} has {dict(closes.schema)}; it should have {_CLOSES}")
    usable = closes.select(
        good=pl.all_horizontal(
            pl.all().is_not_null().all(),
            (pl.col("close").is_finite() & (pl.col("close") > 0)).all(),
            (pl.col("volume").is_finite() & (pl.col("volume") >= 0)).all(),
            (pl.col("ts") < times.as_of).all(),
            (pl.col("ts") >= times.start - timedelta(seconds=MOST_ROWS * spec.bar_s)).all(),
        )
    ).item()
    if not usable or closes.select(pl.struct("symbol", "ts").is_duplicated().any()).item():
        raise BadFile(f"{CLOSES} has bars twice, bars out of the range, or prices that are none")
    return closes


def series_of(data: bytes) -> pl.DataFrame:
    """Return the rows that the view had; raises BadFile for anything else."""
    table = parquet_table(SERIES, data, list(SERIES_COLUMNS))
    if not all(pa.types.is_primitive(one.type) for one in table.schema):
        raise BadFile(f"{SERIES} has columns of {', '.join(map(str, table.schema.types))}")
    return pl.DataFrame(pl.from_arrow(table))


def parquet_table(
    member: str, data: bytes, columns: list[str], words: list[str] | None = None
) -> pa.Table:
    """Return a member's table of exactly these columns; raises BadFile for anything else.

    ``words``: columns of few values, read as such.
    """
    try:
        # A column that is to be read by its words must be there.
        told = pq.read_metadata(pa.BufferReader(data))
        names, rows = told.schema.to_arrow_schema().names, told.num_rows
        if names != columns or rows > MOST_ROWS:
            raise BadFile(
                f"{member} has {rows:,} rows of {', '.join(names)[:200]}; it should have at most "
                f"{MOST_ROWS:,} of {', '.join(columns)}"
            )
        return pq.ParquetFile(pa.BufferReader(data), read_dictionary=words).read()
    except (pa.ArrowException, OSError) as error:
        raise BadFile(f"{member} in the bundle is no whole Parquet file ({error})") from error


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Return the names of what differs between two results."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [
            name for key in one
            for name in differences(one[key], other[key], f"{place}.{key}".lstrip("."))
        ]  # fmt: skip
    return [] if one == other else [place]


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it without losing a digit."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, datetime):
        return value.isoformat()
    return {str(k): plain(v) for k, v in value.items()} if isinstance(value, dict) else value


def parquet_bytes(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def json_bytes(value: Any) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode()
