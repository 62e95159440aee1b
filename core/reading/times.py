"""Columns of times: ISO 8601, or an epoch whose unit its magnitude tells."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from core.reading.frames import Mask
from core.reading.values import blanks, mask

# Below 1e11 a number counts seconds (until the year 5138), then ms, µs, ns a thousandfold each.
SECONDS_BELOW, MS_BELOW, US_BELOW = 1e11, 1e14, 1e17
FIRST_US = 1_483_228_800_000_000  # 2017-01-01
DAY_US = 86_400_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Times:
    """UTC in µs since 1970; 0 where missing or unreadable."""

    us: npt.NDArray[np.int64]
    missing: Mask
    unreadable: Mask

    def checks(self, latest_us: int) -> list[tuple[str, Mask]]:
        """Return the reasons for which a time is not accepted, with the rows they hit."""
        known = ~(self.missing | self.unreadable)
        return [
            ("no time", self.missing),
            ("the time is not understood", self.unreadable),
            ("the time is before 2017", known & (self.us < FIRST_US)),
            ("the time is in the future", known & (self.us > latest_us)),
        ]


def latest_us(now: datetime | None) -> int:
    """Return the last time that is accepted: a day after ``now`` (aware, or naive in UTC)."""
    now = now or datetime.now(UTC)
    now = now if now.tzinfo else now.replace(tzinfo=UTC)
    return (now - _EPOCH) // _MICROSECOND + DAY_US


def times(series: pl.Series) -> Times:
    """Read times in any form; one without a zone is UTC, what is finer than µs is cut."""
    missing = blanks(series)
    dtype = series.dtype
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is not None:
            series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        read = series.cast(pl.Datetime("us")).cast(pl.Int64)
    elif dtype == pl.Date:
        read = series.cast(pl.Datetime("us")).cast(pl.Int64)
    elif dtype.is_integer():
        read = _from_integers(series.cast(pl.Int64, strict=False))
    elif dtype.is_numeric():
        read = _from_floats(series.cast(pl.Float64))
    elif dtype == pl.String:
        read = _from_text(series)
    else:
        read = pl.Series([None], dtype=pl.Int64).new_from_index(0, len(series))
    unreadable = mask(read.is_null()) & ~missing
    return Times(read.fill_null(0).to_numpy(), missing, unreadable)


def _from_integers(series: pl.Series) -> pl.Series:
    values = series.fill_null(0).to_numpy()
    magnitude = np.abs(values.astype(np.float64))
    if magnitude.size and magnitude.min() >= SECONDS_BELOW and magnitude.max() < MS_BELOW:
        us = values * 1000
    else:
        us = np.where(magnitude < SECONDS_BELOW, values * 1_000_000, values * 1000)
        us = np.where(magnitude < MS_BELOW, us, values)
        us = np.where(magnitude < US_BELOW, us, values // 1000)
    return pl.Series(us).set(series.is_null(), None)


def _from_floats(series: pl.Series) -> pl.Series:
    """A float has µs exactly up to 2^33 seconds (the year 2242), and rounds to them in ms."""
    values = series.fill_null(np.nan).to_numpy()
    magnitude = np.abs(values)
    usable = magnitude < 2.0**63
    values = np.where(usable, values, 0.0)
    scale = np.select(
        [magnitude < SECONDS_BELOW, magnitude < MS_BELOW, magnitude < US_BELOW],
        [1e6, 1e3, 1.0],
        1e-3,
    )
    us = np.rint(values * scale).astype(np.int64)
    return pl.Series(us).set(pl.Series(~usable), None)


def _from_text(series: pl.Series) -> pl.Series:
    """Whole numbers first, then fractions, then dates; each on what the ones before left."""
    found = pl.Series([None], dtype=pl.Int64).new_from_index(0, len(series))
    places, rest = pl.Series(np.arange(len(series))), series
    for read in (_integers_in_text, _floats_in_text, *[_iso_by_pattern] * 4, _iso_one_by_one):
        got = read(rest)
        if not got.null_count() and len(got) == len(found):
            return got
        known = got.is_not_null()
        if known.any():
            found = found.scatter(places.filter(known), got.filter(known))
            places, rest = places.filter(~known), rest.filter(~known)
        if not len(rest):
            break
        rest = rest.str.strip_chars()
    return found


def _integers_in_text(series: pl.Series) -> pl.Series:
    return _from_integers(series.cast(pl.Int64, strict=False))


def _floats_in_text(series: pl.Series) -> pl.Series:
    return _from_floats(series.cast(pl.Float64, strict=False))


def _iso_by_pattern(series: pl.Series) -> pl.Series:
    """Read all by the form that the first one has; null for those of another form."""
    nothing = pl.Series([None], dtype=pl.Int64).new_from_index(0, len(series))
    if not len(series):
        return nothing
    first = series.drop_nulls().head(1).to_list()
    if not first or len(first[0]) < 19:
        return nothing
    between = "T" if first[0][10:11] == "T" else " "
    zone = "%#z" if any(letter in first[0][19:] for letter in "Z+-") else ""
    pattern = f"%Y-%m-%d{between}%H:%M:%S%.f{zone}"
    read = series.str.to_datetime(pattern, time_unit="us", strict=False)
    return read.dt.replace_time_zone(None).cast(pl.Int64)


def _iso_one_by_one(series: pl.Series) -> pl.Series:
    return pl.Series([_iso(text) for text in series.to_list()], dtype=pl.Int64)


def _iso(text: str | None) -> int | None:
    if text is None:
        return None
    text = text.strip().upper()
    if text.endswith(" UTC"):
        text = f"{text[:-4]}Z"
    try:
        moment = datetime.fromisoformat(text)
        return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):
        return None
