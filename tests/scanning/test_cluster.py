"""Threads, processes and a real Dask cluster: the same results to the last digit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import yaml
from distributed import Client

from core import cluster as core_cluster
from core.backtest.sweep import sweep
from core.cluster import Place, place_of, run_tasks
from core.config import load_settings
from core.errors import ClusterLost, DataError
from core.importing.jobs import DONE, new_job
from core.importing.running import run_job
from core.importing.spreading import stage_ahead
from core.scanning.pairing import compared
from core.scanning.panel import read_scan_panel
from core.scanning.running import scanned
from core.scanning.settings import ScanSettings
from core.store import Store, open_store
from tests.backtest.test_backtest_checks import ENTRIES, LONG, LONG_ROWS, NO_COST, WINDOWS, spec_of
from tests.importing.archives import everything, practice_archives
from tests.scanning.clusters import ROOT, Cluster, cluster, deadly, slow, squared
from tests.scanning.markets import market_store, planted, walks

SETTINGS = ScanSettings(span="6h", finalists=20, correction="bh", level=0.5)


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler with two workers."""
    with cluster(tmp_path_factory.mktemp("dask")) as made:
        yield made


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A market of more symbols than fit into one block of a scan."""
    path = tmp_path_factory.mktemp("market") / "market.duckdb"
    logs = walks(297, 460, seed=8)
    for number in range(3):
        leg = logs[f"s{number:03}usdt"]
        logs[f"p{number}usdt"] = planted(leg, half_life=3, sigma=0.002, seed=number)
    return market_store(path, logs)


@pytest.fixture
def on_cluster(dask: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The settings name the cluster."""
    monkeypatch.setenv("PERPDUCK_DASK_ADDRESS", dask.address)
    return dask


@pytest.mark.parametrize("place", ["threads", "processes", "cluster"])
def test_tasks_come_back_in_order_wherever_they_run(place: Place, dask: Cluster) -> None:
    heard: list[tuple[int, int]] = []
    found = run_tasks(
        squared, 3, range(12), place=place, address=dask.address,
        going_on=lambda done, total: heard.append((done, total)) or True,  # type: ignore[func-returns-value]
    )  # fmt: skip
    assert found == [3 * task * task for task in range(12)]
    assert heard[-1] == (12, 12)
    with pytest.raises(DataError, match="bad luck"):
        run_tasks(squared, 3, [1, 13, 2], place=place, address=dask.address)
    assert run_tasks(squared, 3, [], place=place, address=dask.address) == []


@pytest.mark.parametrize("place", ["threads", "processes", "cluster"])
def test_a_run_is_given_up_between_tasks(place: Place, dask: Cluster, tmp_path: Path) -> None:
    found = run_tasks(
        slow, str(tmp_path), range(40), place=place, address=dask.address,
        going_on=lambda done, total: done < 2,
    )  # fmt: skip
    done = [one for one in found if one is not None]
    assert 2 <= len(done) < 20
    assert all(at == one for at, one in enumerate(found) if one is not None)


def test_a_worker_that_dies_is_made_up_for(tmp_path: Path) -> None:
    with cluster(tmp_path) as made:
        marks = tmp_path / "marks"
        marks.mkdir()
        killed: list[int] = []

        def going_on(done: int, total: int) -> bool:
            pids = {int(path.name.partition("-")[2]) for path in marks.iterdir()}
            if not killed and pids:
                victim = next(p for p in made.workers if p.pid in pids)
                os.kill(victim.pid, signal.SIGKILL)
                killed.append(victim.pid)
            return True

        found = run_tasks(
            slow, str(marks), range(12), place="cluster", address=made.address, going_on=going_on
        )
        assert found == list(range(12))
        assert killed
        # What it held was done once more by the other one.
        tasks = [path.name.partition("-")[0] for path in marks.iterdir()]
        assert len(tasks) > len(set(tasks)) == 12


def test_a_scan_is_the_same_everywhere(market: Store, on_cluster: Cluster) -> None:
    reports = {}
    for place in ("threads", "processes", "cluster"):
        *_, reports[place] = scanned(market, SETTINGS, place=place)  # type: ignore[arg-type]
    assert reports["threads"].compared == 300
    assert reports["threads"].pairs["bootstrap_p"].is_not_null().sum() >= 3
    for place in ("processes", "cluster"):
        assert reports[place].pairs.equals(reports["threads"].pairs), place
        assert reports[place].noise == reports["threads"].noise


def test_every_number_of_every_pair_is_the_same(market: Store, on_cluster: Cluster) -> None:
    panel = read_scan_panel(market, SETTINGS)
    one = compared(panel, SETTINGS, "threads", lambda share: None)
    shares: list[float] = []
    other = compared(panel, SETTINGS, "cluster", shares.append)
    for name in (field.name for field in fields(one.scan)):
        a, b = getattr(one.scan, name), getattr(other.scan, name)
        assert a.tobytes() == b.tobytes(), name
    assert np.array_equal(one.q, other.q, equal_nan=True)
    assert shares[-1] == 1.0


def test_a_sweep_is_the_same_on_a_cluster(on_cluster: Cluster) -> None:
    asked = (LONG, spec_of(), NO_COST, LONG_ROWS, None, ENTRIES, WINDOWS)
    assert place_of() == "cluster"
    there = sweep(*asked)

    def here(*given: object, **more: object) -> list[object]:
        return run_tasks(*given, place="threads", **more)  # type: ignore[arg-type]

    found = sweep(*asked, run=here)
    for name in ("net", "sharpe", "trades"):
        assert np.array_equal(getattr(there, name), getattr(found, name), equal_nan=True)
    assert (there.best, there.deflated, there.tried) == (found.best, found.deflated, found.tried)


def test_archives_are_read_by_the_cluster_and_stored_as_without_it(
    dask: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [
        path
        for path in practice_archives(tmp_path / "in", ("arbusdt", "opusdt"))
        if path.suffix == ".zip"
    ]
    found = {}
    for name, address in (("there", dask.address), ("here", "")):
        monkeypatch.setenv("PERPDUCK_DASK_ADDRESS", address)
        store = open_store(tmp_path / f"{name}.duckdb")
        store.prepare("practice:7")
        job = new_job(store.path, paths)
        assert stage_ahead(job, lambda: False) == (2 if address else 0)
        assert all(job.staged_path(at).exists() == bool(address) for at in range(2))
        done = run_job(job)
        assert done.state == DONE, done.message
        assert all(file.kept for file in done.files)
        found[name] = everything(store)
    assert found["there"] == found["here"]


def test_a_cluster_that_is_not_there_is_said(
    market: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_cluster, "CONNECT_S", 0.5)
    monkeypatch.setenv("PERPDUCK_DASK_ADDRESS", "tcp://127.0.0.1:1")
    assert load_settings().dask_address == "tcp://127.0.0.1:1"
    with pytest.raises(ClusterLost, match="unset PERPDUCK_DASK_ADDRESS"):
        list(scanned(market, SETTINGS))


def test_a_cluster_without_workers_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core_cluster, "CONNECT_S", 2.0)
    with cluster(tmp_path, workers=0) as made, pytest.raises(ClusterLost, match="has no worker"):
        run_tasks(squared, 1, [1, 2], place="cluster", address=made.address)


def test_a_task_that_kills_its_workers_is_said(tmp_path: Path) -> None:
    # Dask gives a task up once it has taken four workers along.
    with cluster(tmp_path, workers=5) as made:
        with Client(made.address, set_as_default=False) as client:
            client.wait_for_workers(5, timeout=60)
        with pytest.raises(ClusterLost, match="die of one task"):
            run_tasks(deadly, 1, [1], place="cluster", address=made.address)


def test_the_compose_file_runs_what_is_tested_here(dask: Cluster) -> None:
    """Its commands are those of `clusters`, with the addresses of its own network."""
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
    assert set(compose["services"]) == {"scheduler", "worker"}
    for name, service in compose["services"].items():
        command = service["command"].split()
        assert command[:3] == ["python", "-m", f"distributed.cli.dask_{name}"]
        done = subprocess.run(
            [sys.executable, *command[1:3], "--help"], capture_output=True, text=True, timeout=60
        )
        options = [word for word in command[3:] if word.startswith("--")]
        assert options
        assert all(option in done.stdout for option in options), done.stderr
        assert (ROOT / service["build"]["dockerfile"]).is_file()
    # Only this machine reaches the scheduler.
    assert compose["services"]["scheduler"]["ports"] == ["127.0.0.1:8786:8786"]
