"""Where heavy work runs: in threads or processes here, or on a Dask cluster when one is given.

The same function gets the same shared data and the same tasks wherever it runs, so the results
are the same to the last digit. A cluster is used where ``PERPDUCK_DASK_ADDRESS`` names its
scheduler; it needs the extra ``cluster`` here, and Perpduck installed on its workers.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from contextlib import closing
from typing import Any, Literal, TypeVar

from core.config import load_settings
from core.errors import ClusterLost, ConfigError

Shared = TypeVar("Shared")
Task = TypeVar("Task")
Result = TypeVar("Result")
Place = Literal["threads", "processes", "cluster"]
Going = Callable[[int, int], bool]

CONNECT_S = 10.0
# A task whose worker died is tried on others so often.
RETRIES = 3
# How often it is asked whether to go on while nothing is ready.
LOOK_S = 0.2
# Tasks given out ahead of the results, for each core: enough to keep all at work.
AHEAD = 2


def place_of(address: str | None = None) -> Place:
    """Return where heavy work runs by the settings: on the cluster where one is named."""
    found = load_settings().dask_address if address is None else address
    return "cluster" if found else "threads"


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_tasks(
    work: Callable[[Shared, Task], Result],
    shared: Shared,
    tasks: Sequence[Task],
    *,
    place: Place | None = None,
    address: str | None = None,
    going_on: Going = lambda done, total: True,
) -> list[Result | None]:
    """Return ``work(shared, task)`` of every task, in their order, wherever that is computed.

    ``shared`` goes to each process once. ``going_on(done, total)`` is asked after each task and a
    few times a second; where it says no, what waits is given up and has None. Raises what the
    work raises, ClusterLost where the cluster cannot be reached or went away.
    """
    where = place or place_of(address)
    found: list[Result | None] = [None] * len(tasks)
    with closing(_done(where, address, work, shared, tasks)) as done:
        count = 0
        for at, result in done:
            if at is not None:
                found[at] = result
                count += 1
            if not going_on(count, len(tasks)):
                break
    return found


def _done(
    where: Place,
    address: str | None,
    work: Callable[[Shared, Task], Result],
    shared: Shared,
    tasks: Sequence[Task],
) -> Generator[tuple[int | None, Any]]:
    """Yield (number, result) as they come, and (None, None) while nothing does."""
    if where == "cluster":
        yield from _on_cluster(address or load_settings().dask_address, work, shared, tasks)
    elif where == "processes":
        # A fork of a process with threads may hang: each begins anew, and is told once.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(cores(), context, initializer=_take, initargs=(work, shared))
        yield from _in_pool(pool, _given, tasks)
    else:
        threads = ThreadPoolExecutor(cores(), thread_name_prefix="heavy")
        yield from _in_pool(threads, lambda task: work(shared, task), tasks)


def _in_pool(
    pool: Executor, work: Callable[[Task], Result], tasks: Sequence[Task]
) -> Generator[tuple[int | None, Any]]:
    waiting = iter(enumerate(tasks))
    given: dict[Future[Result], int] = {}
    try:
        while True:
            while len(given) < AHEAD * cores() and (task := next(waiting, None)) is not None:
                given[pool.submit(work, task[1])] = task[0]
            if not given:
                return
            ready, _ = wait(given, LOOK_S, FIRST_COMPLETED)
            for one in ready:
                yield given.pop(one), one.result()
            if not ready:
                yield None, None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_held: tuple[Callable[[Any, Any], Any], Any] | None = None


def _take(work: Callable[[Any, Any], Any], shared: object) -> None:
    global _held
    _held = (work, shared)


def _given(task: object) -> Any:
    assert _held is not None
    work, shared = _held
    return work(shared, task)


def _on_cluster(
    address: str,
    work: Callable[[Shared, Task], Result],
    shared: Shared,
    tasks: Sequence[Task],
) -> Generator[tuple[int | None, Any]]:
    """Yield results of a Dask cluster; what a dying worker held is computed again by another."""
    try:
        from distributed import Client
    except ImportError:
        raise ConfigError(
            "PERPDUCK_DASK_ADDRESS is set, and Dask is not installed here; install Perpduck with "
            'its extra: pip install -e ".[cluster]"'
        ) from None
    with _connected(Client, address) as client:
        try:
            # Several workers get it from each other, not all from here.
            held = client.scatter(shared, broadcast=True, hash=False, timeout=CONNECT_S)
        except TimeoutError as error:
            raise ClusterLost(
                f"The Dask scheduler at {address} has no worker that answers; start some with "
                f"'dask worker {address}'"
            ) from error
        ready: queue.SimpleQueue[Any] = queue.SimpleQueue()
        futures = {
            client.submit(work, held, task, pure=False, retries=RETRIES): number
            for number, task in enumerate(tasks)
        }
        for future in futures:
            future.add_done_callback(ready.put)
        try:
            while futures:
                try:
                    future = ready.get(timeout=LOOK_S)
                except queue.Empty:
                    yield None, None
                    continue
                yield futures.pop(future), _result(future, address)
        finally:
            client.cancel(list(futures))


def _result(future: Any, address: str) -> Any:
    from distributed import CancelledError, KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        raise ClusterLost(
            f"The workers at {address} die of one task, as they do where memory is short: {error}"
        ) from error
    except CancelledError as error:
        raise ClusterLost(f"The cluster at {address} went away while it computed") from error


def _connected(client: Any, address: str) -> Any:
    try:
        return client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterLost(
            f"The Dask scheduler at {address} cannot be reached ({error}); start it, or unset "
            "PERPDUCK_DASK_ADDRESS to compute on this machine"
        ) from error
