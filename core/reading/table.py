"""Lines of CSV as columns of text, each row with the line that it stands on.

A field must not span lines: a quote that is left open costs its own line, never the rest.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from core.errors import BadFile
from core.reading.frames import Places, Reject, Sifted, shown
from core.reading.text import Block

DELIMITERS = (",", ";", "\t", "|")
# Put at the end of each line, so that one with too few fields shows.
_END = "\x03"


@dataclass(frozen=True, slots=True)
class Layout:
    """The fields of a line in order, by their names in lower case."""

    names: tuple[str, ...]
    delimiter: str = ","
    wanted: tuple[str, ...] = ()

    def places(self) -> list[int]:
        """Return where the wanted fields stand."""
        return [self.names.index(name) for name in self.wanted]


@dataclass(frozen=True, slots=True)
class Table:
    """The wanted columns; ``offsets`` are the lines of the rows, from the block's first one.

    ``rejects`` holds the lines that are no rows of the layout.
    """

    columns: dict[str, pl.Series]
    offsets: Places
    rejects: list[Reject] = field(default_factory=list)

    def rejected(self, block: Block, sifted: Sifted) -> list[Reject]:
        """Return all rejects: these, and the rows that were sifted out."""
        if not len(sifted.bad):
            return self.rejects
        lines = block.lines()
        offsets = self.offsets[sifted.bad].tolist()
        found = zip(offsets, sifted.reasons, strict=True)
        return [*self.rejects, *((block.first + at, why, shown(lines[at])) for at, why in found)]


def fields_of(line: bytes, delimiter: str) -> list[str]:
    """Return the fields of one line. Raises csv.Error for a quote that is left open."""
    return next(csv.reader([line.decode("utf-8")], delimiter=delimiter, strict=True), [])


def header_names(line: bytes, delimiter: str) -> tuple[str, ...]:
    """Return the names that a header line gives, stripped and in lower case."""
    try:
        return tuple(name.strip().lower() for name in fields_of(line, delimiter))
    except csv.Error:
        return ()


def layout_of(header: bytes, required: Sequence[str], optional: Sequence[str], what: str) -> Layout:
    """Find the delimiter and the wanted names of a header line; others are left out.

    Raises BadFile that names what is missing and what was found.
    """
    guesses = [(header_names(header, delimiter), delimiter) for delimiter in DELIMITERS]
    names, delimiter = max(guesses, key=lambda guess: len(set(required) & set(guess[0])))
    check_names(names, required, what)
    wanted = [name for name in (*required, *optional) if name in names]
    for name in wanted:
        if names.count(name) > 1:
            raise BadFile(f"{what} has the column {name} {names.count(name)} times; give it once")
    return Layout(names, delimiter, tuple(wanted))


def check_names(names: Sequence[str], required: Sequence[str], what: str) -> None:
    """Raise BadFile where a required name is missing, naming it and what was found."""
    missing = [name for name in required if name not in names]
    if missing:
        found = ", ".join(shown(name)[:40] for name in names[:30]) or "nothing"
        raise BadFile(
            f"{what} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            f"found: {found}"
        )


def first_line(block: Block) -> tuple[bytes, Block]:
    """Return the first line that is not blank, and the block after it (b"" where all are)."""
    data, start, passed = block.data, 0, 0
    while (end := data.find(b"\n", start)) >= 0:
        line, start, passed = data[start:end], end + 1, passed + 1
        if line.strip():
            count = block.count - passed
            return line, Block(data[start:], block.first + passed, count, block.rejects)
    return b"", block


def text_table(block: Block, layout: Layout) -> Table:
    """Read a block's lines by the layout: at once where all have its fields, else one by one."""
    count = block.count
    if not _has_blank_lines(block.data):
        marked = block.data.replace(b"\n", f"{layout.delimiter}{_END}\n".encode())
        frame = _frame(marked, layout, count)
        if frame is not None:
            return Table(_columns(frame, layout), np.arange(count, dtype=np.int64))
    return _line_by_line(block, layout)


def _has_blank_lines(data: bytes) -> bool:
    return b"\n\n" in data or data.startswith(b"\n")


def _frame(marked: bytes, layout: Layout, count: int) -> pl.DataFrame | None:
    """Return the wanted columns as text; None where a line has more or fewer fields."""
    names = [str(place) for place in range(len(layout.names) + 1)]
    places = layout.places()
    try:
        frame = pl.read_csv(
            marked,
            has_header=False,
            schema=dict.fromkeys(names, pl.String),
            columns=sorted({*places, len(layout.names)}),
            separator=layout.delimiter,
        )
    except pl.exceptions.PolarsError:
        return None
    ends = frame[names[-1]]
    if frame.height != count or not (ends == _END).fill_null(False).all():
        return None
    return frame


def _columns(frame: pl.DataFrame, layout: Layout) -> dict[str, pl.Series]:
    pairs = zip(layout.wanted, layout.places(), strict=True)
    return {name: frame[str(place)].alias(name) for name, place in pairs}


def _line_by_line(block: Block, layout: Layout) -> Table:
    """Only lines with quotes, or with another number of fields, cost Python's time."""
    mark, breaks = layout.delimiter.encode(), len(layout.names) - 1
    lines = block.lines()
    plain = [at for at, line in enumerate(lines) if line.count(mark) == breaks and b'"' not in line]
    end = layout.delimiter.encode() + _END.encode() + b"\n"
    frame = _frame(b"".join(lines[at] + end for at in plain), layout, len(plain)) if plain else None
    if frame is None:
        plain = []
    others = [at for at in _others(len(lines), plain) if lines[at].strip()]
    parsed, rows, rejects = _parsed_lines(block, lines, others, layout)
    offsets = np.array([*plain, *parsed], dtype=np.int64)
    order = np.argsort(offsets, kind="stable")
    columns: dict[str, pl.Series] = {}
    for number, name in enumerate(layout.wanted):
        column = pl.Series(name, [row[number] for row in rows], dtype=pl.String)
        if frame is not None:
            column = pl.concat([frame[str(layout.places()[number])].alias(name), column])
        columns[name] = column.gather(order)
    return Table(columns, offsets[order], rejects)


def _others(count: int, plain: Sequence[int]) -> list[int]:
    is_other = np.ones(count, dtype=np.bool_)
    is_other[np.array(plain, dtype=np.int64)] = False
    return [int(at) for at in np.flatnonzero(is_other)]


def _parsed_lines(
    block: Block, lines: Sequence[bytes], others: Sequence[int], layout: Layout
) -> tuple[list[int], list[list[str]], list[Reject]]:
    places = layout.places()
    offsets: list[int] = []
    rows: list[list[str]] = []
    rejects: list[Reject] = []
    for at in others:
        try:
            fields = fields_of(lines[at], layout.delimiter)
            why = f"{len(fields)} fields where {len(layout.names)} are due"
        except csv.Error as error:
            fields, why = [], f"the line is no CSV: {error}"
        if len(fields) == len(layout.names):
            offsets.append(at)
            rows.append([fields[place] for place in places])
        else:
            rejects.append((block.first + at, why, shown(lines[at])))
    return offsets, rows, rejects
