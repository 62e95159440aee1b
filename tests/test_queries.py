"""What the pages ask of the file."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from made import START_MS, trades_frame

from core import commands, queries
from core.errors import DataError
from core.models import SymbolInfo, SymbolStatus, WorkerStatus
from core.store import Store
from core.trade_writer import write_trades

START = datetime(1970, 1, 1) + timedelta(milliseconds=START_MS)
LATER = START + timedelta(days=1)


@pytest.fixture
def full(store: Store) -> Store:
    """Ten minutes of a trade every 100 ms, with ids 1000 to 1099 missing."""
    ids = [i for i in range(6000) if not 1000 <= i < 1100]
    with store.write() as con:
        write_trades(con, trades_frame("btcusdt", ids), now_ms=START_MS)
        write_trades(con, trades_frame("ethusdt", [5, 6]), now_ms=START_MS)
    return store


@pytest.mark.parametrize("timeframe", queries.TIMEFRAMES)
def test_a_half_open_range_cuts_no_bar_in_two(full: Store, timeframe: str) -> None:
    """Any range gives a subset of the whole bars, never a bar made of part of its trades."""
    begin, end = START + timedelta(seconds=33.7), START + timedelta(seconds=401.2)
    with full.read() as con:
        whole = queries.load_bars(con, ["btcusdt"], timeframe, datetime(2025, 1, 1), LATER)
        part = queries.load_bars(con, ["btcusdt"], timeframe, begin, end)
    assert part.rows() == whole.filter((whole["ts"] >= begin) & (whole["ts"] < end)).rows()


def test_bars_start_on_utc_multiples_of_the_timeframe(full: Store) -> None:
    with full.read() as con:
        for timeframe, seconds in queries.TIMEFRAMES.items():
            bars = queries.load_bars(con, ["btcusdt"], timeframe, datetime(2025, 1, 1), LATER)
            assert len(bars) > 0
            assert (bars["ts"].dt.epoch("s") % seconds == 0).all()


def test_bars_of_a_hole_are_absent_not_empty(full: Store) -> None:
    with full.read() as con:
        bars = queries.load_bars(con, ["btcusdt"], "1s", START, LATER)
    assert bars["trades"].min() > 0
    assert len(bars) == 590


def test_several_symbols_come_in_order(full: Store) -> None:
    with full.read() as con:
        bars = queries.load_bars(con, ["ethusdt", "btcusdt", "nosuch"], "1s", START, LATER)
    assert bars["symbol"].unique(maintain_order=True).to_list() == ["btcusdt", "ethusdt"]
    assert bars.equals(bars.sort("symbol", "ts"))


def test_an_unknown_timeframe_is_an_error_that_names_the_known(full: Store) -> None:
    with full.read() as con, pytest.raises(DataError, match=r"'7min'.*15min"):
        queries.load_bars(con, ["btcusdt"], "7min", START, LATER)


@pytest.mark.parametrize("timeframe", queries.TIMEFRAMES)
def test_the_shown_sql_is_the_sql_that_runs(timeframe: str) -> None:
    text = queries.bars_sql(timeframe)
    assert "{" not in text
    assert ("bars_1s" if queries.TIMEFRAMES[timeframe] < 60 else "bars_1min") in text


def test_coverage_counts_what_is_held_and_what_is_missing(full: Store) -> None:
    with full.read() as con:
        whole = queries.load_coverage(con, "btcusdt", START - timedelta(hours=1), LATER)
        late = queries.load_coverage(con, "btcusdt", START + timedelta(minutes=5), LATER)
        none = queries.load_coverage(con, "nosuch", START, LATER)
    assert (whole.held, whole.missing, whole.since) == (5900, 100, START)
    assert whole.fraction == pytest.approx(0.98333, abs=1e-5)
    assert (late.missing, late.fraction) == (0, 1.0)
    assert (none.held, none.fraction, none.since) == (0, None, None)


def test_bounds_counts_gaps_and_last_ids(full: Store) -> None:
    with full.read() as con:
        spans = queries.load_spans(con).filter(symbol="btcusdt", origin="trades").rows()
        last = START + timedelta(milliseconds=599_900)
        assert spans == [("btcusdt", "trades", "1s", START, last)]
        assert dict(queries.load_table_counts(con).rows())["trades"] == 5902
        assert queries.load_last_ids(con) == {"btcusdt": 5999, "ethusdt": 6}
        gaps = queries.load_open_gaps(con)
        assert [(g.first_id, g.last_id) for g in gaps["btcusdt"]] == [(1000, 1099)]
        trades = queries.load_trades(con, "btcusdt", START, LATER, limit=7)
        assert trades["agg_id"].to_list() == list(range(7))


def test_the_watchlist_keeps_order_and_ignores_repeats(store: Store) -> None:
    commands.add_to_watchlist(store, ["ETHUSDT", "币安人生USDT"])
    commands.add_to_watchlist(store, ["btcusdt", "ethusdt"])
    commands.remove_from_watchlist(store, ["币安人生usdt", "never"])
    with store.read() as con:
        assert queries.load_watchlist(con)["symbol"].to_list() == ["ethusdt", "btcusdt"]
        assert queries.load_versions(con) == {"watchlist": 3}


@pytest.mark.parametrize("name", ["", "  ", "btc usdt", "a/b", "x@y"])
def test_what_cannot_be_a_symbol_is_refused(store: Store, name: str) -> None:
    with pytest.raises(DataError, match="BTCUSDT"):
        commands.add_to_watchlist(store, [name])


def test_a_stop_request_is_used_up_and_an_old_one_is_ignored(store: Store) -> None:
    commands.request_stop(store)
    with store.write() as con:
        assert not commands.take_wishes(con, commands.utc_now() + timedelta(seconds=5)).stop
        assert commands.take_wishes(con, commands.utc_now() - timedelta(seconds=60)).stop
        assert not commands.take_wishes(con, commands.utc_now() - timedelta(seconds=60)).stop


def worker_status(**changes: object) -> WorkerStatus:
    values: dict[str, object] = {
        "pid": 1, "host": "h", "version": "1", "venue": "binance", "state": "live",
        "started_at": START, "updated_at": START, "buffered_trades": 0, "spilled_trades": 0,
        "flush_s": 0.1, "worst_flush_s": 0.2, "trades_per_s": 3.0, "connections": 1,
        "reconnects": 0, "rejected": 0, "weight_used": 0, "note": "",
    }  # fmt: skip
    return WorkerStatus(**(values | changes))  # type: ignore[arg-type]


def symbol_status(symbol: str, price: float | None) -> SymbolStatus:
    return SymbolStatus(symbol, "live", price, None, None, 0.0, 0, 0, 0, 0, "")


def test_status_rows_are_replaced_not_piled_up(store: Store) -> None:
    for i in range(3):
        with store.write() as con:
            rows = [symbol_status("btcusdt", float(i)), symbol_status(f"s{i}", None)]
            commands.write_worker_status(con, worker_status(pid=i), rows)
    with store.read() as con:
        status = queries.load_worker_status(con)
        symbols = queries.load_symbol_status(con)
    assert status == worker_status(pid=2)
    assert symbols.select("symbol", "last_price").rows() == [("btcusdt", 2.0), ("s2", None)]
    with store.write() as con:
        commands.write_worker_status(con, worker_status(), [])
    with store.read() as con:
        assert queries.load_symbol_status(con).is_empty()


def test_the_list_of_contracts_is_replaced(store: Store) -> None:
    contract = SymbolInfo("币安人生usdt", "TRADING", "PERPETUAL", "币安人生", "USDT", 0.1, 1.0, 5.0)
    with store.write() as con:
        commands.write_symbols(con, [contract])
        commands.write_symbols(con, [contract])
    with store.read() as con:
        assert queries.load_symbols(con)["base_asset"].to_list() == ["币安人生"]
