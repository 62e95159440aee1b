"""Archives of the exchange: their names, their rows, and zips that are not what they say."""

from __future__ import annotations

import hashlib
import zipfile
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from made_files import (
    NOW,
    START,
    START_MS,
    archived,
    gzipped,
    read,
    read_through,
    reasons,
    written,
    zipped,
    zstd,
)

from core.errors import BadFile
from core.feed.practice.archive import write_archives
from core.feed.practice.market import Market
from core.models import KLINE_SCHEMA, TICK_SCHEMA, TRADE_SCHEMA
from core.reading import Limits, archive_files, kind_of, open_reading, verify_checksum

AGG = "BTCUSDT-aggTrades-2026-09-12"
AGG_HEADER = (
    "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
)
KLINE = f"{START_MS},10,12,9,11,5.5,{START_MS + 59_999},60.5,7,2.5,27.5,0\n"


def agg(number: int = 0, **changes: object) -> str:
    values: dict[str, object] = {
        "id": 100 + number,
        "price": 67000.5,
        "size": 0.25,
        "first": 1,
        "last": 2,
        "ts": START_MS + number,
        "maker": "true" if number % 2 else "false",
    }
    return ",".join(str(value) for value in (values | changes).values()) + "\n"


@pytest.mark.parametrize("header", [AGG_HEADER, AGG_HEADER.upper(), ""])
@pytest.mark.parametrize("times", [1, 1000])
@pytest.mark.parametrize("flags", [("false", "true"), ("False", "True"), ("0", "1")])
def test_agg_trades_with_or_without_header_in_ms_or_us(
    tmp_path: Path, header: str, times: int, flags: tuple[str, str]
) -> None:
    lines = [agg(n, ts=(START_MS + n) * times, maker=flags[n % 2]) for n in range(4)]
    batch, reading = read_through(archived(tmp_path, AGG, header + "".join(lines)))
    assert (reading.kind, reading.symbol, reading.timeframe) == ("aggTrades", "btcusdt", None)
    assert dict(batch.rows.schema) == TRADE_SCHEMA
    assert batch.rows.rows() == [
        (
            "btcusdt",
            100 + n,
            START + timedelta(milliseconds=n),
            67000.5,
            0.25,
            n % 2 == 1,
            "archive",
        )
        for n in range(4)
    ]
    assert (batch.read, batch.rejects.height, batch.done) == (4, 0, 1.0)


def test_raw_trades_become_ticks_with_the_takers_side(tmp_path: Path) -> None:
    lines = f"9,10.5,2,21,{START_MS},true\n10,10.5,2,21,{START_MS}123,False\n"
    name = "BTCUSDT_261225-trades-2026-09"
    batch, reading = read_through(archived(tmp_path, name, lines))
    assert (reading.kind, reading.symbol) == ("trades", "btcusdt_261225")
    assert dict(batch.rows.schema) == TICK_SCHEMA
    assert batch.rows.rows() == [
        ("btcusdt_261225", 9, START, 10.5, 2.0, "sell"),
        ("btcusdt_261225", 10, START + timedelta(microseconds=123), 10.5, 2.0, "buy"),
    ]


@pytest.mark.parametrize("header", [True, False])
def test_klines_of_a_symbol_in_any_script(tmp_path: Path, header: bool) -> None:
    head = (
        "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
        "taker_buy_volume,taker_buy_quote_volume,ignore\n"
    )
    name = "币安人生USDT-1m-2026-09"
    batch, reading = read_through(archived(tmp_path, name, (head if header else "") + KLINE))
    assert (reading.kind, reading.symbol, reading.timeframe) == ("klines", "币安人生usdt", "1min")
    assert dict(batch.rows.schema) == KLINE_SCHEMA
    assert batch.rows.rows() == [("币安人生usdt", START, 10, 12, 9, 11, 5.5, 60.5, 7, 2.5)]


@pytest.mark.parametrize(
    ("interval", "timeframe"),
    [("1m", "1min"), ("5m", "5min"), ("15m", "15min"), ("1h", "1h"), ("4h", "4h"), ("1d", "1d")],
)
def test_klines_of_the_timeframes_that_are_kept(
    tmp_path: Path, interval: str, timeframe: str
) -> None:
    line = KLINE.replace(str(START_MS), str(START_MS - START_MS % 86_400_000))
    _, reading = read_through(archived(tmp_path, f"BTCUSDT-{interval}-2026-09-12", line))
    assert reading.timeframe == timeframe


@pytest.mark.parametrize("interval", ["3m", "30m", "2h", "1w", "1mo"])
def test_klines_of_another_timeframe_are_refused_clearly(tmp_path: Path, interval: str) -> None:
    with pytest.raises(BadFile, match=f"klines of {interval} are not kept; .*1m, 5m, 15m"):
        read(archived(tmp_path, f"BTCUSDT-{interval}-2026-09-12", KLINE))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": "x"}, "the id is no whole number"),
        ({"id": -1}, "the id is negative or too large"),
        ({"id": 2**53}, "the id is negative or too large"),
        ({"id": ""}, "no id"),
        ({"price": "0.0"}, "the price is not above zero"),
        ({"price": "nan"}, "the price is not finite"),
        ({"price": "-1"}, "the price is not above zero"),
        ({"size": "0"}, "the size is zero"),
        ({"size": "inf"}, "the size is not finite"),
        ({"size": "-2"}, "the size is negative"),
        ({"ts": 1_400_000_000_000}, "the time is before 2017"),
        ({"ts": START_MS + 40 * 86_400_000}, "the time is in the future"),
        ({"ts": "soon"}, "the time is not understood"),
        ({"maker": "perhaps"}, "is_buyer_maker is neither true nor false"),
        ({"maker": ""}, "no is_buyer_maker"),
        ({"maker": "true,1"}, "8 fields where 7 are due"),
    ],
)
def test_a_bad_row_costs_itself_alone(tmp_path: Path, change: dict, reason: str) -> None:
    text = AGG_HEADER + agg(0) + agg(1, **change) + agg(2)
    batch = read(archived(tmp_path, AGG, text))
    assert batch.rows["agg_id"].to_list() == [100, 102]
    assert batch.read == 3
    assert batch.rejects.rows() == [(3, reason, text.splitlines()[2])]


def test_cut_lines_blank_lines_and_headers_in_the_middle(tmp_path: Path) -> None:
    text = (
        agg(0) + "\n" + AGG_HEADER + agg(1) + "103,67000.5,0.2\r\n" + agg(2).replace("\n", "\r\n")
    )
    batch = read(archived(tmp_path, AGG, text + agg(3)[:-4]))
    assert batch.rows["agg_id"].to_list() == [100, 101, 102]
    assert batch.read == 6
    assert reasons(batch) == {
        3: "the id is no whole number",
        5: "3 fields where 7 are due",
        7: "is_buyer_maker is neither true nor false",
    }


def test_disorder_and_duplicates_are_left_to_the_import(tmp_path: Path) -> None:
    batch = read(archived(tmp_path, AGG, agg(2) + agg(1) + agg(2)))
    assert batch.rows["agg_id"].to_list() == [102, 101, 102]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("10,12,9,11", "10,10.5,9,11"), "the high is below another price"),
        (("10,12,9,11", "10,12,10.5,11"), "the low is above another price"),
        (("10,12,9,11", "10,12,0,11"), "the low is not above zero"),
        ((",5.5,", ",-5.5,"), "the volume is negative"),
        ((",7,", ",-7,"), "the number of trades is negative"),
        ((",7,", ",many,"), "the number of trades is none"),
        ((",60.5,", ",nan,"), "the quote_volume is no number"),
        ((f"{START_MS},", f"{START_MS + 1000},"), "the time is no start of a bar of 60 s"),
    ],
)
def test_a_row_that_is_no_kline_costs_itself_alone(
    tmp_path: Path, change: tuple[str, str], reason: str
) -> None:
    batch = read(archived(tmp_path, "BTCUSDT-1m-2026-09", KLINE + KLINE.replace(*change)))
    assert (batch.rows.height, reasons(batch)) == (1, {2: reason})


def test_the_practice_exchanges_archives_read_whole(tmp_path: Path) -> None:
    day = date(2026, 9, 12)
    for header in (True, False):
        paths = write_archives(Market(3, 0.2), ["btcusdt"], day, day, tmp_path, header=header)
        for path in paths:
            batch, reading = read_through(path)
            assert batch.rejects.height == 0
            assert batch.rows.height == batch.read > 500
            assert reading.symbol == "btcusdt"
            assert batch.rows["ts"].min() >= datetime(2026, 9, 12)
            assert verify_checksum(path) in (True, None)


def test_an_unpacked_archive_and_a_compressed_one_read_the_same(tmp_path: Path) -> None:
    text = (AGG_HEADER + agg(0) + agg(1)).encode()
    batch, reading = read_through(archived(tmp_path, AGG, text))
    for name, content in ((".csv", text), (".csv.gz", gzipped(text)), (".csv.zst", zstd(text))):
        other, its_reading = read_through(written(tmp_path, AGG + name, content))
        assert other.rows.equals(batch.rows)
        assert its_reading.content_hash == reading.content_hash == hashlib.sha256(text).hexdigest()


def test_the_symbol_may_be_given_and_must_not_contradict_the_name(tmp_path: Path) -> None:
    path = zipped(tmp_path, "mine.zip", {"data.csv": AGG_HEADER + agg()})
    assert kind_of(path) == "aggTrades"
    with pytest.raises(BadFile, match="does not tell its symbol"):
        read(path)
    assert read(path, symbol="ETHUSDT").rows["symbol"].to_list() == ["ethusdt"]
    with pytest.raises(BadFile, match="is of btcusdt, not of ethusdt"):
        read(archived(tmp_path, AGG, agg()), symbol="ETHUSDT")


def test_names_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path, f"{AGG}.zip", {"ETHUSDT-aggTrades-2026-09-12.csv": agg()})
    with pytest.raises(BadFile, match="the names disagree"):
        read(path)


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        (AGG, agg()[:-1] + ",true\n", "8 fields a line where aggTrades have 7; .*spot market"),
        (AGG, "1,2,3\n", "3 fields a line where aggTrades have 7"),
        ("BTCUSDT-1m-2026-09", "1,2,3\n", "3 fields a line where klines have 12"),
        (AGG, "agg_trade_id,price,first\n", "lacks the columns quantity, transact_time"),
        (AGG, "\n\n", "holds no lines but blank ones"),
    ],
)
def test_other_columns_than_the_kind_has_are_refused(
    tmp_path: Path, name: str, line: str, message: str
) -> None:
    with pytest.raises(BadFile, match=message):
        read(archived(tmp_path, name, line))


@pytest.mark.parametrize(
    "trick",
    ["../x.csv", "a/../../x.csv", "/etc/x.csv", "C:x.csv", "c:\\x.csv", "a\\x.csv", "a\x01.csv"],
)
def test_path_tricks_in_members_are_refused(tmp_path: Path, trick: str) -> None:
    path = zipped(tmp_path, f"{AGG}.zip", {f"{AGG}.csv": agg(), trick: "x"})
    with pytest.raises(BadFile, match="a path that leads outside it"):
        open_reading(path)


def test_exactly_one_csv_is_read(tmp_path: Path) -> None:
    extra = {f"x/{AGG}.csv": agg(), "__MACOSX/._a.csv": "x", "README.txt": "x"}
    assert read(zipped(tmp_path, "a.zip", extra)).rows.height == 1
    with pytest.raises(BadFile, match=r"exactly one CSV file and holds 2; found: a\.csv, b\.csv"):
        open_reading(zipped(tmp_path, "b.zip", {"a.csv": agg(), "b.csv": agg()}))
    with pytest.raises(BadFile, match=r"holds 0; found: word/document\.xml"):
        open_reading(zipped(tmp_path, "c.zip", {"word/document.xml": "<x/>"}))
    with pytest.raises(BadFile, match="found: nothing"):
        open_reading(zipped(tmp_path, "d.zip", {}))


@pytest.mark.parametrize("form", ["zip", "gz", "zst"])
def test_bombs_are_held_while_they_are_read(tmp_path: Path, form: str) -> None:
    text = (agg() * 200_000).encode()
    limits = Limits(ratio=20, free_bytes=2**20)
    if form == "zip":
        path = archived(tmp_path, AGG, text)
    else:
        pack = gzipped if form == "gz" else zstd
        path = written(tmp_path, f"{AGG}.csv.{form}", pack(text))
    assert read(path).rows.height == 200_000
    with pytest.raises(BadFile, match="over 20 times its size"):
        read(path, limits=limits)
    with pytest.raises(BadFile, match="unfolds to"):
        read(path, limits=Limits(total_bytes=2**20))


def test_a_zip_whose_header_lies_about_its_size_is_held_or_refused(tmp_path: Path) -> None:
    text = agg() * 50_000
    path = archived(tmp_path, AGG, text)
    size = len(text).to_bytes(4, "little")
    content = path.read_bytes()
    assert content.count(size) == 2
    lying = written(tmp_path, f"{AGG}.zip", content.replace(size, (5000).to_bytes(4, "little")))
    with pytest.raises(BadFile, match="is broken after"):
        read(lying)


def test_encrypted_truncated_and_corrupt_zips_are_refused(tmp_path: Path) -> None:
    path = archived(tmp_path, AGG, "".join(agg(n) for n in range(20_000)))
    content = path.read_bytes()
    middle = len(content) // 2
    corrupt = content[:middle] + bytes(b ^ 255 for b in content[middle : middle + 50])
    with pytest.raises(BadFile, match="is broken after"):
        read(written(tmp_path, f"{AGG}.zip", corrupt + content[middle + 50 :]))
    with pytest.raises(BadFile, match="is no whole zip"):
        read(written(tmp_path, f"{AGG}.zip", content[:middle]))
    with pytest.raises(BadFile, match=r"is no \.zip file: it starts with b'<htm'"):
        read(written(tmp_path, f"{AGG}.zip", "<html>404</html>"))
    with pytest.raises(BadFile, match="is empty"):
        read(written(tmp_path, f"{AGG}.zip", b""))
    with zipfile.ZipFile(path := tmp_path / "e.zip", "w") as archive:
        archive.writestr("e.csv", agg())
    locked = bytearray(path.read_bytes())
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(BadFile, match="is encrypted"):
        read(written(tmp_path, "e.zip", bytes(locked)))


@pytest.mark.parametrize("pack", [gzipped, zstd])
def test_truncated_streams_are_refused(tmp_path: Path, pack) -> None:  # type: ignore[no-untyped-def]
    content = pack("".join(agg(n) for n in range(20_000)).encode())
    name = f"{AGG}.csv.{'gz' if pack is gzipped else 'zst'}"
    with pytest.raises(BadFile, match="is broken after"):
        read(written(tmp_path, name, content[: len(content) // 2]))


def test_checksums_are_verified_where_they_are(tmp_path: Path) -> None:
    path = archived(tmp_path, AGG, agg())
    assert verify_checksum(path) is None
    beside = tmp_path / f"{AGG}.zip.CHECKSUM"
    due = hashlib.sha256(path.read_bytes()).hexdigest()
    beside.write_text(f"{due.upper()}  {path.name}\n")
    assert verify_checksum(path) is True
    beside.write_text(f"{'0' * 64}  {path.name}\n")
    with pytest.raises(BadFile, match="not what its checksum says"):
        verify_checksum(path)
    beside.write_text("<html>")
    with pytest.raises(BadFile, match="holds no sha256"):
        verify_checksum(path)


def test_folders_and_files_are_found_sorted_without_checksums(tmp_path: Path) -> None:
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "in/.git").mkdir()
    names = ["in/b.zip", "in/b.zip.CHECKSUM", "in/deep/a.zip", "in/.hidden", "in/.git/x", "z.csv"]
    for name in names:
        (tmp_path / name).write_text("x")
    found = archive_files([tmp_path / "z.csv", tmp_path / "in", tmp_path / "in/b.zip"])
    assert [path.relative_to(tmp_path).as_posix() for path in found] == [
        *["in/b.zip", "in/deep/a.zip", "z.csv"]
    ]
    with pytest.raises(BadFile, match="does not exist"):
        archive_files([tmp_path / "nowhere"])


def test_prices_and_sizes_are_the_nearest_doubles(tmp_path: Path) -> None:
    texts = ["0.1", "67000.10", "0.00000001", "123456.789012345678", "1e-05", "99999999999"]
    lines = "".join(agg(n, price=text, size="0.3") for n, text in enumerate(texts))
    batch = read(archived(tmp_path, AGG, lines))
    assert batch.rows["price"].to_list() == [float(text) for text in texts]
    slow = read(archived(tmp_path, AGG, lines + "x\n"))
    assert slow.rows.equals(batch.rows)
    assert pl.Series(slow.rows["ts"]).equals(batch.rows["ts"])
    assert NOW > batch.rows["ts"].max()
