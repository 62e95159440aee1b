"""Archives read back equal the market they were written from."""

import csv
import hashlib
import io
import zipfile
from datetime import date
from pathlib import Path

import pytest

from core.feed.practice.archive import write_archives
from core.feed.practice.market import DAY_MS, EPOCH_MS, MINUTE_MS, Market

MARKET = Market(seed=7, rate=5)
DAY = EPOCH_MS + 2_515 * DAY_MS


def read(path: Path) -> list[list[str]]:
    digest, name = path.with_name(path.name + ".CHECKSUM").read_text("utf-8").split()
    assert (digest, name) == (hashlib.sha256(path.read_bytes()).hexdigest(), path.name)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [path.stem + ".csv"]
        return list(csv.reader(io.StringIO(archive.read(archive.namelist()[0]).decode())))


@pytest.mark.parametrize("header", [True, False])
def test_a_day_of_trades_and_klines(tmp_path: Path, header: bool) -> None:
    day = date(2026, 11, 20)
    written = write_archives(MARKET, ["币安人生usdt"], day, day, tmp_path, header=header)
    folder = tmp_path / "data/futures/um/daily"
    assert written == [
        folder / "aggTrades/币安人生USDT/币安人生USDT-aggTrades-2026-11-20.zip",
        folder / "klines/币安人生USDT/1m/币安人生USDT-1m-2026-11-20.zip",
    ]
    trades, klines = map(read, written)
    if header:
        assert trades.pop(0)[:3] == ["agg_trade_id", "price", "quantity"]
        assert klines.pop(0)[0] == "open_time"
    block = MARKET.trades_between("币安人生usdt", DAY, DAY + DAY_MS)
    assert [int(row[0]) for row in trades] == block.agg_id.tolist()
    assert [float(row[1]) for row in trades] == block.price.tolist()
    assert [float(row[2]) for row in trades] == block.size.tolist()
    assert [int(row[5]) for row in trades] == block.ts_ms.tolist()
    assert [row[6] == "true" for row in trades] == block.buyer_is_maker.tolist()
    bars = MARKET.klines("币安人生usdt", MINUTE_MS, DAY, DAY + DAY_MS)
    assert [int(row[8]) for row in klines] == bars.trades.tolist()
    assert {len(row) for row in klines} == {12}


def test_days_are_both_included_and_equal_days_give_equal_files(tmp_path: Path) -> None:
    first, last = date(2026, 11, 20), date(2026, 11, 21)
    for name in ("a", "b"):
        files = write_archives(MARKET, ["4usdt"], first, last, tmp_path / name, kinds=["klines"])
        assert len(files) == 2
    again = [tmp_path / "a" / path.relative_to(tmp_path / "b") for path in files]
    assert [p.read_bytes() for p in again] == [p.read_bytes() for p in files]
    with pytest.raises(ValueError, match="kinds"):
        write_archives(MARKET, ["4usdt"], first, last, tmp_path, kinds=["trades"])
