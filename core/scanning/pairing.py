"""All pairs at once: compared here or on a cluster, corrected, held against noise, put in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.cluster import Place, run_tasks
from core.downsample import thinned
from core.scanning.panel import Bools, ScanPanel
from core.scanning.report import FILTERED, NOISE, PAIR_SCHEMA, PASSED, SAME, Noise
from core.scanning.settings import ScanSettings
from core.stats.arrays import Floats
from core.stats.multiple_testing import q_values
from core.stats.scan import ScanResult, block_slices, joined, pair_scan
from core.stats.scan_crossings import pair_crossings

Share = Callable[[float], None]
Block = tuple[slice, slice]

# Rows of the table: those that passed, then the next best, then those that are the same asset.
MOST_PASSED, MOST_OTHERS, MOST_SAME = 500, 300, 100
SPARK_POINTS = 80
BPS = 1e4


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """All ordered pairs of the training window, and their q-values over everything tested.

    ``scan`` and ``q`` are (N, N), row y, column x; the diagonal is not tested. ``q_by`` are
    Benjamini-Yekutieli's whatever the settings choose. ``line``: the highest p-value that passes,
    None where none does.
    """

    scan: ScanResult
    q: Floats
    q_by: Floats
    line: float | None

    @property
    def tested(self) -> int:
        """How many ordered pairs were tested."""
        return int(_off_diagonal(self.scan.is_tested).sum())

    @property
    def same_asset(self) -> int:
        """How many ordered pairs are the same asset."""
        return int(_off_diagonal(self.scan.is_same_asset).sum())

    @property
    def direct(self) -> int:
        """How many ordered pairs were recomputed from their bars."""
        return int(_off_diagonal(self.scan.is_direct).sum())


@dataclass(frozen=True, slots=True)
class _Sides:
    """What a block needs, sent to every process once."""

    y: Floats
    x: Floats
    y_stale: Bools | None
    x_stale: Bools | None
    lag: int
    is_aic: bool


def compared(panel: ScanPanel, settings: ScanSettings, place: Place, share: Share) -> Compared:
    """Compare every symbol with every other on the training window."""
    train = panel.train
    begin = panel.first_train
    stale = panel.is_stale[begin : begin + panel.train_bars]
    found = _scanned(_sides(train, train, settings, stale), place, share)
    p = np.where(_off_diagonal(found.is_tested), found.p_value, np.nan)
    q_by = q_values(p, "by")
    q = q_by if settings.correction == "by" else q_values(p, "bh")
    passing = p[q <= settings.level]
    return Compared(found, q, q_by, float(passing.max()) if len(passing) else None)


def noise_floor(
    panel: ScanPanel, settings: ScanSettings, place: Place, found: Compared, share: Share
) -> Noise:
    """Return how many pairs of legs from two windows pass the line that the true pairs passed.

    Where none passed, the line is the smallest p-value's chance: level / tested.
    """
    y, x = panel.noise_legs()
    if len(y) < 2 * (settings.lag + 10):
        return Noise()
    scan = _scanned(_sides(y, x, settings), place, share)
    tested = _off_diagonal(scan.is_tested)
    count = int(tested.sum())
    line = found.line if found.line is not None else settings.level / max(found.tested, 1)
    return Noise(count, len(y), int((scan.p_value[tested] <= line).sum()))


def _off_diagonal(marks: Bools) -> Bools:
    """Return the marks (N, N) without those of a symbol with itself."""
    return marks & ~np.eye(len(marks), dtype=np.bool_)


def _sides(y: Floats, x: Floats, settings: ScanSettings, stale: Bools | None = None) -> _Sides:
    return _Sides(y, x, stale, stale, settings.lag, settings.is_aic)


def _scanned(sides: _Sides, place: Place, share: Share) -> ScanResult:
    """Return the scan of both sides; its blocks are the whole to the last digit."""
    if place == "threads":
        return _block_of(sides, (slice(None), slice(None)), None, share)
    rows, columns = (block_slices(side.shape[1]) for side in (sides.y, sides.x))
    blocks = [(a, b) for a in rows for b in columns]

    def going_on(done: int, total: int) -> bool:
        share(done / total)
        return True

    # Each process has its own core: threads within would be in each other's way.
    parts = run_tasks(_block, sides, blocks, place=place, going_on=going_on)
    width = len(columns)
    grid = [parts[at : at + width] for at in range(0, len(parts), width)]
    return joined([[part for part in row if part is not None] for row in grid])


def _block(sides: _Sides, block: Block) -> ScanResult:
    return _block_of(sides, block, 1, None)


def _block_of(sides: _Sides, block: Block, workers: int | None, share: Share | None) -> ScanResult:
    rows, columns = block
    # Crossings take half of a scan's time, and only the table's rows show them: see `_rows`.
    return pair_scan(
        sides.y[:, rows], sides.x[:, columns],
        lag=sides.lag, lag_choice="aic" if sides.is_aic else "fixed",
        y_stale=None if sides.y_stale is None else sides.y_stale[:, rows],
        x_stale=None if sides.x_stale is None else sides.x_stale[:, columns],
        count_crossings=False, workers=workers, progress=share,
    )  # fmt: skip


def first_table(
    panel: ScanPanel, settings: ScanSettings, found: Compared
) -> tuple[pl.DataFrame, int]:
    """Return the table (PAIR_SCHEMA) before the finalists' tests, and how many pairs passed.

    Of the two ways of a pair the one with the smaller p-value stands for it.
    """
    scan = found.scan
    first, second = np.triu_indices(len(panel.names), 1)
    p = np.where(scan.is_tested, scan.p_value, np.inf)
    statistic = np.where(scan.is_tested, scan.statistic, np.inf)
    is_turned = statistic[second, first] < statistic[first, second]
    y = np.where(is_turned, second, first)
    x = np.where(is_turned, first, second)
    is_tested = scan.is_tested[y, x]
    is_same = scan.is_same_asset[y, x] | scan.is_same_asset[x, y]
    is_found = is_tested & ~is_same & (found.q[y, x] <= settings.level)
    unfit = _unfit(scan, settings, y, x)
    passes = is_found & ~np.any(list(unfit.values()), axis=0)
    # By the statistic: p-values of what is beyond doubt are all 0.
    order = np.lexsort((scan.statistic[y, x], p[y, x], ~passes))
    ranked = order[(is_tested & ~is_same)[order]]
    count = int(passes.sum())
    shown = ranked[: min(count, MOST_PASSED) + MOST_OTHERS]
    same = np.flatnonzero(is_same)[:MOST_SAME]
    chosen = np.concatenate([shown, same])
    missed = np.where(is_found[shown], FILTERED, NOISE)
    stages = np.where(passes[shown], PASSED, missed).tolist() + [SAME] * len(same)
    notes = [
        "; ".join(why for why, marks in unfit.items() if marks[at]) if is_found[at] else ""
        for at in shown
    ] + [""] * len(same)
    return _rows(panel, settings, found, y[chosen], x[chosen], stages, notes), count


def _unfit(
    scan: ScanResult, settings: ScanSettings, y: NDArray[np.int64], x: NDArray[np.int64]
) -> dict[str, Bools]:
    """Return, by what is said of it, which pairs lack something that the settings ask of a pair."""
    lives = scan.half_life_bars[y, x]
    found = {"the spread never returns": ~np.isfinite(lives)}
    if settings.min_correlation > 0:
        weak = ~(np.abs(scan.return_correlation[y, x]) >= settings.min_correlation)
        found[f"|ρ| of returns below {settings.min_correlation:g}"] = weak
    if settings.max_half_life_bars > 0:
        slow = lives > settings.max_half_life_bars
        found[f"half-life above {settings.max_half_life_bars:g} bars"] = slow
    if settings.min_sigma_per_cost > 0:
        cost = _cost_bps(settings, scan.beta[y, x])
        dear = ~(BPS * scan.spread_sd[y, x] >= settings.min_sigma_per_cost * cost)
        found[f"σ below {settings.min_sigma_per_cost:g} round trips"] = dear
    return found


def _cost_bps(settings: ScanSettings, beta: Floats) -> Floats:
    """Return a round trip's cost in bps of the y leg: four fills."""
    found: Floats = 2.0 * (settings.fee_bps + settings.slippage_bps) * (1.0 + np.abs(beta))
    return found


def _rows(
    panel: ScanPanel,
    settings: ScanSettings,
    found: Compared,
    y: NDArray[np.int64],
    x: NDArray[np.int64],
    stages: list[str],
    notes: list[str],
) -> pl.DataFrame:
    scan = found.scan
    spreads = [_spread(panel, i, j, scan.alpha[i, j], scan.beta[i, j])
               for i, j in zip(y.tolist(), x.tolist(), strict=True)]  # fmt: skip
    newest = np.array([_last(spread) for spread in spreads])
    with np.errstate(invalid="ignore", divide="ignore"):
        zscore = newest / scan.spread_sd[y, x]
    train = panel.train
    crossings = pair_crossings(train[:, y], train[:, x], scan.alpha[y, x], scan.beta[y, x])
    untested = pl.Series(~scan.is_tested[y, x])
    names = np.array(panel.names, dtype=object)
    frame = pl.DataFrame(
        {
            "place": np.arange(1, len(y) + 1),
            "y": names[y].tolist(),
            "x": names[x].tolist(),
            "stage": stages,
            "beta": scan.beta[y, x],
            "alpha": scan.alpha[y, x],
            "statistic": scan.statistic[y, x],
            "p_value": scan.p_value[y, x],
            "q_value": found.q[y, x],
            "q_by": found.q_by[y, x],
            "lag": pl.Series(scan.lag[y, x]).set(untested, None),
            "half_life_bars": scan.half_life_bars[y, x],
            "spread_sd_bps": BPS * scan.spread_sd[y, x],
            "zscore": zscore,
            "return_correlation": scan.return_correlation[y, x],
            "crossings": pl.Series(crossings).set(untested, None),
            "stale_share": np.maximum(scan.y_stale_share[y], scan.x_stale_share[x]),
            "n_obs": pl.Series(scan.n_obs[y, x]).set(untested, None),
            "cost_bps": _cost_bps(settings, scan.beta[y, x]),
            "note": notes,
            "spark": [_spark(spread) for spread in spreads],
        },
        schema_overrides={"spark": pl.List(pl.Float64), "stage": pl.String, "y": pl.String,
                          "x": pl.String, "note": pl.String},
    )  # fmt: skip
    missing = [pl.lit(None, kind).alias(name) for name, kind in PAIR_SCHEMA.items()
               if name not in frame.columns]  # fmt: skip
    whole = frame.with_columns(missing).select(list(PAIR_SCHEMA)).cast(pl.Schema(PAIR_SCHEMA))
    return whole.with_columns(pl.col(pl.Float64).fill_nan(None))


def _spread(panel: ScanPanel, y: int, x: int, alpha: float, beta: float) -> Floats:
    """Return the spread of training and test window, α and β from training."""
    rows = panel.logs[panel.first_train :]
    found: Floats = rows[:, y] - alpha - beta * rows[:, x]
    return found


def _last(spread: Floats) -> float:
    known = np.flatnonzero(np.isfinite(spread))
    return float(spread[known[-1]]) if len(known) else np.nan


def _spark(spread: Floats) -> list[float]:
    """Return the spread in bps as few points that keep its shape, evenly over the time.

    Over a hole the last value stands; before the first one, the first.
    """
    known = np.flatnonzero(np.isfinite(spread))
    if not len(known):
        return []
    last = np.searchsorted(known, np.arange(len(spread)), side="right") - 1
    whole = spread[known[np.maximum(last, 0)]]
    rows = thinned([whole], SPARK_POINTS)
    return [round(BPS * value, 2) for value in whole[rows].tolist()]
