"""What programs are told of scans."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from core.api.replies.parts import Instant, Reply
from core.scanning.settings import ScanSettings


class ScanBegun(Reply):
    """A scan that was begun; Location says where to look for it."""

    id: str
    state: str


class ScanOnItsWay(Reply):
    """How far a scan is."""

    id: str
    state: Literal["running"]
    words: str
    share: float | None


class ScanWindows(Reply):
    """Training is [train_start, train_end), the test window [train_end, test_end)."""

    train_start: Instant
    train_end: Instant
    test_end: Instant


class NoiseFloor(Reply):
    """How much of what cannot be real passed the same line."""

    tested: int
    bars: int
    passed: int
    share: float | None


class ScannedPair(Reply):
    """One pair of a scan, the better way of the two; null what was not reached or is not known."""

    place: int
    y: str
    x: str
    stage: str
    beta: float | None
    alpha: float | None
    statistic: float | None
    p_value: float | None
    q_value: float | None
    q_by: float | None
    lag: int | None
    half_life_bars: float | None
    spread_sd_bps: float | None
    zscore: float | None
    return_correlation: float | None
    crossings: int | None
    stale_share: float | None
    n_obs: int | None
    cost_bps: float | None
    engle_granger_p: float | None
    other_way_p: float | None
    bootstrap_p: float | None
    johansen_trace: float | None
    johansen_critical: float | None
    frozen_statistic: float | None
    frozen_p: float | None
    frozen_q: float | None
    level_p: float | None
    explained_by: str | None
    explained_p: float | None
    note: str | None
    spark: Annotated[list[float], Meta(description="The spread in bps, thinned.")]
    survived_scans: int
    of_scans: int


class Scan(Reply):
    """All that a scan found, its pairs the best first."""

    state: Literal["done"]
    id: str
    asked_by: str
    started_at: Instant
    seconds: float
    is_final: bool
    headline: str
    remarks: list[str]
    settings: ScanSettings
    windows: ScanWindows
    symbols: int
    tested: int
    same_asset: int
    recomputed_directly: int
    noise: NoiseFloor
    passed: int
    survived: int
    confirmed: int
    pairs: list[ScannedPair]
    left_out: Annotated[dict[str, str], Meta(description="Symbols not compared, and why.")]
