"""Columns of numbers, symbols, sides and flags, however a file writes them.

Every function takes one column of any type and returns its values with two masks: ``missing``
where the cell is empty, ``unreadable`` where it holds something else than it should.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from core.reading.frames import Mask

_THOUSANDS = r"^[+-]?\d{1,3}(,\d{3})+(\.\d*)?$"
_WHOLE = r"^[+-]?\d+\.0+$"
_EXACT = 2.0**53
_SYMBOL_CHARS = 64
_FLAGS = {"true": True, "false": False, "1": True, "0": False}


@dataclass(frozen=True, slots=True)
class Numbers:
    """Floats; NaN where missing or unreadable, and where the file says so."""

    values: npt.NDArray[np.float64]
    missing: Mask
    unreadable: Mask


@dataclass(frozen=True, slots=True)
class Whole:
    """Whole numbers; null where missing or unreadable."""

    values: pl.Series
    missing: Mask
    unreadable: Mask


@dataclass(frozen=True, slots=True)
class Words:
    """Texts, or flags; null where missing or unreadable."""

    values: pl.Series
    missing: Mask
    unreadable: Mask


def mask(series: pl.Series) -> Mask:
    """Return a boolean column as NumPy's."""
    return series.to_numpy().astype(np.bool_, copy=False)


def blanks(series: pl.Series) -> Mask:
    """Return where a column has no value: null, or text of spaces alone."""
    missing = mask(series.is_null())
    if series.dtype == pl.String and not missing.all():
        empty = mask((series.str.strip_chars().str.len_bytes() == 0).fill_null(False))
        return missing | empty
    return missing


def numbers(series: pl.Series) -> Numbers:
    """Read numbers: as they are, or text with a sign, an exponent, thousands separators."""
    if series.dtype == pl.String:
        return _numbers_in_text(series)
    missing = mask(series.is_null())
    if not series.dtype.is_numeric():
        return Numbers(np.full(len(series), np.nan), missing, ~missing)
    return Numbers(series.cast(pl.Float64).fill_null(np.nan).to_numpy(), missing, _none(series))


def _numbers_in_text(series: pl.Series) -> Numbers:
    read = series.cast(pl.Float64, strict=False)
    if not read.null_count():
        return Numbers(read.to_numpy(), _none(series), _none(series))
    values = read.fill_null(np.nan).to_numpy().copy()
    rest = mask(read.is_null())
    text = series.filter(pl.Series(rest)).str.strip_chars()
    thousands = text.str.contains(_THOUSANDS).fill_null(False)
    text = text.zip_with(~thousands, text.str.replace_all(",", "", literal=True))
    again = text.cast(pl.Float64, strict=False)
    values[rest] = again.fill_null(np.nan).to_numpy()
    missing, unreadable = _none(series), _none(series)
    missing[rest] = blanks(text)
    unreadable[rest] = mask(again.is_null()) & ~missing[rest]
    return Numbers(values, missing, unreadable)


def whole_numbers(series: pl.Series) -> Whole:
    """Read whole numbers of 64 bits; ``7.0`` is one, ``7.5`` is not."""
    if series.dtype.is_integer():
        values = series.cast(pl.Int64, strict=False)
        missing = mask(series.is_null())
    elif series.dtype.is_numeric():
        floats = series.cast(pl.Float64)
        fits = (floats == floats.round()) & (floats.abs() < _EXACT)
        values = floats.set(~fits.fill_null(False), None).cast(pl.Int64)
        missing = mask(series.is_null())
    elif series.dtype == pl.String:
        values = _whole_in_text(series)
        missing = blanks(series) if values.null_count() else _none(series)
    else:
        values = pl.Series(series.name, [None], dtype=pl.Int64).new_from_index(0, len(series))
        missing = mask(series.is_null())
    return Whole(values, missing, mask(values.is_null()) & ~missing)


def _whole_in_text(series: pl.Series) -> pl.Series:
    values = series.cast(pl.Int64, strict=False)
    if not values.null_count():
        return values
    rest = values.is_null()
    text = series.filter(rest).str.strip_chars()
    text = text.zip_with(
        ~text.str.contains(_WHOLE).fill_null(False), text.str.replace(r"\.0+$", "")
    )
    places = rest.arg_true()
    return values.scatter(places, text.cast(pl.Int64, strict=False))


def symbols(series: pl.Series) -> Words:
    """Read symbols as store keys: stripped, lower case; unreadable with @, / or control letters."""
    if series.dtype != pl.String:
        if series.dtype not in (pl.Categorical, pl.Enum):
            missing = mask(series.is_null())
            return Words(_nulls(len(series), pl.String), missing, ~missing)
        series = series.cast(pl.String)
    names = series.unique().drop_nulls().to_list()
    keys = [name.strip().lower() for name in names]
    usable = [key if is_symbol(key) else None for key in keys]
    empty = [name for name, key in zip(names, keys, strict=True) if not key]
    values = series.replace_strict(names, usable, default=None, return_dtype=pl.String)
    missing = mask(series.is_null() | series.is_in(empty).fill_null(True))
    return Words(values, missing, mask(values.is_null()) & ~missing)


def is_symbol(key: str) -> bool:
    """Whether a key can name a symbol: any letters but @, / and control characters, up to 64."""
    if not 0 < len(key) <= _SYMBOL_CHARS or "@" in key or "/" in key:
        return False
    return not any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in key)


def sides(series: pl.Series) -> Words:
    """Read the taker's side: buy or sell in any case, or nothing."""
    if series.dtype in (pl.Categorical, pl.Enum):
        series = series.cast(pl.String)
    return _looked_up(series, {"buy": "buy", "sell": "sell"}, pl.String)


def flags(series: pl.Series) -> Words:
    """Read true and false in any case, and 1 and 0."""
    if series.dtype == pl.Boolean:
        missing = mask(series.is_null())
        return Words(series, missing, _none(series))
    if series.dtype.is_integer():
        series = series.cast(pl.String)
    return _looked_up(series, _FLAGS, pl.Boolean)


def _looked_up(
    series: pl.Series, meanings: Mapping[str, object], dtype: type[pl.DataType]
) -> Words:
    missing = blanks(series)
    if missing.all() or series.dtype != pl.String:
        return Words(_nulls(len(series), dtype), missing, ~missing)
    found = series.unique().drop_nulls().to_list()
    known = [meanings.get(word.strip().lower()) for word in found]
    values = series.replace_strict(found, known, default=None, return_dtype=dtype)
    return Words(values, missing, mask(values.is_null()) & ~missing)


def _nulls(length: int, dtype: type[pl.DataType]) -> pl.Series:
    return pl.Series([None], dtype=dtype).new_from_index(0, length)


def _none(series: pl.Series) -> Mask:
    return np.zeros(len(series), dtype=np.bool_)
