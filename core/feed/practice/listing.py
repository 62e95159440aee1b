"""exchangeInfo of the practice exchange."""

from datetime import UTC, datetime
from typing import Any

from core.feed.practice.symbols import LISTED_ONLY, SYMBOLS, ListedOnly, decimals

_FAR_MS = 4_133_404_800_000  # the delivery date that perpetuals carry (2100-12-25)
_ONBOARD_MS = 1_577_836_800_000
_ORDER_TYPES = ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"]


def exchange_info(now_ms: int, weight_limit: int, venue: str) -> dict[str, Any]:
    """The whole answer: trading perpetuals first, then what is only listed.

    `practice` is the one field that the real exchange has not: it says whose ids these are, so
    that a file of one venue is never fed from another.
    """
    perpetuals = [
        _row(
            ListedOnly(s.wire, s.wire, "PERPETUAL", "TRADING", s.tick, s.step),
            s.min_notional,
        )
        for s in SYMBOLS.values()
    ]
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": [
            {
                "rateLimitType": "REQUEST_WEIGHT",
                "interval": "MINUTE",
                "intervalNum": 1,
                "limit": weight_limit,
            }
        ],
        "exchangeFilters": [],
        "practice": {"venue": venue},
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": perpetuals + [_row(listed, 5) for listed in LISTED_ONLY],
    }


def _row(listed: ListedOnly, min_notional: int) -> dict[str, Any]:
    quarterly = listed.contract_type.endswith("QUARTER")
    base = listed.pair.removesuffix("USDT")
    return {
        "symbol": listed.wire,
        "pair": listed.pair,
        "contractType": listed.contract_type,
        "deliveryDate": _delivery_ms(listed.wire) if quarterly else _FAR_MS,
        "onboardDate": _ONBOARD_MS,
        "status": listed.status,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": base,
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": decimals(listed.tick),
        "quantityPrecision": decimals(listed.step),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10000,
        "filters": _filters(listed, min_notional),
        "orderTypes": _ORDER_TYPES,
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
    }


def _filters(listed: ListedOnly, min_notional: int) -> list[dict[str, Any]]:
    lot = {"minQty": listed.step, "maxQty": "10000000", "stepSize": listed.step}
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": listed.tick,
            "maxPrice": "4529764",
            "tickSize": listed.tick,
        },
        {"filterType": "LOT_SIZE", **lot},
        {"filterType": "MARKET_LOT_SIZE", **lot},
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        {"filterType": "MIN_NOTIONAL", "notional": str(min_notional)},
        {
            "filterType": "PERCENT_PRICE",
            "multiplierUp": "1.0500",
            "multiplierDown": "0.9500",
            "multiplierDecimal": "4",
        },
    ]


def _delivery_ms(wire: str) -> int:
    day = datetime.strptime(wire.rpartition("_")[2], "%y%m%d").replace(hour=8, tzinfo=UTC)
    return int(day.timestamp() * 1000)
