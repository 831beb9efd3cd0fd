"""Runs that nobody works on any more: found by their process, or by their silence, and marked as KILLED."""

import os
import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run, RunInfo
from mlflow.utils.conda import get_conda_bin_executable
from mlflow.utils.mlflow_tags import MLFLOW_PROJECT_ENV, MLFLOW_SOURCE_TYPE

HOST_TAG, PROCESS_TAG, STARTED_TAG = "sermodels.host", "sermodels.process", "sermodels.started"
PARENT_TAG = "mlflow.parentRunId"
MS_PER_H = 3_600_000
ADOPTION_MS = MS_PER_H
"""So long may `mlflow run` take to make an environment before its run counts as abandoned."""


def owner_tags() -> dict[str, str]:
    """Who works on a run: this host, this process, and when it started, since numbers of processes are used again."""
    _, started = _state(os.getpid()) or ("", "")
    return {HOST_TAG: socket.gethostname(), PROCESS_TAG: str(os.getpid()), STARTED_TAG: started}


def close_dead_runs(experiment_id: str) -> list[Run]:
    """Mark as KILLED the running runs of this host whose process is gone; returns them."""
    query = f"attributes.status = 'RUNNING' and tags.`{HOST_TAG}` = '{socket.gethostname()}'"
    return [_closed(run) for run in _runs(experiment_id, query) if not _is_alive(run.data.tags)]


def close_abandoned_runs(experiment_id: str) -> None:
    """Mark as KILLED the runs that `mlflow run` opened and nothing adopted, because their environment was not made.

    Should one of them still be at it, on another machine, no harm is done: adoption sets it RUNNING again.
    """
    query = f"attributes.status = 'RUNNING' and tags.`{MLFLOW_SOURCE_TYPE}` = 'PROJECT'"
    for run in _runs(experiment_id, query):
        waits = PROCESS_TAG not in run.data.tags and run.info.run_id != os.environ.get("MLFLOW_RUN_ID")
        without_conda = run.data.tags.get(MLFLOW_PROJECT_ENV) == "conda" and not _has_conda()
        if waits and (without_conda or time.time() * 1000 - run.info.start_time > ADOPTION_MS):
            _closed(run)


def _has_conda() -> bool:
    """Whether `mlflow run` finds conda on this machine."""
    return shutil.which(cast(Any, get_conda_bin_executable)("conda")) is not None


def close_children(parent: RunInfo) -> None:
    """Mark as KILLED what still runs below a run that ends: the work of a process that died, on whichever host."""
    for run in _runs(
        parent.experiment_id, f"attributes.status = 'RUNNING' and tags.`{PARENT_TAG}` = '{parent.run_id}'"
    ):
        _closed(run)


def sweep(experiment_id: str, *, older_than_h: float) -> list[Run]:
    """Mark as KILLED also the running runs of any host that gave no sign of life for so long; returns all closed.

    Signs of life are the start of a run, its metrics, and those of its children. A run of this host whose process lives
    is left alone. Should the silent run end after all, it says so itself, and is FINISHED.
    """
    closed = close_dead_runs(experiment_id)
    limit_ms = time.time() * 1000 - older_than_h * MS_PER_H
    query = f"attributes.status = 'RUNNING' and attributes.start_time < {int(limit_ms)}"
    silent = [run for run in _runs(experiment_id, query) if not _is_ours(run) and _last_sign_ms(run) < limit_ms]
    return closed + [_closed(run) for run in silent]


def _runs(experiment_id: str, query: str) -> list[Run]:
    """All runs that a query finds."""
    found: list[Run] = mlflow.search_runs([experiment_id], query, output_format="list")
    return found


def _closed(run: Run) -> Run:
    """The run, which is marked as KILLED now."""
    MlflowClient().set_terminated(run.info.run_id, "KILLED")
    return run


def _is_ours(run: Run) -> bool:
    """Whether this host works on a run; what is dead here has been closed before."""
    return run.data.tags.get(HOST_TAG) == socket.gethostname()


def _last_sign_ms(run: Run) -> int:
    """When a run or one of its children last said something, in milliseconds since 1970."""
    client, run_id = MlflowClient(), run.info.run_id
    signs = [run.info.start_time, run.info.end_time or 0]
    signs += [point.timestamp for name in run.data.metrics for point in client.get_metric_history(run_id, name)[-1:]]
    signs += map(_last_sign_ms, _runs(run.info.experiment_id, f"tags.`{PARENT_TAG}` = '{run_id}'"))
    return max(map(int, signs))


def _is_alive(tags: Mapping[str, str]) -> bool:
    """Whether the process that opened a run exists, be it ours or another user's."""
    process = int(tags[PROCESS_TAG])
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    found = _state(process)
    if found is None:  # another user's, and hidden
        return True
    state, started = found
    return state not in ("Z", "X") and tags.get(STARTED_TAG) in (None, "", started)


def _state(process: int) -> tuple[str, str] | None:
    """The state of a process (Z: only its exit status is left), and the boot and tick that it started in."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    return fields[0], f"{boot} {fields[19]}"
