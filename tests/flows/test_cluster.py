"""Which Dask clusters are taken, how a local one is cut out of the machine, and what is said when one is lost."""

import gc
import os
import warnings
from contextlib import suppress

import pytest
from distributed import LocalCluster
from distributed.client import FutureCancelledError

from flows import cluster as module
from flows.cluster import ClusterError, cluster, local_options
from sermodels.errors import ConfigError


@pytest.mark.parametrize(
    ("number", "cores", "workers", "threads"), [("", 8, 8, "1"), ("2", 8, 2, "4"), ("3", 8, 3, "2"), ("4", 2, 4, "1")]
)
def test_cores_are_divided_among_the_workers(
    monkeypatch: pytest.MonkeyPatch, number: str, cores: int, workers: int, threads: str
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))

    options = local_options(number)

    assert (options["n_workers"], options["threads_per_worker"]) == (workers, 1)
    assert options["env"] == {"OMP_NUM_THREADS": threads}


def test_the_number_of_threads_that_the_user_chose_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert local_options("1")["env"] == {"OMP_NUM_THREADS": "3"}


@pytest.mark.parametrize("number", ["none", "0", "-1"])
def test_a_number_of_workers_is_a_number(number: str) -> None:
    with pytest.raises(ConfigError, match=f"--dask local:{number}: a number of workers"), cluster(f"local:{number}"):
        pass


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere"])
def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(module, "CONNECT_TIMEOUT_S", 1)
    with pytest.raises(ConfigError, match=f"--dask {address}: no scheduler answers"), cluster(address):
        pass


def local_cluster(workers: int, threads: int) -> LocalCluster:
    """A cluster within this process. Dask gives its event loop 10 s to start, which a busy machine may miss."""
    for _ in range(3):
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):  # of a cluster that did not start
            with suppress(AssertionError):
                return LocalCluster(
                    n_workers=workers, threads_per_worker=threads, processes=False, dashboard_address=None
                )
            gc.collect()
    raise TimeoutError("Dask's event loop did not start three times")


@pytest.mark.parametrize(("workers", "counted"), [(2, 2), (0, 1)])
def test_workers_are_counted(monkeypatch: pytest.MonkeyPatch, workers: int, counted: int) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")  # nothing is run: no server is needed
    with (
        local_cluster(workers, threads=1) as running,
        cluster(running.scheduler_address) as (_, number),
    ):
        assert number == counted


def test_a_worker_of_several_threads_is_refused() -> None:
    with (
        local_cluster(1, threads=2) as running,
        pytest.raises(ConfigError, match="start workers with `dask worker --nthreads 1`"),
        cluster(running.scheduler_address),
    ):
        pass


def test_a_lost_scheduler_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    with pytest.raises(ClusterError, match="the scheduler was lost"), cluster("local"):
        raise FutureCancelledError("cell", "scheduler-connection-lost")
