"""The table on a Dask cluster of two workers, one of them killed in the middle: the same as on one machine."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun

from tests.end_to_end.conftest import TINY

CELL = ("--protocols=speaker", "--folds=0", "--seeds=1", "--stages=C", "--overrides=training.epochs=2")
TIMEOUT_S = 1000


Start = Callable[[str, str], "Table"]


class Cluster:
    """A scheduler and workers, each a process of its own, as on several machines."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment
        self.processes: list[subprocess.Popen[bytes]] = []
        self.file = folder / "scheduler.json"
        self.start("scheduler", "--preload=flows.tasks", "--port=0", "--no-dashboard", f"--scheduler-file={self.file}")
        while not self.file.exists():
            time.sleep(0.1)
        self.address: str = json.loads(self.file.read_text())["address"]

    def start(self, kind: str, *options: str) -> "subprocess.Popen[bytes]":
        with open(self.folder / f"{kind}-{len(self.processes)}.log", "w") as log:
            command = [sys.executable, "-m", "dask", kind, *options]
            process = subprocess.Popen(command, env=self.environment, cwd=self.folder, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def add_worker(self) -> "subprocess.Popen[bytes]":
        options = ("--preload=flows.tasks", "--no-nanny", "--no-dashboard", "--nthreads=1")
        return self.start("worker", *options, f"--scheduler-file={self.file}")

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path: Path, environment: dict[str, str]) -> Iterator[Cluster]:
    """A scheduler whose workers know neither the tracking server nor the workspace: the flow tells them."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    private = {"MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "PREFECT_API_URL"}
    started = Cluster(folder, {name: value for name, value in environment.items() if name not in private})
    yield started
    started.stop()


class Table:
    """`python -m flows table` for one cell in a folder of its own, running."""

    def __init__(self, folder: Path, corpus: Path, environment: dict[str, str], dask: str) -> None:
        folder.mkdir()
        self.folder, self.database = folder, f"sqlite:///{folder / 'mlflow.db'}"
        places = [f"--data-dir={corpus}", f"--workspace={folder / 'workspace'}", f"--docs={folder / 'docs'}"]
        with open(folder / "log", "w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flows", "table", f"--preset={TINY}", *places, *CELL, f"--dask={dask}"],
                env=environment | {"MLFLOW_TRACKING_URI": self.database},
                cwd=folder,
                stdout=log,
                stderr=log,
            )

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def rows(self) -> list[dict[str, object]]:
        """The table, once the command has ended."""
        assert self.process.wait(timeout=TIMEOUT_S) == 0, self.log()[-3000:]
        rows: list[dict[str, object]] = json.loads((self.folder / "docs" / "results.json").read_text())
        for row in rows:
            row.pop("runs")
        return rows

    def runs(self, query: str = "") -> list[MlflowRun]:
        client = MlflowClient(self.database)
        experiment = client.get_experiment_by_name("sermodels")
        return list(client.search_runs([experiment.experiment_id], query)) if experiment else []

    def stages(self) -> dict[str, bytes]:
        """What each stage measured, every prediction and every synthetic clip."""
        workspace = self.folder / "workspace"
        patterns = ("figures.json", "predictions-*.csv", "classifier.safetensors", "provenance.json", "clips/*.npz")
        files = [path for pattern in patterns for path in workspace.glob(f"stages/*/{pattern}")]
        return {str(path.relative_to(workspace)): path.read_bytes() for path in files}


@pytest.fixture
def start_table(tmp_path: Path, corpus: Path, environment: dict[str, str]) -> Iterator[Start]:
    """Start a table in a folder of this name; one that still runs at the end is stopped."""
    tables = []

    def start(name: str, dask: str) -> Table:
        tables.append(Table(tmp_path / name, corpus, environment, dask))
        return tables[-1]

    yield start
    for table in tables:
        table.process.kill()
        table.process.wait()


def kill_the_worker_of(stage: str, table: Table, workers: "list[subprocess.Popen[bytes]]") -> None:
    """Kill the worker that runs a stage, as MLflow knows it, while it does."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline and table.process.poll() is None:
        if (table.folder / "workspace" / "stages").exists():  # the database is made before it
            for run in table.runs(f"attributes.status = 'RUNNING' and tags.stage = '{stage}'"):
                (victim,) = [worker for worker in workers if str(worker.pid) == run.data.tags["sermodels.process"]]
                os.kill(victim.pid, signal.SIGKILL)
                victim.wait()
                return
        time.sleep(0.05)
    pytest.fail(f"{stage} was never seen running: {table.log()[-3000:]}")


@pytest.mark.timeout(3 * TIMEOUT_S)
def test_a_killed_worker_changes_nothing(start_table: Start, cluster: Cluster) -> None:
    alone = start_table("alone", "")
    workers = [cluster.add_worker(), cluster.add_worker()]
    spread = start_table("spread", cluster.address)
    kill_the_worker_of("diffusion", spread, workers)

    rows = spread.rows()
    assert [row["stage"] for row in rows] == ["A", "B", "C"]
    assert rows == alone.rows()  # to the last bit: same machine, one thread each
    assert spread.stages() == alone.stages()
    check_runs(spread)
    assert sorted(worker.poll() is None for worker in workers) == [False, True]


def check_runs(table: Table) -> None:
    """The dead worker's run is marked, its work done by the other one, and nothing looks as if it still ran."""
    runs = table.runs()
    assert {run.info.status for run in runs} == {"FINISHED", "KILLED"}
    assert [run.data.tags["stage"] for run in runs if run.info.status == "KILLED"] == ["diffusion"]
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert parent.info.status == "FINISHED"
    processes = {run.data.tags["sermodels.process"] for run in runs if run.data.tags.get("letter")}
    assert len(processes) == 2, "both workers trained classifiers"
