"""ETags: the same answer is 304, and any change of what it stands on is a new one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from stats.series import cointegrated

from core.alerts.kept import add_rule
from core.commands import add_to_watchlist
from core.live import matrix as live_matrix
from core.live import pair as live_pair
from core.live.feeder import feeder
from core.live.memo import Memo
from core.models import TRADE_SCHEMA
from core.queries import load_trades
from core.store import Store, open_store
from core.trade_writer import write_trades
from tests.api.conftest import Api
from tests.pages.alert_pages import fire, kept_rules, zscore
from tests.pages.test_pair_page import second_by_second

END_MS, FAR = 1_795_000_000_000, datetime(2200, 1, 1)
PAIR = {"y": "arbusdt", "x": "opusdt"}
BARS, FILE = ("/resampled/arbusdt", {}), ("/export/arbusdt", {})
ANALYSIS, PAIR_FILE = ("/analytics/pair", PAIR), ("/analytics/pair_export", PAIR)
MATRIX = ("/analytics/corr_matrix", {"symbols": "arbusdt,opusdt", "timeframe": "1s"})
SYMBOLS: tuple[str, dict[str, str]] = ("/symbols", {})
TAGGED = [SYMBOLS, BARS, FILE, ANALYSIS, PAIR_FILE, MATRIX]
Asked = tuple[str, dict[str, str]]


# The trade of each symbol that is not there yet: 300 s before the last.
LATE = 301


@pytest.fixture
def store(home: Path) -> Store:
    """Ten minutes of seconds, of each symbol with one trade missing."""
    made = open_store(home / "practice-7.duckdb")
    made.prepare("practice:7")
    legs = cointegrated(3, 601, half_life=20.0, sigma=0.002, vol=2e-4)
    with made.write() as con:
        for symbol, logs in zip(("arbusdt", "opusdt", "btcusdt"), (*legs, legs[0]), strict=True):
            trades = second_by_second(symbol, logs, END_MS, 1.0)
            write_trades(con, trades.filter(pl.col("agg_id") != LATE), now_ms=END_MS)
    return made


def tag(api: Api, asked: Asked, **more: object) -> str:
    answer = api.get(asked[0], **asked[1], **more)
    assert answer.status_code == 200, answer.text
    return answer.headers["etag"]


def is_same(api: Api, asked: Asked, etag: str) -> bool:
    path, params = asked
    answer = api.ask("GET", path, params=params, headers={"If-None-Match": etag})
    assert answer.status_code in (200, 304), answer.text
    if answer.status_code == 304:
        assert answer.content == b""
        assert answer.headers["etag"] == etag
        assert "content-type" not in answer.headers
    else:
        assert answer.headers["etag"] != etag
    return answer.status_code == 304


def trade(store: Store, symbol: str, *, is_late: bool = False, price: float = 101.5) -> None:
    """Store one more trade: the next, or the one that is missing."""
    agg_id = LATE if is_late else 602
    row = {
        "symbol": symbol, "agg_id": agg_id, "ts": END_MS - (602 - agg_id) * 1000, "price": price,
        "size": 3.0, "buyer_is_maker": False, "source": "ws",
    }  # fmt: skip
    made = pl.DataFrame([row], schema={**TRADE_SCHEMA, "ts": pl.Int64})
    with store.write() as con:
        assert write_trades(con, made.with_columns(pl.col("ts").cast(pl.Datetime("ms"))), now_ms=0)
    feeder(store).refresh()


@pytest.mark.parametrize("asked", TAGGED, ids=[path for path, _ in TAGGED])
def test_what_has_not_changed_is_304(api: Api, store: Store, asked: Asked) -> None:
    etag = tag(api, asked)
    assert etag.startswith('W/"')
    assert tag(api, asked) == etag
    assert is_same(api, asked, etag)
    path, params = asked
    for given in (etag.removeprefix("W/"), f'"other", {etag}', "*"):
        same = api.ask("GET", path, params=params, headers={"If-None-Match": given})
        assert same.status_code == 304, given
    for given in ('W/"other"', "", etag[:-2] + '"'):
        other = api.ask("GET", path, params=params, headers={"If-None-Match": given})
        assert other.status_code == 200, given
    head = api.ask("HEAD", path, params=params)
    assert (head.status_code, head.headers["etag"], head.content) == (200, etag, b"")


@pytest.mark.parametrize(
    ("asked", "more"),
    [
        (BARS, {"timeframe": "1m"}), (BARS, {"limit": 5}), (BARS, {"ts_format": "ms"}),
        (BARS, {"start": "2026-01-01"}), (FILE, {"format": "parquet"}),
        (ANALYSIS, {"roll_window": 61}), (ANALYSIS, {"limit": 7}), (ANALYSIS, {"carry": 1}),
        (PAIR_FILE, {"regression": "tls"}), (PAIR_FILE, {"format": "arrow"}),
        (MATRIX, {"on": "levels"}), (MATRIX, {"ts_format": "ms"}),
    ],
)  # fmt: skip
def test_another_question_has_another_tag(
    api: Api, store: Store, asked: Asked, more: dict[str, object]
) -> None:
    assert tag(api, asked) != tag(api, asked, **more)


@pytest.mark.parametrize("asked", [BARS, FILE, ANALYSIS, PAIR_FILE])
@pytest.mark.parametrize("is_late", [False, True])
def test_a_new_and_a_late_trade_change_it_and_others_do_not(
    api: Api, store: Store, asked: Asked, is_late: bool
) -> None:
    etag = tag(api, asked)
    trade(store, "btcusdt", is_late=is_late)
    assert is_same(api, asked, etag)
    trade(store, "arbusdt", is_late=is_late)
    assert not is_same(api, asked, etag)
    assert is_same(api, asked, tag(api, asked))


def test_a_late_trade_is_in_the_answer(api: Api, store: Store) -> None:
    before = api.found("/resampled/arbusdt")["data"]
    trade(store, "arbusdt", is_late=True, price=123.0)
    after = api.found("/resampled/arbusdt")["data"]
    assert [one["high"] for one in after if one not in before] == [123.0]
    assert [one for one in after if one in before] == before


def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the time had come to look at the past again."""
    for module, name in ((live_pair, "_analyses"), (live_matrix, "_matrices")):
        monkeypatch.setattr(module, name, Memo(12))


@pytest.mark.parametrize("asked", [ANALYSIS, PAIR_FILE, MATRIX])
def test_what_is_computed_again_of_the_same_bars_is_304(
    api: Api, store: Store, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    etag = tag(api, asked)
    forgotten(monkeypatch)
    assert is_same(api, asked, etag)


@pytest.mark.parametrize("asked", [ANALYSIS, MATRIX])
def test_a_late_trade_changes_the_analysis_itself(
    api: Api, store: Store, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, params = asked
    before, etag = api.found(path, **params), tag(api, asked)
    # A bar counts where both legs have one.
    trade(store, "opusdt", is_late=True)
    trade(store, "arbusdt", is_late=True, price=150.0)
    forgotten(monkeypatch)
    assert not is_same(api, asked, etag)
    after = api.found(path, **params)
    name = "hedge" if path == ANALYSIS[0] else "matrix"
    assert after[name] != before[name]


def watch(store: Store) -> None:
    add_to_watchlist(store, ["newusdt"])


def fired(store: Store) -> None:
    add_rule(store, "mine", zscore())
    fire(store, kept_rules(store)[0])


@pytest.mark.parametrize(("asked", "change"), [(SYMBOLS, watch), (ANALYSIS, fired)])
def test_the_watchlist_and_a_rule_that_fires_change_it(
    api: Api, store: Store, asked: Asked, change: Callable[[Store], None]
) -> None:
    etag = tag(api, asked)
    change(store)
    feeder(store).refresh()
    assert not is_same(api, asked, etag)


def test_what_is_never_the_same_has_no_tag(api: Api, store: Store) -> None:
    for path in ("/ingest/status", "/health", "/alerts", "/alerts/events", "/metrics"):
        answer = api.get(path)
        assert "etag" not in answer.headers
        assert answer.headers["cache-control"] == "no-store"


def test_two_files_have_different_tags(api: Api, store: Store, home: Path) -> None:
    practice = tag(api, BARS)
    other = open_store(home / "perpduck.duckdb")
    other.prepare("binance")
    with other.write() as con, store.read() as read:
        write_trades(con, load_trades(read, "arbusdt", datetime(1970, 1, 1), FAR), now_ms=0)
    feeder(other).refresh()
    assert tag(api, BARS) != practice
    assert tag(api, BARS, source="practice") != practice


def test_another_version_of_the_program_has_other_etags(
    api: Api, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may write the same numbers in another way."""
    before = {asked[0]: tag(api, asked) for asked in TAGGED}
    monkeypatch.setattr("core.api.answers.own_version", lambda: "99")
    for asked in TAGGED:
        assert not is_same(api, asked, before[asked[0]])


def test_only_what_has_an_etag_says_that_it_may_be_304(api: Api) -> None:
    told = api.client.get(f"{api.url}/api/openapi.json").json()["paths"]
    may = {path for path, ops in told.items() if "304" in ops.get("get", {}).get("responses", {})}
    assert may == {
        "/api/symbols", "/api/resampled/{symbol}", "/api/export/{symbol}", "/api/analytics/pair",
        "/api/analytics/pair_export", "/api/analytics/corr_matrix", "/api/scans/latest",
        "/api/scans/{id}",
    }  # fmt: skip
