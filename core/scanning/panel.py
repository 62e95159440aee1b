"""The closes that a scan looks at: read once, carried over short holes, cut into its windows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.errors import NotEnoughData
from core.live.pulse import Span, dataset_of, spans_by_symbol
from core.matrix import read_panel
from core.queries import load_spans, load_symbols
from core.scanning.report import SYMBOL_SCHEMA, Windows
from core.scanning.settings import LEAST_TRAIN_BARS, ScanSettings
from core.stats.arrays import Floats
from core.store import Store
from core.verdict import SETTLE_S

Bools = NDArray[np.bool_]
# 430 MB of closes: 700 symbols over a month of minutes, with what is read before for the noise.
MOST_CELLS = 54_000_000
# A part takes some 0.1 s; on a machine that does much else a scan would rather wait than end.
LIMIT_S = 5.0
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive UTC, as the store keeps it
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, eq=False)
class ScanPanel:
    """Log closes (T, N) of the symbols that are compared, and a row for each that was looked at.

    The rows are the bars before training as far as they are held (at most as many as training
    has), then ``train_bars`` of training, then ``test_bars`` of the test window. ``is_stale``
    (T, N) marks carried closes; NaN is where a close would have been carried for too long.
    ``symbols`` has SYMBOL_SCHEMA, without places on the map.
    """

    names: tuple[str, ...]
    logs: Floats
    is_stale: Bools
    windows: Windows
    train_bars: int
    test_bars: int
    symbols: pl.DataFrame

    @property
    def first_train(self) -> int:
        """The row in which training begins."""
        return len(self.logs) - self.train_bars - self.test_bars

    @property
    def train(self) -> Floats:
        """The training window's rows."""
        return self.logs[self.first_train : self.first_train + self.train_bars]

    @property
    def test(self) -> Floats:
        """The test window's rows."""
        return self.logs[len(self.logs) - self.test_bars :]

    def noise_legs(self) -> tuple[Floats, Floats]:
        """Return y-legs of now and x-legs of an earlier window, equally long, row beside row.

        The earlier window is as long as training where so much is held before it; else both are
        the longest halves of what is held until training ends.
        """
        until = self.first_train + self.train_bars
        bars = min(self.train_bars, until // 2)
        return self.logs[until - bars : until], self.logs[until - 2 * bars : until - bars]


def read_scan_panel(store: Store, settings: ScanSettings) -> ScanPanel:
    """Read what a scan looks at, up to the newest closed bar.

    Raises NotEnoughData where less than two symbols can be compared, and what the store raises.
    """
    with store.read() as con:
        spans = spans_by_symbol(load_spans(con))
        statuses = dict(load_symbols(con).select("symbol", "status").iter_rows())
    asked = _asked(settings, spans)
    if len(asked) < 2:
        raise NotEnoughData(f"{len(asked)} symbol to scan; a scan needs at least 2: watch more")
    first, windows = _stretch(settings, spans, asked)
    end, bar = windows.test_end, timedelta(seconds=settings.bar_s)
    panel = read_panel(
        store, asked, settings.timeframe, first, end, most_cells=MOST_CELLS, limit_s=LIMIT_S,
        counted=(windows.train_start, windows.train_end),
    )  # fmt: skip
    closes, is_stale = carried(panel.closes, settings.carry_bars)
    looked_at = (end - windows.train_start) // bar
    test_bars = (end - windows.train_end) // bar
    # What a symbol does on the test window decides nothing about whether it is compared.
    trained = slice(-looked_at, -test_bars)
    coverage = np.isfinite(panel.closes[trained]).mean(axis=0)
    days = [_days_held(spans[name], windows) for name in asked]
    turnover = panel.turnover / np.maximum(days, 1.0 / 1440)
    reasons = [
        _reason(settings, spans[name], end, float(coverage[at]), float(turnover[at]),
                closes[trained, at], statuses.get(name, ""))
        for at, name in enumerate(asked)
    ]  # fmt: skip
    kept = [at for at, words in enumerate(reasons) if not words]
    if len(kept) < 2:
        raise NotEnoughData(_too_few(len(asked), [words for words in reasons if words]))
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.log(closes[:, kept])
    logs[~np.isfinite(logs)] = np.nan
    stale = is_stale[trained].mean(axis=0)
    return ScanPanel(
        tuple(asked[at] for at in kept), logs, is_stale[:, kept], windows,
        looked_at - test_bars, test_bars, _symbol_rows(asked, reasons, coverage, stale, turnover),
    )  # fmt: skip


def _days_held(spans: Sequence[Span], windows: Windows) -> float:
    """Return for how many days of the training window a symbol has been there."""
    since = max(windows.train_start, min(span.first for span in spans))
    return (windows.train_end - since).total_seconds() / _DAY_S


def carried(closes: Floats, most: int) -> tuple[Floats, Bools]:
    """Return the closes with holes of up to ``most`` bars filled by the last one, and where."""
    if most == 0:
        return closes, np.zeros(closes.shape, np.bool_)
    known = np.isfinite(closes)
    rows = np.arange(len(closes))[:, None]
    last = np.maximum.accumulate(np.where(known, rows, -1), axis=0)
    is_carried = ~known & (last >= 0) & (rows - last <= most)
    filled = np.where(is_carried, np.take_along_axis(closes, np.maximum(last, 0), axis=0), closes)
    return filled, is_carried


def _asked(settings: ScanSettings, spans: Mapping[str, tuple[Span, ...]]) -> list[str]:
    """Return the symbols to look at: those named, or all of the exchange's that are stored."""
    if settings.symbols:
        missing = [name for name in settings.symbols if name not in spans]
        if missing:
            raise NotEnoughData(f"Nothing is stored of {', '.join(missing[:5])}; watch it first")
        return sorted(set(settings.symbols))
    return sorted(name for name in spans if not dataset_of(name))


def _stretch(
    settings: ScanSettings, spans: Mapping[str, tuple[Span, ...]], asked: Sequence[str]
) -> tuple[datetime, Windows]:
    """Return from where to read, and the windows; where less is held, both are shorter.

    What is held before training is read as well, for the noise's legs.
    """
    bounds = [
        (span.first, span.last)
        for name in asked
        for span in spans[name]
        if span.gives(settings.timeframe)
    ]
    if not bounds:
        raise NotEnoughData(f"No symbol has {settings.timeframe} bars yet; choose longer ones")
    bar = timedelta(seconds=settings.bar_s)
    newest = max(last for _, last in bounds) - timedelta(seconds=SETTLE_S)
    end = _EPOCH + ((newest - _EPOCH) // bar) * bar
    held = _EPOCH + math.ceil((min(first for first, _ in bounds) - _EPOCH) / bar) * bar
    bars = min(settings.train_bars + settings.test_bars, max((end - held) // bar, 0))
    test_bars = round(bars * settings.test_share)
    if bars - test_bars < LEAST_TRAIN_BARS:
        raise NotEnoughData(
            f"{bars:,} {settings.timeframe} bars are held, {bars - test_bars:,} of them to train "
            f"on; a scan needs {LEAST_TRAIN_BARS}: choose shorter bars, or wait"
        )
    begin = end - bars * bar
    split = end - test_bars * bar
    # Some bars more, from which closes are carried into the first ones.
    lead = (split - begin) + settings.carry_bars * bar
    return max(held, begin - lead), Windows(begin, split, end)


def _reason(
    settings: ScanSettings,
    spans: Sequence[Span],
    end: datetime,
    coverage: float,
    turnover: float,
    closes: Floats,
    status: str,
) -> str:
    """Return why a symbol is left out, empty where it is not."""
    age_s = (end - min(span.first for span in spans)).total_seconds()
    if status not in ("", "TRADING"):
        return f"the exchange says {status}"
    if coverage < settings.min_coverage:
        asked = f"{settings.min_coverage:.0%} are asked for"
        return f"bars for {coverage:.0%} of the training window; {asked}"
    if age_s < settings.min_age_s:
        return f"held for {age_s / _DAY_S:.1f} days; {settings.min_age_s / _DAY_S:g} are asked for"
    if turnover < settings.min_turnover:
        return f"turned over {turnover:,.0f} a day; {settings.min_turnover:,.0f} are asked for"
    known = closes[np.isfinite(closes)]
    if not len(known) or not (known > 0).all() or known.min() == known.max():
        return "its price does not move"
    return ""


def _too_few(count: int, reasons: Sequence[str]) -> str:
    why = f": {reasons[0]}" if reasons else ""
    return f"{count - len(reasons)} of {count} symbols can be compared, and a scan needs 2{why}"


def _symbol_rows(
    names: Sequence[str], reasons: Sequence[str], coverage: Floats, stale: Floats, turnover: Floats
) -> pl.DataFrame:
    rows = {
        "symbol": list(names), "left_out": list(reasons), "coverage": coverage,
        "stale_share": stale, "turnover": turnover,
    }  # fmt: skip
    empty = [
        pl.lit(None, SYMBOL_SCHEMA[name]).alias(name) for name in ("map_x", "map_y", "cluster")
    ]
    return pl.DataFrame(rows).with_columns(empty).cast(pl.Schema(SYMBOL_SCHEMA))
