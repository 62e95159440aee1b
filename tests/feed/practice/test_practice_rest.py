"""REST: rows equal to the market, the rules for parameters, errors, weights and bans."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from core.feed.practice.faults import Faults
from core.feed.practice.limits import LimitSettings, WeightLimiter
from core.feed.practice.market import HOUR_MS, MINUTE_MS, Market
from core.feed.practice.rest import Answer, RestApi
from core.feed.practice.server import PracticeExchange

NOW = 1_795_305_600_000 + 10 * HOUR_MS + 12_345
MARKET = Market(seed=7)


class Fixed:
    """A view of the market at a fixed moment."""

    market = MARKET

    def now_ms(self) -> int:
        return NOW

    def end_id(self, symbol: str) -> int:
        return MARKET.first_id(symbol, NOW + 1)


def api(limits: LimitSettings | None = None, hours: float = 48) -> RestApi:
    limiter = WeightLimiter(limits or LimitSettings(10**9), wall_s=lambda: 1_000_000.0)
    return RestApi(Fixed(), limiter, Faults(), hours)


def get(name: str, rest: RestApi | None = None, **query: object) -> Answer:
    texts = {key: str(value) for key, value in query.items()}
    return (rest or api()).answer(f"/fapi/v1/{name}", texts)


def rows(name: str, **query: object) -> list[dict]:
    answer = get(name, **query)
    assert answer.status == 200, answer.body
    return httpx.Response(200, content=answer.body).json()


def code(name: str, **query: object) -> int:
    answer = get(name, **query)
    assert answer.status == 400
    return httpx.Response(400, content=answer.body).json()["code"]


def test_agg_trades_from_id_and_defaults() -> None:
    first = MARKET.first_id("ethusdt", NOW - HOUR_MS)
    got = rows("aggTrades", symbol="ETHUSDT", fromId=first)
    assert [row["a"] for row in got] == list(range(first, first + 500))
    assert list(got[0]) == ["a", "p", "q", "nq", "f", "l", "T", "m"]
    newest = MARKET.first_id("ethusdt", NOW + 1) - 1
    latest = rows("aggTrades", symbol="ETHUSDT", limit=1_000)
    assert (len(latest), latest[-1]["a"]) == (1_000, newest)
    assert rows("aggTrades", symbol="ETHUSDT", fromId=newest + 1) == []
    assert rows("aggTrades", symbol="ETHUSDT", fromId=newest - 2, limit=1_000)[-1]["a"] == newest


def test_agg_trades_by_time_are_inclusive() -> None:
    first = MARKET.first_id("ethusdt", NOW - HOUR_MS)
    block = MARKET.trades("ethusdt", first, first + 200)
    start, end = int(block.ts_ms[10]), int(block.ts_ms[100])
    got = rows("aggTrades", symbol="ETHUSDT", startTime=start, endTime=end, limit=1_000)
    wanted = block.agg_id[(block.ts_ms >= start) & (block.ts_ms <= end)].tolist()
    assert [row["a"] for row in got] == wanted
    assert rows("aggTrades", symbol="ETHUSDT", startTime=start, limit=2)[0]["a"] == wanted[0]
    assert rows("aggTrades", symbol="ETHUSDT", endTime=end, limit=2)[-1]["a"] == wanted[-1]
    assert rows("aggTrades", symbol="ETHUSDT", startTime=10**19) == []


def test_agg_trades_older_than_the_history_begin_at_the_oldest_kept() -> None:
    oldest = MARKET.first_id("btcusdt", NOW - HOUR_MS)
    answer = get("aggTrades", api(hours=1), symbol="BTCUSDT", fromId=5, limit=1)
    assert httpx.Response(200, content=answer.body).json()[0]["a"] == oldest


def test_parameter_rules() -> None:
    assert code("aggTrades", symbol="NOPEUSDT") == -1121
    assert code("aggTrades") == -1102
    assert code("aggTrades", symbol="BTCUSDT", limit="x") == -1100
    assert code("aggTrades", symbol="BTCUSDT", limit=1_001) == -1130
    assert code("aggTrades", symbol="BTCUSDT", fromId=1, startTime=5) == -1128
    times = {"startTime": NOW - HOUR_MS, "endTime": NOW}
    assert code("aggTrades", symbol="BTCUSDT", **times) == -1127
    assert code("klines", symbol="BTCUSDT") == -1102
    assert code("klines", symbol="BTCUSDT", interval="1s") == -1120
    assert code("klines", symbol="BTCUSDT", interval="1m", limit=1_501) == -1130
    assert code("klines", symbol="BTCUSDT", interval="1m", startTime=5, endTime=4) == -1128
    assert rows("aggTrades", symbol="BTCUSDT_261225") == []
    assert api().answer("/fapi/v1/nothing", {}).status == 404
    assert api().answer("/else", {}).status == 404


def test_klines_are_the_market_and_end_with_the_bar_of_now() -> None:
    got = rows("klines", symbol="LINKUSDT", interval="1m", limit=60)
    assert len(got) == 60
    assert got[-1][0] == NOW // MINUTE_MS * MINUTE_MS
    bars = MARKET.klines("linkusdt", MINUTE_MS, got[0][0], got[-1][0])
    assert [row[8] for row in got[:-1]] == bars.trades.tolist()
    assert [round(float(row[4]) * 1000) for row in got[:-1]] == bars.close.tolist()
    seen = MARKET.trades_between("linkusdt", got[-1][0], NOW + 1)
    assert got[-1][8] == len(seen)
    volume = sum(seen.price * seen.size)
    assert float(got[-1][7]) == pytest.approx(volume)
    assert len(got[0]) == 12


@pytest.mark.parametrize("interval", ["1m", "5m", "1h", "4h", "1d"])
def test_kline_windows(interval: str) -> None:
    ms = {"1m": 1, "5m": 5, "1h": 60, "4h": 240, "1d": 1440}[interval] * MINUTE_MS
    start = (NOW // ms - 3) * ms
    got = rows("klines", symbol="WIFUSDT", interval=interval, startTime=start, limit=2)
    assert [row[0] for row in got] == [start, start + ms]
    got = rows("klines", symbol="WIFUSDT", interval=interval, startTime=start + 1, endTime=NOW)
    assert [row[0] for row in got] == [start + ms, start + 2 * ms, start + 3 * ms]
    got = rows("klines", symbol="WIFUSDT", interval=interval, endTime=start, limit=2)
    assert [row[0] for row in got] == [start - ms, start]
    got = rows("klines", symbol="WIFUSDT", interval=interval, startTime=NOW + 2 * ms)
    assert got == []


def test_exchange_info_lists_what_may_and_may_not_be_traded() -> None:
    info = httpx.Response(200, content=get("exchangeInfo").body).json()
    by_name = {row["symbol"]: row for row in info["symbols"]}
    trading = [
        name
        for name, row in by_name.items()
        if row["contractType"] == "PERPETUAL" and row["status"] == "TRADING"
    ]
    assert sorted(trading) == sorted(s.upper() for s in MARKET.symbols)
    assert {"币安人生USDT", "1000PEPEUSDT", "4USDT"} <= set(trading)
    assert by_name["ALPACAUSDT"]["status"] == "SETTLING"
    assert by_name["BTCUSDT_261225"]["contractType"] == "CURRENT_QUARTER"
    filters = {f["filterType"]: f for f in by_name["BTCUSDT"]["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.10"
    assert filters["LOT_SIZE"]["stepSize"] == "0.001"


def test_funding_and_premium_index() -> None:
    got = rows("fundingRate", symbol="4USDT", limit=5)
    times = [row["fundingTime"] for row in got]
    assert times == [times[0] + k * 4 * HOUR_MS for k in range(5)]
    assert NOW - 4 * HOUR_MS < times[-1] <= NOW
    rate = MARKET.funding_rate("4usdt", times[0])
    assert float(got[0]["fundingRate"]) == rate
    start = rows("fundingRate", symbol="BTCUSDT", startTime=NOW - 3 * 8 * HOUR_MS)
    assert len(start) == 3
    assert len(rows("fundingRate", limit=50)) == 50
    premium = rows("premiumIndex")
    assert len(premium) == len(MARKET.symbols)
    one = httpx.Response(200, content=get("premiumIndex", symbol="BTCUSDT").body).json()
    assert one["nextFundingTime"] > NOW


@pytest.mark.parametrize(
    ("name", "query", "weight"),
    [
        ("ping", {}, 1),
        ("aggTrades", {"symbol": "BTCUSDT", "limit": 1}, 20),
        ("klines", {"symbol": "4USDT", "interval": "1m", "limit": 99}, 1),
        ("klines", {"symbol": "4USDT", "interval": "1m", "limit": 499}, 2),
        ("klines", {"symbol": "4USDT", "interval": "1m"}, 5),
        ("klines", {"symbol": "4USDT", "interval": "1m", "limit": 1_001}, 10),
        ("premiumIndex", {"symbol": "4USDT"}, 1),
        ("premiumIndex", {}, 10),
        ("fundingRate", {}, 0),
    ],
)
def test_weights(name: str, query: dict[str, object], weight: int) -> None:
    assert get(name, **query).headers["X-MBX-USED-WEIGHT-1M"] == str(weight)


def test_429_until_the_minute_is_over_then_418_for_those_who_go_on() -> None:
    clock: Iterator[float] = iter(())
    now = 6_000_030.0
    settings = LimitSettings(weight_per_minute=40, warnings=3, ban_s=120, retry_after=True)
    limiter = WeightLimiter(settings, wall_s=lambda: next(clock, now))
    assert [limiter.charge(20) for _ in range(2)] == [None, None]
    refused = limiter.charge(20)
    assert refused is not None
    assert (refused.status, refused.body["code"], refused.retry_after_s) == (429, -1003, 30)
    assert "current limit is 40 requests per minute" in str(refused.body["msg"])
    assert "banned until 6000060000" in str(refused.body["msg"])
    statuses = [limiter.charge(1).status for _ in range(3)]  # type: ignore[union-attr]
    assert statuses == [429, 429, 418]
    now += 121
    assert limiter.charge(20) is None
    assert limiter.used == 20


def test_a_new_minute_is_a_new_budget_and_funding_has_its_own() -> None:
    now = 6_000_030.0
    settings = LimitSettings(weight_per_minute=20, funding_calls=2, funding_window_s=300)
    limiter = WeightLimiter(settings, wall_s=lambda: now)
    assert limiter.charge(20) is None
    assert limiter.charge(1) is not None
    now += 31
    assert limiter.charge(20) is None
    assert [limiter.charge(0, funding=True) for _ in range(2)] == [None, None]
    assert limiter.charge(0, funding=True) is not None


def test_over_http_with_real_headers() -> None:
    async def run() -> None:
        limits = LimitSettings(weight_per_minute=45, retry_after=True)
        async with PracticeExchange(limits=limits) as ex:
            async with httpx.AsyncClient(base_url=ex.rest_url) as client:
                assert (await client.get("/fapi/v1/time")).status_code == 200
                for _ in range(5):  # the minute may turn once
                    answer = await client.get("/fapi/v1/aggTrades?symbol=%E5%B8%81%E5%AE%89X")
                    if answer.status_code == 429:
                        break
                    assert answer.json()["code"] == -1121
                assert answer.status_code == 429
                assert int(answer.headers["retry-after"]) >= 1

    asyncio.run(run())
