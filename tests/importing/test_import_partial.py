"""Partial bars made by places in sorted trades equal those that SQL makes, to the last digit."""

from __future__ import annotations

import contextlib

import numpy as np
import polars as pl
import pytest

from core.importing.partial import partial_bars
from core.models import TRADE_SCHEMA
from core.sql import sql
from core.store_file import instance


def by_sql(trades: pl.DataFrame) -> list[list[tuple[object, ...]]]:
    with contextlib.closing(instance()) as con:
        con.register("new_trades", trades.with_row_index("ord"))
        con.execute(sql("partial_bars_1s"))
        con.execute(sql("partial_bars_1min"))
        return [
            con.sql(f"select * from {table} order by ts, symbol").fetchall()
            for table in ("partial_1s", "partial_1min")
        ]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("unit", ["ms", "us"])
def test_partial_bars_equal_those_of_the_live_way(seed: int, unit: str) -> None:
    rng = np.random.default_rng(seed)
    count = [1, 2, 700, 3000, 9000, 20_000][seed]
    spread = [1, 10, 5_000, 400_000, 90_000_000, 20_000][seed]
    digits = [8, 8, 1, 8, 4, 9][seed]
    trades = pl.DataFrame(
        {
            "symbol": rng.choice(["a", "b", "币安人生usdt"], count),
            "agg_id": rng.permutation(count),
            "ts": pl.Series(1_760_000_000_000 + rng.integers(0, spread, count)).cast(
                pl.Datetime("ms")
            ),
            "price": np.round(rng.lognormal(3, 4, count) + 1e-8, digits),
            "size": np.round(rng.lognormal(-2, 5, count) + 1e-8, digits),
            "buyer_is_maker": rng.random(count) < 0.5,
            "source": ["ws"] * count,
        },
        schema=TRADE_SCHEMA,
    ).with_columns(pl.col("ts").cast(pl.Datetime(unit)))  # type: ignore[arg-type]
    ordered = trades.sort("symbol", "ts", "agg_id")
    made = partial_bars(ordered)
    assert [frame.rows() for frame in made] == by_sql(ordered)
    assert made[0].height > 0
