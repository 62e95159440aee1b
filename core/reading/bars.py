"""Bars that a user gives: one CSV with a header, for one symbol and timeframe, read as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from core.bar_sql import TIMEFRAMES, timeframe_seconds
from core.errors import BadFile
from core.models import BAR_SCHEMA
from core.reading.frames import Refused, Reject, Sifted, reject_frame, sifted
from core.reading.limits import GIB, Limits
from core.reading.prices import bar_checks
from core.reading.source import Source
from core.reading.table import Table, first_line, layout_of, text_table
from core.reading.text import Block, blocks
from core.reading.times import latest_us, times

COLUMNS = ("ts", "open", "high", "low", "close", "volume")
# A year of 1-second bars has some 2 GB of text; it is all in memory as numbers, 48 bytes a bar.
LIMITS = Limits(total_bytes=4 * GIB, member_bytes=4 * GIB)
_PRICES = list(COLUMNS[1:])


@dataclass(frozen=True, slots=True)
class BarsRead:
    """The bars of a file: BAR_SCHEMA by ts, each ts once.

    ``rejects`` has REJECT_SCHEMA; ``read`` counts the rows with rejects and duplicates (bars that
    came before with the same values); ``content_hash`` is the sha256 of the decompressed content.
    """

    bars: pl.DataFrame
    rejects: pl.DataFrame
    read: int
    duplicates: int
    content_hash: str


def read_bars(data: bytes | Path, *, timeframe: str, now: datetime | None = None) -> BarsRead:
    """Read OHLCV bars from CSV (plain, .gz or .zst), times at the bars' starts.

    Raises BadFile for headers that lack a column, for more than half of the rows rejected, and
    for bars whose spacing is another timeframe's; DataError for a timeframe that does not exist.
    """
    seconds, latest = timeframe_seconds(timeframe), latest_us(now)
    with Source(data, LIMITS) as source:
        frames, rejects, read = _rows(source, timeframe, seconds, latest)
        name, content_hash = source.name, source.content_hash
    rows = pl.concat(frames)
    rejects += _conflicts(rows)
    _check_share(name, rejects, read)
    bars = rows.unique("ts", keep="first", maintain_order=True).sort("ts").select(list(BAR_SCHEMA))
    if bars.is_empty():
        raise BadFile(f"{name} holds no bars: only a header")
    duplicates = read - bars.height - len(rejects)
    return BarsRead(bars, reject_frame(rejects), read, duplicates, content_hash)


def _rows(
    source: Source, timeframe: str, seconds: int, latest: int
) -> tuple[list[pl.DataFrame], list[Reject], int]:
    """Return the good rows with line and text, the rejects and the number of rows."""
    frames: list[pl.DataFrame] = []
    rejects: list[Reject] = []
    every_ts: list[pl.Series] = []
    read, layout = 0, None
    for block in blocks(source):
        rejects += block.rejects
        read += len(block.rejects)
        if layout is None:
            header, block = first_line(block)
            if not header:
                continue
            layout = layout_of(header, COLUMNS, (), source.name)
        table = text_table(block, layout)
        every_ts.append(_known_times(table, latest))
        found = _checked(table, block, seconds, latest)
        frames.append(found.rows)
        rejects += table.rejected(block, found)
        read += len(table.offsets) + len(table.rejects)
    if layout is None:
        raise BadFile(f"{source.name} has no header; the first line must name {', '.join(COLUMNS)}")
    _check_spacing(source.name, pl.concat(every_ts), timeframe)
    return frames, rejects, read


def _checked(table: Table, block: Block, seconds: int, latest: int) -> Sifted:
    checks, values = bar_checks(table.columns, "ts", seconds, latest)
    lines = pl.Series("line", table.offsets + block.first)
    frame = pl.DataFrame(values).with_columns(lines)
    return sifted(frame, checks)


def _known_times(table: Table, latest: int) -> pl.Series:
    read = times(table.columns["ts"])
    wrong = np.logical_or.reduce([marked for _, marked in read.checks(latest)])
    return pl.Series("us", read.us[~wrong])


def _conflicts(rows: pl.DataFrame) -> list[Reject]:
    """Return the later bars of a time that came before with other values."""
    again = rows.filter(~pl.col("ts").is_first_distinct())
    if again.is_empty():
        return []
    firsts = rows.unique("ts", keep="first").select("ts", *_PRICES)
    joined = again.join(firsts, on="ts", suffix="_first")
    same = pl.all_horizontal(pl.col(name) == pl.col(f"{name}_first") for name in _PRICES)
    reason = "another bar of this time came before, with other values"
    found = joined.filter(~same).select("line", "ts", *_PRICES)
    return [(line, reason, ",".join(map(str, rest))) for line, *rest in found.rows()]


def _check_share(name: str, rejects: Sequence[Reject], read: int) -> None:
    if 2 * len(rejects) <= read:
        return
    reason, count = Counter(why for _, why, _ in rejects).most_common(1)[0]
    line = min(line for line, why, _ in rejects if why == reason)
    raise Refused(
        f"{name}: {len(rejects):,} of {read:,} rows cannot be used, more than half, so none is "
        f"taken; most often ({count:,} times, first in line {line:,}): {reason}",
        read=read, rejected=len(rejects), rejects=reject_frame(rejects),
    )  # fmt: skip


def _check_spacing(name: str, us: pl.Series, timeframe: str) -> None:
    """Refuse bars that nearly all stand apart by another timeframe's step.

    Bars exist only where trades happened, so single steps may be wide; the most frequent one
    and its multiples tell.
    """
    steps = np.diff(us.unique().sort().to_numpy())
    due = timeframe_seconds(timeframe) * 1_000_000
    # Two bars that are wider apart may have a hole between them; closer, they are of another size.
    if not len(steps) or (len(steps) == 1 and steps[0] >= due):
        return
    sizes, counts = np.unique(steps, return_counts=True)
    step = int(sizes[np.argmax(counts)])
    multiples = np.count_nonzero(steps % step == 0) / len(steps)
    if step == due or (step > due and multiples < 0.9):
        return
    if step % due == 0 and step not in {1_000_000 * s for s in TIMEFRAMES.values()}:
        return  # wide steps that no timeframe has: a symbol that trades seldom
    fitting = [other for other, s in TIMEFRAMES.items() if s * 1_000_000 == step]
    advice = f"choose {fitting[0]}" if fitting else f"the timeframes are {', '.join(TIMEFRAMES)}"
    raise BadFile(
        f"{name}: the bars are {step / 1e6:g} s apart, not {due // 1_000_000} s: {advice}"
    )
