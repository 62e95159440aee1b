"""Ticks from NDJSON, CSV and Parquet: what is kept, and each kind of bad input."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from made_files import NOW, START, gzipped, ndjson, read, read_through, reasons, tick, written, zstd

from core.errors import BadFile
from core.models import REJECT_SCHEMA, TICK_SCHEMA
from core.reading import open_reading
from core.reading import reading as reading_room

HEADER = "symbol,ts,price,size\n"


def csv_line(**changes: Any) -> str:
    values = tick(**changes)
    return ",".join(str(values.get(name, "")) for name in ("symbol", "ts", "price", "size"))


def test_ndjson_ticks_come_in_the_schema_with_every_field(tmp_path: Path) -> None:
    text = ndjson(tick(0, id=7, side="SELL"), tick(1, size=None), tick(2, extra={"a": [1]}))
    batch, reading = read_through(written(tmp_path, "a.ndjson", text))
    assert dict(batch.rows.schema) == TICK_SCHEMA
    assert dict(batch.rejects.schema) == REJECT_SCHEMA
    assert batch.rows.rows() == [
        ("btcusdt", 7, START, 67000.0, 0.001, "sell"),
        ("btcusdt", None, START + timedelta(milliseconds=57), 67000.1, None, None),
        ("btcusdt", None, START + timedelta(milliseconds=114), 67000.2, 0.003, None),
    ]
    assert (batch.read, batch.done, batch.rejects.height) == (3, 1.0, 0)
    assert (reading.kind, reading.symbol, reading.timeframe) == ("ticks", None, None)
    assert reading.name == "a.ndjson"


BAD_VALUES = [
    ({"symbol": None}, "no symbol"),
    ({"symbol": "  "}, "no symbol"),
    ({"symbol": "btc@x"}, "the symbol is no name"),
    ({"symbol": "btc/usdt"}, "the symbol is no name"),
    ({"symbol": "btc\tusdt"}, "the symbol is no name"),
    ({"symbol": "b" * 65}, "the symbol is no name"),
    ({"ts": None}, "no time"),
    ({"ts": "yesterday"}, "the time is not understood"),
    ({"ts": "2026-02-30T10:00:00"}, "the time is not understood"),
    ({"ts": "2016-12-31T23:59:59.999Z"}, "the time is before 2017"),
    ({"ts": 5}, "the time is before 2017"),
    ({"ts": "2026-10-02T00:00:00.001Z"}, "the time is in the future"),
    ({"price": None}, "no price"),
    ({"price": "67k"}, "the price is no number"),
    ({"price": "1,23"}, "the price is no number"),
    ({"price": "nan"}, "the price is not finite"),
    ({"price": "inf"}, "the price is not finite"),
    ({"price": "-inf"}, "the price is not finite"),
    ({"price": 0}, "the price is not above zero"),
    ({"price": -1.5}, "the price is not above zero"),
    ({"price": 1e-9}, "the price is below 0.00000001"),
    ({"price": 1e11}, "the price is 1e+11 or more"),
    ({"size": "some"}, "the size is no number"),
    ({"size": "inf"}, "the size is not finite"),
    ({"size": "nan"}, "the size is not finite"),
    ({"size": -0.001}, "the size is negative"),
    ({"size": 1e10}, "the size is 1e+10 or more"),
    ({"price": 1e9, "size": 1e5}, "price times size is too large"),
]


@pytest.mark.parametrize(("change", "reason"), BAD_VALUES)
def test_a_bad_value_costs_its_ndjson_line_alone(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    text = ndjson(tick(0), tick(1, **change), tick(2))
    batch = read(written(tmp_path, "a.ndjson", text))
    assert batch.rows["ts"].to_list() == [START, START + timedelta(milliseconds=114)]
    assert batch.read == 3
    [(line, found, shown)] = batch.rejects.rows()
    assert (line, shown) == (2, text.splitlines()[1][:200])
    assert found.startswith(reason)


@pytest.mark.parametrize(("change", "reason"), BAD_VALUES)
def test_a_bad_value_costs_its_csv_line_alone(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    values = {name: f'"{v}"' if "," in str(v) else v for name, v in change.items()}
    text = HEADER + "\n".join([csv_line(), csv_line(**values), csv_line()]) + "\n"
    batch = read(written(tmp_path, "a.csv", text))
    assert batch.rows.height == 2
    assert batch.read == 3
    [(line, found, shown)] = batch.rejects.rows()
    assert (line, shown) == (3, text.splitlines()[2][:200])
    assert found.startswith(reason)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("not json", "the line is no JSON"),
        ('{"symbol": "btcusdt", "ts": 1', "the line is no JSON"),
        ("[" * 100_000, "the line is no JSON"),
        ("[1, 2]", "the line is no JSON object"),
        ("17", "the line is no JSON object"),
        (json.dumps(tick(symbol=5)), "the symbol is no text"),
        (json.dumps(tick(price=True)), "the price is no number"),
        (json.dumps(tick(price=[1])), "the price is no number"),
        (json.dumps(tick(ts={"a": 1})), "the ts is no number"),
        (json.dumps(tick(price=float("nan"))), "the price is not finite"),
        (json.dumps(tick(price=float("inf"))), "the price is not finite"),
        (json.dumps(tick(side="bid")), "the side is neither buy nor sell"),
        (json.dumps(tick(side=1)), "the side is no text"),
        (json.dumps(tick(id=1.5)), "the id is no whole number"),
        (json.dumps(tick(id="x7")), "the id is no whole number"),
        (json.dumps(tick(id=-7)), "the id is negative"),
        (json.dumps(tick(id=2**63)), "the id is no whole number"),
        (json.dumps(tick(ts=10**30)), "the time is not understood"),
        (json.dumps(tick(price=10**30)), "the price is 1e+11 or more"),
        (json.dumps(tick(symbol="\ud800")), "the symbol holds half a character"),
        ('{"symbol": "btcusdt", "ts": %s, "price": 1}' % ("9" * 5000), "the line is no JSON"),
        (json.dumps(tick(note="x" * 2**20)), "the line is longer than 1,048,576 bytes"),
    ],
    ids=lambda value: value[:40],
)
def test_a_bad_line_of_ndjson_costs_itself_alone(tmp_path: Path, line: str, reason: str) -> None:
    batch = read(written(tmp_path, "a.ndjson", ndjson(tick(0), line, tick(1), tick(2))))
    assert batch.rows.height == 3
    assert batch.read == 4
    assert batch.rejects.rows() == [(2, reason, line[:200])]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("btcusdt,2026-09-12,1,234.5,1", "5 fields where 4 are due"),
        ("btcusdt,2026-09-12,67", "3 fields where 4 are due"),
        ('btcusdt,2026-09-12,"67000,1', "the line is no CSV: unexpected end of data"),
        ("garbage", "1 fields where 4 are due"),
        ("btcusdt,2026-09-12,1,1" + " " * 2**20, "the line is longer than 1,048,576 bytes"),
    ],
    ids=lambda value: value[:30],
)
def test_a_bad_line_of_csv_costs_itself_alone(tmp_path: Path, line: str, reason: str) -> None:
    rows = [csv_line(), line, csv_line(), csv_line()]
    batch = read(written(tmp_path, "a.csv", HEADER + "\n".join(rows) + "\n"))
    assert batch.rows.height == 3
    assert batch.read == 4
    assert batch.rejects.rows() == [(3, reason, line[:200])]


def test_an_open_quote_does_not_swallow_the_lines_after_it(tmp_path: Path) -> None:
    rows = [csv_line(), 'btcusdt,"2026', *[csv_line() for _ in range(50)], '",x', csv_line()]
    batch = read(written(tmp_path, "a.csv", HEADER + "\n".join(rows) + "\n"))
    assert batch.rows.height == 52
    assert set(reasons(batch)) == {3, 54}


def test_columns_come_in_any_case_and_order_and_others_are_left_out(tmp_path: Path) -> None:
    csv = 'PRICE;Note;"Symbol"; Side ;ts;ID\n1.5;a,b;ETHUSDT;Buy;1789207200;9\n'
    assert read(written(tmp_path, "a.csv", csv)).rows.rows() == [
        ("ethusdt", 9, START, 1.5, None, "buy")
    ]
    lines = ndjson({"PRICE": 1.5, "Symbol": "ETHUSDT", "TS": 1789207200, "Side": "Buy"}) * 3
    lines += ndjson({"price": 2.5, "symbol": "x", "ts": 1789207200, "SIZE": 3})
    rows = read(written(tmp_path, "b.ndjson", lines)).rows
    assert rows["price"].to_list() == [1.5, 1.5, 1.5, 2.5]
    assert rows["side"].to_list() == ["buy", "buy", "buy", None]
    assert rows["size"].to_list() == [None, None, None, 3.0]


def test_an_optional_key_in_capitals_may_come_late(tmp_path: Path) -> None:
    first = {"PRICE": 1.5, "SYMBOL": "ETHUSDT", "TS": 1789207200}
    rows = read(written(tmp_path, "a.ndjson", ndjson(first, first | {"SIZE": 2, "ID": 3}))).rows
    assert rows["size"].to_list() == [None, 2.0]
    assert rows["id"].to_list() == [None, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("symbol,time,price\na,1,2\n", "lacks the column ts; found: symbol, time, price"),
        ("symbol;ts;cost\n", "lacks the column price; found: symbol, ts, cost"),
        ("pair,ts,price\n", "lacks the column symbol; found: pair, ts, price"),
        ("TS;Last\n1;2\n", "with symbol, ts, price.*first line is: TS;Last"),
    ],
)
def test_wrong_headers_name_what_is_missing_and_what_was_found(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(BadFile, match=message):
        read(written(tmp_path, "ticks.csv", text))


def test_a_column_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="column price 2 times"):
        read(written(tmp_path, "a.csv", "symbol,ts,price,Price\na,1789207200,1,2\n"))


def test_a_symbol_can_be_given_for_a_file_that_names_none(tmp_path: Path) -> None:
    csv = written(tmp_path, "a.csv", "ts,price\n1789207200,1.5\n")
    lines = written(tmp_path, "a.ndjson", '{"ts":1789207200,"price":1.5}\n')
    frame = pl.DataFrame({"ts": [1789207200], "price": [1.5]})
    frame.write_parquet(tmp_path / "a.parquet")
    for path in (csv, lines, tmp_path / "a.parquet"):
        assert read(path, symbol=" BTCUSDT ").rows["symbol"].to_list() == ["btcusdt"], path
    assert "no symbol" in reasons(read(lines)).values()


def test_symbols_are_any_unicode_stripped_and_in_lower_case(tmp_path: Path) -> None:
    names = [" 币安人生USDT ", "ÄÖÜ-Σ", "1000PEPEUSDT", "BTCUSDT_261225"]
    rows = read(written(tmp_path, "a.ndjson", ndjson(*[tick(symbol=n) for n in names]))).rows
    assert rows["symbol"].to_list() == ["币安人生usdt", "äöü-σ", "1000pepeusdt", "btcusdt_261225"]


def test_blank_lines_and_a_missing_last_newline_are_no_matter(tmp_path: Path) -> None:
    text = "\n  \n" + ndjson(tick(0)) + "\n\n" + ndjson(tick(price=0)) + " \n" + json.dumps(tick(1))
    batch = read(written(tmp_path, "a.ndjson", text))
    assert (batch.rows.height, batch.read, set(reasons(batch))) == (2, 3, {6})
    text = "\n" + HEADER + "\n" + csv_line() + "\n\n  \n" + csv_line(price=0) + "\n" + csv_line()
    batch = read(written(tmp_path, "a.csv", text))
    assert (batch.rows.height, batch.read, set(reasons(batch))) == (2, 3, {7})


@pytest.mark.parametrize("name", ["a.ndjson", "a.csv"])
@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"]
)
def test_other_encodings_and_line_ends_read_the_same(
    tmp_path: Path, name: str, encoding: str
) -> None:
    ticks = [tick(0, symbol="ÉTÉUSDT"), tick(1, symbol="ETHUSDT"), tick(2, price=-1)]
    text = HEADER + "".join(
        ",".join(str(t.get(n, "")) for n in ("symbol", "ts", "price", "size")) + "\n" for t in ticks
    )
    if name.endswith("ndjson"):
        text = "".join(json.dumps(t, ensure_ascii=False) + "\n" for t in ticks)
    plain = read(written(tmp_path, name, text))
    other = read(written(tmp_path, name, text.replace("\n", "\r\n").encode(encoding)))
    assert plain.rows["symbol"].to_list() == ["étéusdt", "ethusdt"]
    assert other.rows.equals(plain.rows)
    assert other.rejects.equals(plain.rejects)


def test_numbers_may_be_quoted_and_grouped_by_thousands(tmp_path: Path) -> None:
    csv = 'symbol,ts,price,size\nbtcusdt,"1,789,207,200","1,234.5"," 12,000 "\n'
    assert reasons(read(written(tmp_path, "a.csv", csv))) == {2: "the time is not understood"}
    csv = HEADER + '"btcusdt","1789207200","1,234.5"," 12,000 "\nbtcusdt,1789207200,+2,\n'
    rows = read(written(tmp_path, "a.csv", csv)).rows
    assert rows.select("price", "size").rows() == [(1234.5, 12000.0), (2.0, None)]
    text = ndjson(tick(price="1,234.5", size="2"), tick(price=7, size=3.5), tick(price="1e3"))
    assert read(written(tmp_path, "a.ndjson", text)).rows["price"].to_list() == [1234.5, 7, 1000]


@pytest.mark.parametrize("name", ["a.ndjson", "a.csv", "a.parquet"])
def test_compressed_and_plain_have_the_same_rows_and_hash(tmp_path: Path, name: str) -> None:
    ticks = [tick(n) for n in range(500)]
    plain = tmp_path / name
    if name.endswith("parquet"):
        pl.DataFrame(ticks).write_parquet(plain)
    elif name.endswith("csv"):
        pl.DataFrame(ticks).write_csv(plain)
    else:
        plain.write_text(ndjson(*ticks))
    content = plain.read_bytes()
    packed = [
        written(tmp_path, f"{name}.gz", gzipped(content)),
        written(tmp_path, f"{name}.zst", zstd(content)),
        written(tmp_path, f"{name}.2.gz", gzipped(content[:700]) + gzipped(content[700:])),
        written(tmp_path, f"{name}.2.zst", zstd(content[:700]) + zstd(content[700:])),
    ]
    batch, reading = read_through(plain)
    assert batch.rows.height == 500
    for path in packed:
        other, its_reading = read_through(path)
        assert other.rows.equals(batch.rows)
        assert its_reading.content_hash == reading.content_hash


def test_the_hash_is_known_only_at_the_end(tmp_path: Path) -> None:
    with open_reading(written(tmp_path, "a.ndjson", ndjson(tick())), now=NOW) as reading:
        with pytest.raises(ValueError, match="only when all batches"):
            _ = reading.content_hash
        assert len(list(reading.batches())) == 1
        assert len(reading.content_hash) == 64
        with pytest.raises(ValueError, match="open it again"):
            next(reading.batches())


@pytest.mark.parametrize(
    "kind",
    [
        pl.Datetime("ms"),
        pl.Datetime("ns", "Asia/Tokyo"),
        pl.Datetime("us", "UTC"),
        pl.Int64,
        pl.Float64,
        pl.String,
    ],
    ids=str,
)
def test_parquet_columns_may_have_any_fitting_type(tmp_path: Path, kind: Any) -> None:
    moments = pl.Series([START, START + timedelta(seconds=1)], dtype=pl.Datetime("ms"))
    if isinstance(kind, pl.Datetime):
        ts = moments.dt.replace_time_zone("UTC").cast(pl.Datetime(kind.time_unit, "UTC"))
        ts = (
            ts.dt.convert_time_zone(kind.time_zone)
            if kind.time_zone
            else ts.dt.replace_time_zone(None)
        )
    elif kind == pl.String:
        ts = moments.dt.strftime("%Y-%m-%d %H:%M:%S")
    else:
        ts = moments.cast(pl.Int64).cast(kind)
    frame = pl.DataFrame(
        {
            "Symbol": pl.Series(["BTCUSDT", "ETHUSDT"], dtype=pl.Categorical),
            "TS": ts,
            "price": pl.Series(["1.5", "2"]).cast(pl.Decimal(18, 8)),
            "size": pl.Series([3, None], dtype=pl.Int32),
            "id": pl.Series([7, 8], dtype=pl.UInt64),
            "other": [[1], [2]],
        }
    )
    frame.write_parquet(tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").rows.rows() == [
        ("btcusdt", 7, START, 1.5, 3.0, None),
        ("ethusdt", 8, START + timedelta(seconds=1), 2.0, None, None),
    ]


def test_bad_rows_of_parquet_are_told_by_their_number(tmp_path: Path) -> None:
    frame = pl.DataFrame([tick(n) for n in range(5)])
    frame = frame.with_columns(price=pl.Series([1.0, float("nan"), None, 0.0, 2.0]))
    frame.write_parquet(tmp_path / "a.parquet")
    batch = read(tmp_path / "a.parquet")
    assert reasons(batch) == {
        2: "the price is not finite",
        3: "no price",
        4: "the price is not above zero",
    }
    assert batch.rejects["text"][0].startswith("BTCUSDT,2026-09-12T10:00:00.057,nan")


def test_parquet_with_wrong_columns_or_broken_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"symbol": ["a"], "time": [1], "price": [1.0]}).write_parquet(
        tmp_path / "a.parquet"
    )
    with pytest.raises(BadFile, match="lacks the column ts; found: symbol, time, price"):
        read(tmp_path / "a.parquet")
    pl.DataFrame([tick(n) for n in range(5000)]).write_parquet(tmp_path / "b.parquet")
    content = (tmp_path / "b.parquet").read_bytes()
    with pytest.raises(BadFile, match=r"c\.parquet is no readable Parquet file"):
        read(written(tmp_path, "c.parquet", content[: len(content) // 2]))
    broken = content[:200] + b"\0" * 2000 + content[2200:]
    with pytest.raises(BadFile, match="broken"):
        read(written(tmp_path, "d.parquet", broken))


def test_batches_are_bounded_and_say_how_far_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_room, "BATCH_ROWS", 1000)
    monkeypatch.setattr(reading_room, "_TEXT_CHUNK", 16_384)
    path = written(tmp_path, "a.ndjson", ndjson(*[tick(n) for n in range(5000)]))
    with open_reading(path, now=NOW) as reading:
        batches = list(reading.batches())
    assert [batch.rows.height < 1300 for batch in batches] == [True] * len(batches)
    assert len(batches) >= 4
    done = [batch.done for batch in batches]
    assert done == sorted(done)
    assert 0 < done[0] < 0.5
    assert done[-1] == 1.0
    assert pl.concat([b.rows for b in batches])["ts"].is_sorted()
    assert sum(batch.read for batch in batches) == 5000


def test_a_file_without_one_good_line_is_all_rejects(tmp_path: Path) -> None:
    batch = read(written(tmp_path, "a.ndjson", "x\ny\n"))
    assert (batch.rows.height, batch.read, len(reasons(batch))) == (0, 2, 2)
    assert dict(batch.rows.schema) == TICK_SCHEMA


def test_times_are_held_against_the_given_now(tmp_path: Path) -> None:
    path = written(tmp_path, "a.ndjson", ndjson(tick()))
    assert read(path, now=datetime(2026, 9, 11, 10)).rows.height == 1
    batch = read(path, now=datetime(2026, 9, 11, 9, 59, 59))
    assert reasons(batch) == {1: "the time is in the future"}
