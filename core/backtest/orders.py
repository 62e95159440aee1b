"""Fill prices and sizes: what an order decided at a row's close costs, and how large it may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.backtest.market import Floats, Ints, Leg, Market
from core.backtest.settings import BacktestSettings, Contract, Execution

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """Fills of one leg, arrays (k,): the price before slippage, the price paid, traded through.

    ``through``: whether the bar traded beyond the price, so that a maker's order was filled for
    certain.
    """

    reference: Floats
    paid: Floats
    through: Bools


@dataclass(frozen=True, slots=True, eq=False)
class Sizes:
    """Signed sizes of entries, arrays (k,) in base units, 0 where refused.

    ``refused`` (k,) is 0 where an entry is taken, else the number of its reason in ``reasons``.
    ``hedge_error``: by how much rounding to steps left x too large (+) or too small, a share.
    """

    y: Floats
    x: Floats
    refused: NDArray[np.int8]
    reasons: tuple[str, ...]
    hedge_error: Floats


def fill_prices(
    one: Leg, bars: Ints, closes: Floats, sign: Floats, tick: float, how: Execution
) -> Prices:
    """Return the fills of orders in the given own bars; ``sign`` is +1 to buy, −1 to sell.

    ``closes`` are the leg's prices at the decision, at which a maker's order rests.
    """
    high, low = one.high[bars], one.low[bars]
    if how.is_maker:
        reference = closes
        through = np.where(sign > 0, low < closes, high > closes)
        return Prices(reference, reference, through)
    reference = one.vwap[bars] if how.fill == "vwap" else one.open[bars]
    by_kind: Mapping[str, Floats] = {
        "bps": reference * (how.slippage / 1e4),
        "ticks": np.full(len(bars), how.slippage * tick),
        "range": (high - low) * how.slippage,
    }
    slip = np.maximum(by_kind[how.slippage_kind], how.least_ticks * tick)
    return Prices(reference, reference + sign * slip, np.ones(len(bars), bool))


def sizes(
    market: Market,
    settings: BacktestSettings,
    rows: Ints,
    side: int,
    beta: Floats,
    gross: Floats,
    *,
    is_log: bool,
) -> Sizes:
    """Return the entries of one side decided at ``rows``; ``beta`` and ``gross`` are theirs (k,).

    ``side`` +1 buys y and sells β of x.
    """
    how, money = settings.execution, settings.money
    long_y = np.full(len(rows), float(side))
    paid_y = fill_prices(
        market.y, market.fill_y[rows], market.close_y[rows], long_y,
        settings.contract_y.tick_size, how,
    ).paid  # fmt: skip
    paid_x = fill_prices(
        market.x, market.fill_x[rows], market.close_x[rows], -long_y * np.sign(beta),
        settings.contract_x.tick_size, how,
    ).paid  # fmt: skip
    elasticity = beta if is_log else beta * paid_x / paid_y
    ratio = np.sign(elasticity) if money.sizing == "dollar" else elasticity
    with np.errstate(divide="ignore", invalid="ignore"):
        worth_y = gross / (1.0 + np.abs(ratio))
        size_y = rounded(worth_y / paid_y, settings.contract_y)
        size_x = rounded(worth_y * np.abs(ratio) / paid_x, settings.contract_x)
        hedge_error = (size_x * paid_x) / (size_y * paid_y * np.abs(ratio)) - 1.0
    refused, reasons = _refusals(
        market, settings, rows, elasticity, gross, size_y, size_x, paid_y, paid_x
    )
    taken = refused == 0
    return Sizes(
        np.where(taken, side * size_y, 0.0),
        np.where(taken, -side * np.sign(ratio) * size_x, 0.0),
        refused,
        reasons,
        np.where(taken, hedge_error, np.nan),
    )


def rounded(size: Floats, contract: Contract) -> Floats:
    """Return sizes rounded down to the contract's step."""
    if not contract.step_size:
        return size
    # A whole number of steps must stay one where its quotient is a hair short of it.
    return np.asarray(np.floor(size / contract.step_size * (1 + 1e-12)) * contract.step_size)


def _refusals(
    market: Market,
    settings: BacktestSettings,
    rows: Ints,
    elasticity: Floats,
    gross: Floats,
    size_y: Floats,
    size_x: Floats,
    paid_y: Floats,
    paid_x: Floats,
) -> tuple[NDArray[np.int8], tuple[str, ...]]:
    """Return the number of each entry's reason to be refused, 0 for none; the first counts."""
    money = settings.money
    apart_s = np.abs(market.y.start_s[market.fill_y[rows]] - market.x.start_s[market.fill_x[rows]])
    small_y = size_y * paid_y < max(settings.contract_y.min_notional, 1e-300)
    small_x = size_x * paid_x < max(settings.contract_x.min_notional, 1e-300)
    reasons = (
        (~np.isfinite(elasticity) | ~np.isfinite(gross), "no hedge ratio"),
        (
            (elasticity < money.lowest_beta) | (elasticity > money.highest_beta),
            f"β outside {money.lowest_beta:g} to {money.highest_beta:g}",
        ),
        (apart_s > settings.execution.apart_bars * market.bar_s, "legs' bars too far apart"),
        ((paid_y <= 0) | (paid_x <= 0), "slippage larger than the price"),
        (small_y | small_x, "below the minimum notional"),
    )
    found = np.zeros(len(rows), np.int8)
    for number in range(len(reasons), 0, -1):
        found[reasons[number - 1][0]] = number
    return found, ("", *(text for _, text in reasons))
