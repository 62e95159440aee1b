"""What trading a pair costs: fees and slippage of the four fills of a round trip."""

from __future__ import annotations

# Binance's base tier for takers, in bps of the notional of a fill.
TAKER_BPS = 5.0


def round_trip_bps(
    hedge_elasticity: float,
    *,
    slippage_y_bps: float,
    slippage_x_bps: float,
    fee_bps: float = TAKER_BPS,
) -> float:
    """Return the cost of entry and exit of both legs, in bps of y's notional.

    ``hedge_elasticity``: x's notional per unit of y's, which is β for log prices and β · x / y for
    raw ones. Slippages in bps a fill.
    """
    y_leg = fee_bps + slippage_y_bps
    x_leg = fee_bps + slippage_x_bps
    return 2.0 * (y_leg + abs(hedge_elasticity) * x_leg)
