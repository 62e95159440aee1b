"""Every ordered pair of a market at once: Engle-Granger, half-life, z-score, crossings.

What the test of a pair adds up over its bars are products of the symbols' levels and steps, and
matrices of them (BLAS) hold the sums of all pairs: see `scan_moments`. Where so much cancels that
a statistic could lose its eighth digit, the pair is computed from its bars instead, and counted.
Engle & Granger (1987); MacKinnon (1994).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike

from core.errors import DataError, NotEnoughData
from core.stats.arrays import Floats
from core.stats.cointegration import LEAST_BARS
from core.stats.scan_legs import TILE, Legs, legs_of
from core.stats.scan_planes import LagChoice
from core.stats.scan_tile import Plan, TileResult, scan_tile

LONGEST_LAG = 10


@dataclass(frozen=True, slots=True, eq=False)
class ScanResult(TileResult):
    """Figures of every ordered pair: row i is y, column j is x; arrays (N_y, N_x).

    ``beta`` and ``alpha`` of y = α + βx in the panel's units; ``statistic``, ``p_value``
    (asymptotic, MacKinnon), ``lag`` and ``n_obs`` (rows of the final regression) of Engle-Granger;
    ``spread_sd`` the residuals' deviation (ddof 1), ``zscore`` the residual at the pair's last
    common bar over it; ``half_life_bars`` NaN where nothing comes back; ``return_correlation`` of
    the steps from bar to bar; ``crossings`` of the mean. In-sample, all of them.

    ``is_same_asset``: 1 − R² ≤ 1.5e-6, not tested. ``is_tested`` is False there, and where a leg
    stands still, common bars are too few, or the residuals follow their own past exactly: then
    statistic, p-value, half-life and z are NaN, lag and crossings −1, n_obs 0. ``is_direct``: the
    pair was computed from its bars. ``y_stale_share`` (N_y,) and ``x_stale_share`` (N_x,): the
    share of each symbol's bars whose price was carried, NaN for no bar.
    """

    y_stale_share: Floats
    x_stale_share: Floats

    @property
    def n_tested(self) -> int:
        """The number of pairs tested."""
        return int(np.count_nonzero(self.is_tested))

    @property
    def n_direct(self) -> int:
        """The number of pairs that sums were not safe for, computed from their bars."""
        return int(np.count_nonzero(self.is_direct))


def pair_scan(
    y: ArrayLike,
    x: ArrayLike,
    *,
    lag: int = 1,
    lag_choice: LagChoice = "fixed",
    least_bars: int = LEAST_BARS,
    y_stale: ArrayLike | None = None,
    x_stale: ArrayLike | None = None,
    count_crossings: bool = True,
    workers: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> ScanResult:
    """Test every leg of y against every leg of x, panels (T, N_y) and (T, N_x) of levels.

    With all bars there, statistic and β are those of ``statsmodels.tsa.stattools.coint(y, x,
    maxlag=lag, autolag=None)``, or ``autolag="aic"`` for ``lag_choice`` "aic". Row t of one panel
    goes with row t of the other, whatever their times: x may be of an earlier window.

    NaN is a missing bar. Line, deviation and z stand on the bars that both legs have; half-life,
    correlation and crossings on the steps whose both bars they have, a regression on those whose
    bars back to t − lag they have too. Fewer common bars than ``least_bars``, or fewer rows than
    so many whole bars give: not tested. ``y_stale`` and ``x_stale`` mark carried prices. Crossings
    take every bar of every pair, half of a scan's time: −1 without ``count_crossings``, and
    `core.stats.scan_crossings.pair_crossings` counts those of chosen pairs.

    A pair's figures are the same to the last digit in whatever panel it stands. ``progress`` is
    called with the share done after each tile, and may raise to end the scan; ``workers`` threads,
    by default one a processor. Raises NotEnoughData, or DataError for an infinite level, panels
    that do not match, or lags beyond 0 to 10.
    """
    plan = _plan(lag, lag_choice, least_bars, count_crossings)
    legs_y, legs_x = _both_legs(y, x, plan)
    found = _empty(legs_y.count, legs_x.count)

    def scan(place: tuple[int, int]) -> None:
        _keep(found, place, scan_tile(legs_y.tile(place[0]), legs_x.tile(place[1]), plan))

    places = [(i, j) for i in range(legs_y.tiles) for j in range(legs_x.tiles)]
    _each(scan, places, workers or os.cpu_count() or 1, progress)
    stale = _stale_share(legs_y, y_stale), _stale_share(legs_x, x_stale)
    return ScanResult(**found, y_stale_share=stale[0], x_stale_share=stale[1])


def block_slices(symbols: int, tiles: int = 2) -> tuple[slice, ...]:
    """Return slices of so many tiles that cut the symbols of one side into blocks.

    Blocks of whole tiles waste nothing: others are padded to one.
    """
    if tiles < 1:
        raise DataError(f"blocks of {tiles} tiles; give at least 1")
    width = tiles * TILE
    return tuple(slice(start, min(start + width, symbols)) for start in range(0, symbols, width))


def joined(parts: Sequence[Sequence[ScanResult]]) -> ScanResult:
    """Return one result of a grid of blocks: parts[a][b] is y-block a against x-block b.

    Raises DataError for no block.
    """
    if not parts or not parts[0]:
        raise DataError("there is no block to join; give at least one")
    planes = {
        field.name: np.block([[getattr(part, field.name) for part in row] for row in parts])
        for field in fields(TileResult)
    }
    return ScanResult(
        **planes,
        y_stale_share=np.concatenate([row[0].y_stale_share for row in parts]),
        x_stale_share=np.concatenate([part.x_stale_share for part in parts[0]]),
    )


def _plan(lag: int, lag_choice: LagChoice, least_bars: int, count_crossings: bool) -> Plan:
    """Return the plan; the longest regression must leave a degree of freedom."""
    if not 0 <= lag <= LONGEST_LAG:
        raise DataError(f"lag is {lag}; give 0 to {LONGEST_LAG}")
    if lag_choice not in ("fixed", "aic"):
        raise DataError(f"lag_choice is {lag_choice!r}; give 'fixed' or 'aic'")
    return Plan(lag, lag_choice, max(least_bars, 2 * lag + 3), count_crossings)


def _both_legs(y: ArrayLike, x: ArrayLike, plan: Plan) -> tuple[Legs, Legs]:
    """Return the legs of both panels, which must match and have the bars that a pair needs."""
    legs_y = legs_of(y, plan.lag, "y")
    legs_x = legs_y.copy() if x is y else legs_of(x, plan.lag, "x")
    if legs_y.bars != legs_x.bars:
        raise DataError(f"y has {legs_y.bars:,} bars and x {legs_x.bars:,}; give both the same")
    if legs_y.bars < plan.least_bars:
        raise NotEnoughData(f"the panels have {legs_y.bars:,} bars; {plan.least_bars:,} are needed")
    return legs_y, legs_x


def _stale_share(legs: Legs, is_stale: ArrayLike | None) -> Floats:
    """Return each symbol's share of stale bars, NaN where it has none."""
    known = legs.known[: legs.count, : legs.bars]
    rows = known.sum(axis=1)
    stale = np.zeros(rows.shape)
    if is_stale is not None:
        marks = np.asarray(is_stale, dtype=bool)
        if marks.shape != known.shape[::-1]:
            raise DataError(
                f"the stale bars are {marks.shape} and the panel {known.shape[::-1]}; match them"
            )
        stale = (marks.T & known).sum(axis=1).astype(np.float64)
    return np.where(rows > 0, stale / np.maximum(rows, 1), np.nan)


def _empty(rows: int, columns: int) -> dict[str, np.ndarray]:
    """Return room for each plane of the result."""
    names = [field.name for field in fields(TileResult)]
    masks = [name for name in names if name.startswith("is_")]
    numbers = [name for name in names if name not in masks]
    # In one piece: room of some MB comes in large pages, in a tenth of the time.
    room = np.empty((len(numbers), rows, columns))
    found: dict[str, np.ndarray] = dict(zip(numbers, room, strict=True))
    found |= {name: found[name].view(np.int64) for name in ("lag", "crossings", "n_obs")}
    return found | {name: np.empty((rows, columns), dtype=bool) for name in masks}


def _keep(found: dict[str, np.ndarray], place: tuple[int, int], tile: TileResult) -> None:
    rows, columns = (slice(k * TILE, (k + 1) * TILE) for k in place)
    for name, whole in found.items():
        part = whole[rows, columns]
        part[:] = getattr(tile, name)[: part.shape[0], : part.shape[1]]


def _each(
    work: Callable[[tuple[int, int]], None],
    places: list[tuple[int, int]],
    workers: int,
    progress: Callable[[float], None] | None,
) -> None:
    """Do the work at every place, in threads; what progress raises ends it after running tiles."""
    pool = ThreadPoolExecutor(min(workers, len(places)))
    try:
        for done, future in enumerate(as_completed([pool.submit(work, at) for at in places]), 1):
            future.result()
            if progress is not None:
                progress(done / len(places))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
