"""Payloads field by field, decimals, and frames that a WebSocket parser accepts."""

import json

import pytest

from core.feed.practice.batches import Moment
from core.feed.practice.market import DAY_MS, EPOCH_MS, Market
from core.feed.practice.rest import mark_price_update
from core.feed.practice.symbols import SYMBOLS, decimal_text
from core.feed.practice.wire import agg_trade_frames, agg_trade_rows, framed, header, payload_of

MARKET = Market(seed=7)
DAY = EPOCH_MS + 2_517 * DAY_MS


@pytest.mark.parametrize("symbol", ["btcusdt", "1000pepeusdt", "币安人生usdt", "4usdt"])
@pytest.mark.parametrize("combined", [True, False])
def test_agg_trade_frames_say_what_the_block_holds(symbol: str, combined: bool) -> None:
    first = MARKET.first_id(symbol, DAY)
    block = MARKET.trades(symbol, first, first + 49)
    rows = agg_trade_rows(block)
    for i, frame in enumerate(agg_trade_frames(block, combined)):
        payload = payload_of(frame)
        assert frame == framed(payload)
        message = json.loads(payload)
        if combined:
            assert message["stream"] == f"{symbol}@aggTrade"
            assert set(message) == {"stream", "data"}
            message = message["data"]
        keys = ["e", "E", "s", "a", "p", "q", "nq", "f", "l", "T", "m", "st"]
        assert list(message) == keys
        assert message["e"] == "aggTrade"
        assert message["s"] == symbol.upper()
        assert message["st"] == 1
        assert 0 < message["E"] - message["T"] < 10
        assert float(message["p"]) == block.price[i]
        assert {k: message[k] for k in ("a", "p", "q", "nq", "f", "l", "T", "m")} == rows[i]


def test_mark_price_has_every_field() -> None:
    update = mark_price_update(MARKET, SYMBOLS["4usdt"], DAY + 1_000)
    assert set(update) == {"e", "E", "s", "p", "ap", "i", "P", "r", "T", "st"}
    assert update["T"] == DAY + 4 * 3_600_000
    assert update["s"] == "4USDT"


def test_decimal_texts() -> None:
    assert decimal_text(6_421_010, 2) == "64210.10"
    assert decimal_text(5, 7) == "0.0000005"
    assert decimal_text(12, 0) == "12"
    assert decimal_text(-105, 1) == "-10.5"


@pytest.mark.parametrize("n", [0, 125, 126, 65_535, 65_536])
def test_headers_of_all_lengths(n: int) -> None:
    assert payload_of(framed(b"x" * n)) == b"x" * n
    assert len(header(n)) == (2 if n < 126 else 4 if n < 65_536 else 10)


def test_a_moment_merges_symbols_in_time_order() -> None:
    symbols = ("btcusdt", "ethusdt", "4usdt")
    frames = Moment(MARKET, DAY, DAY + 60_000).frames(symbols, combined=True)
    trades = [json.loads(payload_of(f))["data"] for f in frames]
    assert [t["T"] for t in trades] == sorted(t["T"] for t in trades)
    assert {t["s"] for t in trades} == {"BTCUSDT", "ETHUSDT", "4USDT"}
    for symbol in symbols:
        ids = [t["a"] for t in trades if t["s"] == symbol.upper()]
        block = MARKET.trades_between(symbol, DAY, DAY + 60_000)
        assert ids == block.agg_id.tolist()
    assert Moment(MARKET, DAY, DAY).frames(symbols, combined=True) == []
