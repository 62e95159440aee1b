"""A backtest on its way: read, run, then held against itself, in a thread that can be cancelled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from core.background import CANCELLED, DONE, FAILED, RUNNING, Run
from core.backtest import Backtest, BacktestSettings
from core.backtest.classic import Classic, classic
from core.backtest.honesty import Honesty, Subject, examined
from core.backtest.measures import Measures, measures
from core.backtests.loading import Traded, run_backtest
from core.errors import PerpduckError

__all__ = [
    "CANCELLED", "DONE", "FAILED", "RUNNING", "BacktestResult", "BacktestRun", "Standing",
    "first_result", "subject_of",
]  # fmt: skip

# What reading and the backtest itself take of the whole.
_FIRST = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class BacktestResult:
    """A backtest, its numbers, the field's classic one beside it, and the checks done so far."""

    traded: Traded
    done: Backtest
    measures: Measures
    classic: Classic
    honesty: Honesty


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """How far a run is: its state, words and share (0 to 1), what is known, what went wrong."""

    state: str = RUNNING
    words: str = "Reading the bars"
    share: float = 0.0
    result: BacktestResult | None = None
    error: PerpduckError | None = None


class BacktestRun(Run[Standing]):
    """One backtest in a thread of its own; one that was cancelled keeps what it knows by then."""

    def __init__(self, load: Callable[[], Traded], settings: BacktestSettings) -> None:
        super().__init__("backtest", Standing())
        self._load = load
        self._settings = settings

    def _work(self) -> None:
        result = first_result(self._load(), self._settings)
        self._tell(result=result, share=_FIRST)
        for found in examined(subject_of(result), self._going_on):
            result = replace(result, honesty=found)
            self._tell(result=result)
        self._tell(state=CANCELLED if self._cancelled.is_set() else DONE, share=1.0, words="")

    def _going_on(self, words: str, share: float) -> bool:
        self._tell(words=words, share=_FIRST + (1 - _FIRST) * share)
        return not self._cancelled.is_set()


def first_result(traded: Traded, settings: BacktestSettings) -> BacktestResult:
    """Return the backtest with its numbers, before any check."""
    done = run_backtest(traded, settings)
    return BacktestResult(traded, done, measures(done), classic(done.signals.zscore), Honesty())


def subject_of(result: BacktestResult) -> Subject:
    """Return what the checks look at."""
    traded = result.traded
    return Subject(result.done, traded.spec, traded.rows, traded.lead)
