"""What a file is, told by its name and first bytes."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from made_files import gzipped, ndjson, tick, written, zipped, zstd

from core.errors import BadFile
from core.reading import kind_of, open_reading

BARS = "TS,Open,High,Low,Close,Volume,Extra\n"
KLINES = "open_time,open,high,low,close,volume,quote_volume,count,taker_buy_volume\n"


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.ndjson", ndjson(tick()), "ticks"),
        ("a.jsonl", "garbage first\n", "ticks"),
        ("a", "\n\n" + ndjson(tick()), "ticks"),
        ("a.txt", ndjson(tick()).encode("utf-16"), "ticks"),
        ("a.csv", "Price;TS;Symbol\n", "ticks"),
        ("a.csv", "symbol,ts,cost\n", "ticks"),
        ("a.csv", BARS, "bars"),
        ("a.csv", BARS.encode("utf-16"), "bars"),
        ("a.csv", "ts,open,high,low,close\n", "bars"),
        ("a.csv", KLINES, "klines"),
        ("a.csv.gz", gzipped(BARS.encode()), "bars"),
        ("a.csv.zst", zstd(BARS.encode()), "bars"),
        ("BTCUSDT-aggTrades-2026-09-12.csv", "1,2,3,4,5,6,true\n", "aggTrades"),
        ("BTCUSDT-trades-2026-09.csv", "1,2,3,4,5,true\n", "trades"),
        ("mine-1m-2026-09.csv", BARS, "bars"),
        ("币安人生USDT-15m-2026-09.csv", "1\n", "klines"),
        ("BTCUSDT_261225-aggTrades-2026-09-12 (1).csv", "1,2,3,4,5,6,true\n", "aggTrades"),
    ],
)
def test_kinds(tmp_path: Path, name: str, content: str | bytes, kind: str) -> None:
    assert kind_of(written(tmp_path, name, content)) == kind


def test_a_zip_is_told_by_its_member_or_by_its_own_name(tmp_path: Path) -> None:
    inner = zipped(tmp_path, "download.zip", {"x/BTCUSDT-aggTrades-2026-09-12.csv": "1"})
    outer = zipped(tmp_path, "BTCUSDT-1m-2026-09.zip", {"data.csv": "1"})
    assert (kind_of(inner), kind_of(outer)) == ("aggTrades", "klines")


def test_parquet_is_told_by_its_first_bytes(tmp_path: Path) -> None:
    pl.DataFrame([tick()]).write_parquet(tmp_path / "a.dat")
    assert kind_of(tmp_path / "a.dat") == "ticks"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "hello\n", "none of the files that can be read: .* first line is: hello"),
        ("a.csv", "date,o,h,l,c\n", "ticks .*symbol, ts, price.*bars .*first line is: date,o,h"),
        ("a.csv", "\n\n", "first line is: blank"),
        ("a.csv", "", "is empty"),
        ("a.gz", "plain", r"is no \.gz file: it starts with b'plai'"),
        ("a.zst", "plain", r"is no \.zst file"),
    ],
)
def test_what_nothing_fits_is_refused_naming_what_was_found(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    with pytest.raises(BadFile, match=message):
        kind_of(written(tmp_path, name, content))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="cannot be opened: No such file"):
        kind_of(tmp_path / "nowhere.csv")
    with pytest.raises(BadFile, match="cannot be opened: Is a directory"):
        kind_of(tmp_path)


def test_bars_are_not_opened_as_ticks(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="holds bars; give it with its symbol and timeframe"):
        open_reading(written(tmp_path, "a.csv", BARS))
