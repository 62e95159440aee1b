"""The correlation matrix as it stands now, built once for all who look."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from core.bar_sql import timeframe_seconds
from core.live.feeder import Feeder
from core.live.memo import Memo
from core.live.pulse import Pulse
from core.live.window import RANGES, epoch_ms, utc
from core.matrix import On, Panel, panel_correlation, read_panel
from core.stats.correlation import (
    CorrelationMatrix,
    Kind,
    RankedPair,
    clustered_order,
    ranked_pairs,
)
from core.verdict import SETTLE_S, fixed_step_s

# The matrix is computed anew so many times a range, on closed bars.
STEPS_A_RANGE = 120
_matrices = Memo(12)


@dataclass(frozen=True, slots=True)
class MatrixChoice:
    """What the controls say."""

    symbols: tuple[str, ...]
    timeframe: str
    range_name: str
    on: On
    kind: Kind
    is_clustered: bool
    min_turnover: float


@dataclass(frozen=True, slots=True)
class MatrixView:
    """The matrix of one step of time, and what it says."""

    choice: MatrixChoice
    panel: Panel
    matrix: CorrelationMatrix
    order: tuple[int, ...]
    ranked: tuple[RankedPair, ...]
    start: datetime
    end: datetime


def matrix_view(
    feed: Feeder, pulse: Pulse, choice: MatrixChoice, *, is_waited_for: bool = False
) -> MatrixView | None:
    """Return the newest matrix, None while nothing is closed; a newer one follows by itself.

    A page shows the one before while a newer one is made; ``is_waited_for`` waits.

    Raises StoreError where nothing can be read, DataError where the bars allow no answer.
    """
    found = _stretch(pulse, choice)
    if found is None:
        return None
    start, end = found
    place = (feed.store.path, choice)
    turn = int(datetime.now(UTC).timestamp() / 30)

    def build() -> MatrixView:
        panel = read_panel(feed.store, choice.symbols, choice.timeframe, start, end,
                           min_turnover=choice.min_turnover)  # fmt: skip
        matrix = panel_correlation(panel, on=choice.on, kind=choice.kind)
        order = tuple(range(len(choice.symbols)))
        if choice.is_clustered:
            order = clustered_order(matrix.values)
        return MatrixView(choice, panel, matrix, order, ranked_pairs(matrix), start, end)

    key = (place, end, turn)
    view: MatrixView = (
        _matrices.get(key, build) if is_waited_for else _matrices.latest(place, key, build)
    )
    return view


def _stretch(pulse: Pulse, choice: MatrixChoice) -> tuple[datetime, datetime] | None:
    """Return the closed bars' range: up to a fixed step of time, on whole bars."""
    known = [pulse.bounds(symbol, choice.timeframe) for symbol in choice.symbols]
    bounds = [bound for bound in known if bound]
    if not bounds:
        return None
    bar_ms = timeframe_seconds(choice.timeframe) * 1000
    newest = epoch_ms(max(last for _, last in bounds)) - SETTLE_S * 1000
    first = epoch_ms(min(first for first, _ in bounds))
    span_ms = min(RANGES[choice.range_name] * 1000, max(newest - first, bar_ms))
    step_ms = fixed_step_s(span_ms / 1000, bar_ms // 1000, STEPS_A_RANGE) * 1000
    end = math.floor(newest / step_ms) * step_ms
    start = math.floor((end - span_ms) / bar_ms) * bar_ms
    return (utc(start), utc(end)) if end - start >= 2 * bar_ms else None
