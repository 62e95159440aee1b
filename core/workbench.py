"""SQL over frames in memory: window functions run here, not under a lease on the file."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping

import polars as pl

from core.store import Connection
from core.store_file import instance

_turn = threading.Lock()
_duck: Connection | None = None


def compute(
    query: str, tables: Mapping[str, pl.DataFrame], parameters: Mapping[str, object] | None = None
) -> pl.DataFrame:
    """Return the query's rows over the given frames, each a table of its name.

    Times come back as Datetime("ms"). One instance serves the process, a cursor each call.
    """
    with contextlib.closing(_cursor()) as con:
        for name, frame in tables.items():
            con.register(name, frame.to_arrow())
        found: pl.DataFrame = con.sql(query, params=dict(parameters or {})).pl()
    return found.with_columns(pl.col(pl.Datetime("us")).dt.cast_time_unit("ms"))


def _cursor() -> Connection:
    global _duck
    with _turn:
        if _duck is None:
            _duck = instance()
        return _duck.cursor()
