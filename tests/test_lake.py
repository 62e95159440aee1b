"""Retention: every trade is in the file or in the lake, in one of them only, whatever happens."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest
from filelock import FileLock
from made import trades_frame
from processes import ROOT, wait_for, worker_process

from core import lake, lake_files, lake_job
from core.config import FUNDING_S, default_lake, load_settings
from core.errors import ConfigError, LakeMissing, StoreBusy, StoreError
from core.lake_files import Pending, encoded
from core.lake_job import Day, days_to_move, move_days
from core.lake_keeper import _until_next_day_s
from core.lake_places import found_path
from core.store import Store, open_store
from core.trade_writer import write_trades

DAY_MS = 86_400_000
# 2025-10-09, an hour before midnight: 5 s apart, 3000 trades of a symbol lie on two days.
START_MS = 1_760_050_800_000
FIRST_DAY, LAST_DAY = date(2025, 10, 9), date(2025, 10, 10)
BEFORE = date(2025, 10, 11)
FAR = datetime(2100, 1, 1)
LONG_AGO = datetime(2020, 1, 1)
SYMBOLS = ("btcusdt", "ethusdt", "币安人生usdt")


def fill(store: Store, symbols: tuple[str, ...] = SYMBOLS, count: int = 3000) -> None:
    for symbol in symbols:
        store_trades(store, trades(symbol, range(count)))


def trades(symbol: str, ids: range) -> pl.DataFrame:
    return trades_frame(symbol, list(ids), start_ms=START_MS, step_ms=5_000)


def store_trades(store: Store, frame: pl.DataFrame) -> None:
    with store.write() as con:
        write_trades(con, frame, now_ms=START_MS)


def union(store: Store, symbol: str) -> pl.DataFrame:
    with store.read(wait_s=20, limit_s=None) as con:
        return lake.load_trades(con, symbol, LONG_AGO, FAR)


def unions(store: Store, symbols: tuple[str, ...] = SYMBOLS) -> dict[str, list[tuple]]:
    return {symbol: union(store, symbol).rows() for symbol in symbols}


def in_file(store: Store) -> int:
    return value(store, "select count(*) from trades")


def value(store: Store, query: str) -> int:
    with store.read(wait_s=20, limit_s=None) as con:
        return con.execute(query).fetchall()[0][0]


def registered(store: Store) -> list[tuple[str, date, str, int]]:
    """Symbol, day, where the file lies now, and its trades."""
    with store.read(wait_s=20, limit_s=None) as con:
        rows = con.execute(
            "select symbol, day, path, lake, trades from lake_files order by symbol, day, first_ts"
        ).fetchall()
    return [(*row[:2], found_path(store.path, *row[2:4])[0], row[4]) for row in rows]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lake_job, "PAUSE_S", 0.0)


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "lake of days")


# -- what moves --------------------------------------------------------------------------


def test_finished_days_move_and_the_queries_read_both_as_one(store: Store, place: str) -> None:
    fill(store)
    before = unions(store)
    assert days_to_move(store, LAST_DAY) == [Day(s, FIRST_DAY, 720) for s in SYMBOLS]
    outcome = move_days(store, place, LAST_DAY)
    assert (outcome.moved, outcome.files, outcome.failed) == (3 * 720, 3, 0)
    assert in_file(store) == 3 * (3000 - 720)
    assert unions(store) == before
    outcome = move_days(store, place, BEFORE)
    assert outcome.moved == 3 * (3000 - 720)
    assert in_file(store) == 0
    assert unions(store) == before
    assert move_days(store, place, BEFORE).moved == 0
    assert {row[2].removeprefix(place).split("/part-")[0] for row in registered(store)} == {
        f"/symbol={s}/date={d}" for s in SYMBOLS for d in ("2025-10-09", "2025-10-10")
    }


def test_the_bars_and_the_coverage_stay_and_no_moved_trade_comes_back(
    store: Store, place: str
) -> None:
    fill(store, ("btcusdt",))
    bars = "select hash(list(b order by ts)) from bars_1min as b"
    kept = value(store, bars)
    move_days(store, place, BEFORE)
    with store.write() as con:
        result = write_trades(con, trades("btcusdt", range(3000)), now_ms=START_MS)
    assert (result.stored, result.duplicates) == (0, 3000)
    assert in_file(store) == 0
    assert value(store, bars) == kept


def test_newest_trades_and_bars_from_trades_read_both(store: Store, place: str) -> None:
    fill(store)
    start, end = datetime(2025, 10, 9, 23, 30), datetime(2025, 10, 10, 0, 30)

    def asked() -> list[object]:
        with store.read(limit_s=None) as con:
            stored = con.execute(
                "select ts, open, high, low, close, volume::double, trades from bars_1min "
                "where symbol = 'ethusdt' and ts >= ? and ts < ? order by ts",
                [start, end],
            ).fetchall()
            made = lake.load_bars_from_trades(con, "ethusdt", 60, start, end)
            assert made.drop("symbol", "quote_volume", "taker_buy_volume").rows() == stored
            return [
                lake.load_newest_trades(con, "ethusdt", start, end, limit=400).rows(),
                lake.load_trades(con, "ethusdt", start, end, limit=500).rows(),
                made.rows(),
            ]

    before = asked()
    move_days(store, place, LAST_DAY)
    assert asked() == before
    newest, first, bars = before
    assert (len(newest), len(first), len(bars)) == (400, 500, 60)


def test_only_the_files_of_the_range_are_read(store: Store, place: str) -> None:
    fill(store)
    move_days(store, place, BEFORE)
    with store.read() as con:
        parts = lake.lake_parts(con, "btcusdt", datetime(2025, 10, 10, 1), FAR)
        assert len(parts) == 1
        assert "date=2025-10-10" in parts[0].path
        assert lake.lake_parts(con, "btcusdt", datetime(2025, 10, 12), FAR) == []
    for symbol, _, path, _ in registered(store):
        if symbol != "btcusdt":
            Path(path).unlink()
    assert len(union(store, "btcusdt")) == 3000
    with pytest.raises(LakeMissing):
        union(store, "ethusdt")


def test_a_big_day_is_cut_into_parts(
    store: Store, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake_job, "PART_TRADES", 100)
    monkeypatch.setattr(lake_job, "MOST_TRADES", 100)
    fill(store, ("btcusdt",))
    before = unions(store, ("btcusdt",))
    outcome = move_days(store, place, LAST_DAY)
    assert (outcome.moved, outcome.files) == (720, 8)
    assert max(row[3] for row in registered(store)) <= 100
    assert unions(store, ("btcusdt",)) == before


def test_late_trades_of_a_moved_day_are_read_and_move_as_a_further_part(
    store: Store, place: str
) -> None:
    store_trades(store, trades("btcusdt", range(300)))
    store_trades(store, trades("btcusdt", range(400, 700)))
    move_days(store, place, LAST_DAY)
    store_trades(store, trades("btcusdt", range(250, 450)))
    assert in_file(store) == 100
    whole = union(store, "btcusdt")
    assert whole["agg_id"].to_list() == list(range(700))
    assert move_days(store, place, LAST_DAY).moved == 100
    assert in_file(store) == 0
    assert union(store, "btcusdt").equals(whole)
    assert [row[3] for row in registered(store)] == [600, 100]


def test_what_a_user_brought_stays(store: Store, place: str) -> None:
    fill(store, ("btcusdt",), 10)
    with store.write() as con:
        con.execute("insert into bars_1min select * replace ('x@mine' as symbol) from bars_1min")
    assert days_to_move(store, BEFORE) == [Day("btcusdt", FIRST_DAY, 10)]


def test_an_empty_file_has_nothing_to_move(store: Store, place: str) -> None:
    assert move_days(store, place, BEFORE) == lake_job.Outcome(0, 0, 0)


# -- nothing is deleted that was not verified --------------------------------------------


def tampered(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[str, pl.DataFrame], None]:
    def write(path: str, rows: pl.DataFrame) -> None:
        lake_files.write_part(path, change(rows))

    return write


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.with_columns(price=pl.col("price") + 1e-9),
        lambda rows: rows.with_columns(size=pl.col("size").reverse()),
        lambda rows: rows.with_columns(buyer_is_maker=~pl.col("buyer_is_maker")),
        lambda rows: rows.with_columns(source=pl.lit("rest")),
        lambda rows: rows.with_columns(ts=pl.col("ts").reverse()),
        lambda rows: rows.head(-1),
        lambda rows: rows.head(0),
        lambda rows: pl.concat([rows, rows.tail(1)]),
        lambda rows: pl.concat([rows.head(-1), rows.head(1)]),
        lambda rows: rows.with_columns(agg_id=pl.col("agg_id") + 1),
        lambda rows: rows.with_columns(symbol=pl.lit("ethusdt")),
    ],
)
def test_a_part_that_reads_back_otherwise_keeps_its_rows_in_the_file(
    store: Store,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[pl.DataFrame], pl.DataFrame],
) -> None:
    fill(store, ("btcusdt",), 900)
    before = unions(store, ("btcusdt",))
    monkeypatch.setattr(lake_job, "write_part", tampered(change))
    outcome = move_days(store, place, LAST_DAY)
    assert (outcome.moved, outcome.files, outcome.failed) == (0, 0, 1)
    assert registered(store) == []
    assert in_file(store) == 900
    assert list(Path(place).rglob("*.parquet")) == []
    monkeypatch.undo()
    assert move_days(store, place, LAST_DAY).moved == 720
    assert unions(store, ("btcusdt",)) == before


def test_a_part_that_cannot_be_read_back_stops_the_run_and_loses_nothing(
    store: Store, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, ("btcusdt",), 900)

    def cut_off(path: str, rows: pl.DataFrame) -> None:
        lake_files.write_part(path, rows)
        Path(path).write_bytes(Path(path).read_bytes()[:-50])

    monkeypatch.setattr(lake_job, "write_part", cut_off)
    with pytest.raises(StoreError, match="nothing was deleted"):
        move_days(store, place, LAST_DAY)
    assert in_file(store) == 900
    monkeypatch.undo()
    assert move_days(store, place, LAST_DAY).moved == 720
    assert len(list(Path(place).rglob("*.parquet"))) == 1


def test_a_trade_that_arrives_between_copy_and_delete_stays_in_the_file(
    store: Store, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_trades(store, trades("btcusdt", range(300)))
    store_trades(store, trades("btcusdt", range(310, 600)))

    def late(path: str) -> object:
        store_trades(store, trades("btcusdt", range(300, 310)))
        return lake_files.read_part(path)

    monkeypatch.setattr(lake_job, "read_part", late)
    assert move_days(store, place, LAST_DAY).moved == 590
    assert in_file(store) == 10
    assert union(store, "btcusdt")["agg_id"].to_list() == list(range(600))
    monkeypatch.undo()
    assert move_days(store, place, LAST_DAY).moved == 10


@pytest.mark.parametrize("step", ["write_part", "read_part", "_register"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_that_is_killed_between_two_steps_loses_and_doubles_nothing(
    store: Store, place: str, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    fill(store)
    before = unions(store)
    real, calls = getattr(lake_job, step), []

    def die(*arguments: object) -> object:
        calls.append(step)
        if len(calls) < 2:
            return real(*arguments)
        if when == "after":
            real(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(lake_job, step, die)
    with pytest.raises(KeyboardInterrupt):
        move_days(store, place, LAST_DAY)
    assert unions(store) == before
    monkeypatch.undo()
    assert move_days(store, place, LAST_DAY).failed == 0
    assert unions(store) == before
    assert value(store, "select count(*) from trades where ts < '2025-10-10'") == 0
    files = {str(path) for path in Path(place).rglob("*.parquet")}
    assert files == {row[2] for row in registered(store)}


def test_only_its_own_litter_is_removed(store: Store, place: str) -> None:
    fill(store, ("btcusdt",), 900)
    folder = Path(place) / "symbol=btcusdt" / "date=2025-10-09"
    folder.mkdir(parents=True)
    litter, other = folder / "part-1.parquet", folder / "part-2.parquet"
    for path in (litter, other):
        path.write_bytes(b"half a file")
    Pending(store.path).begin(str(litter))
    move_days(store, place, LAST_DAY)
    assert not litter.exists()
    assert other.read_bytes() == b"half a file"
    assert len(union(store, "btcusdt")) == 900


def test_what_is_registered_is_never_taken_for_litter(store: Store, place: str) -> None:
    fill(store, ("btcusdt",), 900)
    move_days(store, place, LAST_DAY)
    [(_, _, path, _)] = registered(store)
    Pending(store.path).begin(path)
    move_days(store, place, LAST_DAY)
    assert Path(path).exists()
    assert Pending(store.path).left_over() is None


def test_one_run_at_a_time(store: Store, place: str) -> None:
    with FileLock(f"{store.path}.lake.lock"), pytest.raises(StoreBusy, match="already"):
        move_days(store, place, BEFORE)


# -- names and places --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbol", "folder"),
    [
        ("btcusdt", "btcusdt"),
        ("币安人生usdt", "币安人生usdt"),
        ("btcusdt_261225", "btcusdt_261225"),
        ("a/b", "a%2Fb"),
        ("..", "%2E%2E"),
        ("100%=x", "100%25%3Dx"),
        ("a*b?c[d]", "a%2Ab%3Fc%5Bd%5D"),
        ("o'neil", "o%27neil"),
    ],
)
def test_a_symbol_is_a_folder_s_name_whatever_it_holds(symbol: str, folder: str) -> None:
    assert encoded(symbol) == folder


def test_odd_symbols_move_and_are_read(store: Store, place: str) -> None:
    odd = ("a/b%", "o'neil", "x*y?[z]", "ñandú")
    fill(store, odd, 900)
    before = unions(store, odd)
    assert move_days(store, place, LAST_DAY).moved == 4 * 720
    assert unions(store, odd) == before
    assert all(str(Path(row[2])).startswith(place) for row in registered(store))


@pytest.mark.parametrize("lake_path", ["s3://bucket/lake", "gcs://bucket/lake"])
def test_a_place_that_duckdb_cannot_write_is_told_of_before_anything_moves(
    store: Store, lake_path: str
) -> None:
    fill(store, ("btcusdt",), 900)
    with pytest.raises(ConfigError, match="downloads no extensions"):
        move_days(store, lake_path, BEFORE)
    assert in_file(store) == 900


def test_a_place_that_would_be_a_pattern_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="without them"):
        move_days(store, str(tmp_path / "l[a]ke"), BEFORE)


def test_a_lake_that_is_a_file_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("a letter")
    with pytest.raises(ConfigError, match="cannot be made"):
        move_days(store, str(tmp_path / "lake"), BEFORE)


def test_the_settings_know_the_lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = tmp_path / "desk.duckdb"
    assert load_settings(db=db).lake == str(tmp_path / "desk-lake") == default_lake(db)
    assert load_settings(db=db).retention_days is None
    assert load_settings(db=db).practised().lake == str(tmp_path / "practice-7-lake")
    monkeypatch.setenv("PERPDUCK_KEEP_DAYS", "30")
    monkeypatch.setenv("PERPDUCK_LAKE", str(tmp_path / "cold"))
    found = load_settings(db=db)
    assert (found.retention_days, found.lake) == (30, str(tmp_path / "cold"))
    assert found.practised().lake == str(tmp_path / "cold")
    assert load_settings(db=db, lake="s3://bucket/x/").lake == "s3://bucket/x"
    assert (found.history_klines_s, found.history_funding_s) == (7 * 86_400.0, FUNDING_S)
    monkeypatch.setenv("PERPDUCK_HISTORY", "0")
    assert load_settings(db=db).history_klines_s == load_settings(db=db).history_funding_s == 0.0
    monkeypatch.setenv("PERPDUCK_KEEP_DAYS", "0")
    with pytest.raises(ConfigError, match="1 or more"):
        load_settings(db=db)


def test_the_next_run_is_after_the_next_midnight() -> None:
    morning = datetime(2026, 1, 1, 6)
    assert _until_next_day_s(morning) == 18 * 3600 + 20 * 60
    assert _until_next_day_s(datetime(2026, 1, 1, 0, 5)) == 15 * 60


# -- the command and the worker ----------------------------------------------------------


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "core.lake", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )


def test_the_command_says_what_it_would_do_does_it_and_explains_itself(
    store: Store, tmp_path: Path
) -> None:
    fill(store, ("btcusdt",))
    at = ("--db", str(store.path), "--keep-days", "1")
    dry = command(*at, "--dry-run")
    assert dry.returncode == 0
    assert "2025-10-10 btcusdt: 2,280 trades" in dry.stdout
    assert "3,000 trades before" in dry.stdout
    assert in_file(store) == 3000
    assert not Path(default_lake(store.path)).exists()
    done = command(*at)
    assert (done.returncode, done.stdout[:12]) == (0, "3,000 trades")
    assert in_file(store) == 0
    assert len(union(store, "btcusdt")) == 3000
    for wrong, words in (((), "--keep-days 30"), (("--keep-days", "x"), "1 or more")):
        found = command("--db", str(store.path), *wrong)
        assert found.returncode == 2
        assert words in found.stderr
        assert "Traceback" not in found.stderr
    missing = command("--db", str(tmp_path / "none.duckdb"), "--keep-days", "1")
    assert missing.returncode == 1
    assert "There is no" in missing.stderr


KILLED = """
import sys, time
from datetime import date
from pathlib import Path
from core import lake_job
from core.store import open_store
lake_job.PART_TRADES = lake_job.MOST_TRADES = 40
lake_job.PAUSE_S = 0.0
def told(*_: object) -> None:
    print("moved", flush=True)
lake_job.move_days(open_store(Path(sys.argv[1])), sys.argv[2], date(2025, 10, 11), told=told)
"""


def test_kills_at_any_moment_lose_and_double_nothing(store: Store, place: str) -> None:
    fill(store)
    before = unions(store)
    chance = random.Random(4)
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(store.path), place],
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert process.stdout is not None
        for _ in range(chance.randrange(1, 12)):
            assert process.stdout.readline() == b"moved\n"
        time.sleep(chance.uniform(0.0, 0.1))
        process.kill()
        process.wait()
        process.stdout.close()
        assert unions(store) == before
    assert 0 < in_file(store) < 9000
    move_days(store, place, BEFORE)
    assert in_file(store) == 0
    assert unions(store) == before
    files = {str(path) for path in Path(place).rglob("*.parquet")}
    assert files == {row[2] for row in registered(store)}


# Old days may have moved before the first live trade is stored.
NEWEST = "select coalesce(max(agg_id), 0) from trades where symbol = 'btcusdt'"


def test_a_live_worker_moves_old_days_beside_its_work_and_goes_on(tmp_path: Path) -> None:
    db = tmp_path / "live.duckdb"
    store = open_store(db)
    store.prepare("practice:7")
    fill(store, ("oldusdt",))
    before = unions(store, ("oldusdt",))
    options = ("--practice", "--symbols", "btcusdt", "--keep-days", "3", "--history", "2h")
    with worker_process(db, *options, "--lake", str(tmp_path / "cold")) as worker:
        wait_for(lambda: len(registered(store)) == 2, what=worker.text(), within_s=60)
        moved_at = value(store, NEWEST)
        wait_for(
            lambda: value(store, NEWEST) > moved_at,
            what="live trades go on",
        )
        wait_for(lambda: "3,000 trades moved" in worker.text(), what=worker.text())
        status, _ = worker.stop()
        assert status == 0
    assert unions(store, ("oldusdt",)) == before
    assert value(store, "select count(*) from trades where symbol = 'oldusdt'") == 0
    path = Path(registered(store)[0][2])
    assert path.is_relative_to(tmp_path / "cold")
