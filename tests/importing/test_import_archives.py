"""Archives of aggTrades: the same set as live and backfill leave, to the last digit."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import polars as pl
import pytest
from archives import MARKET, agg_trades, bring, everything, practice_archives, rows_of
from made import START_MS, assert_exact, trades_frame

from core import queries
from core.importing import records
from core.models import TRADE_SCHEMA
from core.store import Store, open_store
from core.trade_writer import write_trades


def put(store: Store, frame: pl.DataFrame) -> None:
    with store.write() as con:
        write_trades(con, frame, now_ms=START_MS)


def of_the_exchange(symbol: str, first: int, last: int, source: str) -> pl.DataFrame:
    block = MARKET.trades(symbol, first, last)
    return pl.DataFrame(
        {
            "symbol": [symbol] * len(block.agg_id),
            "agg_id": block.agg_id,
            "ts": pl.Series(block.ts_ms).cast(pl.Datetime("ms")),
            "price": block.price,
            "size": block.size,
            "buyer_is_maker": block.buyer_is_maker,
            "source": [source] * len(block.agg_id),
        },
        schema=TRADE_SCHEMA,
    )


def test_live_backfill_and_import_leave_one_exact_set(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "CHUNK_ROWS", 5000)
    symbols = ("btcusdt", "币安人生usdt")
    job = bring(store, *practice_archives(tmp_path / "in", symbols))
    assert job.state == "done", job.message
    imported = everything(store)
    spans = {row[0]: (row[1], row[2]) for row in imported["coverage"]}

    live = open_store(tmp_path / "live.duckdb")
    live.prepare("binance")
    whole = pl.concat([of_the_exchange(symbol, *spans[symbol], "ws") for symbol in symbols])
    pieces = [whole.slice(low, 700) for low in range(0, len(whole), 700)]
    random.Random(3).shuffle(pieces)
    for low in range(0, len(pieces), 4):
        put(live, pl.concat(pieces[low : low + 4]).sample(fraction=1.0, shuffle=True, seed=low))

    backfill = open_store(tmp_path / "backfill.duckdb")
    backfill.prepare("binance")
    pages = [
        of_the_exchange(symbol, low, min(low + 999, spans[symbol][1]), "rest")
        for symbol in symbols
        for low in range(spans[symbol][0], spans[symbol][1] + 1, 1000)
    ]
    for page in reversed(pages):
        put(backfill, page)

    assert_exact(store)
    assert everything(live) == imported
    assert everything(backfill) == imported
    assert job.files[0].kept == spans["btcusdt"][1] - spans["btcusdt"][0] + 1


def test_an_import_closes_the_gaps_that_it_covers_and_keeps_what_is_there(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "CHUNK_ROWS", 300)
    held = [*range(50, 120), *range(400, 410), *range(990, 1200)]
    put(store, trades_frame("btcusdt", held))
    job = bring(store, agg_trades(tmp_path, range(1000)))
    assert (job.state, job.files[0].kept, job.files[0].duplicate) == ("done", 910, 90)
    with store.read() as con:
        assert queries.load_gaps(con).is_empty()
        assert len(queries.load_gaps(con, ("filled",))) == 2
    assert rows_of(store, "select first_id, last_id from coverage") == [(0, 1199)]
    assert_exact(store)
    assert rows_of(store, "select source, count(*) from trades group by 1 order by 1") == [
        ("archive", 910),
        ("ws", 290),
    ]


def test_rows_in_any_order_and_twice_are_sorted_on_disk(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "CHUNK_ROWS", 700)
    ids = [*range(4000), *range(100, 900)]
    random.Random(5).shuffle(ids)
    job = bring(store, agg_trades(tmp_path, ids))
    assert (job.files[0].kept, job.files[0].duplicate) == (4000, 800)
    assert_exact(store)
    twin = open_store(tmp_path / "twin.duckdb")
    twin.prepare("binance")
    put(twin, trades_frame("btcusdt", list(range(4000))))
    assert everything(twin) == everything(store)


def test_the_same_content_twice_changes_nothing_and_says_so(store: Store, tmp_path: Path) -> None:
    path = agg_trades(tmp_path, range(500))
    first = bring(store, path)
    before = (everything(store), rows_of(store, "from versions order by 1"))
    again = bring(store, path)
    renamed = bring(store, path.rename(tmp_path / "BTCUSDT-aggTrades-2025-10-09 (1).zip"))
    assert first.files[0].kept == 500
    for job in (again, renamed):
        assert (job.state, job.files[0].kept, job.files[0].duplicate) == ("done", 0, 500)
        assert "nothing changed" in job.files[0].message
    assert (everything(store), rows_of(store, "from versions order by 1")) == before
    assert rows_of(store, "select count(*) from imported_files") == [(1,)]


def test_another_content_with_the_same_trades_is_all_duplicate(
    store: Store, tmp_path: Path
) -> None:
    bring(store, agg_trades(tmp_path / "a", range(500)))
    job = bring(store, agg_trades(tmp_path / "b", range(100, 300)))
    assert (job.state, job.files[0].kept, job.files[0].duplicate) == ("done", 0, 200)
    assert_exact(store)


@pytest.mark.parametrize("shift", [0, 7 * 86_400_000])
def test_an_archive_of_another_exchange_is_refused_and_nothing_is_written(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift: int
) -> None:
    monkeypatch.setattr(records, "CHUNK_ROWS", 200)
    # What both have lies in the third chunk: the first two must not be stored either.
    put(store, trades_frame("btcusdt", list(range(450, 470)), start_ms=START_MS + shift))
    before = everything(store)
    other = (lambda i: 200.0 + i) if not shift else (lambda i: 100.0 + (i * 37 % 101) / 10)
    job = bring(store, agg_trades(tmp_path, range(600), price=other))
    assert job.state == "failed"
    assert "another exchange" in job.files[0].message
    assert everything(store) == before
    assert rows_of(store, "select name from imported_files") == []


def test_a_checksum_is_held_to_where_it_lies_beside(store: Store, tmp_path: Path) -> None:
    good, bad = agg_trades(tmp_path / "a", range(50)), agg_trades(tmp_path / "b", range(50, 90))
    digest = hashlib.sha256(good.read_bytes()).hexdigest()
    for path in (good, bad):
        Path(f"{path}.CHECKSUM").write_text(f"{digest}  {path.name}\n")
    job = bring(store, good, bad)
    assert [one.state for one in job.files] == ["done", "failed"]
    assert "checksum" in job.files[1].message
    assert job.message.startswith("1 of 2 files was not imported")
    assert rows_of(store, "select count(*) from trades") == [(50,)]


def test_bad_lines_are_kept_with_line_and_reason_and_do_not_stop_the_file(
    store: Store, tmp_path: Path
) -> None:
    bad = ["=1+1,1,1,1,1,1,true", f"77,-5,1,1,1,{START_MS},true"]
    job = bring(store, agg_trades(tmp_path, range(50), lines=bad))
    one = job.files[0]
    assert (one.state, one.read, one.kept, one.rejected) == ("done", 52, 50, 2)
    assert [line for line, _, _ in one.rejects] == [51, 52]
    kept = pl.read_csv(job.rejects_path(0))
    assert kept.columns == ["line", "reason", "text"]
    assert kept["text"].to_list() == ["'" + bad[0], bad[1]]


def test_a_file_of_which_more_than_half_is_rejected_is_not_taken(
    store: Store, tmp_path: Path
) -> None:
    bad = [f"{i},0,1,1,1,{START_MS},true" for i in range(12)]
    job = bring(store, agg_trades(tmp_path, range(10), lines=bad))
    one = job.files[0]
    assert (job.state, one.read, one.kept, one.rejected) == ("failed", 22, 0, 12)
    assert "12 of 22" in one.message
    assert len(one.rejects) == 10
    assert job.rejects_path(0).exists()
    assert rows_of(store, "select count(*) from trades") == [(0,)]


def test_a_gap_filled_by_the_worker_while_a_chunk_was_made_ready_is_no_double(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.importing.agg_trades import AggTradesWriter

    ready = AggTradesWriter.ready

    def overtaken(self, rows):
        chunk = ready(self, rows)
        put(store, trades_frame("btcusdt", list(range(20, 40)), source="rest"))
        return chunk

    monkeypatch.setattr(AggTradesWriter, "ready", overtaken)
    job = bring(store, agg_trades(tmp_path, range(100)))
    assert (job.files[0].kept, job.files[0].duplicate) == (80, 20)
    assert_exact(store)
