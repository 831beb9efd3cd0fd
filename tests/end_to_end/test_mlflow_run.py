"""`mlflow run` as people use it: every entry point ends its run, whatever the environment manager did."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from mlflow.utils.environment import _PythonEnv

from tests.end_to_end.conftest import ROOT, TINY

BIN = Path(sys.executable).parent


@pytest.fixture
def project(tmp_path: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Where and how `mlflow run` is called: with the environment's programs first, and never with conda."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return {"cwd": tmp_path, "env": environment | {"PATH": path, "MLFLOW_CONDA_HOME": str(tmp_path / "no-conda")}}


def mlflow_run(*options: str, manager: str = "local", **parameters: str) -> list[str]:
    """The command."""
    given = [part for name, value in parameters.items() for part in ("-P", f"{name}={value}")]
    managed = ["--env-manager", manager] if manager else []
    return [str(BIN / "mlflow"), "run", str(ROOT), *managed, "--experiment-name", "sermodels", *options, *given]


def ended(command: list[str], project: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """The command, run to its end."""
    return subprocess.run(command, capture_output=True, text=True, timeout=1500, **project)


def parents(client: MlflowClient) -> list[MlflowRun]:
    """Runs without a parent, the newest first."""
    experiment = client.get_experiment_by_name("sermodels")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    return [run for run in runs if "mlflow.parentRunId" not in run.data.tags]


def test_entry_points_adopt_and_end_their_run(tmp_path: Path, corpus: Path, project: dict[str, Any]) -> None:
    client, workspace = MlflowClient(project["env"]["MLFLOW_TRACKING_URI"]), str(tmp_path / "workspace")
    recipe = {"preset": str(TINY), "data_dir": str(corpus), "workspace": workspace}
    recipe |= {"overrides": "training.epochs=1 diffusion.epochs=1"}
    check_main(ended(mlflow_run(**recipe), project), client, recipe)
    check_train(ended(mlflow_run("-e", "train", **recipe), project), client)
    asked = {"emotions": "anger,fear", "count": "2", "seed": "5", "steps": "3", "workspace": workspace}
    check_clips(ended(mlflow_run("-e", "synthesize", **asked), project), client, tmp_path / "clips")
    check_server(project, client, workspace)


def check_main(done: subprocess.CompletedProcess[str], client: MlflowClient, recipe: dict[str, str]) -> None:
    """The whole pipeline in the run that mlflow opened."""
    assert done.returncode == 0, done.stderr[-3000:]
    (parent,) = parents(client)
    assert parent.info.status == "FINISHED"
    assert recipe["overrides"] in parent.data.params["overrides"]  # mlflow quotes the space
    assert parent.data.params["training.epochs"] == "1"
    everything = client.search_runs([parent.info.experiment_id])
    assert {run.info.status for run in everything} == {"FINISHED"}
    stages = {"caching", "embedding", "diffusion", "synthesis", "editing", "gate", "export"}
    stages |= {"baseline", "augmentation", "retraining", "oversampling"}
    assert {run.data.tags["stage"] for run in everything if run.info.run_id != parent.info.run_id} == stages


def check_train(done: subprocess.CompletedProcess[str], client: MlflowClient) -> None:
    """Two classifiers and no diffusion; what the whole pipeline trained is not trained again."""
    assert done.returncode == 0, done.stderr[-3000:]
    parent = parents(client)[0]
    assert (parent.info.status, parent.data.tags["stages"]) == ("FINISHED", "AB")
    children = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    by_stage = {run.data.tags["stage"]: run.data.tags for run in children}
    assert set(by_stage) == {"caching", "baseline", "augmentation", "gate", "export"}
    assert by_stage["augmentation"]["reused"] == "true"


def check_clips(done: subprocess.CompletedProcess[str], client: MlflowClient, folder: Path) -> None:
    """Sound, pictures and provenance of the clips that were asked for."""
    assert done.returncode == 0, done.stderr[-3000:]
    run = parents(client)[0]
    assert (run.info.status, run.data.metrics["clips"]) == ("FINISHED", 4.0)
    folder.mkdir()
    fetched = Path(client.download_artifacts(run.info.run_id, "", str(folder)))
    assert {path.name for path in fetched.glob("pictures/*")} == {"anger.png", "fear.png"}
    origin = json.loads((fetched / "provenance.json").read_text())
    version = client.get_model_version_by_alias("ser-diffusion", "champion")
    assert (origin["version"], origin["run"]) == (str(version.version), version.run_id)
    assert (origin["synthesis"]["steps"], origin["seed"]) == (3, 5)
    assert [clip["seed"] for clip in origin["clips"]] == [[5, 0, 0], [5, 0, 1], [5, 2, 0], [5, 2, 1]]
    assert len(list(fetched.glob("audio/*"))) == 4
    for clip in origin["clips"]:
        sound, rate_hz = soundfile.read(fetched / clip["file"])
        assert (rate_hz, len(sound)) == (22_050, 32 * 256)
        assert abs(sound).max() > 0.1


def check_server(project: dict[str, Any], client: MlflowClient, workspace: str) -> None:
    """The server answers, its run is over before it is stopped, and stopping it is no failure."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = mlflow_run("-e", "serve", workspace=workspace, port=port)
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True, **project)
    try:
        wait_for_server(f"http://127.0.0.1:{port}/readyz", process)
        run = parents(client)[0]
        assert (run.info.status, run.data.tags["model"]) == ("FINISHED", "ser-classifier")
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # as an init system stops it
        process.communicate(timeout=60)
    assert client.get_run(run.info.run_id).info.status == "FINISHED"


def wait_for_server(url: str, process: "subprocess.Popen[str]", within_s: float = 600.0) -> None:
    """Until it is ready."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url, timeout=5).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.3)
    pytest.fail(f"{url} is not ready")


def test_a_run_whose_environment_was_not_made_is_closed(project: dict[str, Any], tmp_path: Path) -> None:
    done = ended(mlflow_run(manager=""), project)
    assert done.returncode == 1
    assert "Could not find Conda executable" in done.stderr
    client = MlflowClient(project["env"]["MLFLOW_TRACKING_URI"])
    assert [run.info.status for run in parents(client)] == ["RUNNING"], "mlflow closes it now: ours is not needed"
    refused = ended(mlflow_run("-e", "synthesize", workspace=str(tmp_path / "workspace")), project)
    assert refused.returncode == 1
    assert "error: " in refused.stderr
    assert "there is no ser-diffusion@champion" in refused.stderr
    assert [run.info.status for run in parents(client)] == ["FAILED", "KILLED"]


def test_conda_yaml_is_what_each_manager_needs(tmp_path: Path) -> None:
    """As mlflow reads it for uv and virtualenv; its pip section is solvable, and is what is installed here."""
    read = _PythonEnv.from_conda_yaml(str(ROOT / "conda.yaml"))
    assert read.python == "3.11"
    conda = yaml.safe_load((ROOT / "conda.yaml").read_text(encoding="utf-8"))
    assert read.dependencies == conda["dependencies"][-1]["pip"]
    (tmp_path / "requirements.txt").write_text("\n".join(read.dependencies), encoding="utf-8")
    command = [str(BIN / "uv"), "pip", "install", "--offline", "--dry-run", "--python", sys.executable]
    done = subprocess.run(
        [*command, "-r", str(tmp_path / "requirements.txt")], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "Would make no changes" in done.stderr
