"""The lake's files: missing and broken ones are told in words, moved ones are found."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from test_lake import BEFORE, FAR, LONG_AGO, SYMBOLS, command, fill, registered, union, unions

from core import lake, lake_job
from core.config import default_lake
from core.errors import LakeMissing, StoreBusy
from core.exporting import trades_parts
from core.lake_check import verify_lake
from core.lake_job import move_days
from core.queries import load_bars
from core.store import Store, open_store


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lake_job, "PAUSE_S", 0.0)


@pytest.fixture
def cold(store: Store) -> Store:
    """A store whose trades are all in the lake beside it, two days of three symbols."""
    fill(store)
    move_days(store, default_lake(store.path), BEFORE)
    return store


def path_of(store: Store, symbol: str, day: str) -> Path:
    return next(Path(row[2]) for row in registered(store) if (row[0], str(row[1])) == (symbol, day))


def kept(store: Store) -> list[tuple[str, str | None, str | None]]:
    with store.read(limit_s=None) as con:
        return con.execute("select path, lake, sha256 from lake_files order by path").fetchall()


# -- what is missing is said -------------------------------------------------------------


def test_a_missing_file_is_named_with_its_symbol_its_day_and_what_to_do(cold: Store) -> None:
    gone = path_of(cold, "btcusdt", "2025-10-09")
    gone.unlink()
    with pytest.raises(LakeMissing) as found:
        union(cold, "btcusdt")
    text = str(found.value)
    assert text.startswith("Trades of btcusdt of 2025-10-09 cannot be read from the lake: ")
    assert f"{gone} is not there. Bring the files back" in text
    assert "PERPDUCK_LAKE" in text
    with cold.read() as con, pytest.raises(LakeMissing, match="2025-10-09"):
        lake.load_newest_trades(con, "btcusdt", LONG_AGO, FAR, limit=3000)
    with cold.read() as con, pytest.raises(LakeMissing, match="2025-10-09"):
        lake.load_bars_from_trades(con, "btcusdt", 60, LONG_AGO, FAR)
    with pytest.raises(LakeMissing, match="2025-10-09"):
        list(trades_parts(cold, "btcusdt", LONG_AGO, FAR))


def test_what_does_not_need_the_missing_file_goes_on(cold: Store) -> None:
    path_of(cold, "btcusdt", "2025-10-09").unlink()
    with cold.read(limit_s=None) as con:
        assert len(lake.load_trades(con, "btcusdt", datetime(2025, 10, 10), FAR)) == 2280
        assert load_bars(con, ["btcusdt"], "1min", LONG_AGO, FAR).height == 250
    assert len(union(cold, "ethusdt")) == 3000


def test_days_that_follow_each_other_are_said_as_a_range(cold: Store) -> None:
    shutil.rmtree(default_lake(cold.path))
    words = r"of 2025-10-09 to 2025-10-10 .* \(and 1 more file\)"
    with pytest.raises(LakeMissing, match=words):
        union(cold, "btcusdt")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-50]), "is no whole Parquet file"),
        (lambda path: path.write_bytes(b""), "is no whole Parquet file"),
        (lambda path: path.write_text("a letter to nobody"), "is no whole Parquet file"),
        (lambda path: flip(path), "is not as it was written: its sha256 differs"),
    ],
)
def test_a_broken_file_is_named(cold: Store, damage: Callable[[Path], object], words: str) -> None:
    path = path_of(cold, "btcusdt", "2025-10-10")
    damage(path)
    with pytest.raises(LakeMissing, match=words) as found:
        union(cold, "btcusdt")
    assert f"of 2025-10-10 cannot be read from the lake: {path} " in str(found.value)
    assert str(cold.path) not in str(found.value)


def flip(path: Path) -> None:
    """Break the pages, and leave the two ends as they are."""
    data = bytearray(path.read_bytes())
    data[4:-400] = b"\xff" * (len(data) - 404)
    path.write_bytes(data)


@pytest.mark.skipif(sys.platform == "win32", reason="no such rights there")
def test_a_file_that_may_not_be_read_says_so(cold: Store) -> None:
    path = path_of(cold, "btcusdt", "2025-10-10")
    path.chmod(0)
    try:
        path.read_bytes()
    except PermissionError:
        with pytest.raises(LakeMissing, match=r"cannot be read \(Permission denied\)"):
            union(cold, "btcusdt")
    finally:
        path.chmod(0o644)


def test_what_takes_too_long_is_no_fault_of_the_files(
    cold: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = (
        "select $symbol as symbol, i as agg_id, $start as ts, i::double as price, 1.0 as size, "
        "$end is null as buyer_is_maker, $paths[1] as source from range(1_000_000_000_000) as t(i)"
    )
    monkeypatch.setattr(lake, "trades_sql", lambda _: endless)
    monkeypatch.setattr(lake, "demand_readable", lambda _: pytest.fail("looks at the files"))
    with pytest.raises(StoreBusy, match="took longer"), cold.read(limit_s=0.3) as con:
        lake.load_newest_trades(con, "btcusdt", LONG_AGO, FAR, limit=1)


# -- what was moved is found -------------------------------------------------------------


def moved(store: Store, to: Path, *more: str) -> Store:
    """The database and other things beside it, moved to another folder."""
    with store.write() as con:
        con.execute("select 1")
    store.checkpoint()
    to.mkdir()
    for name in (store.path.name, *more):
        shutil.move(store.path.parent / name, to / name)
    return open_store(to / store.path.name)


def test_database_and_lake_move_together(cold: Store, tmp_path: Path) -> None:
    before = unions(cold)
    assert {row[1] for row in kept(cold)} == {"perpduck-lake"}
    assert all(row[0].startswith("symbol=") for row in kept(cold))
    there = moved(cold, tmp_path / "new home", "perpduck-lake")
    assert unions(there) == before
    assert not Path(default_lake(cold.path)).exists()


def test_a_lake_that_moved_alone_is_found_by_its_setting(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    fill(store)
    before = unions(store)
    elsewhere = tmp_path.parent / f"{tmp_path.name} cold"
    move_days(store, str(elsewhere), BEFORE)
    assert {row[1] for row in kept(store)} == {str(elsewhere)}
    assert unions(store) == before
    shutil.move(elsewhere, tmp_path / "colder")
    with pytest.raises(LakeMissing, match="PERPDUCK_LAKE"):
        union(store, "btcusdt")
    monkeypatch.setenv("PERPDUCK_LAKE", str(tmp_path / "colder"))
    assert unions(store) == before


def test_whole_paths_of_before_are_read_and_found_again(cold: Store, tmp_path: Path) -> None:
    before = unions(cold)
    root = default_lake(cold.path)
    with cold.write() as con:
        con.execute("update lake_files set path = ? || '/' || path, lake = null", [root])
    assert unions(cold) == before
    assert unions(moved(cold, tmp_path / "other", "perpduck-lake")) == before


def test_a_bucket_s_address_stays_whole(cold: Store) -> None:
    with cold.write() as con:
        con.execute("update lake_files set path = 's3://b/' || path, lake = null")
    with cold.read() as con:
        parts = lake.lake_parts(con, "btcusdt", LONG_AGO, FAR)
    assert all(one.is_there and one.path.startswith("s3://b/symbol=") for one in parts)
    with pytest.raises(LakeMissing, match="downloads no extensions"):
        union(cold, "btcusdt")


# -- the sum of each file ----------------------------------------------------------------


def test_every_file_is_held_to_its_sha256(cold: Store) -> None:
    assert all(len(row[2] or "") == 64 for row in kept(cold))
    assert verify_lake(cold).whole == 2 * len(SYMBOLS)
    path = path_of(cold, "ethusdt", "2025-10-09")
    # Whole for every reader, and yet not what was verified.
    pl.read_parquet(path).with_columns(price=pl.col("price") + 1).write_parquet(path)
    path_of(cold, "btcusdt", "2025-10-10").unlink()
    check = verify_lake(cold)
    assert (check.whole, check.readable) == (4, 0)
    assert {(one.symbol, words.split(":")[0]) for one, words in check.broken} == {
        ("ethusdt", "is not as it was written"), ("btcusdt", "is not there"),
    }  # fmt: skip


def test_a_file_without_a_sum_is_only_read(cold: Store) -> None:
    with cold.write() as con:
        con.execute("update lake_files set sha256 = null where symbol = 'btcusdt'")
    check = verify_lake(cold)
    assert (check.whole, check.readable, check.broken) == (4, 2, ())
    path = path_of(cold, "btcusdt", "2025-10-09")
    pl.read_parquet(path).head(-1).write_parquet(path)
    assert [words for _, words in verify_lake(cold).broken] == [
        "holds 719 trades; 720 were written"
    ]
    flip(path)
    [(one, words)] = verify_lake(cold).broken
    assert (one.symbol, str(one.day)) == ("btcusdt", "2025-10-09")
    assert words.startswith("cannot be read (")


def test_the_command_verifies_the_lake(cold: Store, tmp_path: Path) -> None:
    at = ("--db", str(cold.path), "--verify")
    fine = command(*at)
    assert (fine.returncode, fine.stdout) == (0, "6 of 6 files are as they were written\n")
    gone = path_of(cold, "btcusdt", "2025-10-09")
    data = gone.read_bytes()
    gone.unlink()
    found = command(*at)
    assert found.returncode == 1
    assert f"2025-10-09 btcusdt: {gone} is not there\n5 of 6 files" in found.stdout
    assert "Bring them back" in found.stderr
    gone.write_bytes(data)
    shutil.move(default_lake(cold.path), tmp_path / "colder")
    assert command(*at).returncode == 1
    assert command(*at, "--lake", str(tmp_path / "colder")).stdout == fine.stdout
