"""What costs do to a result: at none, at once, at twice, and where it breaks even."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from core.backtest.engine import Backtest, backtest
from core.backtest.market import Floats

FACTORS = (0.0, 1.0, 2.0)


@dataclass(frozen=True, slots=True, eq=False)
class CostsView:
    """Net results by cost factor, and what the spread gave against what it promised.

    ``break_even_bps``: cost a fill, in bps of its notional, that would eat the gross gain; None
    without trades. ``predicted_bps`` and ``realised_bps`` (trades,): |z|·σ at the decision and
    the gross result, both of y's notional; ``capture`` is their ratio.
    """

    nets: dict[float, float]
    break_even_bps: float | None
    paid_bps: float | None
    predicted_bps: Floats
    realised_bps: Floats
    capture: float | None


def costs_view(done: Backtest) -> CostsView:
    """Return what costs do to one backtest."""
    nets = {}
    for factor in FACTORS:
        how = done.settings.execution.scaled(factor)
        again = (
            done
            if factor == 1.0
            else backtest(done.market, done.signals, replace(done.settings, execution=how))
        )
        nets[factor] = again.books.end - again.books.start
    books = done.books
    traded = sum(
        float((np.abs(one.size) * one.reference).sum()) for one in (books.fills_y, books.fills_x)
    )
    sums = {
        name: float(books.trades[name].to_numpy().sum()) for name in ("gross", "fees", "slippage")
    }
    predicted, realised = _reversion(done, books.trades)
    total = float(predicted.sum())
    return CostsView(
        nets,
        1e4 * sums["gross"] / traded if traded else None,
        1e4 * (sums["fees"] + sums["slippage"]) / traded if traded else None,
        predicted,
        realised,
        float(realised.sum()) / total if total > 0 else None,
    )


def _reversion(done: Backtest, trades: pl.DataFrame) -> tuple[Floats, Floats]:
    rows = trades["decided_row"].to_numpy()
    sigma = done.signals.sigma[rows]
    if not done.signals.is_log:
        sigma = sigma / done.market.close_y[rows]
    predicted = 1e4 * np.abs(done.signals.zscore[rows]) * sigma
    worth = np.abs(trades["size_y"].to_numpy() * trades["price_y_in"].to_numpy())
    return predicted, 1e4 * trades["gross"].to_numpy() / worth
