"""The command line, the worker's own scans, and what programs ask."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from core import scan as command
from core.config import load_settings
from core.errors import DataError
from core.live.scans import begin_scan, scan_run
from core.scanning import keeper, kept
from core.scanning.keeper import ScanKeeper, is_due
from core.scanning.kept import (
    Schedule,
    load_scan,
    load_scans,
    load_schedule,
    note_scheduled,
    set_schedule,
)
from core.scanning.settings import ScanSettings
from core.store import Store
from core.trade_writer import utc_now

Make = Callable[..., Store]
SHORT = ScanSettings(span="6h")


@pytest.fixture
def market(small: Make) -> Iterator[Store]:
    """Six walks over half a day."""
    return small(6, 700)


def asked(store: Store, *arguments: str) -> int:
    return command.main(["--db", str(store.path), "--quiet", *arguments])


def test_the_command_says_what_it_found_and_writes_the_table(
    market: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pairs.parquet"
    assert asked(market, "--span", "6h", "--lag", "2", "--aic", "--out", str(out)) == 0
    said = capsys.readouterr().out
    assert "Tested 30 ordered pairs of 6 symbols" in said
    assert "Noise floor:" in said
    table = pl.read_parquet(out)
    with market.read() as con:
        kept = load_scan(con)
    assert kept is not None
    assert table.equals(kept.pairs.drop("spark"))
    assert kept.asked_by == "command"
    assert (kept.settings.lag, kept.settings.is_aic) == (2, True)


def test_json_is_json_and_csv_goes_to_standard_output(
    market: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    names = "s000usdt,S001USDT,s002usdt"
    assert asked(market, "--span", "6h", "--symbols", names, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tested"] == 6
    assert found["settings"]["symbols"] == ["s000usdt", "s001usdt", "s002usdt"]
    assert len(found["pairs"]) == 3
    assert found["pairs"][0]["of_scans"] == 1
    assert asked(market, "--span", "6h", "--out", "-") == 0
    written = capsys.readouterr()
    assert pl.read_csv(io.StringIO(written.out)).height == 15
    assert written.out.startswith("place,y,x,stage")
    assert "Tested 30 ordered pairs" in written.err


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--span", "6h", "--out", "pairs.txt"), 2, "says no format"),
        (("--span", "6h", "--lag", "11"), 2, "lag is 11"),
        (("--span", "6h", "--min-turnover", "1e14"), 1, "turned over"),
        (("--span", "6h", "--symbols", "nousdt"), 1, "watch it first"),
        (("--every", "1s"), 1, "a scan every 1 s"),
    ],
)
def test_what_cannot_be_done_is_said(
    market: Store, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], status: int,
    words: str,
) -> None:  # fmt: skip
    assert asked(market, *arguments) == status
    assert words in capsys.readouterr().err


def test_a_schedule_is_kept_and_followed(market: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(market, "--span", "6h", "--every", "1h") == 0
    with market.read() as con:
        schedule = load_schedule(con)
    assert schedule == Schedule(3600.0, SHORT)
    assert is_due(schedule)
    assert asked(market, "--scheduled") == 0
    with market.read() as con:
        after = load_schedule(con)
        kept = load_scan(con)
    assert after is not None
    assert after.last_at is not None
    assert not is_due(after)
    assert kept is not None
    assert kept.asked_by == "schedule"
    # What goes wrong is written beside the schedule, where the page shows it.
    set_schedule(market, 3600.0, ScanSettings(span="6h", min_turnover=1e14))
    assert asked(market, "--scheduled") == 1
    with market.read() as con:
        failed = load_schedule(con)
    assert failed is not None
    assert "turned over" in failed.note
    assert asked(market, "--every", "0") == 0
    with market.read() as con:
        assert load_schedule(con) is None
    assert not is_due(None)
    assert is_due(Schedule(300.0, SHORT, utc_now() - timedelta(seconds=301)))


def test_the_worker_begins_what_is_due(market: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "LOOK_S", 0.05)
    set_schedule(market, 3600.0, SHORT)
    job = ScanKeeper(load_settings(db=market.path), market)

    async def until_kept() -> None:
        task = asyncio.create_task(job.run())
        try:
            async with asyncio.timeout(60):
                while not await asyncio.to_thread(kept):
                    await asyncio.sleep(0.1)
        finally:
            task.cancel()

    def kept() -> int:
        with market.read() as con:
            return load_scans(con).height

    asyncio.run(until_kept())
    with market.read() as con:
        found = load_scan(con)
    assert found is not None
    assert found.asked_by == "schedule"


def test_scans_are_one_at_a_time_and_the_oldest_go(
    market: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin_scan(market, SHORT, asked_by="page")
    assert scan_run(market) is run
    run.wait(60)
    with market.read() as con:
        assert load_scan(con, run.id) is not None
    monkeypatch.setattr(kept, "KEPT", 1)
    later = begin_scan(market, SHORT, asked_by="page")
    later.wait(60)
    with market.read() as con:
        assert load_scans(con)["id"].to_list() == [later.id]
        assert load_scan(con, run.id) is None
        for table in ("scan_pairs", "scan_symbols"):
            found = con.execute(f"select distinct scan_id from {table}").fetchall()
            assert found == [(later.id,)]
    note_scheduled(market)
    with pytest.raises(DataError, match="give 300"):
        set_schedule(market, 1.0, SHORT)
