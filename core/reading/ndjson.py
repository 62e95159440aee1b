"""Ticks from NDJSON: one object a line, its keys in any case, unknown ones skipped.

A block is decoded at once where every line is as the first one; else line by line, where a bad
line costs its neighbours nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import polars as pl

from core.reading.frames import Parsed, Reject, shown
from core.reading.text import Block
from core.reading.ticks import OPTIONAL, REQUIRED, checked_ticks

NAMES = (*REQUIRED, *OPTIONAL)
_TYPES: dict[str, Any] = {
    "symbol": str | None,
    "ts": int | float | str | None,
    "price": float | str | None,
    "size": float | str | None,
    "id": int | str | None,
    "side": str | None,
}
# What decoding raises on text from outside: malformed, mistyped, nested too deep.
_DECODE_ERRORS = (msgspec.MsgspecError, ValueError, RecursionError)
_NO_JSON = "the line is no JSON"


class NdjsonTicks:
    """Parses blocks of NDJSON; ``symbol`` is for lines that name none."""

    def __init__(self, symbol: str | None, latest_us: int) -> None:
        self._symbol, self._latest_us = symbol, latest_us
        self._decoder: msgspec.json.Decoder[Any] | None = None

    def parse(self, block: Block) -> Parsed:
        """Return the ticks of a block."""
        if self._decoder is None:
            self._decoder = _decoder(block)
        lines = None
        offsets: Sequence[int] | None = None
        rejects: list[Reject] = []
        try:
            rows = self._decoder.decode_lines(block.data)
        except _DECODE_ERRORS:
            rows = []
        columns = _columns(rows)
        if len(rows) != block.count or self._lacks_some(columns):
            lines = block.lines()
            rows, offsets, rejects = self._one_by_one(block, lines)
            columns = _columns(rows)
        if self._symbol is not None:
            columns["symbol"] = columns["symbol"].fill_null(self._symbol)
        found = checked_ticks(columns, self._latest_us)
        read = len(rows) + len(rejects)
        if len(found.bad):
            lines = lines if lines is not None else block.lines()
            for place, reason in zip(found.bad.tolist(), found.reasons, strict=True):
                at = offsets[place] if offsets is not None else place
                rejects.append((block.first + at, reason, shown(lines[at])))
        return Parsed(found.rows, rejects, read)

    def _lacks_some(self, columns: dict[str, pl.Series]) -> bool:
        """Whether a line has no value under a required key: it may spell it in another way."""
        required = REQUIRED if self._symbol is None else REQUIRED[1:]
        return any(columns[name].null_count() for name in required)

    def _one_by_one(
        self, block: Block, lines: Sequence[bytes]
    ) -> tuple[list[Any], list[int], list[Reject]]:
        assert self._decoder is not None
        decode = self._decoder.decode
        rows: list[Any] = []
        offsets: list[int] = []
        rejects: list[Reject] = []
        for at, line in enumerate(lines):
            try:
                row = decode(line)
                if row.symbol is None or row.ts is None or row.price is None:
                    row = _any_spelling(line)
            except _DECODE_ERRORS:
                if not line.strip():
                    continue
                row = _any_spelling(line)
            if isinstance(row, str):
                rejects.append((block.first + at, row, shown(line)))
            else:
                rows.append(row)
                offsets.append(at)
        return rows, offsets, rejects


def _decoder(block: Block) -> msgspec.json.Decoder[Any]:
    """Return a decoder for the spelling of the keys that the first readable line has."""
    spelling: dict[str, str] = {}
    for line in block.data.split(b"\n", 100)[:100]:
        value = _value(line)
        if isinstance(value, dict):
            spelling = {key.strip().lower(): key for key in reversed(value)}
            break
    # Optional keys that only come later are looked for in the style of those that are there.
    price = spelling.get("price", "price")
    style = str.upper if price.isupper() else str.title if price.istitle() else str.lower
    rename = {name: spelling.get(name, style(name)) for name in NAMES}
    fields = [(name, kind, None) for name, kind in _TYPES.items()]
    return msgspec.json.Decoder(msgspec.defstruct("Line", fields, rename=rename, gc=False))


class _Line:
    """A line's values by name, as the decoder's records have them."""

    __slots__ = NAMES

    def __init__(self, values: dict[str, Any]) -> None:
        for name in NAMES:
            setattr(self, name, values.get(name))


def _value(line: bytes) -> Any:
    """Return what a line says, `NaN` and `Infinity` included; None for what is no JSON."""
    try:
        return json.loads(line)
    except _DECODE_ERRORS:
        return None


def _any_spelling(line: bytes) -> _Line | str:
    """Return a line's values whatever the case of its keys, or the reason why it has none."""
    value = _value(line)
    if value is None:
        return _NO_JSON
    if not isinstance(value, dict):
        return "the line is no JSON object"
    values = {key.strip().lower(): item for key, item in reversed(value.items())}
    for name in NAMES:
        item = values.get(name)
        if isinstance(item, str) and not _is_whole_text(item):
            return f"the {name} holds half a character"
        if name in ("symbol", "side"):
            if item is not None and not isinstance(item, str):
                return f"the {name} is no text"
        elif isinstance(item, bool | dict | list):
            return f"the {name} is no number"
    return _Line(values)


def _is_whole_text(text: str) -> bool:
    """Whether a text can be written as UTF-8: JSON can name one half of a surrogate pair."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _columns(rows: Sequence[Any]) -> dict[str, pl.Series]:
    return {name: _column(name, [getattr(row, name) for row in rows]) for name in NAMES}


def _column(name: str, values: list[Any]) -> pl.Series:
    """Return a column of one type; numbers among texts become texts."""
    text = name in ("symbol", "side")
    kind = pl.String if text else pl.Int64 if name in ("id", "ts") else pl.Float64
    if not text and isinstance(next((v for v in values if v is not None), None), str):
        kind = pl.String
    try:
        return pl.Series(name, values, dtype=kind, strict=True)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        if name == "ts" and all(isinstance(v, float | int | None) for v in values):
            return pl.Series(name, values, dtype=pl.Float64, strict=False)
        return pl.Series(name, [v if v is None else str(v) for v in values], dtype=pl.String)
