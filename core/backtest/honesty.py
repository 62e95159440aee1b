"""What a result has to say against itself: five checks, each with its answer or the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from core.backtest.audit import CUTS, Audit, audit
from core.backtest.engine import Backtest
from core.backtest.noise import RUNS, Noise, noise
from core.backtest.settings import BacktestSettings
from core.backtest.sweep import Fold, Sweep, sweep, walk_forward
from core.backtest.toll import CostsView, costs_view
from core.errors import DataError
from core.pair_spec import MAX_WINDOW, PairSpec

# Told (share done of the check from 0 to 1); False ends it.
Going = Callable[[float], bool]

ENTRIES = (1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75, 3.0, 3.5, 4.0)
_HALVINGS = range(-4, 5)
LEAST_WINDOW = 10
FOLDS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Honesty:
    """The checks that are done; None for one that is not, with why not in ``reasons`` by name.

    ``folds`` were chosen among entry levels and windows on the half of the range before each.
    """

    costs: CostsView | None = None
    audit: Audit | None = None
    folds: tuple[Fold, ...] | None = None
    noise: Noise | None = None
    sweep: Sweep | None = None
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def out_of_sample(self) -> float | None:
        """The test stretches' net returns, one after the other; None where there are none."""
        if not self.folds:
            return None
        grown = 1.0
        for fold in self.folds:
            grown *= 1.0 + fold.test_net
        return grown - 1.0


def entry_levels(settings: BacktestSettings) -> tuple[float, ...]:
    """Return the entry levels that a sweep tries; the chosen one is among them."""
    return tuple(sorted({*ENTRIES, settings.rules.enter}))


def window_lengths(spec: PairSpec) -> tuple[int, ...]:
    """Return the windows that a sweep tries, a quarter to four times the chosen one.

    The Kalman filter has no window.
    """
    if spec.method == "kalman":
        return (spec.window_bars,)
    found = {round(spec.window_bars * 2 ** (step / 2)) for step in _HALVINGS}
    usable = {length for length in found if LEAST_WINDOW <= length <= MAX_WINDOW}
    return tuple(sorted(usable | {spec.window_bars}))


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A backtest and what its signals were made of."""

    done: Backtest
    spec: PairSpec
    rows: pl.DataFrame
    lead: pl.DataFrame | None = None


# Name, words while it runs, its share of the time.
CHECKS = (
    ("costs", "Costs", 0.02),
    ("audit", "Look-ahead audit", 0.12),
    ("folds", "Out of sample", 0.14),
    ("noise", "Against noise", 0.42),
    ("sweep", "Sensitivity", 0.30),
)


def examined(
    subject: Subject, going_on: Callable[[str, float], bool], *, runs: int = RUNS
) -> Iterator[Honesty]:
    """Yield what is known after each check; the last one is all of it.

    ``going_on`` is told the words of the check and the share done of all, and ends everything by
    False: a check that was cut short is not part of what is yielded.
    """
    found = Honesty()
    before = 0.0
    for name, words, share in CHECKS:
        is_whole = True

        def going(
            part: float, words: str = words, share: float = share, begun: float = before
        ) -> bool:
            nonlocal is_whole
            is_whole = is_whole and going_on(words, begun + share * min(part, 1.0))
            return is_whole

        if not going(0.0):
            return
        try:
            value = _checked(name, subject, going, runs)
        except DataError as error:
            found = replace(found, reasons=found.reasons | {name: str(error)})
        else:
            if not is_whole:
                return
            found = replace(found, **{name: value})
        before += share
        yield found


def _checked(name: str, subject: Subject, going: Going, runs: int) -> Any:
    done, spec = subject.done, subject.spec
    how = (done.market, spec, done.settings)
    if name == "costs":
        return costs_view(done)
    if name == "audit":
        return audit(done, spec, subject.rows, subject.lead, going_on=lambda n: going(n / CUTS))
    if name == "noise":
        result = done.books.end / done.books.start - 1.0
        return noise(*how, result, runs=runs, going_on=lambda n: going(n / runs))
    entries, windows = entry_levels(done.settings), window_lengths(spec)
    if name == "folds":
        half, step = done.market.rows // 2, done.market.rows // (2 * FOLDS)
        return tuple(
            walk_forward(
                *how, subject.rows, subject.lead, entries, windows,
                train_rows=half, test_rows=max(step, 1), going_on=lambda n: going(n / FOLDS),
            )
        )  # fmt: skip
    tried = len(entries) * len(windows)
    return sweep(
        *how, subject.rows, subject.lead, entries, windows, going_on=lambda n: going(n / tried)
    )
