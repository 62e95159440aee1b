"""Bars of the past: read from the file a page at a time, some stored bars a lease."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from made import trades_frame

from core import queries
from core.api import subjects
from core.exporting import parts
from core.live.asking import Asked
from core.store import Store
from core.trade_writer import write_trades
from tests.api.conftest import Api


def counted(monkeypatch: pytest.MonkeyPatch) -> tuple[list[float], list[float]]:
    """Return what the feeder reads and what is read besides it, each in seconds a stretch."""
    ours: list[float] = []
    others: list[float] = []
    load = queries.load_bars

    def counting(kept: list[float]) -> Any:
        def counted(con: Any, symbols: list[str], timeframe: str, *span: datetime) -> Any:
            kept.append((span[1] - span[0]).total_seconds())
            return load(con, symbols, timeframe, *span)

        return counted

    monkeypatch.setattr(queries, "load_bars", counting(ours))
    monkeypatch.setattr(parts, "load_bars", counting(others))
    return ours, others


def forget(store: Store) -> None:
    """As if nobody had asked for anything for a while."""
    feed = subjects.feeder(store)
    feed._asked = Asked()
    feed.refresh()
    feed._answers.clear()


def test_a_page_of_the_past_is_read_once_and_nothing_at_a_flush(
    api: Api, pairs: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = api.found("/resampled/arbusdt", limit=10_000)["data"]
    forget(pairs)
    feeder_reads, reads = counted(monkeypatch)
    pages = [
        {"start": whole[at]["ts"], "end": whole[min(at + 400, len(whole) - 1)]["ts"]}
        for at in range(0, len(whole) - 1, 400)
    ]
    for _ in range(2):
        told = [api.found("/resampled/arbusdt", **page)["data"] for page in pages]
        assert [bar for page in told for bar in page] == whole[:-1]
    assert (
        api.found("/resampled/arbusdt", end=pages[3]["start"], limit=50)["data"]
        == (whole[1150:1200])
    )
    assert (len(reads), feeder_reads) == (len(pages) + 1, [])
    with pairs.write() as con:
        con.execute("update versions set version = version + 1 where scope = 'arbusdt'")
    subjects.feeder(pairs).refresh()
    assert (len(reads), feeder_reads) == (len(pages) + 1, [])
    # The newest bar is the feeder's, as it may change at any time.
    assert api.found("/resampled/arbusdt", limit=1)["data"] == whole[-1:]
    assert len(reads) == len(pages) + 1
    assert feeder_reads


def test_a_late_trade_is_in_the_page_of_its_time(api: Api, pairs: Store) -> None:
    whole = api.found("/resampled/arbusdt", limit=10_000)["data"]
    page = {"start": whole[100]["ts"], "end": whole[200]["ts"]}
    before = api.get("/resampled/arbusdt", **page)
    kept = {"If-None-Match": before.headers["etag"]}
    assert api.ask("GET", "/resampled/arbusdt", params=page, headers=kept).status_code == 304
    at_ms = api.found("/resampled/arbusdt", limit=10_000, ts_format="ms")["data"][150]["ts"]
    late = trades_frame("arbusdt", [9_999], start_ms=at_ms, step_ms=0, price=lambda _: 1e4)
    with pairs.write() as con:
        assert write_trades(con, late, now_ms=0)
    subjects.feeder(pairs).refresh()
    after = api.ask("GET", "/resampled/arbusdt", params=page, headers=kept)
    assert (after.status_code, after.headers["etag"] == before.headers["etag"]) == (200, False)
    assert [bar["high"] for bar in after.json()["data"] if bar not in before.json()["data"]] == [
        1e4
    ]


@pytest.fixture(scope="module")
def years(pairs: Store) -> Store:
    """The file with a symbol that has two years of minutes, of every seventh one."""
    with pairs.write() as con:
        con.execute(
            "insert into klines select 'oldusdt', date_trunc('day', ts) - to_minutes(7 * i::int), "
            "open, high, low, close, volume, quote_volume, trades, taker_buy_volume "
            "from (from bars_1min where symbol = 'arbusdt' order by ts limit 1), "
            "range(1, 150_000) as r(i) order by 2"
        )
    subjects.feeder(pairs).refresh()
    return pairs


@pytest.mark.parametrize("asked", [{}, {"limit": 700}, {"start": "2000-01-01"}])
@pytest.mark.parametrize("path", ["/resampled/oldusdt", "/export/oldusdt"])
def test_days_of_years_are_read_some_minutes_at_a_time(
    api: Api, years: Store, monkeypatch: pytest.MonkeyPatch, path: str, asked: dict[str, object]
) -> None:
    forget(years)
    feeder_reads, reads = counted(monkeypatch)
    answer = api.get(path, timeframe="1d", **asked)
    assert answer.status_code == 200, answer.text
    days = 731 if "limit" not in asked else 700
    if path.startswith("/resampled"):
        assert abs(len(answer.json()["data"]) - days) <= 1
    assert feeder_reads == []
    assert max(reads) <= 60 * parts.BARS_A_LEASE
    assert sum(reads) >= 86_400 * 690
    # Few enough for memory are the feeder's.
    assert len(api.found("/resampled/oldusdt", timeframe="1d", limit=10)["data"]) == 10
    assert feeder_reads
