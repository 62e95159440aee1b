"""Bytes in, records out."""

from __future__ import annotations

import json
import math
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadMessage
from core.feed.checks import PRICE_LIMIT, SIZE_LIMIT, SMALLEST
from core.feed.messages import (
    Parsed,
    control_message,
    parse_exchange_info,
    parse_frames,
    parse_practice_venue,
    parse_reply,
    parse_rest_trades,
    parse_server_time,
    stream_names,
)
from core.models import TRADE_SCHEMA

# The aggTrade example of the exchange's documentation, with times that are after 2015.
TRADE: dict[str, Any] = {
    "e": "aggTrade",
    "E": 1_730_612_345_123,
    "s": "BTCUSDT",
    "a": 5_933_014,
    "p": "64210.10",
    "q": "0.125",
    "nq": "0.125",
    "f": 100,
    "l": 105,
    "T": 1_730_612_345_120,
    "m": True,
    "st": 1,
}
MARK: dict[str, Any] = {
    "e": "markPriceUpdate",
    "E": 1_730_612_346_000,
    "s": "BTCUSDT",
    "p": "64211.5",
    "ap": "64211.4",
    "i": "64212.25",
    "P": "64210.0",
    "r": "0.00010000",
    "T": 1_730_649_600_000,
    "st": 1,
}


def envelope(payload: dict[str, Any], **changes: Any) -> bytes:
    data = {**payload, **changes}
    frame = {"stream": f"{data.get('s')}@x".lower(), "data": data}
    return json.dumps(frame, ensure_ascii=False).encode()


def raw(payload: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps({**payload, **changes}, ensure_ascii=False).encode()


def parsed(*frames: bytes, known: set[str] | None = None) -> Parsed:
    return parse_frames(frames, known)


def test_trade_is_read_with_every_column() -> None:
    result = parsed(envelope(TRADE), known={"btcusdt"})
    assert result.trades.schema == pl.Schema(TRADE_SCHEMA)
    assert result.rejects == {}
    assert result.event_ms == {"btcusdt": 1_730_612_345_123}
    row = result.trades.with_columns(pl.col("ts").cast(pl.Int64)).row(0)
    assert row == ("btcusdt", 5_933_014, 1_730_612_345_120, 64210.10, 0.125, True, "ws")


def test_no_frames_give_an_empty_frame_of_the_same_schema() -> None:
    result = parsed()
    assert result.trades.schema == pl.Schema(TRADE_SCHEMA)
    assert result.trades.height == 0


def test_raw_payloads_unknown_fields_and_odd_layout_are_accepted() -> None:
    later = raw(TRADE, a=2, ps="BTCUSDT", X="MARKET", nested={"deep": [1]})
    pretty = json.dumps({"data": {**TRADE, "a": 3}, "stream": "x"}, indent=1).encode()
    result = parsed(raw(TRADE, a=1), later, pretty, envelope(TRADE, a=4))
    assert result.rejects == {}
    assert sorted(result.trades["agg_id"]) == [1, 2, 3, 4]


def test_st_may_be_absent() -> None:
    trade = {key: value for key, value in TRADE.items() if key != "st"}
    assert parsed(envelope(trade), envelope(TRADE, st=None)).trades.height == 2


def test_symbols_of_any_alphabet() -> None:
    result = parsed(
        *(envelope(TRADE, s=name) for name in ("币安人生USDT", "1000PEPEUSDT", "4USDT")),
        known={"币安人生usdt", "1000pepeusdt", "4usdt"},
    )
    assert result.trades["symbol"].to_list() == ["币安人生usdt", "1000pepeusdt", "4usdt"]


def test_latest_event_time_is_the_largest_plausible_one() -> None:
    events = (1_730_612_345_123, 1_730_612_345_999, 1_730_612_345_500, 9_999_999_999_999)
    frames = [envelope(TRADE, a=place, E=event) for place, event in enumerate(events)]
    assert parsed(*frames).event_ms == {"btcusdt": 1_730_612_345_999}


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"p": "0"}, "bad_price"),
        ({"p": "-1"}, "bad_price"),
        ({"p": "NaN"}, "bad_price"),
        ({"p": "inf"}, "bad_price"),
        ({"p": "1e400"}, "bad_price"),
        ({"p": "1e11"}, "bad_price"),
        ({"p": "1e-9"}, "bad_price"),
        ({"p": ""}, "bad_price"),
        ({"p": "abc"}, "bad_price"),
        ({"q": "0"}, "bad_size"),
        ({"q": "-0.1"}, "bad_size"),
        ({"q": "nan"}, "bad_size"),
        ({"q": "1e10"}, "bad_size"),
        ({"p": "9e10", "q": "9e9"}, "bad_notional"),
        ({"T": 0}, "bad_time"),
        ({"T": -1}, "bad_time"),
        ({"T": 4_102_444_800_000}, "bad_time"),
        ({"T": 10**30}, "bad_time"),
        ({"E": 10**30}, "bad_time"),
        ({"a": -1}, "bad_id"),
        ({"a": 2**53}, "bad_id"),
        ({"a": 2**63}, "bad_id"),
        ({"a": 10**400}, "bad_id"),
        ({"s": "DOGEUSDT"}, "unknown_symbol"),
        ({"s": ""}, "unknown_symbol"),
        ({"st": 2}, "not_usdm"),
        ({"p": 64210.1}, "wrong_type"),
        ({"p": None}, "wrong_type"),
        ({"p": ["1"]}, "wrong_type"),
        ({"a": "1"}, "wrong_type"),
        ({"a": 1.5}, "wrong_type"),
        ({"a": True}, "wrong_type"),
        ({"m": "true"}, "wrong_type"),
        ({"m": 1}, "wrong_type"),
        ({"s": 7}, "wrong_type"),
        ({"T": None}, "wrong_type"),
        ({"e": "kline"}, "unknown_event"),
        ({"e": 3}, "wrong_type"),
    ],
)
@pytest.mark.parametrize("frame", [envelope, raw])
def test_unusable_trades_are_counted_by_kind_and_cost_the_others_nothing(
    frame: Any, changes: dict[str, Any], kind: str
) -> None:
    good = frame(TRADE, a=7)
    result = parsed(good, frame(TRADE, **changes), good, known={"btcusdt"})
    assert result.rejects == {kind: 1}
    assert list(result.samples) == [kind]
    assert len(result.samples[kind]) <= 160
    assert result.trades["agg_id"].to_list() == [7, 7]


@pytest.mark.parametrize("field", ["e", "E", "s", "a", "p", "q", "T", "m"])
def test_a_missing_field_is_a_wrong_type(field: str) -> None:
    trade = {key: value for key, value in TRADE.items() if key != field}
    assert parsed(envelope(trade), raw(trade)).rejects == {"wrong_type": 2}


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (envelope(TRADE)[:-9], "not_json"),
        (b"\xff\xfe\x00", "not_json"),
        (b'{"stream":"x","data":{"e":"aggTrade","p":NaN}}', "not_json"),
        (b"[" * 100_000, "not_json"),
        (b'{"s":"\xff"}', "not_json"),
        (b"[]", "wrong_type"),
        (b"null", "wrong_type"),
        (b'"text"', "wrong_type"),
        (b"{}", "wrong_type"),
        (b'{"stream":"x","data":null}', "wrong_type"),
        (b'{"stream":"x","data":[1]}', "wrong_type"),
    ],
)
def test_frames_that_are_no_payload(frame: bytes, kind: str) -> None:
    result = parsed(envelope(TRADE), frame)
    assert result.rejects == {kind: 1}
    assert result.trades.height == 1


def test_the_limits_of_the_store_are_exclusive_above_and_inclusive_below() -> None:
    below_price = repr(math.nextafter(PRICE_LIMIT, 0))
    below_size = repr(math.nextafter(SIZE_LIMIT, 0))
    result = parsed(
        envelope(TRADE, p=below_price, q="1"),
        envelope(TRADE, p="1", q=below_size),
        envelope(TRADE, p=repr(SMALLEST), q=repr(SMALLEST)),
    )
    assert result.rejects == {}


def test_marks_are_read_and_checked() -> None:
    result = parsed(
        envelope(MARK),
        envelope(MARK, r="", i=""),
        envelope(MARK, p="0"),
        envelope(MARK, i="x"),
        envelope(MARK, r="inf"),
        envelope(MARK, E=1),
        envelope(MARK, s="XUSDT"),
        envelope(MARK, st=2),
        known={"btcusdt"},
    )
    assert [mark.index_price for mark in result.marks] == [64212.25, 0.0]
    assert result.marks[0].funding_rate == 0.0001
    assert result.marks[0].next_funding_ms == 1_730_649_600_000
    assert result.rejects == {"bad_price": 3, "bad_time": 1, "unknown_symbol": 1, "not_usdm": 1}
    assert result.event_ms == {}


def test_replies_of_every_shape() -> None:
    result = parsed(
        b'{"result":null,"id":1}',
        b'{"result":["btcusdt@aggTrade"],"id":3}',
        b'{"code":2,"msg":"Invalid request: unknown"}',
        b'{"error":{"code":3,"msg":"Invalid JSON"},"id":9}',
    )
    assert [(reply.id, reply.streams, reply.error_code) for reply in result.replies] == [
        (1, None, None),
        (3, ["btcusdt@aggTrade"], None),
        (None, None, 2),
        (9, None, 3),
    ]
    assert result.replies[3].error == "Invalid JSON"
    assert result.replies[0].error is None
    assert result.rejects == {}
    assert parse_reply(envelope(TRADE)) is None
    assert parse_reply(b"{") is None


def test_control_messages_and_stream_names() -> None:
    text = control_message("SUBSCRIBE", ["币安人生usdt@aggTrade"], 4)
    assert json.loads(text) == {"method": "SUBSCRIBE", "params": ["币安人生usdt@aggTrade"], "id": 4}
    assert json.loads(control_message("LIST_SUBSCRIPTIONS", [], 5)) == {
        "method": "LIST_SUBSCRIPTIONS",
        "id": 5,
    }
    assert stream_names("币安人生USDT") == ("币安人生usdt@aggTrade", "币安人生usdt@markPrice@1s")


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_no_bytes_ever_raise(frames: list[bytes]) -> None:
    result = parse_frames(frames, None)
    seen = sum(result.rejects.values()) + len(result.replies) + len(result.marks)
    assert seen + result.trades.height == len(frames)


AWKWARD: list[Any] = [None, True, 0, -1, 10**30, 1.5, math.nan, math.inf, "", "1e400", "-0"]
AWKWARD += ["nan", " 1", "1_0", "0x1", "\ud800", "\x00", "e" * 500, [], {}, [1], {"e": "aggTrade"}]


@given(
    st.sampled_from([TRADE, MARK]),
    st.dictionaries(
        st.sampled_from([*TRADE, "i", "r", "data"]), st.sampled_from(AWKWARD), max_size=4
    ),
)
def test_no_values_ever_raise_nor_pass_unchecked(
    payload: dict[str, Any], changes: dict[str, Any]
) -> None:
    frames = [json.dumps({"data": {**payload, **changes}}).encode()]  # \\ud800 and NaN included
    frames.append(json.dumps({**payload, **changes}).encode())
    result = parse_frames(frames, None)
    for row in result.trades.iter_rows(named=True):
        assert 0 < row["price"] < 1e11
        assert 0 < row["size"] < 1e10
        assert 0 <= row["agg_id"] < 2**53
        assert row["symbol"]


@given(
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
    st.integers(0, 2**53 - 1),
    st.integers(1_420_070_400_000, 4_102_444_799_999),
    st.floats(1e-7, 1e7).map(repr),
    st.decimals("0.001", "999999", places=3).map(str),
    st.booleans(),
)
def test_valid_trades_round_trip(
    symbol: str, agg_id: int, ts: int, price: str, size: str, maker: bool
) -> None:
    frame = envelope(TRADE, s=symbol, a=agg_id, T=ts, p=price, q=size, m=maker)
    trades = parse_frames([frame], None).trades.with_columns(pl.col("ts").cast(pl.Int64))
    assert trades.rows() == [
        (symbol.lower(), agg_id, ts, float(price), float(size), maker, "ws"),
    ]


def rest_rows(*rows: dict[str, Any]) -> bytes:
    base = {key: TRADE[key] for key in ("a", "p", "q", "nq", "f", "l", "T", "m")}
    return json.dumps([{**base, **row} for row in rows]).encode()


def test_rest_page_holds_trades_by_id() -> None:
    page = parse_rest_trades("BTCUSDT", rest_rows({"a": 12}, {"a": 10}, {"a": 11}))
    assert page.trades.schema == pl.Schema(TRADE_SCHEMA)
    assert page.trades["agg_id"].to_list() == [10, 11, 12]
    assert set(page.trades["source"]) == {"rest"}
    assert set(page.trades["symbol"]) == {"btcusdt"}
    assert (page.first_id, page.last_id, page.rows, page.unusable) == (10, 12, 3, [])


def test_rest_page_names_the_ids_that_nobody_can_use() -> None:
    body = rest_rows(
        {"a": 1, "p": "0"}, {"a": 2}, {"a": 3, "q": "NaN"}, {"a": 4, "p": None}, {"a": 5, "T": 1}
    )
    page = parse_rest_trades("btcusdt", body)
    assert page.unusable == [1, 3, 4, 5]
    assert page.trades["agg_id"].to_list() == [2]
    assert (page.first_id, page.last_id, page.rows) == (1, 5, 5)


def test_rest_page_may_be_empty() -> None:
    page = parse_rest_trades("btcusdt", b"[]")
    assert (page.trades.height, page.first_id, page.last_id, page.rows) == (0, None, None, 0)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{}", b"[1]", b"<html>", b'{"code":-1,"msg":"x"}', b'[{"p":"1"}]', b'[{"a":"1"}]'),
        # Cut off behind what the typed decoder stumbles over.
        *(b"{oops", b'{"a":', b"[1,", b'[{"a":"x"},'),
        *(rest_rows({"a": -1}), rest_rows({"a": 2**53}), rest_rows({"a": 10**30}), b"\xff"),
    ],
)
def test_rest_page_of_something_else_is_a_bad_message(body: bytes) -> None:
    with pytest.raises(BadMessage, match="trades of btcusdt"):
        parse_rest_trades("btcusdt", body)


def contract(**changes: Any) -> dict[str, Any]:
    return {
        "symbol": "BTCUSDT",
        "status": "TRADING",
        "contractType": "PERPETUAL",
        "baseAsset": "BTC",
        "quoteAsset": "USDT",
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": "0.10"},
            {"filterType": "LOT_SIZE", "stepSize": "0.001"},
            {"filterType": "MIN_NOTIONAL", "notional": "100"},
        ],
        **changes,
    }


def test_exchange_info_leaves_out_odd_contracts_only(caplog: pytest.LogCaptureFixture) -> None:
    body = json.dumps(
        {
            "symbols": [
                contract(),
                contract(symbol="币安人生USDT", newField={"x": 1}),
                contract(symbol="BTCUSDT_261225", contractType="CURRENT_QUARTER"),
                contract(symbol="AUSDT", status="SETTLING"),
                contract(symbol="BUSDT", contractType="TRADIFI_PERPETUAL"),
                contract(symbol=None),
                contract(symbol=""),
                contract(symbol="CUSDT", filters=[{"filterType": "LOT_SIZE", "stepSize": "NaN"}]),
                contract(symbol="DUSDT", filters=[{"filterType": "PRICE_FILTER"}]),
                contract(symbol="EUSDT", filters=[{"filterType": "LOT_SIZE", "stepSize": 10**400}]),
                "text",
            ]
        }
    ).encode()
    infos = parse_exchange_info(body)
    assert [info.symbol for info in infos if info.is_tradable] == [
        "btcusdt",
        "币安人生usdt",
        "busdt",
    ]
    assert len(infos) == 5
    assert (infos[0].tick_size, infos[0].step_size, infos[0].min_notional) == (0.1, 0.001, 100.0)
    assert len(caplog.records) == 1
    assert "6 contracts left out" in caplog.text


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"symbols":{}}', b"\xff"])
def test_exchange_info_of_something_else_is_a_bad_message(body: bytes) -> None:
    with pytest.raises(BadMessage):
        parse_exchange_info(body)


def test_server_time_and_venue() -> None:
    assert parse_server_time(b'{"serverTime":1730612345123}') == 1_730_612_345_123
    for odd in (b'"soon"', b"true", b"0", b"1420070399999", b"4102444800000", b"9" * 400):
        with pytest.raises(BadMessage):
            parse_server_time(b'{"serverTime":' + odd + b"}")
    assert parse_practice_venue(b'{"practice":{"venue":"practice:7"},"symbols":[]}') == "practice:7"
    assert parse_practice_venue(b'{"symbols":[]}') is None
    assert parse_practice_venue(b'{"practice":7}') is None
