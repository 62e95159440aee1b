"""Answers on their way out: JSON without NaN, times as asked, files, ETags, streams."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from typing import Any, Literal

import msgspec
import polars as pl
from anyio import CapacityLimiter, to_thread
from starlette.responses import Response, StreamingResponse

from core.exporting.tables import Format, parts_bytes
from core.live.window import epoch_ms

TimeFormat = Literal["iso", "ms"]
JSON = "application/json"
MEDIA: dict[Format, str] = {
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}
# The same without their parameters, as the OpenAPI document names them.
FILES = tuple(media.split(";")[0] for media in MEDIA.values())
# What may be kept must be asked about each time: an unchanged answer is 304 then.
_KEPT = {"Cache-Control": "private, no-cache"}
# Answers that are made piece by piece, so many pieces at a time.
STREAMS = 4
_ISO = "%Y-%m-%dT%H:%M:%S%.3fZ"


@functools.lru_cache(maxsize=1)
def own_version() -> str:
    """Return the program's version."""
    try:
        return version("perpduck")
    except PackageNotFoundError:
        return "0"


def etag_of(*parts: object) -> str:
    """Return the ETag of an answer that depends on ``parts`` and on the program alone."""
    digest = hashlib.blake2b(repr((own_version(), *parts)).encode(), digest_size=12).hexdigest()
    # Weak: the server may compress the same answer, or not.
    return f'W/"{digest}"'


def is_known(etag: str, if_none_match: str) -> bool:
    """Return whether the asker already has it."""
    known = {one.strip().removeprefix("W/") for one in if_none_match.split(",")}
    return "*" in known or etag.removeprefix("W/") in known


def unchanged(etag: str) -> Response:
    """Return the answer to one who already has it."""
    return Response(status_code=304, headers={"ETag": etag, **_KEPT})


def json_answer(
    body: bytes | Mapping[str, Any],
    status: int = 200,
    *,
    etag: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return JSON, NaN and infinity as null; without an ETag it may not be kept."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body, enc_hook=_encoded)
    kept = {"ETag": etag, **_KEPT} if etag else {"Cache-Control": "no-store"}
    return Response(data, status, {**kept, **(headers or {})}, JSON)


def _encoded(value: Any) -> Any:
    """Return what msgspec does not know as something that it does: a NumPy number."""
    return value.item()


def written_time(at: datetime | None, ts_format: TimeFormat = "iso") -> str | int | None:
    """Return a naive UTC time as it is asked for."""
    if at is None:
        return None
    if ts_format == "ms":
        return round(epoch_ms(at))
    return f"{at.isoformat(timespec='milliseconds')}Z"


def written_times(times: pl.Series, ts_format: TimeFormat) -> pl.Series:
    """Return a column of naive UTC times as they are asked for."""
    if ts_format == "ms":
        return times.dt.epoch("ms")
    return times.dt.strftime(_ISO)


def rows_json(frame: pl.DataFrame, ts_format: TimeFormat = "iso") -> bytes:
    """Return a JSON array with an object a row."""
    times = [
        written_times(frame[name], ts_format).alias(name)
        for name, kind in frame.schema.items()
        if kind.base_type() == pl.Datetime
    ]
    numbers = pl.selectors.float()
    finite = pl.when(numbers.is_finite()).then(numbers)
    return frame.with_columns(*times).with_columns(finite).write_json().encode()


def keyed(times: list[Any], values: pl.Series) -> dict[str, float | None]:
    """Return values by their times as keys."""
    return dict(zip(map(str, times), values.to_list(), strict=True))


def file_answer(
    parts: Iterable[pl.DataFrame],
    form: Format,
    name: str,
    ts_format: TimeFormat = "iso",
    *,
    etag: str = "",
) -> Response:
    """Return a table as a download, streamed part by part.

    Times are as the file's format has them, or epoch milliseconds in each of them. What goes
    wrong with the first part is raised here, before anything is sent.
    """
    if ts_format == "ms":
        parts = (part.with_columns(pl.selectors.datetime().dt.epoch("ms")) for part in parts)
    return StreamingResponse(
        in_threads(begun(parts_bytes(parts, form))),
        media_type=MEDIA[form],
        headers={
            "Content-Disposition": f'attachment; filename="{plain_name(name)}.{form}"',
            "X-Content-Type-Options": "nosniff",
            **({"ETag": etag, **_KEPT} if etag else {"Cache-Control": "no-store"}),
        },
    )


async def in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the pieces, made in threads of their own.

    Starlette makes them in those that serve the pages' files, which a few exports would take.
    """
    while (piece := await to_thread.run_sync(next, pieces, None, limiter=_limiter())) is not None:
        yield piece


@functools.lru_cache(maxsize=1)
def _limiter() -> CapacityLimiter:
    return CapacityLimiter(STREAMS)


def begun(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Return the pieces with the first one made already, so that its errors come at once."""
    first = next(pieces, b"")
    return chain([first], pieces)


def plain_name(name: str) -> str:
    """Return a file's name in ASCII letters, digits and dashes: it goes into a header."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", name)
