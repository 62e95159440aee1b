"""A dataset's ticks may tell no side: then nothing is known of what takers bought."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from made import START_MS, trades_frame
from test_lake import FAR, LONG_AGO

from core import queries
from core.bar_sql import TIMEFRAMES
from core.exports import main
from core.store import Store
from core.summary import summary
from core.trade_writer import write_trades

# What each dataset's ticks say of their side; "live" is no dataset.
SIDES = {
    "none": "null",
    "both": "case when agg_id % 3 = 0 then 'sell' else 'buy' end",
    "sells": "'sell'",
    "one": "case when agg_id = 400 then 'sell' end",
}


@pytest.fixture
def sided(store: Store) -> Store:
    """The same 600 trades live and in four datasets, as an import leaves them."""
    with store.write() as con:
        write_trades(con, trades_frame("btcusdt", list(range(600))), now_ms=START_MS)
        for name, side in SIDES.items():
            con.execute(
                f"insert into uploaded_trades select '{name}', symbol, agg_id, ts, price, size, "
                f"{side}, 0 from trades"
            )
            con.execute(
                f"insert into dataset_symbols select '{name}', symbol, count(*), min(ts), max(ts) "
                "from trades group by symbol"
            )
            for table in ("bars_1s", "bars_1min"):
                bought = "taker_buy_volume" if name == "both" else "0::decimal(38, 8)"
                con.execute(
                    f"insert into {table} select * replace (symbol || '@{name}' as symbol, "
                    f"{bought} as taker_buy_volume) from {table} where symbol = 'btcusdt'"
                )
    return store


def bars(store: Store, symbols: list[str], timeframe: str = "1s") -> pl.DataFrame:
    with store.read() as con:
        return queries.load_bars(con, symbols, timeframe, LONG_AGO, FAR)


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_only_where_no_tick_has_a_side_it_is_not_known(sided: Store, timeframe: str) -> None:
    keys = ["btcusdt", *(f"btcusdt@{name}" for name in SIDES)]
    found = bars(sided, keys, timeframe)
    assert found["symbol"].unique().sort().to_list() == sorted(keys)
    by_key = {key: found.filter(pl.col("symbol") == key)["taker_buy_volume"] for key in keys}
    live = by_key["btcusdt"]
    assert by_key["btcusdt@none"].null_count() == len(live)
    assert by_key["btcusdt@both"].to_list() == live.to_list()
    assert by_key["btcusdt@sells"].to_list() == by_key["btcusdt@one"].to_list() == [0.0] * len(live)
    assert live.sum() > 0
    rest = found.drop("symbol", "taker_buy_volume").filter(found["symbol"] == "btcusdt@none")
    assert rest.equals(
        found.drop("symbol", "taker_buy_volume").filter(found["symbol"] == "btcusdt")
    )


def test_uploaded_bars_of_a_dataset_stay_what_they_are(sided: Store) -> None:
    with sided.write() as con:
        con.execute(
            "insert into uploaded_bars select 'btcusdt@both', '1min', ts, 1, 1, 1, 1, 1 "
            "from bars_1min where symbol = 'btcusdt'"
        )
        con.execute(
            "insert into uploaded_bar_sets select symbol, timeframe, 'a', 'b', 1, min(ts), "
            "max(ts), max(ts) from uploaded_bars group by all"
        )
    found = bars(sided, ["btcusdt@both", "btcusdt@none"], "1min")
    assert set(found.filter(pl.col("symbol") == "btcusdt@both")["origin"]) == {"upload"}
    assert found["taker_buy_volume"].null_count() == found.height


def test_the_summary_says_why(sided: Store) -> None:
    found = summary(bars(sided, ["btcusdt@none"]), 1)
    assert found.taker_buy_share is None
    assert "ticks without a side" in (found.reason("taker_buy_share") or "")
    assert found.quote_volume == summary(bars(sided, ["btcusdt"]), 1).quote_volume
    assert summary(bars(sided, ["btcusdt@sells"]), 1).taker_buy_share == 0


def test_the_export_leaves_it_empty(sided: Store, tmp_path: Path) -> None:
    out = tmp_path / "bars.csv"
    assert main(["bars", "btcusdt@none", "--out", str(out), "--db", str(sided.path)]) == 0
    assert pl.read_csv(out)["taker_buy_volume"].null_count() == pl.read_csv(out).height > 0


def test_closes_look_at_no_ticks() -> None:
    from core.bar_sql import Blend, bars_sql, closes_sql

    assert "uploaded_trades" in bars_sql("1min", Blend(dataset=True))
    assert "uploaded_trades" not in closes_sql("1min", Blend(dataset=True))
    assert "uploaded_trades" not in bars_sql("1min")
