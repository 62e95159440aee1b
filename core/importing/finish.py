"""What each kind of rows needs before it is a chunk: doubles out, occurrences counted."""

from __future__ import annotations

from typing import Literal

import polars as pl

_EQUAL = ("symbol", "ts", "price", "size", "side")


class AggTrades:
    """One row an id, the first that came; one symbol a file, so it is not among the columns."""

    order = "agg_id"
    unit: Literal["ms", "us"] = "ms"
    columns: tuple[str, ...] = ("agg_id", "ts", "price", "size", "buyer_is_maker")

    def __init__(self) -> None:
        self._last = -1

    def finished(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows with an id that did not come before."""
        if not rows.height:
            return rows
        before = rows["agg_id"].shift(1, fill_value=self._last)
        self._last = int(rows["agg_id"][-1])
        repeated = rows["agg_id"] == before
        return rows.filter(~repeated) if repeated.any() else rows


class Ticks:
    """Ticks by time; of those without an id, equal ones are numbered by ``occurrence``, from 0.

    Ids that come twice are left out within a run here, and against what is stored later.
    """

    order = "ts"
    unit: Literal["ms", "us"] = "us"
    columns: tuple[str, ...] = ("symbol", "id", "ts", "price", "size", "side")

    def __init__(self) -> None:
        self._carried: pl.DataFrame | None = None

    def finished(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows that are not there twice, with their occurrence."""
        if not rows.height:
            return rows.with_columns(occurrence=pl.lit(0, pl.Int64))
        if rows["id"].null_count() == 0:
            return _unique_ids(rows).with_columns(occurrence=pl.lit(0, pl.Int64))
        has_id = pl.col("id").is_not_null()
        if rows["id"].null_count() < rows.height:
            rows = rows.with_row_index("at")
            named = _unique_ids(rows.filter(has_id))
            rows = pl.concat([rows.filter(~has_id), named]).sort("at").drop("at")
        place = pl.int_range(pl.len()).over(_EQUAL)
        rows = rows.with_columns(occurrence=pl.when(has_id).then(0).otherwise(place))
        rows = self._continued(rows)
        ended = rows.filter((pl.col("ts") == rows["ts"][-1]) & ~has_id)
        latest = ended.group_by(_EQUAL).agg(carried=pl.col("occurrence").max() + 1)
        if self._carried is not None:
            latest = pl.concat([latest, self._carried.filter(pl.col("ts") == rows["ts"][-1])])
            latest = latest.group_by(_EQUAL).agg(pl.col("carried").max())
        self._carried = latest
        return rows

    def _continued(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Go on counting where the run before ended: equal rows share their time."""
        carried = self._carried
        if carried is None or carried.is_empty() or carried["ts"][0] != rows["ts"][0]:
            return rows
        joined = rows.join(carried, on=_EQUAL, how="left", nulls_equal=True, maintain_order="left")
        more = pl.when(pl.col("id").is_null()).then(pl.col("carried").fill_null(0)).otherwise(0)
        return joined.with_columns(occurrence=pl.col("occurrence") + more).drop("carried")


class Klines:
    """Bars by time; the last of equal times stays."""

    order = "ts"
    unit: Literal["ms", "us"] = "ms"
    columns: tuple[str, ...] = (
        "symbol", "ts", "open", "high", "low", "close", "volume", "quote_volume", "trades",
        "taker_buy_volume",
    )  # fmt: skip

    def finished(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the last row of each time."""
        return rows.unique("ts", keep="last", maintain_order=True)


def _unique_ids(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.unique(["symbol", "id"], keep="first", maintain_order=True)
