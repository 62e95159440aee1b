"""The cost of a round trip, against its formula for equal slippage."""

from __future__ import annotations

import pytest

from core.costs import TAKER_BPS, round_trip_bps


@pytest.mark.parametrize("beta", [-2.0, 0.0, 0.5, 1.0])
def test_four_fills_of_fee_and_slippage(beta: float) -> None:
    found = round_trip_bps(beta, slippage_y_bps=1.5, slippage_x_bps=1.5)
    assert found == pytest.approx(2 * (TAKER_BPS + 1.5) * (1 + abs(beta)))


def test_each_leg_has_its_own_slippage() -> None:
    assert round_trip_bps(2.0, slippage_y_bps=1, slippage_x_bps=3, fee_bps=0) == 14.0
