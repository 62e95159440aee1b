"""A scan on its way: read, compared, judged, kept; in a thread that can be watched and cancelled.

The table is there once all pairs were compared; the finalists' tests follow.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from core.background import CANCELLED, DONE, FAILED, RUNNING, Run
from core.cluster import Place, place_of
from core.errors import PerpduckError
from core.scanning.finals import finals
from core.scanning.kept import load_survivals, write_scan
from core.scanning.pairing import Compared, compared, first_table, noise_floor
from core.scanning.panel import ScanPanel, read_scan_panel
from core.scanning.report import Noise, ScanReport
from core.scanning.settings import ScanSettings
from core.scanning.symbols import placed_symbols
from core.store import Store
from core.trade_writer import utc_now

__all__ = ["CANCELLED", "DONE", "FAILED", "RUNNING", "Cancelled", "ScanRun", "Standing", "scanned"]

# What each step takes of the whole, about.
_READ, _COMPARED, _NOISE = 0.1, 0.35, 0.5

Tell = Callable[[str, float], None]


class Cancelled(Exception):
    """Somebody asked the scan to stop."""


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """How far a scan is: its state, words and share (0 to 1), what is known, what went wrong."""

    state: str = RUNNING
    words: str = "Reading the bars"
    share: float = 0.0
    report: ScanReport | None = None
    error: PerpduckError | None = None


class ScanRun(Run[Standing]):
    """One scan in a thread of its own; one that was cancelled is not kept."""

    def __init__(
        self, store: Store, settings: ScanSettings, *, asked_by: str = "page",
        place: Place | None = None,
    ) -> None:  # fmt: skip
        super().__init__("scan", Standing())
        self.id = secrets.token_hex(8)
        self.store = store
        self.settings = settings
        self._asked_by = asked_by
        self._place = place

    def _work(self) -> None:
        try:
            for report in scanned(
                self.store, self.settings, asked_by=self._asked_by, place=self._place,
                tell=self._going_on, scan_id=self.id,
            ):  # fmt: skip
                self._tell(report=report)
        except Cancelled:
            self._tell(state=CANCELLED, words="")
        else:
            self._tell(state=DONE, share=1.0, words="")

    def _going_on(self, words: str, share: float) -> None:
        self._tell(words=words, share=share)
        if self._cancelled.is_set():
            raise Cancelled


def scanned(
    store: Store,
    settings: ScanSettings,
    *,
    asked_by: str = "command",
    place: Place | None = None,
    tell: Tell = lambda words, share: None,
    scan_id: str | None = None,
) -> Iterator[ScanReport]:
    """Yield the scan once all pairs were compared, with its noise floor, and as it is kept.

    ``tell`` hears what is done and which share of the whole, and may raise to end it. Raises
    NotEnoughData, ClusterLost, and what the store raises.
    """
    began, started_at = time.perf_counter(), utc_now()
    where = place or place_of()
    tell("Reading the bars", 0.0)
    panel = read_scan_panel(store, settings)
    count = len(panel.names)
    words = f"Comparing {count * (count - 1):,} pairs"
    tell(words, _READ)
    found = compared(
        panel, settings, where, lambda share: tell(words, _READ + (_COMPARED - _READ) * share)
    )
    report = replace(
        _first(store, settings, panel, found),
        id=scan_id or secrets.token_hex(8), asked_by=asked_by, started_at=started_at,
        seconds=time.perf_counter() - began,
    )  # fmt: skip
    yield report
    noise = noise_floor(
        panel, settings, where, found,
        lambda share: tell("Measuring the noise", _COMPARED + (_NOISE - _COMPARED) * share),
    )  # fmt: skip
    report = replace(report, noise=noise)
    yield report
    report = finals(
        panel, report, where, lambda share: tell("Testing the finalists", _NOISE + 0.5 * share)
    )
    report = replace(report, seconds=time.perf_counter() - began, is_final=True)
    tell("Writing it down", 1.0)
    write_scan(store, report)
    with store.read() as con:
        yield replace(report, history=load_survivals(con, settings.digest()))


def _first(store: Store, settings: ScanSettings, panel: ScanPanel, found: Compared) -> ScanReport:
    """Return what is known before noise and finalists; whose scan it is, is said by the caller."""
    with store.read() as con:
        history = load_survivals(con, settings.digest())
    pairs, passed = first_table(panel, settings, found)
    return ScanReport(
        id="",
        settings=settings,
        asked_by="",
        started_at=utc_now(),
        windows=panel.windows,
        tested=found.tested,
        same_asset=found.same_asset,
        direct=found.direct,
        noise=Noise(),
        pairs=pairs,
        symbols=placed_symbols(panel, found),
        passed=passed,
        note=_held_words(settings, panel),
        history=history,
    )


def _held_words(settings: ScanSettings, panel: ScanPanel) -> str:
    asked, held = settings.train_bars + settings.test_bars, panel.train_bars + panel.test_bars
    if held >= 0.99 * asked:
        return ""
    return f"{held:,} of {asked:,} bars are held; the windows are shorter in proportion"
