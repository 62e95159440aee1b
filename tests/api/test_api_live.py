"""/ws/live: a heartbeat a second, and what is subscribed to, as the routes would answer it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import polars as pl
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from core.alerts.kept import add_rule
from core.api import live, topics
from core.api.subjects import subject_of
from core.commands import write_worker_status
from core.live.feeder import feeder
from core.models import TRADE_SCHEMA, SymbolStatus
from core.store import Store
from core.supervisor import WorkerLock
from core.trade_writer import utc_now, write_trades
from tests.api.conftest import Api
from tests.pages.alert_pages import fire, kept_rules, zscore
from tests.pages.conftest import worker_row
from tests.pages.test_pair_page import pair_store

CHINESE = "币安人生usdt"


@pytest.fixture(autouse=True)
def _more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beat more often than once a second, and less often than the file is looked at in vain."""
    monkeypatch.setattr(live, "PERIOD_S", 0.4)


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    """Two minutes of trades with a worker alive, as far as anybody can see from outside."""
    made = pair_store(home, 120)
    lock = WorkerLock(made.path)
    lock.take()
    status = SymbolStatus("arbusdt", "live", 101.25, utc_now(), 0.4, 2.0, 3600, 0, 0, 0, "")
    with made.write() as con:
        write_worker_status(con, worker_row(), [status])
    yield made
    lock.release()


def trade(store: Store, symbol: str, agg_id: int, price: float) -> dict[str, Any]:
    """Store a trade of this moment; returns it as it is told."""
    row = {
        "symbol": symbol, "agg_id": agg_id, "ts": int(time.time() * 1000), "price": price,
        "size": 2.5, "buyer_is_maker": True, "source": "ws",
    }  # fmt: skip
    frame = pl.DataFrame([row], schema={**TRADE_SCHEMA, "ts": pl.Int64})
    with store.write() as con:
        write_trades(con, frame.with_columns(pl.col("ts").cast(pl.Datetime("ms"))), now_ms=0)
    at = frame.select(pl.from_epoch("ts", "ms").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))
    return {
        "agg_id": agg_id, "ts": at.item(), "price": price, "size": 2.5, "buyer_is_maker": True,
    }  # fmt: skip


class Listener:
    """One connection; ``next`` passes over what is of another type."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def send(self, **words: Any) -> dict[str, Any]:
        """Ask for something; returns the answer."""
        self.socket.send(json.dumps(words))
        return self.next("subscribed", "error")

    def receive(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.socket.recv(20))
        return told

    def next(self, *types: str) -> dict[str, Any]:
        while (told := self.receive())["type"] not in types:
            assert told["type"] != "error", told
        return told

    def until_heartbeats(self, count: int) -> list[dict[str, Any]]:
        """Return what else comes before so many heartbeats have come."""
        found: list[dict[str, Any]] = []
        while count:
            told = self.receive()
            count -= told["type"] == "heartbeat"
            found += [told] * (told["type"] != "heartbeat")
        return found


@contextlib.contextmanager
def listening(api: Api, query: str = "") -> Iterator[Listener]:
    with connect(f"{api.live_url}{query}", proxy=None) as socket:
        yield Listener(socket)


def test_a_heartbeat_tells_the_last_price_of_each_symbol(
    api: Api, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "PERIOD_S", 1.0)
    with listening(api) as one:
        beat, after = one.receive(), one.receive()
    assert (beat["type"], after["type"]) == ("heartbeat", "heartbeat")
    assert beat["symbols"]["arbusdt"]["price"] == 101.25
    assert beat["symbols"]["arbusdt"]["lag_s"] == 0.4
    assert (beat["source"], beat["worker"]) == ("practice", "live")
    assert type(beat["ts"]) is float
    assert abs(beat["ts"] - time.time()) < 60
    assert round(after["ts"]) - round(beat["ts"]) >= 1


def test_trades_are_told_once_each_from_the_newest_on(api: Api, store: Store) -> None:
    first = trade(store, "arbusdt", 1_000, 99.5)
    with listening(api) as one:
        topic = "trades:arbusdt"
        assert one.send(subscribe=["trades:ARBUSDT"]) == {"type": "subscribed", "topics": [topic]}
        told = one.next("trades")
        assert told == {
            "topic": topic, "type": "trades", "symbol": "arbusdt", "left_out": 0, "trades": [first],
        }  # fmt: skip
        second = [trade(store, "arbusdt", 1_001, 99.75), trade(store, "arbusdt", 1_002, 99.25)]
        found: list[dict[str, Any]] = []
        while len(found) < 2:
            found += one.next("trades")["trades"]
        assert found == second
        trade(store, "btcusdt", 1_000, 60_000.0)
        assert one.until_heartbeats(3) == []


def test_trades_that_come_late_are_told_and_those_that_do_not_are_counted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = topics._trades("arbusdt")
    trade(store, "arbusdt", 1_000, 99.5)
    (first,) = turn(subject_of("practice"))
    assert (len(msgspec.json.decode(first["trades"])), first["left_out"]) == (1, 0)
    # What follows arrives two minutes later, as after a connection that broke off.
    monkeypatch.setattr(topics, "time", SimpleNamespace(time=lambda: time.time() + 120))
    assert turn(subject_of("practice")) == []
    late = [trade(store, "arbusdt", agg_id, 99.0) for agg_id in (1_003, 1_004)]
    feeder(store).refresh()
    (told,) = turn(subject_of("practice"))
    assert msgspec.json.decode(told["trades"]) == late
    assert told["left_out"] == 2
    # So late that nobody looks any more; the next one tells of it.
    monkeypatch.setattr(topics, "time", SimpleNamespace(time=lambda: time.time() + 900))
    trade(store, "arbusdt", 1_005, 99.0)
    feeder(store).refresh()
    assert turn(subject_of("practice")) == []
    monkeypatch.setattr(topics, "time", time)
    trade(store, "arbusdt", 1_006, 99.0)
    monkeypatch.setattr(topics, "MOST_TRADES", 1)
    feeder(store).refresh()
    (told,) = turn(subject_of("practice"))
    assert ([one["agg_id"] for one in msgspec.json.decode(told["trades"])]) == [1_006]
    assert told["left_out"] == 1


def test_the_first_trades_of_a_quiet_symbol_are_all_told(store: Store) -> None:
    turn = topics._trades("solusdt")
    assert turn(subject_of("practice")) == []
    found = [trade(store, "solusdt", agg_id, 99.0) for agg_id in (1_003, 1_004)]
    feeder(store).refresh()
    (told,) = turn(subject_of("practice"))
    assert (msgspec.json.decode(told["trades"]), told["left_out"]) == (found, 0)


def test_bars_are_told_as_they_grow(api: Api, store: Store) -> None:
    with listening(api) as one:
        one.send(subscribe=["bars:arbusdt:1s", "bars:arbusdt:1m"])
        kinds = [one.next("bars"), one.next("bars")]
        newest = {told["timeframe"]: told["bars"][-1] for told in kinds}
        for timeframe, bar in newest.items():
            route = api.found("/resampled/arbusdt", timeframe=timeframe, limit=1)["data"]
            assert route == [bar]
        trade(store, "arbusdt", 1_000, 150.0)
        changed: dict[str, Any] = {}
        while len(changed) < 2:
            told = one.next("bars")
            changed[told["timeframe"]] = told["bars"]
        for timeframe, bars in changed.items():
            assert bars[-1]["high"] == 150.0
            route = api.found("/resampled/arbusdt", timeframe=timeframe, limit=1)["data"]
            assert route == bars[-1:]


def test_a_pair_is_told_when_a_bar_of_both_is_new(api: Api, store: Store) -> None:
    with listening(api) as one:
        one.send(subscribe=["pair:arbusdt:opusdt:1s"])
        told = one.next("pair")
        assert (told["y"], told["x"], told["timeframe"]) == ("arbusdt", "opusdt", "1s")
        route = api.found("/analytics/pair", y="arbusdt", x="opusdt")
        names = ("ts", "spread", "zscore")
        assert [told[name] for name in names] == [route["last"][name] for name in names]
        assert told["beta"] == route["hedge"]["beta"]
        assert told["corr"] == list(route["corr"].values())[-1]
        assert told["is_in_sample"] is True
        trade(store, "opusdt", 1_000, 40.0)
        trade(store, "arbusdt", 1_000, 101.0)
        while one.next("pair")["ts"] <= told["ts"]:
            pass


def test_alerts_are_told_from_the_subscription_on(api: Api, store: Store) -> None:
    add_rule(store, "mine", zscore())
    (rule,) = kept_rules(store)
    fire(store, rule, 1.0, ago_s=600)
    with listening(api) as one, listening(api) as other:
        for each in (one, other):
            each.send(subscribe=["alerts"])
            assert each.until_heartbeats(2) == []
        fired = fire(store, rule, 2.5)
        told = one.next("alert")
        assert (told["topic"], told["id"], told["value"]) == ("alerts", fired, 2.5)
        assert told["inputs"]["beta"] == 0.875
        assert told.items() >= api.found("/alerts/events", limit=1)["events"][0].items()
        assert other.next("alert") == told


def test_more_alerts_than_a_turn_tells_are_told_in_the_next_ones(
    api: Api, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topics, "_EVENTS", 5)
    add_rule(store, "mine", zscore())
    (rule,) = kept_rules(store)
    turn = topics._alerts(subject_of("practice"))
    fired = [fire(store, rule, at=utc_now() - timedelta(minutes=one)) for one in range(12)]
    feeder(store).refresh()
    told = [[one["id"] for one in turn(subject_of("practice"))] for _ in range(4)]
    assert [len(ids) for ids in told] == [5, 5, 2, 0]
    assert [one for ids in told for one in ids] == fired


def test_trouble_inside_is_told_once_and_without_its_words(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: object) -> list[dict[str, Any]]:
        raise ZeroDivisionError("a secret of the inside")

    topic = topics.Topic("practice", "alerts", broken)
    (told,) = topic.turn()
    assert json.loads(told) == {
        "topic": "alerts", "type": "error",
        "detail": "ZeroDivisionError; please report this with the log.",
    }  # fmt: skip
    assert "a secret of the inside" in caplog.text
    assert topic.turn() == []


def test_what_is_left_is_not_told_any_more(api: Api, store: Store) -> None:
    with listening(api) as one:
        one.send(subscribe=["alerts", "trades:arbusdt"])
        trade(store, "arbusdt", 1_000, 99.0)
        one.next("trades")
        left = one.send(unsubscribe=["TRADES:arbusdt", "never:heard"])
        assert left == {"type": "subscribed", "topics": ["alerts"]}
        trade(store, "arbusdt", 1_001, 99.0)
        assert one.until_heartbeats(3) == []
        one.send(subscribe=["trades:arbusdt"])
        assert one.next("trades")["trades"][-1]["agg_id"] == 1_001


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"subscribe": ["nonsense"]}, "use trades:SYMBOL, bars:SYMBOL:TIMEFRAME, pair:Y:X"),
        ({"subscribe": ["trades"]}, "There is no topic"),
        ({"subscribe": ["trades:nosuch"]}, "there is arbusdt, btcusdt, opusdt"),
        ({"subscribe": ["bars:arbusdt:7w"]}, "use one of 1s, 5s"),
        ({"subscribe": ["pair:arbusdt:arbusdt:1s"]}, "two different symbols"),
        ({"subscribe": "trades:arbusdt"}, "no request"),
        ({"subscribe": [1]}, "no request"),
        ({"listen": ["alerts"]}, "no request"),
        ([], "no request"),
    ],
)  # fmt: skip
def test_what_cannot_be_subscribed_to_is_explained(
    api: Api, store: Store, asked: Any, words: str
) -> None:
    with listening(api) as one:
        one.socket.send(json.dumps(asked))
        told = one.next("error")
        assert words in told["detail"]
        assert one.send(subscribe=["alerts"])["topics"] == ["alerts"]


def test_a_subscription_is_all_of_it_or_nothing(api: Api, store: Store) -> None:
    with listening(api) as one:
        one.send(subscribe=["alerts"])
        refused = one.send(subscribe=["trades:arbusdt", "bad"], unsubscribe=["alerts"])
        assert refused["type"] == "error"
        trade(store, "arbusdt", 1_000, 99.0)
        assert one.until_heartbeats(3) == []
        assert one.send()["topics"] == ["alerts"]


@pytest.mark.parametrize("symbol", [CHINESE, "arbusdt@mine"])
def test_other_alphabets_and_datasets_can_be_listened_to(
    api: Api, store: Store, symbol: str
) -> None:
    with store.write() as con:
        for table in ("bars_1s", "bars_1min"):
            con.execute(
                f"insert into {table} select ?, * exclude (symbol) from {table} "
                "where symbol = 'arbusdt'",
                [symbol],
            )
        if "@" in symbol:
            con.execute("insert into datasets values ('mine', now()::timestamp)")
            con.execute(
                "insert into dataset_symbols select 'mine', symbol, 1, min(first_ts), "
                "max(last_ts) from coverage where symbol = 'arbusdt' group by symbol"
            )
            con.execute("insert into versions values ('datasets', 1)")
    if symbol == CHINESE:
        trade(store, symbol, 1, 0.5)
    with listening(api) as one:
        one.send(subscribe=[f"bars:{symbol}:1m"])
        assert one.next("bars")["symbol"] == symbol


def test_a_source_can_be_named_and_another_is_refused(api: Api, store: Store) -> None:
    with listening(api, "?source=binance") as one:
        beat = one.receive()
        assert (beat["source"], beat["worker"], beat["symbols"]) == ("binance", "never", {})
        assert "perpduck.duckdb" in one.send(subscribe=["alerts"])["detail"]
    with pytest.raises(InvalidStatus) as refused, listening(api, "?source=kraken"):
        pass
    answer = refused.value.response
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert json.loads(answer.body)["parameter"] == "source"
