"""Klines of archives and bars of the user: replaced by equal times, deleted whole."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from archives import bring, rows_of, zipped

from core import imports
from core.errors import BadFile, DataError
from core.importing import bars, targets
from core.reading import read_bars
from core.store import Connection, Store

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


def test_uploaded_bars_take_the_place_of_those_before_in_their_stretch(store: Store) -> None:
    first = read_bars(csv(range(100)), timeframe="1min")
    assert imports.import_bars(store, "BTCUSDT", "1min", first, "a.csv").kept == 100
    again = imports.import_bars(store, "btcusdt", "1min", first, "a.csv")
    assert (again.kept, again.duplicate) == (0, 100)
    other = read_bars(csv([50, *range(52, 80)], price=6.0), timeframe="1min")
    assert imports.import_bars(store, "btcusdt", "1min", other, "b.csv").kept == 29
    assert rows_of(store, "select symbol, origin, rows from uploaded_bar_sets") == [
        ("btcusdt", "a.csv … b.csv", 99)
    ]
    # Minute 51 is not in the later file, which knows of all of its stretch; the rest stays.
    held = rows_of(store, "select open, count(*) from uploaded_bars group by all order by 1")
    assert held == [(5.0, 70), (6.0, 29)]
    assert imports.import_bars(store, "btcusdt", "1min", other, "b.csv").kept == 0
    assert rows_of(store, "select origin, rows from uploaded_bar_sets") == [("a.csv … b.csv", 99)]
    assert rows_of(store, "select version from versions where scope = 'btcusdt'")[0][0] >= 2
    assert imports.delete_bars(store, "btcusdt", "1min") == 99
    for table in ("uploaded_bars", "uploaded_bar_sets", "imported_files"):
        assert rows_of(store, f"select count(*) from {table}") == [(0,)]


def test_one_day_of_bars_leaves_the_months_before_it(store: Store) -> None:
    months = read_bars(csv(range(50_000)), timeframe="1min")
    imports.import_bars(store, "btcusdt", "1min", months, "months.csv")
    day = read_bars(csv(range(60_000, 61_440)), timeframe="1min")
    imports.import_bars(store, "btcusdt", "1min", day, "day.csv")
    assert rows_of(store, "select origin, rows from uploaded_bar_sets order by first_ts") == [
        ("months.csv", 50_000),
        ("day.csv", 1440),
    ]


def test_bars_that_are_broken_off_leave_no_hole(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_bars(csv(range(100)), timeframe="1min")
    imports.import_bars(store, "btcusdt", "1min", first, "a.csv")
    monkeypatch.setattr(bars, "PIECE_ROWS", 30)
    calls = 0

    def breaking(con: Connection, *rest: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return written(con, *rest)

    written = bars.write_bars
    other = read_bars(csv([n for n in range(100) if n % 7 != 3], price=6.0), timeframe="1min")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(bars, "write_bars", breaking)
        with pytest.raises(KeyboardInterrupt):
            imports.import_bars(store, "btcusdt", "1min", other, "b.csv")
    new = rows_of(store, "select count(*) from uploaded_bars where open = 6")[0][0]
    assert new == 60
    last = rows_of(store, "select max(ts) from uploaded_bars where open = 6")[0][0]
    old = rows_of(store, f"select count(*) from uploaded_bars where open = 5 and ts > '{last}'")
    assert old == rows_of(store, "select count(*) from uploaded_bars where open = 5")
    assert old[0][0] == 100 - int((last - START).total_seconds() / 60) - 1  # type: ignore[operator]
    assert imports.import_bars(store, "btcusdt", "1min", other, "b.csv").kept == 86 - 60
    assert rows_of(store, "select open, count(*) from uploaded_bars group by all") == [(6.0, 86)]


def test_bars_are_not_deleted_while_some_are_imported(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "WAIT_S", 0.1)
    found = read_bars(csv(range(10)), timeframe="1min")
    with targets.taken(store.path, targets.BARS):
        for act in (
            lambda: imports.delete_bars(store, "btcusdt", "1min"),
            lambda: imports.import_bars(store, "btcusdt", "1min", found, "a.csv"),
        ):
            with pytest.raises(DataError, match="uploaded bars is running"):
                act()
    assert imports.import_bars(store, "btcusdt", "1min", found, "a.csv").kept == 10


def test_refused_bars_are_reported_line_by_line(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(csv(range(5)) + b"=x,1,1,1,1,1\n" * 20)
    job = bring(store, path, symbol="btcusdt", timeframe="1min")
    one = job.files[0]
    assert (one.state, one.read, one.kept, one.rejected) == ("failed", 25, 0, 20)
    assert one.rejects[0][0] == 7
    assert len(one.rejects) == 10
    assert job.rejects_path(0).read_text().count("'=x") == 20
    assert "more than half" in one.message


def test_wrong_headers_name_what_is_missing_and_what_was_found(
    store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("time,open,high,low,last\n1,2,3,4,5\n")
    message = bring(store, path, symbol="btcusdt", timeframe="1min").files[0].message
    assert "lacks the columns ts, close, volume; found: time, open, high, low, last" in message


def test_bars_need_a_symbol_and_a_timeframe_that_exists(store: Store) -> None:
    found = read_bars(csv(range(10)), timeframe="1min")
    with pytest.raises(DataError, match="symbol"):
        imports.import_bars(store, " ", "1min", found, "a.csv")
    with pytest.raises(DataError, match="timeframe"):
        imports.import_bars(store, "btcusdt", "2min", found, "a.csv")


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
    again = bring(store, path, symbol="btcusdt", timeframe="1min").files[0]
    assert (again.kept, again.duplicate, again.message) == (0, 40, "no bar of it is new")
    assert "'=x" in job.rejects_path(0).read_text()
    with pytest.raises(BadFile):
        read_bars(csv(range(40)), timeframe="1s")
