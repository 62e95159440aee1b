"""Ticks and raw trades in datasets of their own: once, whatever the files overlap in."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest
from archives import bring, dataset_rows, rows_of, ticks, zipped
from made import START_MS, trades_frame

from core import queries
from core.errors import DataError
from core.importing import jobs, pieces, records, targets
from core.importing.datasets import delete_dataset
from core.importing.ticks import TicksWriter
from core.store import Store
from core.trade_writer import write_trades

# Written apart from the product's SQL on purpose.
RECOMPUTED = """
select symbol || '@' || dataset, date_trunc('{unit}', ts) as bucket,
    first(price order by ts, id), max(price), min(price), last(price order by ts, id),
    sum(coalesce(size, 0)::decimal(18, 8))::decimal(38, 8), count(*),
    sum(if(side = 'buy', coalesce(size, 0), 0)::decimal(18, 8))::decimal(38, 8)
from uploaded_trades group by all order by 1, 2
"""
BARS = "symbol, ts, open, high, low, close, volume, trades, taker_buy_volume"


def rows(count: int, *, with_id: bool, symbols: int = 3) -> list[dict[str, object]]:
    """Ticks whose times tie and that equal each other now and then."""
    made: list[dict[str, object]] = []
    for i in range(count):
        row: dict[str, object] = {
            "symbol": f"S{i % symbols}",
            "ts": START_MS + i // 9 * 200,
            "price": 100 + (i // 4 * 37 % 11) / 10,
        }
        if i % 5:
            row["size"] = (i // 4 % 3 + 1) / 8
        if i % 2:
            row["side"] = "buy" if i % 4 == 1 else "sell"
        if with_id:
            row["id"] = i // symbols
        made.append(row)
    return made


def assert_whole(store: Store, expected: int) -> None:
    """The dataset's own counts and bars agree with its trades."""
    counted = rows_of(
        store,
        "select dataset, symbol, count(*), min(ts), max(ts) from uploaded_trades "
        "group by all order by 1, 2",
    )
    assert rows_of(store, "from dataset_symbols order by 1, 2") == counted
    assert sum(row[2] for row in counted) == expected  # type: ignore[misc]
    volume = "select symbol, sum(volume), sum(trades) from {} group by 1 order by 1"
    by_trades = rows_of(
        store,
        "select symbol || '@' || dataset, sum(coalesce(size, 0)::decimal(18, 8)), count(*) "
        "from uploaded_trades group by all order by 1",
    )
    for table in ("bars_1s", "bars_1min"):
        assert rows_of(store, volume.format(table)) == by_trades


@pytest.mark.parametrize("with_id", [True, False])
@pytest.mark.parametrize("shuffled", [True, False])
def test_a_file_in_one_chunk_or_many_is_the_same_dataset(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_id: bool, shuffled: bool
) -> None:
    made = rows(1000, with_id=with_id)
    if shuffled:
        random.Random(2).shuffle(made)
    path = ticks(tmp_path, made)
    bring(store, path, dataset="whole")
    monkeypatch.setattr(records, "CHUNK_ROWS", 64)
    job = bring(store, path, dataset="parts")
    assert (job.state, job.files[0].kept) == ("done", 1000)
    assert dataset_rows(store, "parts") == dataset_rows(store, "whole")
    assert_whole(store, 2000)
    if with_id:
        for table, unit in (("bars_1s", "second"), ("bars_1min", "minute")):
            stored = rows_of(store, f"select {BARS} from {table} order by 1, 2")
            assert stored == rows_of(store, RECOMPUTED.format(unit=unit))


def test_equal_trades_of_one_file_are_several_and_of_another_the_same(
    store: Store, tmp_path: Path
) -> None:
    twin = {"symbol": "X", "ts": START_MS, "price": 5, "size": 2}
    other = {**twin, "price": 6}
    first = bring(store, ticks(tmp_path, [twin, twin, other], "a.ndjson"), dataset="d")
    again = bring(store, ticks(tmp_path, [other, twin, twin, twin], "b.ndjson"), dataset="d")
    assert first.files[0].kept == 3
    assert (again.files[0].kept, again.files[0].duplicate) == (1, 3)
    assert [row[-1] for row in dataset_rows(store, "d")] == [0, 1, 2, 0]
    assert_whole(store, 4)


@pytest.mark.parametrize("with_id", [True, False])
def test_overlapping_files_and_compressed_ones_add_only_what_is_new(
    store: Store, tmp_path: Path, with_id: bool
) -> None:
    # Whole groups of equal times, so that occurrences agree.
    made = rows(900, with_id=with_id)
    bring(store, ticks(tmp_path, made[:540], "a.ndjson"), dataset="d")
    job = bring(store, ticks(tmp_path, made[270:], "b.ndjson"), dataset="d")
    assert (job.files[0].kept, job.files[0].duplicate) == (360, 270)
    plain = ticks(tmp_path, made[:540], "c.ndjson")
    packed = tmp_path / "c.ndjson.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    same = bring(store, packed, dataset="d")
    assert "nothing changed" in same.files[0].message
    elsewhere = bring(store, packed, dataset="e")
    assert elsewhere.files[0].kept == 540
    assert_whole(store, 900 + 540)


def test_a_dataset_never_mixes_with_live_trades(store: Store, tmp_path: Path) -> None:
    with store.write() as con:
        write_trades(con, trades_frame("s0", list(range(50))), now_ms=0)
    bring(store, ticks(tmp_path, rows(90, with_id=True)), dataset="My-Ticks")
    assert rows_of(store, "select count(*) from trades") == [(50,)]
    with store.read() as con:
        versions = queries.load_versions(con)
    assert versions["s0"] == 1
    assert versions["s0@my-ticks"] == 1
    assert versions["datasets"] == 1


def test_raw_trades_of_archives_go_to_a_dataset(store: Store, tmp_path: Path) -> None:
    lines = [f"{i},{100 + i},0.5,{50 + i / 2},{START_MS + i * 100},{i % 2 == 0}" for i in range(60)]
    path = zipped(tmp_path, "BTCUSDT-trades-2025-10-09", lines)
    refused = bring(store, path)
    assert refused.state == "failed"
    assert "--dataset" in refused.files[0].message
    job = bring(store, path, dataset="raw")
    assert (job.state, job.files[0].kept) == ("done", 60)
    assert rows_of(store, "select distinct symbol, side from uploaded_trades order by all") == [
        ("btcusdt", "buy"),
        ("btcusdt", "sell"),
    ]
    assert_whole(store, 60)


def test_a_deleted_dataset_is_gone_and_can_come_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.write() as con:
        write_trades(con, trades_frame("s0", list(range(50))), now_ms=0)
    path = ticks(tmp_path, rows(500, with_id=False))
    for name in ("gone", "stays"):
        bring(store, path, dataset=name)
    stays = dataset_rows(store, "stays")
    monkeypatch.setattr(pieces, "PIECE_ROWS", 100)
    assert delete_dataset(store, "gone") == 500
    assert rows_of(store, "select dataset from datasets") == [("stays",)]
    assert dataset_rows(store, "gone") == []
    assert rows_of(store, "select count(*) from bars_1s where symbol like '%@gone'") == [(0,)]
    assert dataset_rows(store, "stays") == stays
    assert rows_of(store, "select count(*) from trades") == [(50,)]
    assert bring(store, path, dataset="gone").files[0].kept == 500
    assert dataset_rows(store, "gone") == stays


def test_a_dataset_is_not_deleted_while_an_import_into_it_waits(
    store: Store, tmp_path: Path
) -> None:
    jobs.new_job(store.path, [tmp_path / "x.ndjson"], dataset="d")
    with pytest.raises(DataError, match="cancel it first"):
        delete_dataset(store, "d")


def test_a_dataset_is_not_deleted_while_rows_come_into_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "WAIT_S", 0.1)
    deleted: list[str] = []

    def during(self: TicksWriter) -> None:
        """A deletion that began before the job was written down, and gets its turn only now."""
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("core.importing.datasets.list_jobs", lambda _: [])
            with pytest.raises(DataError, match="wait for its end"):
                delete_dataset(store, "d")
            assert delete_dataset(store, "other") == 20
            deleted.append("other")

    bring(store, ticks(tmp_path / "o", rows(20, with_id=True)), dataset="other")
    monkeypatch.setattr(TicksWriter, "check", during)
    job = bring(store, ticks(tmp_path, rows(200, with_id=True)), dataset="d")
    assert (job.state, job.files[0].kept, deleted) == ("done", 200, ["other"])
    assert len(dataset_rows(store, "d")) == 200


def test_the_symbol_that_is_given_belongs_to_what_a_file_is_known_by(
    store: Store, tmp_path: Path
) -> None:
    made = [
        {key: value for key, value in row.items() if key != "symbol"}
        for row in rows(50, with_id=True, symbols=1)
    ]
    path = ticks(tmp_path, made)
    for symbol, kept in (("btcusdt", 50), ("ethusdt", 50), ("btcusdt", 0), ("ETHUSDT ", 0)):
        one = bring(store, path, dataset="d", symbol=symbol).files[0]
        assert (one.state, one.kept) == ("done", kept)
        assert ("nothing changed" in one.message) == (kept == 0)
    held = "select symbol, count(*) from uploaded_trades group by all order by 1"
    assert rows_of(store, held) == [("btcusdt", 50), ("ethusdt", 50)]


@pytest.mark.parametrize("name", ["a@b", "a/b", "a b", "x" * 41, " "])
def test_names_that_cannot_be_datasets_are_refused(store: Store, tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="cannot name a dataset"):
        jobs.new_job(store.path, [tmp_path / "x.ndjson"], dataset=name)


def test_one_tick_now_and_then_over_years_is_quick_enough(store: Store, tmp_path: Path) -> None:
    made = [
        {"symbol": "X", "ts": START_MS - i * 7_200_000, "price": 1 + i % 7, "id": i}
        for i in range(2000)
    ]
    job = bring(store, ticks(tmp_path, made), dataset="d")
    assert job.files[0].kept == 2000
    assert_whole(store, 2000)
    assert rows_of(store, "select count(*) from coverage") == [(0,)]
