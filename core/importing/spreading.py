"""Many files read at once on a cluster, into the folders from which one process stores them.

The cluster's workers have to see the files and the job's folder under the same paths.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from core.cluster import place_of, run_tasks
from core.errors import PerpduckError
from core.importing.jobs import DONE, Job
from core.importing.records import BARS
from core.importing.staging import stage
from core.reading import kind_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Why a file could not be staged there; it is read again here, where its errors are told."""

    words: str


def stage_ahead(job: Job, is_over: Callable[[], bool]) -> int:
    """Stage the job's files on the cluster where there is one; returns how many were.

    Raises ClusterLost where it cannot be reached, ConfigError without Dask.
    """
    waiting = [number for number, file in enumerate(job.files) if file.state != DONE]
    if place_of() != "cluster" or len(waiting) < 2:
        return 0
    found = run_tasks(
        _staged, job, waiting, place="cluster", going_on=lambda done, total: not is_over()
    )
    for one in found:
        if isinstance(one, _Trouble):
            logger.info("read here instead: %s", one.words)
    return sum(one is True for one in found)


def _staged(job: Job, number: int) -> bool | _Trouble:
    """Stage one file of the job, on whichever machine this runs."""
    path = job.paths[number]
    try:
        if kind_of(path) == BARS:
            return False
        stage(
            path, job.staged_path(number), job.rejects_path(number), symbol=job.symbol,
            progress=lambda read, rejected, done: None,
        )  # fmt: skip
    except (PerpduckError, OSError) as error:
        return _Trouble(f"{path.name}: {error}")
    return True
