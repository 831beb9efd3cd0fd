"""Six processes that open a tracking database at the same moment, each for a run of its own on the same datasets."""

import os
import subprocess
import sys
from pathlib import Path

from mlflow import MlflowClient

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = 6
DATASETS = 10
PROGRAM = f"""
import multiprocessing, os
from flows import tracking
from flows.datasets import log_dataset

together = multiprocessing.get_context("fork").Barrier({PROCESSES}, timeout=300)
row = dict(path="/data/a.wav", identifier="a", corpus="emodb", speaker="03", sex="male", emotion="anger")

def first_start(number):
    tracking.setup()
    with tracking.open_run(f"start {{number}}", tags={{}}) as run:
        run.log_metrics({{"number": float(number)}})
        for dataset in range({DATASETS}):
            together.wait()
            log_dataset(run, [row], name=f"fold {{dataset}}", digest=f"{{dataset:064}}", context="training")

processes = []
for number in range({PROCESSES}):
    process = os.fork()
    if process == 0:
        failed = 1
        try:
            first_start(number)
            failed = 0
        finally:
            os._exit(failed)
    processes.append(process)
print([os.waitpid(process, 0)[1] for process in processes])
"""


def check_first_starts(uri: str, folder: Path) -> None:
    """All survive, and all their runs are in the one experiment, each with every dataset."""
    environment = os.environ | {"MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, cwd=folder, capture_output=True, text=True, timeout=600
    )
    assert done.stdout.splitlines()[-1] == str([0] * PROCESSES), done.stderr[-3000:]
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("sermodels")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.data.metrics["number"] for run in runs) == [float(number) for number in range(PROCESSES)]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert [len({one.dataset.name for one in run.inputs.dataset_inputs}) for run in runs] == [DATASETS] * PROCESSES
