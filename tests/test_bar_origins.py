"""Which bars a question gets: from trades, from the exchange, from the user."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest
from made import START_MS, trades_frame

from core import queries
from core.bar_sql import TIMEFRAMES, Blend, bars_sql
from core.models import KLINE_SCHEMA
from core.store import Connection, Store
from core.trade_writer import write_trades

START = datetime(1970, 1, 1) + timedelta(milliseconds=START_MS)
MINUTE = timedelta(minutes=1)
FIRST = START.replace(second=0, microsecond=0)
FROM, TO = FIRST - timedelta(days=2), FIRST + timedelta(days=1)


def klines(con: Connection, symbol: str, first: datetime, count: int, price: float = 7.0) -> None:
    frame = pl.DataFrame(
        [
            (symbol, first + i * MINUTE, price, price + 2, price - 2, price + 1, 3.0, 21.0, 9, 1.0)
            for i in range(count)
        ],
        schema=KLINE_SCHEMA,
        orient="row",
    )
    con.register("new_klines", frame)
    con.execute("insert into klines select * from new_klines")
    con.unregister("new_klines")


def uploaded(con: Connection, symbol: str, timeframe: str, first: datetime, count: int) -> None:
    step = timedelta(seconds=TIMEFRAMES[timeframe])
    for i in range(count):
        con.execute(
            "insert into uploaded_bars values (?, ?, ?, 1, 4, 0.5, 2, 10)",
            [symbol, timeframe, first + i * step],
        )
    con.execute(
        "insert into uploaded_bar_sets values (?, ?, 'mine.csv', 'h', ?, ?, ?, now()::timestamp)",
        [symbol, timeframe, count, first, first + (count - 1) * step],
    )


@pytest.fixture
def mixed(store: Store) -> Store:
    """Ten minutes of a trade every 100 ms, ids 1000 to 1099 missing; klines for all and before."""
    ids = [i for i in range(6000) if not 1000 <= i < 1100]
    with store.write() as con:
        write_trades(con, trades_frame("btcusdt", ids), now_ms=START_MS)
        klines(con, "btcusdt", FIRST - 30 * MINUTE, 45)
        klines(con, "ethusdt", FIRST, 3)
    return store


def bars(store: Store, timeframe: str, symbol: str = "btcusdt") -> pl.DataFrame:
    with store.read() as con:
        return queries.load_bars(con, [symbol], timeframe, FROM, TO)


def test_trades_win_wherever_their_minute_is_complete(mixed: Store) -> None:
    found = bars(mixed, "1min")
    origin = dict(found.select("ts", "origin").iter_rows())
    hole = (START + timedelta(seconds=100)).replace(second=0, microsecond=0)
    with mixed.read() as con:
        (begin, first_end), (second_begin, end) = con.execute(
            "select first_ts, last_ts from coverage order by first_ts"
        ).fetchall()
    for at, kind in origin.items():
        whole = any(
            low <= at and at + MINUTE <= high
            for low, high in ((begin, first_end), (second_begin, end))
        )
        assert kind == ("trades" if whole else "klines"), at
    assert origin[hole] == "klines"
    assert {"trades", "klines"} == set(origin.values())
    assert found["ts"].is_unique().all()
    assert len(found) == 45


def test_a_minute_of_the_exchange_is_shown_as_it_is(mixed: Store) -> None:
    row = bars(mixed, "1min").row(0, named=True)
    assert row == {
        "symbol": "btcusdt",
        "ts": FIRST - 30 * MINUTE,
        "open": 7.0,
        "high": 9.0,
        "low": 5.0,
        "close": 8.0,
        "volume": 3.0,
        "quote_volume": 21.0,
        "trades": 9,
        "taker_buy_volume": 1.0,
        "origin": "klines",
    }


def test_coarser_bars_come_from_the_same_minutes(mixed: Store) -> None:
    fine, coarse = bars(mixed, "1min"), bars(mixed, "15min")
    assert coarse["volume"].sum() == pytest.approx(fine["volume"].sum(), rel=1e-12)
    assert coarse["trades"].sum() == fine["trades"].sum()
    assert "klines" in coarse["origin"].to_list()
    assert "mixed" in coarse["origin"].to_list()


def test_seconds_know_no_klines(mixed: Store) -> None:
    found = bars(mixed, "1s")
    assert found["ts"].min() >= START
    assert found["origin"].unique().to_list() == ["trades"]


def test_closes_and_bars_are_the_same_bars(mixed: Store) -> None:
    with mixed.write() as con:
        uploaded(con, "btcusdt", "5min", FIRST - 10 * MINUTE, 3)
    for timeframe in TIMEFRAMES:
        with mixed.read() as con:
            closes = queries.load_closes(con, ["btcusdt"], timeframe, FROM, TO)
        assert closes.equals(bars(mixed, timeframe).select(closes.columns)), timeframe


def test_uploaded_bars_come_first_for_exactly_their_symbol_and_timeframe(mixed: Store) -> None:
    before = {timeframe: bars(mixed, timeframe) for timeframe in TIMEFRAMES}
    at = (FIRST - timedelta(minutes=20)).replace(minute=0)
    with mixed.write() as con:
        uploaded(con, "btcusdt", "1min", at, 2)
        con.execute("delete from uploaded_bars where ts > ?", [at])
    for timeframe in TIMEFRAMES:
        if timeframe != "1min":
            assert bars(mixed, timeframe).equals(before[timeframe])
    found = bars(mixed, "1min")
    given = found.filter(pl.col("origin") == "upload")
    assert given.select("ts", "open", "high", "low", "close", "volume").rows() == [
        (at, 1.0, 4.0, 0.5, 2.0, 10.0)
    ]
    assert given["trades"].to_list() == [None]
    # The range that was given is the user's, also where it has no bar.
    assert found.filter(pl.col("ts") == at + MINUTE).is_empty()
    assert bars(mixed, "1min", "ethusdt")["origin"].unique().to_list() == ["klines"]


def test_the_check_counts_what_differs_only_where_trades_are_complete(mixed: Store) -> None:
    with mixed.write() as con:
        ours = con.execute(
            "select ts, open, high, low, close, volume from bars_1min where symbol = 'btcusdt'"
        ).fetchall()
        con.execute("delete from klines where symbol = 'btcusdt' and ts >= ?", [FIRST])
        klines(con, "btcusdt", FIRST - 2 * MINUTE, len(ours) + 4)
        for ts, *values in ours:
            con.execute(
                "update klines set open = ?, high = ?, low = ?, close = ?, volume = ? "
                "where symbol = 'btcusdt' and ts = ?",
                [*values, ts],
            )
    with mixed.read() as con:
        clean = queries.load_kline_check(con, ["btcusdt", "ethusdt"]).row(0, named=True)
        whole = queries.load_origins(con, ["btcusdt"], "1min", FROM, TO)
    trades = whole.filter(pl.col("origin") == "trades")["bars"].sum()
    assert clean["compared"] == trades > 3
    assert (clean["different_price"], clean["different_volume"], clean["worst_bps"]) == (0, 0, 0.0)
    with mixed.write() as con:
        con.execute(
            "update klines set close = close * 1.001 where symbol = 'btcusdt' and ts = ?",
            [clean["last_ts"]],
        )
        con.execute(
            "update klines set volume = volume + 1 where symbol = 'btcusdt' and ts = ?",
            [clean["first_ts"]],
        )
        con.execute("delete from bars_1min where ts = ?", [clean["first_ts"] + MINUTE])
    with mixed.read() as con:
        odd = queries.load_kline_check(con, ["btcusdt"]).row(0, named=True)
    assert odd["different_price"] == 2
    assert odd["different_volume"] == 2
    assert odd["worst_bps"] == pytest.approx(10000 * (1 - 1 / 1.001), rel=1e-6)


def test_spans_say_what_there_is_from_which_timeframe_on(mixed: Store) -> None:
    with mixed.write() as con:
        uploaded(con, "btcusdt", "1d", datetime(2026, 1, 1), 5)
        con.execute(
            "insert into dataset_symbols values ('mine', 'abc', 2, ?, ?)", [FIRST, FIRST + MINUTE]
        )
    with mixed.read() as con:
        found = queries.load_spans(con).rows()
    assert [row[:3] for row in found] == [
        ("abc@mine", "dataset", "1s"),
        ("btcusdt", "klines", "1min"),
        ("btcusdt", "trades", "1s"),
        ("btcusdt", "upload", "1d"),
        ("ethusdt", "klines", "1min"),
    ]
    assert found[3][3:] == (datetime(2026, 1, 1), datetime(2026, 1, 5))


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_the_faster_query_is_told_apart(timeframe: str) -> None:
    plain = bars_sql(timeframe)
    assert "klines" not in plain
    assert "uploaded" not in plain
    assert ("klines" in bars_sql(timeframe, Blend(klines=True))) == (TIMEFRAMES[timeframe] >= 60)
    assert "uploaded_bars" in bars_sql(timeframe, Blend(uploaded=True))


def test_intervals_that_begin_in_the_same_millisecond_leave_minutes_complete(mixed: Store) -> None:
    before = bars(mixed, "1min")
    with mixed.write() as con:
        con.execute(
            "insert into coverage select symbol, first_id - 5, first_id - 3, first_ts, first_ts "
            "from coverage where symbol = 'btcusdt'"
        )
    assert bars(mixed, "1min").equals(before)
    with mixed.read() as con:
        compared = queries.load_kline_check(con, ["btcusdt"])["compared"].to_list()
    assert compared == [before.filter(pl.col("origin") == "trades").height]


def test_rows_that_belong_to_no_set_count_for_nothing(mixed: Store) -> None:
    before = bars(mixed, "1min")
    with mixed.write() as con:
        uploaded(con, "ethusdt", "1min", FIRST, 2)
        uploaded(con, "btcusdt", "1min", FIRST, 3)
        con.execute("delete from uploaded_bar_sets where symbol = 'btcusdt'")
    with mixed.read() as con:
        both = queries.load_bars(con, ["btcusdt", "ethusdt"], "1min", FROM, TO)
    assert both.filter(pl.col("symbol") == "btcusdt").equals(before)
