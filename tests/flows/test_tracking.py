"""Runs, datasets and the registry on a real SQLite store."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from flows import tracking
from sermodels.classifier import Classifier
from sermodels.classifier_checkpoint import save_classifier
from sermodels.config import ClassifierConfig

LABELS = ("anger", "fear", "sadness")


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    """A fresh store that the module under test uses."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    tracking.setup()
    yield MlflowClient(uri)
    while mlflow.active_run():
        mlflow.end_run()


def status(client: MlflowClient, run: tracking.Run) -> str:
    """The run's status."""
    return str(client.get_run(run.run_id).info.status)


def test_child_runs_know_their_parent_and_all_end(client: MlflowClient) -> None:
    with tracking.open_run("parent", tags={"preset": "x"}) as parent:
        with tracking.open_run("child", tags={"stage": "baseline"}, parent=parent) as child:
            child.log_epoch({"epoch": 0, "val/uar": 0.5, "train/loss": 1.0})
            child.log_epoch({"epoch": 1, "val/uar": 0.6, "train/loss": 0.5})
        assert status(client, child) == "FINISHED"
        assert status(client, parent) == "RUNNING"
    assert status(client, parent) == "FINISHED"
    assert client.get_run(child.run_id).data.tags["mlflow.parentRunId"] == parent.run_id
    assert [metric.value for metric in client.get_metric_history(child.run_id, "val/uar")] == [0.5, 0.6]


@pytest.mark.parametrize(("error", "expected"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_run_says_how_it_ended(client: MlflowClient, error: type[BaseException], expected: str) -> None:
    def fail() -> None:
        with tracking.open_run("parent", tags={}) as run:
            opened.append(run)
            raise error

    opened: list[tracking.Run] = []
    with pytest.raises(error):
        fail()
    assert status(client, opened[0]) == expected


def test_parameters_that_mlflow_run_logged_are_left_alone(client: MlflowClient) -> None:
    with tracking.open_run("parent", tags={}) as run:
        client.log_param(run.run_id, "seed", "0e0")
        run.log_params({"seed": 0, "training.epochs": 3})
    assert client.get_run(run.run_id).data.params == {"seed": "0e0", "training.epochs": "3"}


def test_the_run_of_mlflow_run_is_adopted_once(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = client.create_experiment("another")
    waiting = client.create_run(experiment)
    monkeypatch.setenv("MLFLOW_RUN_ID", waiting.info.run_id)
    tracking.setup()
    with tracking.open_run("parent", tags={}) as parent, tracking.open_run("child", tags={}, parent=parent) as child:
        assert parent.run_id == waiting.info.run_id
        assert child.run_id != parent.run_id
    assert client.get_run(child.run_id).info.experiment_id == experiment


def test_runs_of_dead_processes_are_closed(client: MlflowClient) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    assert experiment is not None

    def running(process: int, host: str) -> str:
        tags = {tracking.HOST_TAG: host, tracking.PROCESS_TAG: str(process)}
        return str(client.create_run(experiment.experiment_id, tags=tags).info.run_id)

    host = socket.gethostname()
    dead, alive, elsewhere = running(ended.pid, host), running(1, host), running(ended.pid, "another-host")
    tracking.setup()
    found = [client.get_run(run).info.status for run in (dead, alive, elsewhere)]
    assert found == ["KILLED", "RUNNING", "RUNNING"]


def test_datasets_have_digest_and_context(client: MlflowClient, tmp_path: Path) -> None:
    row = {
        "identifier": "c/1",
        "corpus": "c",
        "speaker": "c/s",
        "sex": "f",
        "emotion": "fear",
        "path": str(tmp_path / "1.wav"),
    }
    with tracking.open_run("parent", tags={}) as run:
        tracking.log_dataset(run, [row], name="fold 0 training", digest="abcdef" * 10, context="training")
    (logged,) = client.get_run(run.run_id).inputs.dataset_inputs
    assert logged.dataset.name == "fold 0 training"
    assert ("abcdef" * 10).startswith(logged.dataset.digest)
    assert [tag.value for tag in logged.tags] == ["training"]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A small untrained classifier."""
    torch.manual_seed(0)
    path = tmp_path / "classifier.safetensors"
    config = ClassifierConfig(backbone="resnet18", image_size=None)
    save_classifier(path, Classifier(config, labels=LABELS, n_mels=40), {})
    return path


def register(checkpoint: Path, key: str, synthetic_speech: str) -> str:
    """Register the checkpoint in a run of its own; returns the version."""
    tags = {tracking.STAGE_KEY_TAG: key, "stage": key, "synthetic_speech": synthetic_speech}
    with tracking.open_run("parent", tags={}):
        version = tracking.register_classifier(checkpoint, n_mels=40, labels=LABELS, tags=tags, card="# Card")
        tracking.promote(tracking.CLASSIFIER_MODEL, version)
    return str(version.version)


def test_registry(client: MlflowClient, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def champion() -> str:
        return str(client.get_model_version_by_alias(tracking.CLASSIFIER_MODEL, "champion").version)

    first = register(checkpoint, "demo one", "true")
    assert champion() == first
    assert register(checkpoint, "demo one", "true") == first, "the same stage result is one version"
    real = register(checkpoint, "real", "false")
    assert champion() == real
    register(checkpoint, "demo two", "true")
    assert champion() == real, "synthetic speech never replaces real speech"
    assert "stays champion" in capsys.readouterr().out
    loaded = mlflow.pyfunc.load_model("models:/ser-classifier@champion")
    probabilities = loaded.predict(np.zeros((2, 40, 50), dtype=np.float32))
    assert probabilities.shape == (2, 3)
    assert loaded.metadata.signature.inputs.inputs[0].shape == (-1, 40, -1)
