"""Cells that a spreadsheet would calculate, turned into text."""

from __future__ import annotations

import polars as pl

# A cell that begins so is a formula to a spreadsheet (OWASP, "CSV injection").
_FORMULA = r"^([=+\-@\t\r])"
_FIRST = tuple("=+-@\t\r")


def harmless(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with text cells and headings that begin like a formula quoted by a ``'``."""
    renamed = {name: f"'{name}" for name in frame.columns if name[:1] in _FIRST}
    text = pl.col(pl.String, pl.Categorical, pl.Enum).cast(pl.String)
    return frame.with_columns(text.str.replace(_FORMULA, "'${1}")).rename(renamed)
