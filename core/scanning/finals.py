"""The finalists: the full tests on the training window, then the frozen spread on the test one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from core.cluster import Place, run_tasks
from core.errors import DataError
from core.scanning.panel import Bools, ScanPanel
from core.scanning.report import CONFIRMED, EXPLAINED, PASSED, SURVIVED, ScanReport
from core.stats.arrays import Floats
from core.stats.finalists import Finalist, confirmations, explained_p, finalist, level_p

Share = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class _Legs:
    """What the finalists' tests need, sent to every process once: log closes by window."""

    train: Floats
    test: Floats
    replicates: int


@dataclass(frozen=True, slots=True)
class _Task:
    y: int
    x: int
    alpha: float
    beta: float


def finals(panel: ScanPanel, report: ScanReport, place: Place, share: Share) -> ScanReport:
    """Return the report with its finalists tested: who survived, and who was confirmed.

    Finalists are the pairs that passed, the best first, at most ``settings.finalists``. One
    survives by its bootstrap p-value, and where a leg of it has a better partner, by that of what
    that partner does not explain. Of the survivors one is confirmed by its spread on the test
    window, α and β frozen: the q-value (over them) of its unit-root test, and its return to the
    trained mean.
    """
    settings = report.settings
    chosen = report.pairs.filter(pl.col("stage") == PASSED).head(settings.finalists)
    column = {name: at for at, name in enumerate(panel.names)}
    tasks = [
        _Task(column[y], column[x], alpha, beta)
        for y, x, alpha, beta in chosen.select("y", "x", "alpha", "beta").iter_rows()
    ]

    def going_on(done: int, total: int) -> bool:
        share(0.7 * done / max(total, 1))
        return True

    found = run_tasks(
        _tested,
        _Legs(panel.train, panel.test, settings.replicates),
        tasks,
        place=place,
        going_on=going_on,
    )
    tested = [one for one in found if one is not None]
    survives = np.array([one.p <= settings.level for one in tested], np.bool_)
    betters = _explained(panel, tasks, survives, settings.replicates, share)
    told = _told(panel, chosen, tasks, tested, survives, betters, settings.level)
    pairs = report.pairs.join(told, on=("y", "x"), how="left", maintain_order="left", suffix="_new")
    pairs = pairs.with_columns(
        pl.coalesce(f"{name}_new", name).alias(name)
        for name in told.columns
        if name not in ("y", "x")
    ).select(report.pairs.columns)
    pairs = _placed(pairs)
    stages = dict(pairs["stage"].value_counts().iter_rows())
    confirmed = stages.get(CONFIRMED, 0)
    return replace(
        report, pairs=pairs, confirmed=confirmed, survived=stages.get(SURVIVED, 0) + confirmed
    )


@dataclass(frozen=True, slots=True)
class _Tested:
    """A finalist's tests on training, and its return to the trained mean; or why there is none."""

    tests: Finalist | None = None
    level_p: float = math.nan
    note: str = ""

    @property
    def p(self) -> float:
        """The bootstrap's p-value, both ways; NaN where it could not be computed."""
        return math.nan if self.tests is None else self.tests.bootstrap.p


def _tested(legs: _Legs, task: _Task) -> _Tested:
    train, test = legs.train[:, [task.y, task.x]], legs.test[:, [task.y, task.x]]
    try:
        found = finalist(train[:, 0], train[:, 1], replicates=legs.replicates)
    except DataError as error:
        return _Tested(note=str(error))
    try:
        return _Tested(found, level_p(test[:, 0], test[:, 1], task.alpha, task.beta))
    except DataError as error:
        return _Tested(found, note=f"on the test window: {error}")


@dataclass(frozen=True, slots=True)
class _Better:
    """The better pair of which a finalist is a shadow, or not: its places, and the p-value."""

    y: int
    x: int
    p: float


def _explained(
    panel: ScanPanel, tasks: list[_Task], survives: Bools, replicates: int, share: Share
) -> dict[int, _Better]:
    """Return, by finalist, the better pair that was asked whether it explains it.

    Only a pair whose legs have no better partner, the best first, can explain others: what seems
    to return because of another pair says nothing of a third one.
    """
    numbers = np.flatnonzero(survives).tolist()
    firm: dict[int, _Task] = {}
    for number in numbers:
        task = tasks[number]
        if not any({task.y, task.x} & {one.y, one.x} for one in firm.values()):
            firm[number] = task
    found: dict[int, _Better] = {}
    for number in numbers:
        task = tasks[number]
        asked = [
            _Better(better.y, better.x, _left(panel.train, task, better, replicates))
            for better in firm.values()
            if number not in firm and {task.y, task.x} & {better.y, better.x}
        ]
        # The partner that leaves least of it says whether anything is left.
        if asked:
            found[number] = max(asked, key=lambda one: np.nan_to_num(one.p, nan=1.0))
        share(0.7 + 0.3 * number / len(tasks))
    return found


def _left(train: Floats, task: _Task, better: _Task, replicates: int) -> float:
    leg = task.y if task.y in (better.y, better.x) else task.x
    partner = better.x if leg == better.y else better.y
    other = task.x if leg == task.y else task.y
    try:
        return explained_p(train[:, leg], train[:, partner], train[:, other], replicates=replicates)
    except DataError:
        return math.nan


def _told(
    panel: ScanPanel,
    chosen: pl.DataFrame,
    tasks: Sequence[_Task],
    found: Sequence[_Tested],
    survives: Bools,
    betters: Mapping[int, _Better],
    level: float,
) -> pl.DataFrame:
    """Return the finalists' columns of the table, with the stage that each reached."""
    shadows = np.array([at in betters and not betters[at].p <= level for at in range(len(found))],
                       np.bool_)  # fmt: skip
    confirmed = _confirmed(panel, tasks, survives & ~shadows)
    returns = np.array([one.level_p <= level for one in found], np.bool_)
    stages = np.where(survives, np.where(shadows, EXPLAINED, SURVIVED), PASSED).astype(object)
    stages[(confirmed["frozen_q"] <= level) & returns] = CONFIRMED
    tests = [one.tests for one in found]
    asked = [betters.get(at) for at in range(len(found))]
    columns: dict[str, Any] = {
        "engle_granger_p": [None if one is None else one.y_on_x.p_value for one in tests],
        "other_way_p": [None if one is None else one.x_on_y.p_value for one in tests],
        "bootstrap_p": [one.p for one in found],
        "johansen_trace": [None if one is None else one.johansen.trace_statistic[0]
                           for one in tests],
        "johansen_critical": [None if one is None else one.johansen.trace_critical[0][1]
                              for one in tests],
        **confirmed,
        "level_p": [one.level_p for one in found],
        "explained_p": [None if one is None else one.p for one in asked],
        "explained_by": [None if one is None else f"{panel.names[one.y]}/{panel.names[one.x]}"
                         for one in asked],
        "note": [one.note for one in found],
        "stage": stages.tolist(),
    }  # fmt: skip
    texts = ("explained_by", "note", "stage")
    table = chosen.select("y", "x").with_columns(
        pl.Series(name, values, pl.String if name in texts else pl.Float64)
        for name, values in columns.items()
    )
    return table.with_columns(pl.col(pl.Float64).fill_nan(None))


def _confirmed(panel: ScanPanel, tasks: Sequence[_Task], is_in: Bools) -> dict[str, Floats]:
    """Return the frozen spreads' tests on the test window, NaN for who is not in."""
    chosen = [task for task, is_one in zip(tasks, is_in.tolist(), strict=True) if is_one]
    found = confirmations(
        panel.test, panel.test, [(task.y, task.x) for task in chosen],
        [task.alpha for task in chosen], [task.beta for task in chosen],
    )  # fmt: skip
    names = {"frozen_statistic": found.statistic, "frozen_p": found.p_value,
             "frozen_q": found.q_value}  # fmt: skip
    columns = {name: np.full(len(tasks), np.nan) for name in names}
    for name, values in names.items():
        columns[name][is_in] = values
    return columns


def _placed(pairs: pl.DataFrame) -> pl.DataFrame:
    """Return the table with those who came furthest first; within a stage the order stays."""
    order = {CONFIRMED: 0, SURVIVED: 1, EXPLAINED: 2, PASSED: 3}
    rank = pl.col("stage").replace_strict(order, default=4, return_dtype=pl.Int64)
    sorted_ = pairs.sort(rank, "place", nulls_last=True)
    return sorted_.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("place"))
