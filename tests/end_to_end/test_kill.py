"""A run killed with SIGKILL in each of its stages goes on where it was, to the same numbers."""

import os
import signal
import subprocess
import time
from pathlib import Path

from mlflow import MlflowClient

from tests.end_to_end.conftest import WholeRun, figures

STAGES = (
    "caching",
    "baseline",
    "augmentation",
    "embedding",
    "diffusion",
    "synthesis",
    "editing",
    "retraining",
    "oversampling",
)


def kill_in_stage(stage: str, command: list[str], environment: dict[str, str], folder: Path) -> None:
    """Start the run and kill it as soon as the stage has begun and is not complete."""
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 900
    while process.poll() is None and time.monotonic() < deadline:
        begun = list((folder / "workspace" / "stages").glob(f"{stage}-*/inputs.json"))
        if begun or (stage == "caching" and list((folder / "workspace" / "cache").rglob("*.npz"))):
            break
        time.sleep(0.01)
    assert process.poll() is None, f"the run ended before {stage} began"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_killed_in_each_stage(
    tmp_path: Path, command: list[str], environment: dict[str, str], whole_run: WholeRun
) -> None:
    for stage in STAGES:
        kill_in_stage(stage, command, environment, tmp_path)
    assert not list((tmp_path / "workspace").rglob("complete.json.*")), "a half-written mark"
    subprocess.run(command, env=environment, cwd=tmp_path, check=True, capture_output=True, timeout=1500)
    assert figures(tmp_path / "workspace") == whole_run.figures
    assert len(whole_run.figures) == 8 + 8

    client = MlflowClient(environment["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("sermodels")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert sorted(run.info.status for run in parents) == ["FINISHED"] + ["KILLED"] * len(STAGES)
    assert "RUNNING" not in {run.info.status for run in runs}
