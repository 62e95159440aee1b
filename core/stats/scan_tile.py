"""One tile of symbols against another: every figure of a scan, for TILE × TILE pairs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np

from core.stats.adf import mackinnon_p_values
from core.stats.arrays import Floats, Ints
from core.stats.hedge import SAME_ASSET
from core.stats.scan_crossings import crossings_of
from core.stats.scan_direct import direct_pair
from core.stats.scan_gaps import gap_fit
from core.stats.scan_legs import Bools, Legs
from core.stats.scan_moments import Fit, whole_fit
from core.stats.scan_planes import LEAST_KEPT, LagChoice, Tested, tested

Planes = TypeVar("Planes", Fit, Tested)


@dataclass(frozen=True, slots=True)
class Plan:
    """The lags, how they are chosen, the common bars a pair must have, and what else to count."""

    lag: int
    choice: LagChoice
    least_bars: int
    has_crossings: bool


@dataclass(frozen=True, slots=True, eq=False)
class TileResult:
    """The figures of a tile's pairs, in planes; `core.stats.scan.ScanResult` says what they are."""

    beta: Floats
    alpha: Floats
    statistic: Floats
    p_value: Floats
    half_life_bars: Floats
    spread_sd: Floats
    zscore: Floats
    r_squared: Floats
    return_correlation: Floats
    lag: Ints
    crossings: Ints
    n_obs: Ints
    is_same_asset: Bools
    is_tested: Bools
    is_direct: Bools


def scan_tile(y: Legs, x: Legs, plan: Plan) -> TileResult:
    """Return every figure of the tile's pairs."""
    with np.errstate(all="ignore"):
        fit, test = _figures(y, x, plan)
        moves = ~(y.is_flat[:, None] | x.is_flat)
        usable = moves & (fit.bars >= plan.least_bars)
        usable &= test.least_rows >= plan.least_bars - 1 - plan.lag
        # A line this close is one asset also by a sum that lost digits; its bars need no look.
        is_clear = fit.unexplained <= SAME_ASSET / 2
        is_direct = usable & ~is_clear & ~(test.kept >= LEAST_KEPT)
        for row, column in np.argwhere(is_direct):
            usable[row, column] &= _replace(y, x, plan, fit, test, int(row), int(column))
        crossings = (
            crossings_of(y, x, fit.slope, fit.shift)
            if plan.has_crossings
            else np.full(usable.shape, -1, dtype=np.int64)
        )
        return _result(y, x, fit, test, crossings, usable, is_direct)


def _figures(y: Legs, x: Legs, plan: Plan) -> tuple[Fit, Tested]:
    """Return the pairs' lines and tests: by plain sums where both legs have all their bars."""
    is_whole = y.is_whole[:, None] & x.is_whole
    if is_whole.all():
        fit, moments = whole_fit(y, x, plan.lag)
        return fit, tested(moments, plan.lag, plan.choice)
    gap, gaps = gap_fit(y, x)
    gap_test = tested(gaps, plan.lag, plan.choice)
    if not is_whole.any():
        return gap, gap_test
    fit, moments = whole_fit(y, x, plan.lag)
    test = tested(moments, plan.lag, plan.choice)
    return _merged(is_whole, fit, gap), _merged(is_whole, test, gap_test)


def _merged(is_first: Bools, first: Planes, second: Planes) -> Planes:
    return type(first)(
        *(
            np.where(is_first, getattr(first, field.name), getattr(second, field.name))
            for field in fields(first)
        )
    )


def _replace(y: Legs, x: Legs, plan: Plan, fit: Fit, test: Tested, row: int, column: int) -> bool:
    """Put a pair's figures from its bars in place of those from sums; False if it stands still."""
    known = y.known[row, : y.bars] & x.known[column, : y.bars]
    levels_y, levels_x = y.levels[row, : y.bars], x.levels[column, : y.bars]
    found = direct_pair(levels_y, levels_x, known, plan.lag, plan.choice)
    if found is None:
        return False
    at = row, column
    fit.slope[at], fit.shift[at] = found.slope, found.shift
    fit.unexplained[at], fit.squares[at] = found.unexplained, found.squares
    fit.last[at], fit.half_life[at] = found.last, found.half_life
    test.statistic[at], test.lag[at], test.rows[at] = found.statistic, found.lag, found.rows
    return True


def _result(
    y: Legs, x: Legs, fit: Fit, test: Tested, crossings: Ints, usable: Bools, is_direct: Bools
) -> TileResult:
    """Return the figures in the panel's units, NaN where there is none."""
    is_same = usable & (fit.unexplained <= SAME_ASSET)
    is_tested = usable & ~is_same & np.isfinite(test.statistic)
    deviation = np.sqrt(np.maximum(fit.squares, 0.0) / (fit.bars - 1.0))
    beta = fit.slope * (y.scale[:, None] / x.scale)
    alpha = y.mean[:, None] + fit.shift * y.scale[:, None] - beta * x.mean

    def of(where: Bools, plane: Floats) -> Floats:
        return np.where(where, plane, np.nan)

    statistic = of(is_tested, test.statistic)
    return TileResult(
        beta=of(usable, beta),
        alpha=of(usable, alpha),
        statistic=statistic,
        p_value=mackinnon_p_values(statistic, constant=True, series=2),
        half_life_bars=of(is_tested, fit.half_life),
        spread_sd=of(usable, deviation * y.scale[:, None]),
        zscore=of(is_tested, fit.last / deviation),
        r_squared=of(usable, 1.0 - fit.unexplained),
        return_correlation=of(usable, fit.correlation),
        lag=np.where(is_tested, test.lag, -1),
        crossings=np.where(is_tested, crossings, -1),
        n_obs=np.where(is_tested, test.rows, 0.0).astype(np.int64),
        is_same_asset=is_same,
        is_tested=is_tested,
        is_direct=is_direct,
    )
