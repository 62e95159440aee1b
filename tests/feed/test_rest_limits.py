"""What the exchange says of its own limits, and sums that no number may overflow."""

from __future__ import annotations

import json

from core.feed.checks import checked_trades
from core.feed.rest_messages import parse_weight_limit


def body(*limits: dict[str, object]) -> bytes:
    return json.dumps({"rateLimits": list(limits)}).encode()


def test_the_weight_limit_is_the_one_a_minute() -> None:
    orders = {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200}
    weight = {
        "rateLimitType": "REQUEST_WEIGHT",
        "interval": "MINUTE",
        "intervalNum": 1,
        "limit": 2400,
    }
    assert parse_weight_limit(body(orders, weight)) == 2400


def test_a_limit_that_cannot_be_read_is_no_limit() -> None:
    assert parse_weight_limit(body({"rateLimitType": 5})) is None
    assert parse_weight_limit(b"{}") is None


def test_a_notional_that_would_overflow_a_sum_is_left_out() -> None:
    found = checked_trades(
        ["a", "a", "a"],
        [1, 2, 3],
        [1_760_000_000_000] * 3,
        ["99999999999", "1e300", "1"],
        ["9999999999", "1e300", "1"],
        [True] * 3,
        "ws",
    )
    assert found.kinds == {0: "bad_notional", 1: "bad_price"}
    assert found.trades["agg_id"].to_list() == [3]
