"""Bars from CSV: headers, rows, and a timeframe that the spacing must bear out."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from made_files import NOW, START, gzipped, written

from core.errors import BadFile, DataError
from core.models import BAR_SCHEMA, REJECT_SCHEMA
from core.reading import BarsRead, read_bars

HEADER = "ts,open,high,low,close,volume\n"


def bar(number: int = 0, *, step_s: int = 60, **changes: object) -> str:
    values: dict[str, object] = {
        "ts": (START + timedelta(seconds=number * step_s)).isoformat(),
        "open": 10,
        "high": 12,
        "low": 9,
        "close": 11 + number % 2,
        "volume": number / 2,
    }
    return ",".join(str(value) for value in (values | changes).values()) + "\n"


def bars(text: str | bytes, timeframe: str = "1min") -> BarsRead:
    data = text.encode() if isinstance(text, str) else text
    return read_bars(data, timeframe=timeframe, now=NOW)


def test_bars_come_sorted_each_time_once(tmp_path: Path) -> None:
    text = HEADER + bar(2) + bar(0) + bar(1) + bar(0)
    read = bars(text)
    assert dict(read.bars.schema) == BAR_SCHEMA
    assert dict(read.rejects.schema) == REJECT_SCHEMA
    assert read.bars.rows() == [
        (START + timedelta(minutes=n), 10, 12, 9, 11 + n % 2, n / 2) for n in range(3)
    ]
    assert (read.read, read.duplicates, read.rejects.height) == (4, 1, 0)
    assert read.content_hash == hashlib.sha256(text.encode()).hexdigest()
    path = written(tmp_path, "a.csv.gz", gzipped(text.encode()))
    packed = read_bars(path, timeframe="1min", now=NOW)
    assert packed.bars.equals(read.bars)
    assert packed.content_hash == read.content_hash


def test_headers_in_any_case_and_order_extra_columns_ignored() -> None:
    text = '\n"Volume";Close;LOW;note;High;Open;TS\n"1,000.5";11;9;x;12;10;1789207200\n'
    assert bars(text).bars.rows() == [(START, 10, 12, 9, 11, 1000.5)]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_bars_in_other_encodings(encoding: str) -> None:
    text = (HEADER.replace("\n", ",é\n") + bar().replace("\n", ",ü\n")).replace("\n", "\r\n")
    assert bars(text.encode(encoding)).bars.height == 1


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("ts,open,high,low,close", "lacks the column volume; found: ts, open, high, low, close"),
        ("time;o;h;l;c;volume", "lacks the columns ts, open, .*; found: time, o, h, l, c, volume"),
        ("ts,open,high,low,close,volume,Close", "column close 2 times"),
        ("", "has no header"),
    ],
)
def test_wrong_headers_name_what_is_missing_and_what_was_found(header: str, message: str) -> None:
    with pytest.raises(BadFile, match=message):
        bars(header + "\n")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ts": "soon"}, "the time is not understood"),
        ({"ts": "2016-01-01"}, "the time is before 2017"),
        ({"ts": "2027-01-01"}, "the time is in the future"),
        ({"ts": "2026-09-12T10:05:30"}, "the time is no start of a bar of 60 s"),
        ({"open": "x"}, "the open is no number"),
        ({"close": "0"}, "the close is not above zero"),
        ({"high": "inf"}, "the high is not finite"),
        ({"high": "9.5"}, "the high is below another price"),
        ({"low": "10.5"}, "the low is above another price"),
        ({"volume": ""}, "no volume"),
        ({"volume": "-1"}, "the volume is negative"),
        ({"volume": "nan"}, "the volume is not finite"),
        ({"volume": "1,2"}, "7 fields where 6 are due"),
        ({"ts": START.isoformat()}, "another bar of this time came before, with other values"),
    ],
)
def test_a_bad_bar_costs_itself_alone(change: dict[str, object], reason: str) -> None:
    text = HEADER + bar(0) + bar(1) + bar(5, **change) + bar(2)
    read = bars(text)
    assert read.bars.height == 3
    assert read.read == 4
    assert read.rejects.select("line", "reason").rows() == [(4, reason)]


def test_a_file_of_which_more_than_half_is_rejected_says_why() -> None:
    half = HEADER + bar(0) + bar(1) + bar(2, open=0) + bar(3, open="x")
    assert bars(half).bars.height == 2
    message = r"3 of 5 rows .* more than half.*\(2 times, first in line 4\): the open is not above"
    with pytest.raises(BadFile, match=message):
        bars(half + bar(4, open=-1))


def test_a_file_of_a_header_alone_is_refused() -> None:
    with pytest.raises(BadFile, match="only a header"):
        bars(HEADER)


@pytest.mark.parametrize(
    ("step_s", "timeframe", "message"),
    [
        (60, "1s", "the bars are 60 s apart, not 1 s: choose 1min"),
        (1, "1min", "the bars are 1 s apart, not 60 s: choose 1s"),
        (300, "1min", "the bars are 300 s apart, not 60 s: choose 5min"),
        (60, "1h", "the bars are 60 s apart, not 3600 s: choose 1min"),
        (10, "1min", "the bars are 10 s apart, not 60 s: the timeframes are 1s, 5s"),
        (90, "1min", "the bars are 90 s apart, not 60 s: the timeframes are 1s, 5s"),
    ],
)
def test_a_mislabelled_timeframe_is_caught_from_the_spacing(
    step_s: int, timeframe: str, message: str
) -> None:
    text = HEADER + "".join(bar(n, step_s=step_s) for n in range(20) if n not in (4, 9, 10))
    with pytest.raises(BadFile, match=message):
        bars(text, timeframe)


def test_two_bars_that_are_too_close_give_a_wrong_timeframe_away() -> None:
    with pytest.raises(BadFile, match="60 s apart, not 3600 s: choose 1min"):
        bars(HEADER + bar(0) + bar(1), "1h")


@pytest.mark.parametrize("minutes", [[0], [0, 60], [0, 1, 5, 6], [0, 7, 9, 30, 31], [0, 7, 14]])
def test_minutes_without_trades_are_no_other_timeframe(minutes: list[int]) -> None:
    assert bars(HEADER + "".join(bar(n) for n in minutes)).bars.height == len(minutes)


def test_a_timeframe_that_does_not_exist_is_refused() -> None:
    with pytest.raises(DataError, match="not a timeframe"):
        bars(HEADER + bar(), "2min")


def test_a_day_of_seconds_in_one_file() -> None:
    start = datetime(2026, 9, 12)
    rows = (f"{start + timedelta(seconds=n)},1,1,1,1,0\n" for n in range(86_400))
    assert bars(HEADER + "".join(rows), "1s").bars.height == 86_400
