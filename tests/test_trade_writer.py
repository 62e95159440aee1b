"""Every trade once, and bars that equal a recomputation from the trades, to the last digit."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made import START_MS, assert_exact, trades_frame

from core import queries
from core.store import Store, open_store
from core.trade_writer import Missing, write_trades

DAY = (datetime(2025, 10, 9), datetime(2025, 10, 10))


def put(store: Store, *frames: pl.DataFrame, missing: tuple[Missing, ...] = ()) -> list[int]:
    stored = []
    for frame in frames:
        with store.write() as con:
            stored.append(write_trades(con, frame, now_ms=START_MS, missing=missing).stored)
    return stored


def test_a_batch_is_stored_once_however_often_it_comes(store: Store) -> None:
    batch = trades_frame("btcusdt", list(range(50)))
    assert put(store, batch, batch, pl.concat([batch, batch])) == [50, 0, 0]
    assert_exact(store)


def test_an_overlapping_batch_adds_only_what_is_new(store: Store) -> None:
    assert put(
        store,
        trades_frame("btcusdt", list(range(10, 20))),
        trades_frame("btcusdt", list(range(5, 25))),
    ) == [10, 10]
    assert_exact(store)


def test_a_hole_is_an_open_gap_and_filling_it_closes_it(store: Store) -> None:
    put(store, trades_frame("btcusdt", [0, 1, 2]), trades_frame("btcusdt", [7, 8]))
    with store.read() as con:
        gaps = queries.load_gaps(con)
    assert gaps.select("first_id", "last_id", "missing", "state").rows() == [(3, 6, 4, "open")]
    put(store, trades_frame("btcusdt", [3, 4, 5, 6], source="rest"))
    with store.read() as con:
        assert queries.load_gaps(con).is_empty()
        filled = queries.load_gaps(con, ("filled",))
    assert filled.select("first_id", "last_id").rows() == [(3, 6)]
    assert filled["closed_at"].null_count() == 0
    assert_exact(store)


def test_void_ids_are_not_open_and_a_late_trade_for_one_is_still_taken(store: Store) -> None:
    put(store, trades_frame("btcusdt", [0, 5]))
    put(store, trades_frame("btcusdt", [3]), missing=(Missing("btcusdt", 1, 2, "void"),))
    with store.read() as con:
        rows = queries.load_gaps(con, ("open", "void", "lost")).sort("first_id")
    assert rows.select("first_id", "last_id", "state").rows() == [(1, 2, "void"), (4, 4, "open")]
    put(store, trades_frame("btcusdt", [1, 2, 4], source="archive"))
    with store.read() as con:
        assert queries.load_gaps(con, ("open", "void", "lost")).is_empty()
    assert_exact(store)


def test_a_gap_filled_page_by_page_is_one_record_in_the_end(store: Store) -> None:
    put(store, trades_frame("btcusdt", [0, 5001]))
    for low in (4001, 3001, 1, 2001, 1001):
        put(store, trades_frame("btcusdt", list(range(low, low + 1000)), source="rest"))
    with store.read() as con:
        assert queries.load_gaps(con).is_empty()
        filled = queries.load_gaps(con, ("filled",))
    assert filled.select("first_id", "last_id").rows() == [(1, 5000)]
    assert_exact(store)


def test_lost_pages_are_one_row_however_many_they_are(store: Store) -> None:
    put(store, trades_frame("btcusdt", [0, 100_001]))
    for low in range(99_001, 0, -9_000):
        put(
            store,
            trades_frame("btcusdt", []),
            missing=(Missing("btcusdt", low, low + 8_999, "lost"),),
        )
    with store.read() as con:
        lost = queries.load_gaps(con, ("lost",))
        still_open = queries.load_gaps(con)
    assert len(lost) == 1
    assert lost["missing"].sum() + still_open["missing"].sum() == 100_000


def test_sums_are_decimal_and_exact(store: Store) -> None:
    put(store, trades_frame("btcusdt", list(range(10)), price=lambda i: 0.1, size=lambda i: 0.1))
    with store.read() as con:
        rows = con.execute("select volume, quote_volume from bars_1s").fetchall()
    assert rows == [(Decimal("1.00000000"), Decimal("0.1000000000000000"))]


def test_the_smallest_and_the_largest_numbers_that_pass_the_parser_can_be_stored(
    store: Store,
) -> None:
    put(store, trades_frame("a", [0], price=lambda i: 1e-8, size=lambda i: 1e-8))
    put(store, trades_frame("b", [0], price=lambda i: 99_999_999.0, size=lambda i: 9_999_999.0))
    assert_exact(store)


def test_versions_rise_only_for_symbols_that_changed(store: Store) -> None:
    batch = trades_frame("btcusdt", [1, 2])
    put(store, batch, trades_frame("ethusdt", [1]), batch)
    with store.read() as con:
        versions = queries.load_versions(con)
    assert versions == {"btcusdt": 1, "ethusdt": 1}


def test_a_trade_hours_late_changes_its_own_bar_only(store: Store) -> None:
    put(store, trades_frame("btcusdt", list(range(100, 200)), start_ms=START_MS + 7_200_000))
    put(store, trades_frame("btcusdt", [3]), trades_frame("btcusdt", [1]))
    assert_exact(store)


def test_symbols_are_any_unicode(store: Store) -> None:
    put(store, trades_frame("币安人生usdt", [1, 2, 3]), trades_frame("o'hara\"usdt", [1]))
    with store.read() as con:
        stored = queries.load_spans(con).filter(origin="trades")["symbol"].unique().sort()
        assert stored.to_list() == ["o'hara\"usdt", "币安人生usdt"]
        assert len(queries.load_bars(con, ["币安人生usdt"], "1s", *DAY)) == 1
    assert_exact(store)


def test_an_empty_batch_is_no_change(store: Store) -> None:
    assert put(store, trades_frame("btcusdt", [])) == [0]
    with store.read() as con:
        assert queries.load_versions(con) == {}


TRADE = st.tuples(
    st.sampled_from(["aaausdt", "币usdt"]),
    st.integers(0, 400),
)


def scattered(symbol: str, ids: list[int]) -> pl.DataFrame:
    """Times that tie, run against the ids within a second, and leave whole minutes empty."""
    return (
        trades_frame(symbol, ids)
        .with_columns(
            ts=pl.lit(START_MS)
            + (pl.col("agg_id") // 7) * 9_000
            + (pl.col("agg_id") * 7919 % 5) * 250
        )
        .with_columns(pl.col("ts").cast(pl.Datetime("ms")))
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.lists(TRADE, max_size=60), min_size=1, max_size=5),
    st.randoms(use_true_random=False),
)
def test_bars_do_not_depend_on_the_order_of_arrival(batches, random) -> None:
    with TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "x.duckdb")
        store.prepare("binance")
        everything: set[tuple[str, int]] = set()
        for batch in batches:
            everything |= set(batch)
            random.shuffle(batch)
            frames = [scattered(symbol, [i]) for symbol, i in batch]
            put(store, pl.concat([trades_frame("aaausdt", []), *frames]))
        assert_exact(store)
        with store.read(limit_s=None) as con:
            held = con.execute("select symbol, agg_id from trades").fetchall()
            assert set(held) == everything
            assert_volume_is_conserved(con)


def assert_volume_is_conserved(con) -> None:
    """Through every timeframe the same volume, the same trades, and low ≤ open, close ≤ high."""
    total = con.execute("select sum(size::decimal(18,8))::double, count(*) from trades").fetchall()
    for timeframe in queries.TIMEFRAMES:
        bars = queries.load_bars(
            con, ["aaausdt", "币usdt"], timeframe, DAY[0], DAY[1] + timedelta(days=1)
        )
        assert abs(bars["volume"].sum() - (total[0][0] or 0.0)) < 1e-9
        assert bars["trades"].sum() == total[0][1]
        low, high = pl.col("low"), pl.col("high")
        sane = (low <= pl.col("open")) & (low <= pl.col("close"))
        sane &= (pl.col("open") <= high) & (pl.col("close") <= high)
        assert bars.select(sane.all()).item()
        assert bars.select("symbol", "ts").is_unique().all()
