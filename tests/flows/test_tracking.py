"""Runs, datasets and the registry on a real SQLite store."""

import time
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from flows import aliases, registry, tracking
from flows.datasets import log_dataset
from flows.registry import RegisteredVersion
from sermodels.classifier import Classifier
from sermodels.classifier_checkpoint import save_classifier
from sermodels.config import ClassifierConfig

LABELS = ("anger", "fear", "sadness")


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


def test_runs_that_mlflow_run_abandoned_are_closed(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    assert experiment is not None
    now_ms = int(time.time() * 1000)

    def waiting(minutes: int, manager: str) -> str:
        tags = {"mlflow.source.type": "PROJECT", "mlflow.project.env": manager}
        began = now_ms - 60_000 * minutes
        return str(client.create_run(experiment.experiment_id, start_time=began, tags=tags).info.run_id)

    monkeypatch.setenv("MLFLOW_CONDA_HOME", "/no/conda")
    runs = waiting(61, "uv"), waiting(5, "uv"), waiting(5, "conda")
    tracking.setup()
    assert [client.get_run(run).info.status for run in runs] == ["KILLED", "RUNNING", "KILLED"]
    monkeypatch.setenv("MLFLOW_RUN_ID", runs[2])  # it was made after all
    with tracking.open_run("parent", tags={}) as adopted:
        assert (adopted.run_id, status(client, adopted)) == (runs[2], "RUNNING")
    assert status(client, adopted) == "FINISHED"


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
        log_dataset(run, [row], name="fold 0 training", digest="abcdef" * 10, context="training")
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


def register(checkpoint: Path, key: str) -> RegisteredVersion:
    """Register the checkpoint in a run of its own."""
    tags = {tracking.STAGE_KEY_TAG: key, "stage": key, "synthetic_speech": "false"}
    with tracking.open_run("parent", tags={}):
        return registry.register_classifier(checkpoint, n_mels=40, labels=LABELS, tags=tags, card="# Card")


@pytest.mark.usefixtures("client")
def test_registry(checkpoint: Path) -> None:
    first = register(checkpoint, "one")
    assert registry.same(register(checkpoint, "one"), first), "the same stage result is one version"
    assert not registry.same(register(checkpoint, "another"), first)
    assert aliases.crown(first, None, replacing=None)
    assert registry.same(registry.version_by_alias(registry.CLASSIFIER_MODEL, "champion"), first)
    loaded = mlflow.pyfunc.load_model("models:/ser-classifier@champion")
    probabilities = loaded.predict(np.zeros((2, 40, 50), dtype=np.float32))
    assert probabilities.shape == (2, 3)
    assert loaded.metadata.signature.inputs.inputs[0].shape == (-1, 40, -1)
