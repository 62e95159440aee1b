"""Symbols, bars as JSON and as files: what the file holds, in every way of asking for it."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from made import START_MS, trades_frame

from core import queries
from core.api import bars as bars_route
from core.api.parameters import time_of
from core.exporting import bars_parts, csv_bytes, parts
from core.store import Store, open_store
from core.trade_writer import write_trades
from tests.api.conftest import Api, assert_problem
from tests.pages.test_pair_page import second_by_second

CHINESE = "币安人生usdt"
FAR = datetime(2200, 1, 1)


@pytest.fixture(scope="module")
def file(pairs: Store) -> Store:
    """The file with a symbol of another alphabet, too."""
    with pairs.write() as con:
        trades = second_by_second(CHINESE, np.linspace(0, 0.1, 300), 1_795_000_000_000, 0.5)
        write_trades(con, trades, now_ms=0)
    return pairs


def held(store: Store, symbol: str, timeframe: str, start: datetime, end: datetime) -> pl.DataFrame:
    """What the pages' own query says."""
    with store.read() as con:
        return queries.load_bars(con, [symbol], timeframe, start, end)


def frame_of(told: Any) -> pl.DataFrame:
    return pl.DataFrame(told["data"]).with_columns(
        pl.col("ts").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="ms")
    )


def test_symbols_are_those_stored_with_what_is_watched(api: Api, file: Store) -> None:
    told = api.found("/symbols")
    assert told["symbols"] == ["arbusdt", "btcusdt", "opusdt", CHINESE]
    assert told["watchlist"] == ["arbusdt", "btcusdt", "opusdt"]
    assert told["contracts"] == ["arbusdt", "btcusdt", "opusdt"]
    assert (told["datasets"], told["source"]) == ([], "practice")


@pytest.mark.parametrize("timeframe", ["1s", "5s", "1min", "1m", "15min", "1h"])
def test_bars_are_those_of_the_pages_query(api: Api, file: Store, timeframe: str) -> None:
    told = api.found("/resampled/ARBUSDT", timeframe=timeframe, limit=10_000)
    own = {"1m": "1min"}.get(timeframe, timeframe)
    expected = held(file, "arbusdt", own, datetime(1970, 1, 1), FAR).drop("symbol")
    assert (told["symbol"], told["timeframe"]) == ("arbusdt", own)
    assert frame_of(told).select(expected.columns).equals(expected)
    assert expected.height >= 1


def test_numbers_are_numbers_and_times_are_iso_or_milliseconds(api: Api, file: Store) -> None:
    one = api.found("/resampled/arbusdt", limit=1)["data"][0]
    assert list(one)[:6] == ["ts", "open", "high", "low", "close", "volume"]
    assert all(type(one[name]) in (int, float) for name in list(one)[1:9])
    assert one["ts"].endswith(".000Z")
    two = api.found("/resampled/arbusdt", limit=1, ts_format="ms")["data"][0]
    at = datetime.fromisoformat(one["ts"])
    assert two["ts"] == round(at.timestamp() * 1000)
    assert one | {"ts": 0} == two | {"ts": 0}


def test_a_range_has_its_start_and_not_its_end(api: Api, file: Store) -> None:
    every = frame_of(api.found("/resampled/arbusdt", limit=10_000))
    start, end = every["ts"][100], every["ts"][200]
    for asked in (
        {"start": f"{start.isoformat()}Z", "end": f"{end.isoformat()}Z"},
        {"start": f"{start.isoformat()}", "end": f"{(end + timedelta(hours=2)).isoformat()}+02:00"},
        {"start": str(round(start.timestamp() * 1000)), "end": f"{end.isoformat(sep=' ')}"},
    ):
        told = frame_of(api.found("/resampled/arbusdt", **asked))
        assert told["ts"].to_list() == every["ts"][100:200].to_list(), asked
    newest = frame_of(api.found("/resampled/arbusdt", end=f"{end.isoformat()}Z", limit=7))
    assert newest["ts"].to_list() == every["ts"][193:200].to_list()


def test_eight_digits_are_a_date_and_no_milliseconds() -> None:
    assert time_of("start", "20261101") == time_of("start", "2026-11-01") == datetime(2026, 11, 1)
    assert time_of("start", "1000") == datetime(1970, 1, 1, 0, 0, 1)


def test_without_a_range_the_newest_thousand_are_told(api: Api, file: Store) -> None:
    every = frame_of(api.found("/resampled/arbusdt", limit=10_000))
    told = frame_of(api.found("/resampled/arbusdt"))
    assert told.equals(every.tail(1_000))
    since = frame_of(api.found("/resampled/arbusdt", start=f"{every['ts'][5].isoformat()}Z"))
    assert since.equals(every[5:])


def test_trades_that_are_rare_are_looked_for_further_back(
    api: Api, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(home / "perpduck.duckdb")
    store.prepare("binance")
    with store.write() as con:
        write_trades(con, trades_frame("rareusdt", list(range(40)), step_ms=977_000), now_ms=0)
    told = api.found("/resampled/rareusdt", limit=25)["data"]
    assert len(told) == 25
    assert len(api.found("/resampled/rareusdt", limit=9_999)["data"]) == 40
    # Long enough to be streamed, and nothing in it.
    monkeypatch.setattr(bars_route, "KEPT_BARS", 100)
    gap = {"start": START_MS + 5_000, "end": START_MS + 900_000}
    assert api.found("/resampled/rareusdt", **gap)["data"] == []
    assert_problem(api.get("/export/rareusdt", **gap), 422)


def test_a_symbol_in_another_alphabet_is_asked_for_as_it_is_written(api: Api, file: Store) -> None:
    quoted = "/resampled/%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT"
    told = api.found(quoted, limit=3)
    assert told["symbol"] == CHINESE
    assert len(told["data"]) == 3
    saved = api.get("/export/币安人生usdt")
    assert saved.headers["content-disposition"] == (
        'attachment; filename="perpduck-----usdt-1s.csv"'
    )
    assert pl.read_csv(io.BytesIO(saved.content))["symbol"].unique().to_list() == [CHINESE]


def test_an_empty_stretch_is_no_bars_and_no_file(api: Api, file: Store) -> None:
    later = {"start": "2150-01-01", "end": "2151-01-01"}
    assert api.found("/resampled/arbusdt", **later)["data"] == []
    assert_problem(api.get("/export/arbusdt", **later), 422)
    earlier = {"end": "1990-01-01T00:00:00Z"}
    assert api.found("/resampled/arbusdt", **earlier)["data"] == []
    assert_problem(api.get("/export/arbusdt", limit=5, **earlier), 422)


@pytest.mark.parametrize("asked", [{}, {"limit": 50}, {"timeframe": "1m"}])
def test_a_file_has_the_bytes_that_the_pages_write(
    api: Api, file: Store, asked: dict[str, Any]
) -> None:
    timeframe = "1min" if asked.get("timeframe") else "1s"
    expected = held(file, "arbusdt", timeframe, datetime(1970, 1, 1), FAR)
    expected = expected.tail(asked.get("limit", expected.height))
    saved = api.get("/export/arbusdt", **asked)
    assert saved.headers["content-type"] == "text/csv; charset=utf-8"
    assert saved.headers["content-disposition"] == (
        f'attachment; filename="perpduck-arbusdt-{timeframe}.csv"'
    )
    assert saved.content == csv_bytes(expected)
    parquet = api.get("/export/arbusdt", format="parquet", **asked)
    assert parquet.headers["content-type"] == "application/vnd.apache.parquet"
    assert pl.read_parquet(parquet.content).equals(expected)
    arrow = api.get("/export/arbusdt", format="arrow", **asked)
    assert arrow.headers["content-type"] == "application/vnd.apache.arrow.stream"
    with pa.ipc.open_stream(arrow.content) as stream:
        found = pl.from_arrow(stream.read_all())
    assert isinstance(found, pl.DataFrame)
    assert found.equals(expected)


@pytest.mark.parametrize(
    "path",
    ["/export/arbusdt?", "/export/arbusdt?limit=50", "/analytics/pair_export?y=arbusdt&x=opusdt"],
)
def test_a_file_s_times_are_in_milliseconds_where_that_is_asked(
    api: Api, file: Store, path: str
) -> None:
    def saved(form: str, ts_format: str) -> bytes:
        return api.get(f"{path}&format={form}&ts_format={ts_format}").content

    times = pl.read_parquet(saved("parquet", "iso"))["ts"].dt.epoch("ms").to_list()
    assert pl.read_parquet(saved("parquet", "ms"))["ts"].to_list() == times
    assert pl.read_csv(saved("csv", "ms"))["ts"].to_list() == times
    with pa.ipc.open_stream(saved("arrow", "ms")) as stream:
        assert stream.read_all()["ts"].to_pylist() == times


def test_parts_make_one_document_and_one_file(
    api: Api, file: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = api.found("/resampled/arbusdt", limit=10_000)["data"]
    csv = api.get("/export/arbusdt").content
    start = whole[0]["ts"]
    monkeypatch.setattr(bars_route, "KEPT_BARS", 100)
    monkeypatch.setattr(parts, "BARS_A_LEASE", 250)
    answer = api.get("/resampled/arbusdt", start=start)
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.json()["data"] == whole
    assert api.get("/export/arbusdt").content == csv
    rows = pl.read_csv(io.BytesIO(csv), try_parse_dates=True)
    parquet = pl.read_parquet(api.get("/export/arbusdt", format="parquet").content)
    with pa.ipc.open_stream(api.get("/export/arbusdt", format="arrow").content) as stream:
        arrow = pl.from_arrow(stream.read_all())
    assert isinstance(arrow, pl.DataFrame)
    assert parquet.equals(arrow)
    assert parquet["close"].equals(rows["close"])


class Held:
    """Parts of which the second waits until it is let go."""

    def __init__(self) -> None:
        self.go, self.made = threading.Event(), 0

    def __call__(self, *asked: Any) -> Iterator[pl.DataFrame]:
        for part in bars_parts(*asked):
            if self.made:
                assert self.go.wait(20)
            self.made += 1
            yield part


@pytest.mark.parametrize("path", ["/resampled/arbusdt", "/export/arbusdt"])
def test_the_first_bytes_come_before_the_rest_is_read(
    api: Api, file: Store, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    whole = api.get(path, start="1970-01-01").content
    held_back = Held()
    monkeypatch.setattr(bars_route, "KEPT_BARS", 100)
    monkeypatch.setattr(parts, "BARS_A_LEASE", 500)
    monkeypatch.setattr(bars_route, "bars_parts", held_back)
    with httpx.stream("GET", f"{api.url}/api{path}", params={"start": "1970-01-01"}) as answer:
        coming = answer.iter_raw()
        got = next(coming)
        while len(got) < 10_000:
            got += next(coming)
        assert held_back.made == 1
        held_back.go.set()
        got += b"".join(coming)
    assert got == whole
    assert held_back.made > 4
