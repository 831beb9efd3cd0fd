"""Dask: the workers that the cells of a table are spread over, here or of an existing cluster, and how they fail."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from prefect.futures import PrefectFuture
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import TaskRunner

from sermodels.errors import ConfigError, SermodelsError

Runner = TaskRunner[PrefectFuture[Any]]

CONNECT_TIMEOUT_S = 20
SERVER_TIMEOUT_S = 120


class ClusterError(SermodelsError):
    """The cluster was lost, or a task lost all the workers that Dask gave to it."""


@contextmanager
def cluster(dask: str) -> Iterator[tuple[Runner, int]]:
    """A task runner and its number of workers, for `local`, `local:NUMBER` or the address of a scheduler.

    Raises ConfigError when there is no such cluster, ClusterError when it is lost.
    """
    from distributed import CancelledError
    from distributed.scheduler import KilledWorker
    from prefect_dask.task_runners import DaskTaskRunner

    kind, _, number = dask.partition(":")
    if kind == "local":
        options = local_options(number)
        runner, workers = DaskTaskRunner(cluster_kwargs=options), options["n_workers"]
    else:
        runner, workers = DaskTaskRunner(address=dask), _count_workers(dask)
    try:
        with _prefect_server():
            yield cast(Any, runner), workers
    except KilledWorker as error:
        raise ClusterError(f"{error}; see that worker's log and memory, then run again: what is done stays") from error
    except CancelledError as error:
        raise ClusterError(
            f"--dask {dask}: the scheduler was lost; start it with --preload flows.tasks, run again: what is done stays"
        ) from error


def local_options(number: str) -> dict[str, Any]:
    """Options of a cluster on this machine of so many workers, as many as cores without a number. Raises ConfigError.

    A worker is one process that runs one task at a time, since torch has one generator of chance a process; the cores
    are divided among them unless OMP_NUM_THREADS says otherwise. Their memory is the operating system's business:
    Dask would stop a process that holds a large corpus.
    """
    cores = len(os.sched_getaffinity(0))
    if number and not (number.isdecimal() and int(number)):
        raise ConfigError(f"--dask local:{number}: a number of workers, such as local:4")
    workers = int(number or cores)
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, cores // workers))
    return {
        "n_workers": workers,
        "threads_per_worker": 1,
        "memory_limit": None,
        "env": {"OMP_NUM_THREADS": threads},
        "dashboard_address": "127.0.0.1:0",
    }


def _count_workers(address: str) -> int:
    """How many workers the cluster has, at least 1. Raises ConfigError if it cannot be used."""
    try:
        workers = asyncio.run(_workers(address))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"--dask {address}: no scheduler answers ({error}); start it with "
            "`dask scheduler --preload flows.tasks` and name its address, such as tcp://192.0.2.1:8786"
        ) from error
    if shared := sorted(name for name, worker in workers.items() if worker["nthreads"] > 1):
        raise ConfigError(
            f"--dask {address}: {shared[0]} runs several tasks in one process, where they would share one generator of "
            "chance; start workers with `dask worker --nthreads 1`"
        )
    return max(1, len(workers))


async def _workers(address: str) -> dict[str, Any]:
    """What the scheduler says of each worker, asked in this thread: a Dask client starts one, within 10 s or never."""
    from distributed import Security, rpc

    connection = cast(Any, Security)().get_connection_args("client")
    async with cast(Any, rpc)(address, timeout=CONNECT_TIMEOUT_S, connection_args=connection) as scheduler:
        identity = await scheduler.identity()
    return cast(dict[str, Any], identity["workers"])


@contextmanager
def _prefect_server() -> Iterator[None]:
    """One server for the flow and its workers: without an address, each process would start one of its own."""
    from prefect.server.api.server import SubprocessASGIServer

    if PREFECT_API_URL.value():
        yield
        return
    server = SubprocessASGIServer()
    server.start(timeout=SERVER_TIMEOUT_S)  # it stops when this process ends, after the last lines of its log
    with temporary_settings({PREFECT_API_URL: server.api_url}):
        yield
