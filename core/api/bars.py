"""Bars of one symbol: recent ones out of memory, long stretches streamed from the file."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl
from starlette.responses import Response, StreamingResponse

from core.api.answers import (
    JSON,
    TimeFormat,
    begun,
    file_answer,
    in_threads,
    json_answer,
    rows_json,
    unchanged,
)
from core.api.calls import Call
from core.api.parameters import BarsQuery, ExportQuery, time_of, timeframe_of
from core.api.problems import bad_parameter
from core.api.subjects import Subject, subject_of
from core.bar_sql import base_seconds, timeframe_seconds
from core.errors import NotEnoughData
from core.exporting import bars_parts, newest_bars
from core.live.memo import Memo
from core.live.questions import Bars, newest
from core.live.window import epoch_ms, utc

DEFAULT_LIMIT = 1_000
# Stretches of so many stored bars (of a second or a minute, whatever is made of them) are read in
# one go and the live ones kept in memory; longer ones are read part by part.
KEPT_BARS = 20_000
# A document of 10,000 bars has some 2 MB. Pages of the past must not drive out the live ones.
_encoded, _past = Memo(32), Memo(32)


@dataclass(frozen=True, slots=True)
class _Stretch:
    """The bars of [start, end); no end means up to the newest. ``limit``: the newest of them."""

    key: str
    timeframe: str
    start: datetime
    end: datetime | None
    limit: int | None

    @property
    def bar_ms(self) -> int:
        return timeframe_seconds(self.timeframe) * 1000


def symbols(call: Call) -> Response:
    """Answer with what is stored, watched, and on the exchange."""
    subject = subject_of(call.query.source)
    pulse = subject.pulse
    versions = pulse.versions
    etag = call.etag(
        subject.feed.store.path, sorted(pulse.spans), pulse.watchlist, versions.get("symbols", 0)
    )
    if call.has(etag):
        return unchanged(etag)
    return json_answer(
        {
            "source": subject.source.name,
            "symbols": sorted(pulse.spans),
            "watchlist": list(pulse.watchlist),
            "datasets": list(pulse.datasets),
            "contracts": pulse.contracts["symbol"].to_list() if pulse.contracts.height else [],
        },
        etag=etag,
    )


def resampled(call: Call) -> Response:
    """Answer with bars as JSON."""
    asked: BarsQuery = call.query
    subject = subject_of(asked.source)
    found = _stretch(subject, call.path["symbol"], asked)
    etag = _tag(call, subject, found, subject.versions([found.key]))
    if call.has(etag):
        return unchanged(etag)
    if found.limit is None and not _is_kept(subject, found):
        return _streamed(subject, found, asked.ts_format, etag)
    if (recent := _recent(subject, found)) is None:
        body: bytes = _past.get(
            etag, lambda: _document(found, _read(subject, found), asked.ts_format)
        )
        return json_answer(body, etag=etag)
    bars, version = recent
    tag = _tag(call, subject, found, version)
    body = _encoded.get(tag, lambda: _document(found, bars, asked.ts_format))
    return json_answer(body, etag=tag)


def export(call: Call) -> Response:
    """Answer with bars as a file: all of the range, unless a limit is given."""
    asked: ExportQuery = call.query
    subject = subject_of(asked.source)
    found = _stretch(subject, call.path["symbol"], asked, default=None)
    etag = _tag(call, subject, found, subject.versions([found.key]))
    if call.has(etag):
        return unchanged(etag)
    name = f"perpduck-{found.key}-{found.timeframe}"
    parts = _parts(subject, found)
    if found.limit is not None:
        recent = _recent(subject, found)
        bars = _read(subject, found) if recent is None else recent[0]
        parts = iter([bars]) if bars.height else parts
    return file_answer(parts, asked.format, name, asked.ts_format, etag=etag)


def _tag(call: Call, subject: Subject, found: _Stretch, version: tuple[float, ...]) -> str:
    return call.etag(subject.feed.store.path, found.key, version)


def _stretch(
    subject: Subject, symbol: str, asked: BarsQuery, default: int | None = DEFAULT_LIMIT
) -> _Stretch:
    timeframe = timeframe_of(asked.timeframe)
    start, end = time_of("start", asked.start), time_of("end", asked.end)
    if start is not None and end is not None and start >= end:
        raise bad_parameter("end", f"end {end} is not after start {start}; give a later one")
    key = subject.key(symbol, asked.dataset)
    first, _ = subject.bounds(key, timeframe)
    limit = asked.limit or (default if start is None else None)
    bar = timedelta(seconds=timeframe_seconds(timeframe))
    # The bar in which the first trade falls begins before it.
    return _Stretch(key, timeframe, max(start or first - bar, first - bar), end, limit)


def _is_kept(subject: Subject, found: _Stretch, bars: int | None = None) -> bool:
    """Return whether the stored bars that the newest ``bars`` are made of fit into memory."""
    newest = subject.bounds(found.key, found.timeframe)[1]
    span_s = (min(found.end or newest, newest) - found.start).total_seconds()
    if bars := bars or found.limit:
        span_s = min(span_s, bars * found.bar_ms / 1000)
    return span_s / base_seconds(found.timeframe) <= KEPT_BARS


def _is_past(subject: Subject, found: _Stretch) -> bool:
    """Return whether the stretch ends before the newest bar: only late trades change it."""
    newest = epoch_ms(subject.bounds(found.key, found.timeframe)[1])
    return found.end is not None and epoch_ms(found.end) <= newest - newest % found.bar_ms


def _read(subject: Subject, found: _Stretch) -> pl.DataFrame:
    """Return the bars from the file itself: what is asked of the feeder is read at every flush."""
    most = found.limit or KEPT_BARS
    key, timeframe, end = found.key, found.timeframe, _end(subject, found)
    return newest_bars(subject.feed.store, key, timeframe, found.start, end, most=most)


def _recent(subject: Subject, found: _Stretch) -> tuple[pl.DataFrame, tuple[float, ...]] | None:
    """Return the bars and the version of what they stand on, from the feeder's memory.

    A symbol has no bar where it did not trade: the stretch is doubled until it holds enough. None
    where it lies in the past, or is too long to be kept.
    """
    first, last = subject.bounds(found.key, found.timeframe)
    until = min(found.end or last, last)
    bars_asked = found.limit or KEPT_BARS
    while not _is_past(subject, found) and _is_kept(subject, found, bars_asked):
        start = _snapped(found, until, bars_asked)
        answer = newest(subject.feed, _question(subject, found, start, bars_asked))
        bars: pl.DataFrame = answer.value[found.key].filter(pl.col("ts") >= found.start)
        if found.limit is None:
            return bars, answer.version
        if bars.height >= found.limit or start <= max(found.start, first):
            return bars.tail(found.limit), answer.version
        bars_asked *= 4
    return None


def _question(subject: Subject, found: _Stretch, start: datetime, bars: int) -> Bars:
    """Return the question to ask: the one before while the start has just moved on.

    The new one is answered meanwhile, so that nobody waits where the start moves.
    """
    question = Bars((found.key,), found.timeframe, start, found.end)
    before = replace(question, start=start - timedelta(milliseconds=_grid_ms(found, bars)))
    feed = subject.feed
    if feed.known(question) is None and feed.known(before) is not None:
        feed.ask(before, question)
        return before
    return question


def _grid_ms(found: _Stretch, bars: int) -> int:
    return found.bar_ms * int(2 ** max(0, round(math.log2(max(1.0, bars / 4)))))


def _snapped(found: _Stretch, until: datetime, bars: int) -> datetime:
    """Return where to begin so that ``bars`` fit: on a grid, so that the question stays the same.

    The start moves once a quarter of the stretch; what it holds too much is cut off later.
    """
    grid = _grid_ms(found, bars)
    least = max(epoch_ms(until) - (bars + 1) * found.bar_ms, 0)
    return max(utc(math.floor(least / grid) * grid), found.start)


def _document(found: _Stretch, bars: pl.DataFrame, ts_format: TimeFormat) -> bytes:
    return b"".join(_json_parts(found, [bars], ts_format))


def _json_parts(
    found: _Stretch, parts: Iterable[pl.DataFrame], ts_format: TimeFormat
) -> Iterator[bytes]:
    """Yield the document piece by piece; the brackets of each part's own array are taken off."""
    is_first = True
    yield b'{"symbol":"%s","timeframe":"%s","data":[' % (_text(found.key), _text(found.timeframe))
    for part in parts:
        if part.height:
            rows = rows_json(part.drop("symbol"), ts_format)[1:-1]
            yield rows if is_first else b"," + rows
            is_first = False
    yield b"]}"


def _text(words: str) -> bytes:
    """Return a symbol inside JSON's quotes."""
    return words.replace("\\", "\\\\").replace('"', '\\"').encode()


def _parts(subject: Subject, found: _Stretch) -> Iterator[pl.DataFrame]:
    """Return the bars part by part; raises NotEnoughData at the first where there is none."""
    store, end = subject.feed.store, _end(subject, found)
    return bars_parts(store, [found.key], found.timeframe, found.start, end)


def _end(subject: Subject, found: _Stretch) -> datetime:
    newest = subject.bounds(found.key, found.timeframe)[1]
    end = newest + timedelta(milliseconds=found.bar_ms)
    return min(found.end or end, end)


def _any(parts: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Yield the parts; a program that asks for what is new is told of nothing as of something."""
    with contextlib.suppress(NotEnoughData):
        yield from parts


def _streamed(
    subject: Subject, found: _Stretch, ts_format: TimeFormat, etag: str
) -> StreamingResponse:
    pieces = _json_parts(found, _any(_parts(subject, found)), ts_format)
    head = next(pieces)
    body = begun(pieces)
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    return StreamingResponse(in_threads(_chained(head, body)), media_type=JSON, headers=headers)


def _chained(head: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield head
    yield from rest
