"""Klines of archives and bars of the user: replaced by equal times, deleted whole."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from archives import bring, rows_of, zipped

from core import imports
from core.errors import BadFile, DataError
from core.reading import read_bars
from core.store import Store

START = datetime(2025, 10, 9)
MS = int(START.timestamp() * 1000)


def klines(
    out: Path, starts: Sequence[int], *, step_s: int = 60, interval: str = "1m", day: str = "09",
    idle: Sequence[int] = (), price: float = 100.0,
) -> Path:  # fmt: skip
    lines = [
        f"{MS + i * step_s * 1000},{price},{price + 2},{price - 1},{price + 1},{i + 0.5},"
        f"{MS + (i + 1) * step_s * 1000 - 1},{price * i},{0 if i in idle else 7},0.25,1,0"
        for i in starts
    ]
    return zipped(out, f"BTCUSDT-{interval}-2025-10-{day}", lines)


def csv(rows: Sequence[int], *, step_s: int = 60, price: float = 5.0) -> bytes:
    lines = [
        f"{(START + timedelta(seconds=i * step_s)).isoformat()},{price},{price},{price},{price},{i}"
        for i in rows
    ]
    return ("ts,open,high,low,close,volume\n" + "\n".join(lines) + "\n").encode()


def test_minutes_go_to_the_klines_without_those_that_have_no_trades(
    store: Store, tmp_path: Path
) -> None:
    job = bring(store, klines(tmp_path / "a", range(100), idle=[3, 4]))
    one = job.files[0]
    assert (one.state, one.read, one.kept, one.duplicate) == ("done", 100, 98, 0)
    assert "2 bars without trades" in one.message
    assert rows_of(store, "select count(*), min(trades) from klines") == [(98, 7)]
    later = bring(store, klines(tmp_path / "b", range(90, 150)))
    assert (later.files[0].kept, later.files[0].duplicate) == (50, 10)
    changed = bring(store, klines(tmp_path / "c", range(100, 110), price=200.0))
    assert changed.files[0].kept == 10
    assert rows_of(store, "select count(*), count(distinct ts) from klines") == [(148, 148)]
    assert rows_of(store, "select count(*) from klines where open = 200") == [(10,)]
    assert rows_of(store, "select version from versions where scope = 'btcusdt'") == [(3,)]


def test_longer_klines_become_uploaded_bars_and_touching_archives_one_set(
    store: Store, tmp_path: Path
) -> None:
    for day, low in (("09", 0), ("10", 288), ("20", 3168)):
        path = klines(tmp_path, range(low, low + 288), step_s=300, interval="5m", day=day)
        assert bring(store, path).files[0].kept == 288
    sets = rows_of(
        store, "select timeframe, rows, first_ts, origin from uploaded_bar_sets order by first_ts"
    )
    assert sets == [
        ("5min", 576, START, "BTCUSDT-5m-2025-10-09.zip … BTCUSDT-5m-2025-10-10.zip"),
        ("5min", 288, START + timedelta(days=11), "BTCUSDT-5m-2025-10-20.zip"),
    ]
    assert imports.delete_bars(store, "BTCUSDT", "5min") == 864
    again = klines(tmp_path, range(288), step_s=300, interval="5m")
    assert bring(store, again).files[0].kept == 288


def test_klines_of_a_timeframe_that_is_not_kept_are_refused(store: Store, tmp_path: Path) -> None:
    job = bring(store, klines(tmp_path, range(50), step_s=180, interval="3m"))
    assert job.state == "failed"
    assert "3m" in job.files[0].message


def test_uploaded_bars_take_the_place_of_those_before_and_can_be_deleted(store: Store) -> None:
    first = read_bars(csv(range(100)), timeframe="1min")
    assert imports.import_bars(store, "BTCUSDT", "1min", first, "a.csv").kept == 100
    again = imports.import_bars(store, "btcusdt", "1min", first, "a.csv")
    assert (again.kept, again.duplicate) == (0, 100)
    other = read_bars(csv(range(50, 80), price=6.0), timeframe="1min")
    assert imports.import_bars(store, "btcusdt", "1min", other, "b.csv").kept == 30
    assert rows_of(store, "select symbol, origin, rows from uploaded_bar_sets") == [
        ("btcusdt", "b.csv", 30)
    ]
    assert rows_of(store, "select count(*), min(open) from uploaded_bars") == [(30, 6.0)]
    assert rows_of(store, "select version from versions where scope = 'btcusdt'")[0][0] >= 2
    assert imports.delete_bars(store, "btcusdt", "1min") == 30
    for table in ("uploaded_bars", "uploaded_bar_sets", "imported_files"):
        assert rows_of(store, f"select count(*) from {table}") == [(0,)]


def test_bars_need_a_symbol_and_a_timeframe_that_exists(store: Store) -> None:
    bars = read_bars(csv(range(10)), timeframe="1min")
    with pytest.raises(DataError, match="symbol"):
        imports.import_bars(store, " ", "1min", bars, "a.csv")
    with pytest.raises(DataError, match="timeframe"):
        imports.import_bars(store, "btcusdt", "2min", bars, "a.csv")


def test_a_job_takes_bars_with_what_they_are_of(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(csv(range(40)) + b"=x,1,1,1,1,1\n")
    untold = bring(store, path)
    assert "--bars" in untold.files[0].message
    wrong = bring(store, path, symbol="btcusdt", timeframe="1s")
    assert "60 s apart" in wrong.files[0].message
    job = bring(store, path, symbol="btcusdt", timeframe="1min")
    one = job.files[0]
    assert (one.state, one.read, one.kept, one.rejected) == ("done", 41, 40, 1)
    assert "'=x" in job.rejects_path(0).read_text()
    with pytest.raises(BadFile):
        read_bars(csv(range(40)), timeframe="1s")
