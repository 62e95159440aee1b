"""The buffer never loses a row: not when it spills, not across a restart."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from made import trades_frame

from core.buffer import TradeBuffer


def spill(buffer: TradeBuffer, keep: int = 0) -> None:
    taken = buffer.take_for_spill(keep)
    assert taken is not None
    buffer.note_spilled(buffer.write_spill(taken), len(taken))


def drained(buffer: TradeBuffer) -> list[int]:
    ids: list[int] = []
    while len(buffer):
        frame, count = buffer.peek(25)
        ids += frame["agg_id"].to_list()
        buffer.drop(count)
    return ids


def test_rows_stay_until_they_are_dropped(tmp_path: Path) -> None:
    buffer = TradeBuffer(tmp_path / "spill", max_rows=100)
    buffer.add(trades_frame("a", [1, 2]))
    buffer.add(trades_frame("a", [3]))
    assert buffer.peek(10)[0]["agg_id"].to_list() == [1, 2, 3]
    frame, count = buffer.peek(2)
    assert frame["agg_id"].to_list() == [1, 2]
    buffer.add(trades_frame("a", [4]))
    buffer.drop(count)
    assert drained(buffer) == [3, 4]


def test_spilled_rows_come_back_and_their_files_go(tmp_path: Path) -> None:
    buffer = TradeBuffer(tmp_path / "spill", max_rows=30)
    for i in range(0, 60, 10):
        buffer.add(trades_frame("a", list(range(i, i + 10))))
    assert buffer.is_over()
    spill(buffer, keep=2)
    assert (buffer.rows, buffer.spilled_rows, len(buffer)) == (20, 40, 60)
    assert sorted(drained(buffer)) == list(range(60))
    assert list((tmp_path / "spill").iterdir()) == []


def test_a_spilled_file_stays_until_its_rows_are_stored(tmp_path: Path) -> None:
    buffer = TradeBuffer(tmp_path / "spill", max_rows=5)
    buffer.add(trades_frame("a", list(range(10))))
    spill(buffer)
    buffer.peek(100)
    again = TradeBuffer(tmp_path / "spill", max_rows=5)
    assert again.spilled_rows == 10
    assert drained(again) == list(range(10))


def test_spilled_rows_come_back_while_new_ones_keep_coming(tmp_path: Path) -> None:
    buffer = TradeBuffer(tmp_path / "spill", max_rows=5)
    buffer.add(trades_frame("a", list(range(10))))
    spill(buffer)
    buffer.add(trades_frame("a", [10]))
    assert sorted(buffer.peek(100)[0]["agg_id"].to_list()) == list(range(11))


def test_leftovers_of_a_killed_worker_are_found_and_numbers_go_on(tmp_path: Path) -> None:
    first = TradeBuffer(tmp_path / "spill", max_rows=5)
    first.add(trades_frame("币usdt", [1, 2]))
    spill(first)
    (tmp_path / "spill" / "00000009.draft").write_bytes(b"half a file")
    second = TradeBuffer(tmp_path / "spill", max_rows=5)
    second.add(trades_frame("币usdt", [3]))
    spill(second)
    third = TradeBuffer(tmp_path / "spill", max_rows=5)
    assert sorted(drained(third)) == [1, 2, 3]


def test_an_unreadable_spill_file_is_set_aside_not_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "spill"
    buffer = TradeBuffer(folder, max_rows=5)
    buffer.add(trades_frame("a", [1]))
    spill(buffer)
    next(folder.glob("*.parquet")).write_bytes(b"not parquet at all")
    assert buffer.peek(10)[0].is_empty()
    assert [p.suffix for p in folder.iterdir()] == [".unreadable"]


def test_at_the_end_every_row_that_is_in_memory_only_is_taken(tmp_path: Path) -> None:
    buffer = TradeBuffer(tmp_path / "spill", max_rows=5)
    buffer.add(trades_frame("a", [4, 5, 6]))
    spill(buffer)
    buffer.add(trades_frame("a", [1, 2, 3]))
    buffer.peek(100)
    buffer.add(trades_frame("a", [7, 8]))
    taken = buffer.take_unspilled()
    assert taken is not None
    buffer.write_spill(taken)
    assert sorted(drained(TradeBuffer(tmp_path / "spill", max_rows=5))) == list(range(1, 9))


def test_a_stranger_in_the_spill_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "backup.parquet").write_bytes(b"mine")
    assert len(TradeBuffer(tmp_path, max_rows=5)) == 0
    assert (tmp_path / "backup.parquet").exists()


def test_a_spill_that_the_disk_refuses_is_an_os_error(tmp_path: Path) -> None:
    buffer = TradeBuffer(tmp_path / "spill", max_rows=5)
    (tmp_path / "spill").mkdir()
    (tmp_path / "spill" / "00000001.draft").mkdir()
    with pytest.raises(OSError, match="could not be written"):
        buffer.write_spill(trades_frame("a", [1]))


def test_an_empty_peek_has_the_schema(tmp_path: Path) -> None:
    frame, count = TradeBuffer(tmp_path, max_rows=5).peek(10)
    assert count == 0
    assert frame.schema == trades_frame("a", []).schema
    assert isinstance(frame, pl.DataFrame)
