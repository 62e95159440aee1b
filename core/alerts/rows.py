"""Rows of many pairs or symbols as arrays, and what a rule gets of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from core.stats.arrays import Floats, Ints


@dataclass(frozen=True, slots=True)
class Values:
    """A rule's values: bar starts (epoch ms), values (NaN where not known), and their inputs.

    ``columns`` have a number a bar. ``reference``: what the inputs have besides.
    """

    ts_ms: Ints
    values: Floats
    columns: dict[str, Floats]
    reference: dict[str, float] = field(default_factory=dict)

    def inputs(self, row: int) -> dict[str, float]:
        """Return what the value of a row was computed from; what is not known is left out."""
        named = {name: float(column[row]) for name, column in self.columns.items()}
        return {k: v for k, v in named.items() if not np.isnan(v)} | self.reference


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of some pairs or symbols as arrays: cutting those costs nothing."""

    ts_ms: Ints
    columns: dict[str, Floats]

    @classmethod
    def of(cls, frame: pl.DataFrame, names: Iterable[str]) -> Rows:
        return cls(
            frame["ts"].dt.epoch("ms").to_numpy(),
            {
                name: frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
                if name in frame.columns
                else np.full(frame.height, np.nan)
                for name in names
            },
        )

    def cut(self, counts: Ints) -> list[Rows]:
        """Return the parts of so many rows each."""
        ends = np.cumsum(counts).tolist()
        begins = [0, *ends[:-1]]
        return [
            Rows(self.ts_ms[b:e], {name: column[b:e] for name, column in self.columns.items()})
            for b, e in zip(begins, ends, strict=True)
        ]

    def values(
        self, values: Floats, names: Sequence[str], reference: dict[str, float] | None = None
    ) -> Values:
        """Return the values with the columns that they were computed from."""
        known = np.where(np.isfinite(values), values, np.nan)
        return Values(
            self.ts_ms, known, {name: self.columns[name] for name in names}, reference or {}
        )
