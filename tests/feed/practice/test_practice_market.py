"""The practice market: purity, ids, times, integer grids, and bars that are the trades' own."""

import json
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.feed.practice.blocks import TradeBlock
from core.feed.practice.market import DAY_MS, EPOCH_MS, HOUR_MS, MINUTE_MS, Market
from core.feed.practice.symbols import SYMBOLS
from core.feed.practice.wire import price_text, size_text

MARKET = Market(seed=7)
DAY = EPOCH_MS + 2_517 * DAY_MS  # 2026-11-22
FIELDS = ("agg_id", "ts_ms", "price_ticks", "size_steps", "buyer_is_maker")


def same(left: TradeBlock, right: TradeBlock) -> bool:
    return all(np.array_equal(getattr(left, f), getattr(right, f)) for f in FIELDS)


@given(
    symbol=st.sampled_from(["btcusdt", "linkusdt", "币安人生usdt", "arbusdt"]),
    start=st.integers(0, 40_000),
    n=st.integers(1, 30_000),
    cut=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
@settings(max_examples=25, deadline=None)
def test_any_part_equals_the_same_slice_of_the_whole(
    symbol: str, start: int, n: int, cut: tuple[float, float]
) -> None:
    first = MARKET.first_id(symbol, DAY) - 20_000 + start
    whole = MARKET.trades(symbol, first, first + n - 1)
    lo, hi = sorted(int(c * n) for c in cut)
    part = Market(seed=7).trades(symbol, first + lo, first + hi - 1)
    assert len(whole) == n
    assert same(part, whole.slice(lo, hi))


@pytest.mark.parametrize("rate", [5.0, 60.0, 3_000.0])
@pytest.mark.parametrize("symbol", ["btcusdt", "4usdt"])
def test_ids_are_consecutive_and_times_rise_across_day_and_blocks(symbol: str, rate: float) -> None:
    market = Market(7, rate)
    block = market.trades_between(symbol, DAY - 30 * MINUTE_MS, DAY + 30 * MINUTE_MS)
    assert np.all(np.diff(block.agg_id) == 1)
    assert np.all(np.diff(block.ts_ms) >= 0)
    assert block.ts_ms[0] >= DAY - 30 * MINUTE_MS
    assert block.ts_ms[-1] < DAY + 30 * MINUTE_MS
    assert market.first_id(symbol, DAY) == block.agg_id[np.searchsorted(block.ts_ms, DAY)]
    assert np.all(np.diff(block.first_trade_id) > 0)
    assert np.all(block.last_trade_id >= block.first_trade_id)
    assert np.all(block.last_trade_id[:-1] < block.first_trade_id[1:])
    assert np.all(block.normal_steps <= block.size_steps)


@given(st.integers(0, DAY_MS))
@settings(max_examples=60, deadline=None)
def test_first_id_is_the_first_at_or_after(offset: int) -> None:
    first = MARKET.first_id("linkusdt", DAY + offset)
    before, at = MARKET.trades("linkusdt", first - 1, first).ts_ms
    assert before < DAY + offset <= at


def test_the_days_before_2020_have_no_trades() -> None:
    assert MARKET.first_id("btcusdt", EPOCH_MS - 5) == 1
    assert MARKET.first_id("btcusdt", EPOCH_MS) == 1
    assert MARKET.trades("btcusdt", -5, 3).agg_id.tolist() == [1, 2, 3]
    assert len(MARKET.trades("btcusdt", 5, 4)) == 0


def test_every_day_has_its_fixed_number_of_trades() -> None:
    for symbol in ("btcusdt", "4usdt"):
        ids = [MARKET.first_id(symbol, DAY + k * DAY_MS) for k in range(3)]
        assert set(np.diff(ids)) == {MARKET.trades_per_day(symbol)}
    total = sum(MARKET.trades_per_day(s) for s in MARKET.symbols)
    assert total == pytest.approx(60 * 86_400, rel=1e-5)


def test_another_seed_is_another_market_and_rate_changes_the_identity() -> None:
    first = MARKET.first_id("ethusdt", DAY)
    ours = MARKET.trades("ethusdt", first, first + 99)
    other = Market(8).trades("ethusdt", first, first + 99)
    assert not np.array_equal(ours.price_ticks, other.price_ticks)
    assert MARKET.identity == "practice:7"
    assert Market(7, 5_000).identity == "practice:7:rate=5000"


def test_the_price_path_does_not_depend_on_the_rate() -> None:
    fast = Market(7, 600)
    for t in (DAY, DAY + 12_345_678):
        assert fast.mark_price("solusdt", t) == MARKET.mark_price("solusdt", t)


def test_another_process_makes_the_same_trades() -> None:
    first = MARKET.first_id("opusdt", DAY)
    block = MARKET.trades("opusdt", first, first + 500)
    code = (
        "from core.feed.practice.market import Market; import json;"
        f"b = Market(7).trades('opusdt', {first}, {first + 500});"
        "print(json.dumps([b.ts_ms.tolist(), b.price_ticks.tolist(), b.size_steps.tolist()]))"
    )
    out = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    theirs = json.loads(out.stdout)
    assert theirs == [c.tolist() for c in (block.ts_ms, block.price_ticks, block.size_steps)]


@pytest.mark.parametrize("symbol", list(SYMBOLS))
def test_floats_are_those_of_the_wire_and_prices_plausible(symbol: str) -> None:
    spec = SYMBOLS[symbol]
    first = MARKET.first_id(symbol, DAY)
    block = MARKET.trades(symbol, first, first + 299)
    for i in range(300):
        price = price_text(spec, int(block.price_ticks[i]))
        size = size_text(spec, int(block.size_steps[i]))
        assert float(price) == block.price[i]
        assert float(size) == block.size[i]
        assert Decimal(price) % Decimal(spec.tick) == 0
        assert Decimal(size) % Decimal(spec.step) == 0
        assert Decimal(size) > 0
    assert 0.2 < block.price[0] / spec.base_price < 5


def naive_bars(block: TradeBlock, interval_ms: int) -> dict[int, list[int]]:
    bars: dict[int, list[int]] = {}
    for ts, p, q, m in zip(
        block.ts_ms.tolist(),
        block.price_ticks.tolist(),
        block.size_steps.tolist(),
        block.buyer_is_maker.tolist(),
        strict=True,
    ):
        bar = bars.setdefault(ts // interval_ms * interval_ms, [p, p, p, p, 0, 0, 0, 0, 0])
        bar[1], bar[2], bar[3] = max(bar[1], p), min(bar[2], p), p
        bought = 0 if m else 1
        for row, more in enumerate((q, p * q, 1, q * bought, p * q * bought), start=4):
            bar[row] += more
    return bars


@pytest.mark.parametrize(
    ("symbol", "rate", "interval"),
    [
        ("linkusdt", 60, MINUTE_MS),
        ("btcusdt", 60, 15 * MINUTE_MS),
        ("4usdt", 2, MINUTE_MS),
        ("4usdt", 2, 5 * MINUTE_MS),
        ("trxusdt", 1, HOUR_MS),
        ("wifusdt", 3, DAY_MS),
    ],
)
def test_klines_are_the_trades(symbol: str, rate: float, interval: int) -> None:
    market = Market(7, rate)
    start = (DAY - 2 * HOUR_MS) // interval * interval
    stop = start + max(4 * HOUR_MS, interval)
    bars = market.klines(symbol, interval, start, stop)
    wanted = naive_bars(market.trades_between(symbol, start, stop), interval)
    first = market.first_id(symbol, start)
    close = int(market.trades(symbol, first - 1, first - 1).price_ticks[0])
    assert bars.open_ms.tolist() == list(range(start, stop, interval))
    for at, row in zip(bars.open_ms.tolist(), bars.data.T.tolist(), strict=True):
        assert row == wanted.get(at, [close] * 4 + [0] * 5)
        close = row[3]
    if rate == 2 and interval == MINUTE_MS:
        assert (bars.trades == 0).any()


def test_an_unfinished_bar_holds_what_has_happened() -> None:
    now = DAY + HOUR_MS + 90_500
    bars = MARKET.klines("ethusdt", 5 * MINUTE_MS, DAY + HOUR_MS, DAY + 2 * HOUR_MS, now)
    block = MARKET.trades_between("ethusdt", DAY + HOUR_MS, now)
    assert bars.open_ms.tolist() == [DAY + HOUR_MS]
    assert bars.trades.tolist() == [len(block)]
    assert bars.close[0] == block.price_ticks[-1]
    assert bars.volume_steps[0] == block.size_steps.sum()


def test_bad_arguments_say_so() -> None:
    with pytest.raises(ValueError, match="divide a day"):
        MARKET.klines("btcusdt", 7 * MINUTE_MS, DAY, DAY + HOUR_MS)
    with pytest.raises(ValueError, match="rate"):
        Market(7, 0)
    with pytest.raises(ValueError, match="at most"):
        MARKET.trades("btcusdt", 1, 10**9)


def test_funding_and_mark_prices_are_functions_of_time() -> None:
    rates = [MARKET.funding_rate("btcusdt", DAY + k * 8 * HOUR_MS) for k in range(30)]
    assert rates == [Market(7).funding_rate("btcusdt", DAY + k * 8 * HOUR_MS) for k in range(30)]
    assert len(set(rates)) > 20
    assert max(map(abs, rates)) <= 0.003
    first = MARKET.first_id("btcusdt", DAY + HOUR_MS)
    trade = MARKET.trades("btcusdt", first, first)
    mark = MARKET.mark_price("btcusdt", int(trade.ts_ms[0]))
    assert mark == pytest.approx(float(trade.price[0]), rel=1e-3)


def test_prices_join_at_midnight() -> None:
    for symbol in MARKET.symbols:
        before, after = (MARKET.index_price(symbol, DAY + ms) for ms in (-1, 0))
        assert after == pytest.approx(before, rel=2e-4)
