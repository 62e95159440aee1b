"""A pair's view out of a bundle: the same as where it was made, and not live."""

from __future__ import annotations

from pathlib import Path

from streamlit.delta_generator import DeltaGenerator

from core.bundle import Restored, restored
from core.bundle_kept import kept
from core.live.memo import Memo
from core.live.pair import Moment, Stand
from pages.shared.bundle_line import bundle_line, computed_again
from pages.shared.live_chart import View
from pages.shared.pair_view import PairChoice, PairView, shown

_restored = Memo(4)


def opened(db: Path, name: str) -> Restored:
    """Return a kept bundle's view, computed again; raises BadFile where there is none."""
    found: Restored = _restored.get((db, name), lambda: restored(kept(db, name)))
    return found


def choice_of(found: Restored, zone: str) -> PairChoice:
    """Return what the bundle's maker had chosen, with this session's time zone."""
    return PairChoice(found.bundle.spec, found.bundle.range_name, zone)


def bundle_view(name: str, found: Restored, zone: str, seen: View | None) -> PairView:
    """Return what is shown of it."""
    times = found.bundle.times
    span_s = (times.as_of - times.start).total_seconds()
    moment = Moment(
        start=times.start,
        as_of=times.as_of,
        judged_from=times.judged_from,
        judged_at=times.judged_at,
        next_at=times.judged_at,
        span_s=span_s,
        judged_span_s=times.judged_span_s,
    )
    stand = Stand(
        ("bundle", name), found.analysis, found.verdict, moment, found.analysis.series, (),
        found.bundle.tick_sizes,
    )  # fmt: skip
    return shown(stand, choice_of(found, zone), seen, None)


def pair_line(found: Restored) -> DeltaGenerator:
    """Say that this is a bundle; returns the line, for what else belongs there."""
    bundle = found.bundle
    spec = bundle.spec
    line = bundle_line(
        f"**{spec.y.upper()} / {spec.x.upper()}**", bundle.made_at, bundle.made_by,
        f"{spec.timeframe} bars · {spec.method} · window {spec.window_bars}",
    )  # fmt: skip
    computed_again(found.differences)
    return line
