"""Trades made to measure, and what must be true of every store."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from core.models import TRADE_SCHEMA
from core.store import Store

START_MS = 1_760_000_000_000


def trades_frame(
    symbol: str,
    ids: list[int],
    *,
    start_ms: int = START_MS,
    step_ms: int = 100,
    price: Callable[[int], float] = lambda i: 100.0 + (i * 37 % 101) / 10,
    size: Callable[[int], float] = lambda i: (i * 13 % 29 + 1) / 1000,
    source: str = "ws",
) -> pl.DataFrame:
    """Trades whose every field is a function of the id, so that two makings agree."""
    return pl.DataFrame(
        {
            "symbol": [symbol] * len(ids),
            "agg_id": ids,
            "ts": [start_ms + i * step_ms for i in ids],
            "price": [price(i) for i in ids],
            "size": [size(i) for i in ids],
            "buyer_is_maker": [i % 3 == 0 for i in ids],
            "source": [source] * len(ids),
        },
        schema={**TRADE_SCHEMA, "ts": pl.Int64},
    ).with_columns(pl.col("ts").cast(pl.Datetime("ms")))


BAR_COLUMNS = (
    "symbol, ts, open, high, low, close, volume, quote_volume, trades, taker_buy_volume, "
    "first_ts, first_id, last_ts, last_id"
)

# Written apart from the product's SQL on purpose: what the stored bars must equal.
RECOMPUTED = """
select symbol, date_trunc('{unit}', ts) as bucket,
    first(price order by ts, agg_id), max(price), min(price), last(price order by ts, agg_id),
    sum(size::decimal(18, 8))::decimal(38, 8),
    sum(price::decimal(19, 8) * size::decimal(19, 8)),
    count(*),
    sum(if(buyer_is_maker, 0::decimal(18, 8), size::decimal(18, 8)))::decimal(38, 8),
    first(ts order by ts, agg_id), first(agg_id order by ts, agg_id),
    last(ts order by ts, agg_id), last(agg_id order by ts, agg_id)
from trades group by symbol, bucket order by symbol, bucket
"""


def assert_exact(store: Store) -> None:
    """Coverage says what trades holds, no id is there twice, and bars equal a recomputation."""
    with store.read(limit_s=None, wait_s=30) as con:
        doubles = con.execute(
            "select symbol, agg_id from trades group by all having count(*) > 1"
        ).fetchall()
        assert doubles == []
        held = con.execute(
            "select symbol, sum(last_id - first_id + 1) from coverage "
            "group by symbol order by symbol"
        ).fetchall()
        counted = con.execute(
            "select symbol, count(*) from trades group by symbol order by symbol"
        ).fetchall()
        assert held == counted
        for table, unit in (("bars_1s", "second"), ("bars_1min", "minute")):
            stored = con.execute(
                f"select {BAR_COLUMNS} from {table} order by symbol, ts"
            ).fetchall()
            again = con.execute(RECOMPUTED.format(unit=unit)).fetchall()
            assert stored == again, table
