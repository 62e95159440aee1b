"""What a scan found: pairs by stage, symbols with their places, and what all of it stands on."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from core.scanning.settings import ScanSettings

# How far a pair came. Each stage needs the ones before it; "same asset" is beside the ranking, what
# is filtered passed q and not what else the settings ask, and what returns in an explained pair is
# one leg's spread against a better partner.
NOISE, PASSED, SURVIVED, CONFIRMED = "noise", "passed", "survived", "confirmed"
FILTERED, EXPLAINED, SAME = "filtered", "explained", "same asset"

# One row a pair of the table: the file keeps these, in this order.
PAIR_SCHEMA: dict[str, pl.DataType] = {
    "place": pl.Int64(),
    "y": pl.String(),
    "x": pl.String(),
    "stage": pl.String(),
    "beta": pl.Float64(),
    "alpha": pl.Float64(),
    "statistic": pl.Float64(),
    "p_value": pl.Float64(),
    "q_value": pl.Float64(),
    "q_by": pl.Float64(),
    "lag": pl.Int64(),
    "half_life_bars": pl.Float64(),
    "spread_sd_bps": pl.Float64(),
    "zscore": pl.Float64(),
    "return_correlation": pl.Float64(),
    "crossings": pl.Int64(),
    "stale_share": pl.Float64(),
    "n_obs": pl.Int64(),
    "cost_bps": pl.Float64(),
    "engle_granger_p": pl.Float64(),
    "other_way_p": pl.Float64(),
    "bootstrap_p": pl.Float64(),
    "johansen_trace": pl.Float64(),
    "johansen_critical": pl.Float64(),
    "frozen_statistic": pl.Float64(),
    "frozen_p": pl.Float64(),
    "frozen_q": pl.Float64(),
    "level_p": pl.Float64(),
    "explained_by": pl.String(),
    "explained_p": pl.Float64(),
    "note": pl.String(),
    "spark": pl.List(pl.Float64()),
}
SYMBOL_SCHEMA: dict[str, pl.DataType] = {
    "symbol": pl.String(),
    "left_out": pl.String(),
    "coverage": pl.Float64(),
    "stale_share": pl.Float64(),
    "turnover": pl.Float64(),
    "map_x": pl.Float64(),
    "map_y": pl.Float64(),
    "cluster": pl.Int64(),
}


@dataclass(frozen=True, slots=True)
class Windows:
    """Training is [train_start, train_end), the test window [train_end, test_end); UTC."""

    train_start: datetime
    train_end: datetime
    test_end: datetime


@dataclass(frozen=True, slots=True)
class Noise:
    """The noise floor: ``tested`` ordered pairs of legs from two windows of ``bars`` bars each.

    ``passed`` of them have a p-value at or below the highest that passes among the true pairs.
    """

    tested: int = 0
    bars: int = 0
    passed: int = 0

    @property
    def share(self) -> float | None:
        """The share that passed, None where nothing could be tested."""
        return self.passed / self.tested if self.tested else None


@dataclass(frozen=True, slots=True, eq=False)
class ScanReport:
    """A scan. ``tested``, ``same_asset`` and ``direct`` count ordered pairs, as they were tested.

    ``passed``, ``survived`` and ``confirmed`` count pairs of two symbols, whichever way; ``passed``
    those that pass the filters too, ``survived`` those that no better pair explains. ``pairs``
    (PAIR_SCHEMA) has the better way of each, the best first: of those that did not pass the best
    few hundred. ``symbols`` (SYMBOL_SCHEMA) are all that were looked at.
    """

    id: str
    settings: ScanSettings
    asked_by: str
    started_at: datetime
    windows: Windows
    tested: int
    same_asset: int
    direct: int
    noise: Noise
    pairs: pl.DataFrame
    symbols: pl.DataFrame
    seconds: float = 0.0
    passed: int = 0
    survived: int = 0
    confirmed: int = 0
    is_final: bool = False
    note: str = ""
    # How often each pair survived in scans that asked the same: (of how many, by "y/x" sorted).
    history: tuple[int, dict[tuple[str, str], int]] = field(default=(0, {}))

    @property
    def explained(self) -> int:
        """How many pairs survived the bootstrap and are a better pair's shadow."""
        return self._staged(EXPLAINED)

    @property
    def filtered(self) -> int:
        """How many pairs of the table have a q-value that passes, and do not pass the filters."""
        return self._staged(FILTERED)

    def _staged(self, stage: str) -> int:
        return int((self.pairs["stage"] == stage).sum())

    @property
    def compared(self) -> int:
        """How many symbols were held against each other."""
        return int((self.symbols["left_out"] == "").sum())
