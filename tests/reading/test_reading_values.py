"""Numbers and times in every form that they come in, against Python's own reading."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.reading.times import latest_us, times
from core.reading.values import flags, is_symbol, numbers, sides, symbols, whole_numbers

EPOCH = datetime(1970, 1, 1)
MOMENTS = st.datetimes(datetime(2017, 1, 1), datetime(2100, 1, 1))


def us_of(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            MOMENTS,
            st.sampled_from(["auto", "seconds", "milliseconds", "microseconds"]),
            st.sampled_from(["T", " "]),
            st.sampled_from(["", "Z", "z", "+00:00", "+0530", "-03", "-09:30", "+14:00"]),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_iso_times_with_and_without_zone_read_as_python_reads_them(cases: list) -> None:
    texts, expected = [], []
    for moment, precision, between, zone in cases:
        text = moment.isoformat(between, precision) + zone
        read = datetime.fromisoformat(text.upper())
        read = read.astimezone(UTC).replace(tzinfo=None) if read.tzinfo else read
        texts.append(text)
        expected.append(us_of(read))
    assert times(pl.Series(texts)).us.tolist() == expected


@settings(max_examples=200, deadline=None)
@given(moments=st.lists(MOMENTS, min_size=1, max_size=6), unit=st.sampled_from([1, 10**3, 10**6]))
def test_epochs_of_every_unit_read_alike_as_number_and_as_text(
    moments: list[datetime], unit: int
) -> None:
    us = [us_of(moment) // unit * unit for moment in moments]
    whole = [value // unit for value in us]  # µs, ms or s
    for column in (
        pl.Series(whole),
        pl.Series([str(value) for value in whole]),
        pl.Series([float(value) for value in whole]),
        pl.Series([f" {value}.0 " for value in whole]),
    ):
        assert times(column).us.tolist() == us
    assert times(pl.Series([value * 1000 + 999 for value in us])).us.tolist() == us  # ns


@settings(max_examples=200, deadline=None)
@given(st.lists(MOMENTS, min_size=1, max_size=6))
def test_fractions_of_seconds_and_milliseconds_keep_their_microseconds(
    moments: list[datetime],
) -> None:
    us = [us_of(moment) for moment in moments]
    for texts in (
        [f"{value // 10**6}.{value % 10**6:06d}" for value in us],
        [f"{value // 1000}.{value % 1000:03d}" for value in us],
    ):
        assert times(pl.Series(texts)).us.tolist() == us
        assert times(pl.Series([float(text) for text in texts])).us.tolist() == us


def test_times_of_mixed_forms_in_one_column() -> None:
    texts = [
        "2026-09-12T10:00:00Z",
        "1789207200",
        None,
        "2026-09-12 12:00:00+02:00",
        "never",
        "1789207200000.5",
        "2026-09-12",
        "20260912T100000Z",
        "2026-09-12 10:00:00 UTC",
        "2026-09-12T10:00:00.123456789",
        "2026-09-12T10:00",
        "",
        "nan",
    ]
    read = times(pl.Series(texts, dtype=pl.String))
    ten = us_of(datetime(2026, 9, 12, 10))
    assert [value - ten if value else None for value in read.us.tolist()] == [
        *[0, 0, None, 0, None, 500, -36_000_000_000, 0, 0, 123_456, 0, None, None]
    ]
    assert np.flatnonzero(read.missing).tolist() == [2, 11]
    assert np.flatnonzero(read.unreadable).tolist() == [4, 12]


def test_the_latest_time_is_a_day_ahead_whatever_the_zone_of_now() -> None:
    utc = datetime(2026, 9, 12, 10)
    tokyo = datetime(2026, 9, 12, 19, tzinfo=timezone(timedelta(hours=9)))
    assert latest_us(utc) == latest_us(tokyo) == us_of(datetime(2026, 9, 13, 10))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=6))
def test_numbers_in_text_are_read_to_the_last_digit(values: list[float]) -> None:
    read = numbers(pl.Series([f" {value!r}" for value in values]))
    assert read.values.tolist() == values
    assert not read.unreadable.any()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-(10**12), 10**12), st.integers(0, 6)), min_size=1, max_size=6)
)
def test_thousands_separators_do_not_change_a_number(cases: list[tuple[int, int]]) -> None:
    values = [number / 10**places for number, places in cases]
    texts = [f"{value:,.6f}" for value in values]
    assert numbers(pl.Series(texts)).values.tolist() == [float(f"{v:.6f}") for v in values]


def test_what_is_no_number_is_told_from_what_is_not_there() -> None:
    texts = ["1", None, "", "  ", "x", "1,2", "12,34,567", "0x10", "1_0", "nan", "1e400", "-"]
    read = numbers(pl.Series(texts))
    assert np.flatnonzero(read.missing).tolist() == [1, 2, 3]
    assert np.flatnonzero(read.unreadable).tolist() == [4, 5, 6, 7, 8, 11]
    assert math.isnan(read.values[9])
    assert math.isinf(read.values[10])
    assert numbers(pl.Series([True, None])).unreadable.tolist() == [True, False]


@pytest.mark.parametrize(
    ("column", "values", "unreadable"),
    [
        (pl.Series([1, None], dtype=pl.UInt64), [1, None], [False, False]),
        (pl.Series([2**63], dtype=pl.UInt64), [None], [True]),
        (
            pl.Series([1.0, 1.5, float("nan"), None]),
            [1, None, None, None],
            [False, True, True, False],
        ),
        (
            pl.Series([" 7 ", "7.00", "7.5", "", "x"]),
            [7, 7, None, None, None],
            [*[False] * 2, True, False, True],
        ),
        (pl.Series(["9007199254740993"]), [9007199254740993], [False]),
        (pl.Series([[1]]), [None], [True]),
    ],
)
def test_whole_numbers(column: pl.Series, values: list[int | None], unreadable: list[bool]) -> None:
    read = whole_numbers(column)
    assert read.values.to_list() == values
    assert read.unreadable.tolist() == unreadable


def test_words_are_read_in_any_case() -> None:
    found = sides(pl.Series(["Buy", " SELL ", "", None, "b"]))
    assert found.values.to_list() == ["buy", "sell", None, None, None]
    assert found.unreadable.tolist() == [False, False, False, False, True]
    found = flags(pl.Series(["True", "false", "1", "0", "TRUE", "t", None]))
    assert found.values.to_list() == [True, False, True, False, True, None, None]
    assert found.unreadable.tolist() == [*[False] * 5, True, False]
    assert flags(pl.Series([1, 0, 2])).values.to_list() == [True, False, None]
    assert symbols(pl.Series([1, 2])).unreadable.all()


def test_a_symbol_is_any_text_but_control_characters_and_marks_of_ours() -> None:
    assert all(is_symbol(key) for key in ("btcusdt", "币安人生usdt", "a b", "=x", "x" * 64))
    assert not any(is_symbol(key) for key in ("", "a@b", "a/b", "a\nb", "a\x7f", "x" * 65))
