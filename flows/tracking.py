"""All that is said to MLflow: runs, parameters, metrics, datasets, models and the registry."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import mlflow.onnx
import mlflow.pyfunc
import numpy as np
import onnx
import pandas as pd
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.data.dataset_source_registry import get_dataset_source_from_json
from mlflow.data.pandas_dataset import from_pandas
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types.schema import ColSpec, Schema, TensorSpec

RegisteredVersion = ModelVersion
EXPERIMENT = "sermodels"
CLASSIFIER_MODEL = "ser-classifier"
DIFFUSION_MODEL = "ser-diffusion"
CHAMPION, CHALLENGER = "champion", "challenger"
ONNX_NAMES = {CLASSIFIER_MODEL: "ser-classifier-onnx", DIFFUSION_MODEL: "ser-diffusion-onnx"}
ONNX_REQUIREMENTS = ("numpy", "onnx", "onnxruntime-gpu")
BUNDLE_ARTIFACTS = "bundle-{alias}"
ROOT = Path(__file__).resolve().parents[1]
HOST_TAG, PROCESS_TAG = "sermodels.host", "sermodels.process"
STAGE_KEY_TAG, EXPORT_KEY_TAG = "stage_key", "export_key"
EXAMPLE_FRAMES = 32
MODEL_REQUIREMENTS = ("torch", "torchvision", "numpy", "pydantic", "safetensors", "jaxtyping")


@dataclass(frozen=True)
class FinishedRun:
    """A run that ended well: its tags, its parameters and what it measured."""

    run_id: str
    ended: int
    """In milliseconds since 1970."""
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]


@dataclass(frozen=True)
class Run:
    """An open MLflow run, and what the stages report to it."""

    run_id: str

    def log_epoch(self, record: Mapping[str, float]) -> None:
        """All metrics of one epoch in one request."""
        metrics = {name: value for name, value in record.items() if name != "epoch"}
        mlflow.log_metrics(metrics, step=int(record["epoch"]), run_id=self.run_id)

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Final figures."""
        mlflow.log_metrics(dict(metrics), run_id=self.run_id)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Parameters that the run does not have yet; lists and None as text."""
        known = MlflowClient().get_run(self.run_id).data.params
        fresh = {name: value for name, value in params.items() if name not in known}
        mlflow.log_params(fresh, run_id=self.run_id)

    def log_folder(self, folder: Path, *, patterns: Sequence[str], below: str = "") -> None:
        """The files of a folder that match, as artifacts at the same places below `below`."""
        for path in sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}):
            self.log_file(path, str(below / path.parent.relative_to(folder)))

    def log_file(self, path: Path, place: str = ".") -> None:
        """One file as an artifact."""
        mlflow.log_artifact(str(path), None if place == "." else place, run_id=self.run_id)

    def log_text(self, text: str, file: str) -> None:
        """A text as an artifact."""
        mlflow.log_text(text, file, run_id=self.run_id)

    def log_picture(self, figure: Figure, file: str) -> None:
        """A picture as an artifact."""
        MlflowClient().log_figure(self.run_id, figure, file)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Tags of the run."""
        client = MlflowClient()
        for name, value in tags.items():
            client.set_tag(self.run_id, name, value)


def setup() -> None:
    """Choose the tracking server and the experiment, close runs whose process died.

    MLFLOW_TRACKING_URI wins; without it everything goes to `mlflow.db` in the working directory. Under `mlflow run`
    the experiment is that of the run which is waiting to be adopted.
    """
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        mlflow.set_tracking_uri(f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    if adopted := os.environ.get("MLFLOW_RUN_ID"):
        experiment = mlflow.set_experiment(experiment_id=mlflow.get_run(adopted).info.experiment_id)
    else:
        experiment = mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT))
    _close_dead_runs(experiment.experiment_id)


def tracking_uri() -> str:
    """Where the runs are kept."""
    return str(mlflow.get_tracking_uri())


def _close_dead_runs(experiment_id: str) -> None:
    """Mark as KILLED the running runs of this host whose process is gone."""
    client = MlflowClient()
    query = f"attributes.status = 'RUNNING' and tags.`{HOST_TAG}` = '{socket.gethostname()}'"
    for run in client.search_runs([experiment_id], query):
        if not _is_alive(int(run.data.tags[PROCESS_TAG])):
            client.set_terminated(run.info.run_id, "KILLED")


def _is_alive(process: int) -> bool:
    """Whether a process of this number exists, be it ours or another user's."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def open_run(name: str, *, tags: Mapping[str, str], parent: Run | None = None) -> Iterator[Run]:
    """A run that ends FINISHED, FAILED or, on an interrupt, KILLED. The first parent adopts the run of `mlflow run`."""
    adopted = (
        os.environ.pop("MLFLOW_RUN_ID", None) if parent is None else None
    )  # left there, a child would adopt it too
    own_tags = {HOST_TAG: socket.gethostname(), PROCESS_TAG: str(os.getpid()), **tags}
    if adopted:
        active = mlflow.start_run(run_id=adopted)
        mlflow.set_tags({**own_tags, "mlflow.runName": name})
    else:
        parent_id = parent.run_id if parent else None
        active = mlflow.start_run(run_name=name, nested=parent is not None, parent_run_id=parent_id, tags=own_tags)
    status = "FAILED"
    try:
        yield Run(active.info.run_id)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        mlflow.end_run(status)


def log_dataset(run: Run, rows: Sequence[Mapping[str, str]], *, name: str, digest: str, context: str) -> None:
    """The clips of a run as an MLflow dataset: identifiers and labels, with the digest of their content."""
    folder = Path(rows[0]["path"]).resolve().parent.as_uri()
    source = get_dataset_source_from_json(json.dumps({"uri": folder}), source_type="local")
    frame = pd.DataFrame(
        [{key: row[key] for key in ("identifier", "corpus", "speaker", "sex", "emotion")} for row in rows]
    )
    dataset = from_pandas(frame, source=source, name=name, digest=digest[:16])
    tagged = DatasetInput(Dataset(**dataset.to_dict()), [InputTag("mlflow.data.context", context)])
    MlflowClient().log_inputs(run.run_id, datasets=[tagged])


def register_classifier(
    file: Path, *, n_mels: int, labels: Sequence[str], tags: Mapping[str, str], card: str
) -> ModelVersion:
    """Log a classifier as the open run's model and register it: log-mels (clip, mel, frame) in dB to probabilities.

    `card`, the model card in Markdown, is the version's description.
    """
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, n_mels, -1))]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, len(labels)), "probabilities")]),
    )
    example = np.zeros((1, n_mels, EXAMPLE_FRAMES), dtype=np.float32)
    return _register(CLASSIFIER_MODEL, file, signature, example, tags, card)


def register_diffusion(
    file: Path, *, n_mels: int, frames: int, labels: Sequence[str], tags: Mapping[str, str], card: str
) -> ModelVersion:
    """Log a diffusion model as the open run's and register it: rows of emotion and number to log-mels in dB.

    `card`, the model card in Markdown, is the version's description.
    """
    signature = ModelSignature(
        inputs=Schema([ColSpec("string", "emotion"), ColSpec("long", "number")]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, n_mels, frames), "log_mel")]),
    )
    example = pd.DataFrame({"emotion": [labels[0]], "number": [0]})
    return _register(DIFFUSION_MODEL, file, signature, example, tags, card)


def _register(
    name: str, file: Path, signature: ModelSignature, example: Any, tags: Mapping[str, str], card: str
) -> ModelVersion:
    """A new version, or the version that the same stage result has already. MLflow tries it on the example."""
    if known := find_version(name, tags[STAGE_KEY_TAG]):
        return known
    logged = mlflow.pyfunc.log_model(
        name="model",
        loader_module="sermodels.pyfunc",
        data_path=str(file),
        code_paths=[str(ROOT / "sermodels")],
        signature=signature,
        input_example=example,
        pip_requirements=list(MODEL_REQUIREMENTS),
    )
    version = mlflow.register_model(logged.model_uri, name, tags=dict(tags))
    return MlflowClient().update_model_version(name, version.version, description=card)


def find_version(name: str, stage_key: str) -> ModelVersion | None:
    """The registered version that holds this stage result."""
    return next(
        (v for v in MlflowClient().search_model_versions(f"name='{name}'") if v.tags.get(STAGE_KEY_TAG) == stage_key),
        None,
    )


def promote(name: str, version: ModelVersion) -> bool:
    """Give the alias `champion` to a version, unless synthetic speech would replace real speech; whether it did."""
    client = MlflowClient()
    current = client.get_registered_model(name).aliases.get(CHAMPION)
    on_real_speech = current and client.get_model_version(name, current).tags.get("synthetic_speech") == "false"
    if on_real_speech and version.tags["synthetic_speech"] == "true":
        print(f"{name}: version {current}, trained on real speech, stays champion")
        return False
    client.set_registered_model_alias(name, CHAMPION, version.version)
    print(f"{name}: version {version.version} ({version.tags['stage']}) is champion")
    return True


def challenge(name: str, version: ModelVersion) -> None:
    """Give the alias `challenger` to a version that stands beside the champion."""
    MlflowClient().set_registered_model_alias(name, CHALLENGER, version.version)
    print(f"{name}: version {version.version} ({version.tags['stage']}) is challenger")


def version_by_alias(name: str, alias: str) -> ModelVersion | None:
    """The version that has the alias, or None."""
    return _found(lambda client: client.get_model_version_by_alias(name, alias))


def version_by_number(name: str, number: str) -> ModelVersion | None:
    """The version with this number, or None."""
    return _found(lambda client: client.get_model_version(name, number))


def _found(ask: Callable[[MlflowClient], ModelVersion]) -> ModelVersion | None:
    """What the registry answers, or None where it has nothing of the kind."""
    try:
        return ask(MlflowClient())
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def fetch_checkpoint(version: ModelVersion, folder: Path) -> Path:
    """The safetensors file of a registered version, in `folder`."""
    uri = MlflowClient().get_model_version_download_uri(version.name, version.version)
    fetched = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=_made(folder)))
    return next(fetched.rglob("*.safetensors"))


def fetch_data_description(version: ModelVersion, folder: Path) -> tuple[Path | None, list[Path]]:
    """`corpus.json` and the split files of the run that a version comes from."""
    client = MlflowClient()
    parent = client.get_run(str(version.run_id)).data.tags.get("mlflow.parentRunId")
    if parent is None:
        return None, []
    query = f"tags.`mlflow.parentRunId` = '{parent}' and tags.stage = 'caching'"
    caching = client.search_runs([client.get_run(parent).info.experiment_id], query)
    if not caching:
        return None, []
    described = Path(client.download_artifacts(caching[0].info.run_id, "corpus.json", _made(folder)))
    splits = Path(client.download_artifacts(parent, "splits", _made(folder)))
    return described, sorted(splits.glob("*.json"))


def fetch_artifacts(run_id: str, place: str, folder: Path) -> None:
    """A run's artifact folder as `folder`, there whole or not at all."""
    scratch = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    fetched = MlflowClient().download_artifacts(run_id, place, _made(scratch))
    Path(fetched).rename(folder)
    shutil.rmtree(scratch)


def _made(folder: Path) -> str:
    """The folder, which exists now."""
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def finished_runs(tags: Mapping[str, str]) -> list[FinishedRun]:
    """The experiment's finished runs with these tags, the newest first."""
    client, name = MlflowClient(), os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return []
    query = " and ".join(["attributes.status = 'FINISHED'", *(f"tags.`{key}` = '{tags[key]}'" for key in tags)])
    found, token = [], None
    while True:
        page = client.search_runs([experiment.experiment_id], query, page_token=token, order_by=["end_time DESC"])
        found += [
            FinishedRun(r.info.run_id, r.info.end_time, dict(r.data.tags), dict(r.data.params), dict(r.data.metrics))
            for r in page
        ]
        token = page.token
        if not token:
            return found


def fetch_file(run_id: str, file: str, folder: Path) -> Path:
    """An artifact of a run, in `folder`."""
    return Path(MlflowClient().download_artifacts(run_id, file, _made(folder)))


def git_commit() -> str:
    """The commit that runs, with `+` if files differ from it; empty outside a checkout."""
    described = subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--dirty=+"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip()


def register_onnx(file: Path, parent: ModelVersion, *, key: str, place: str) -> ModelVersion:
    """Log a graph with the ONNX flavour and register it beside its parent's version, under the parent's aliases."""
    model = onnx.load(file)
    required = {value.name for value in model.graph.input} - {value.name for value in model.graph.initializer}
    signature = ModelSignature(
        inputs=Schema([_tensor_spec(value) for value in model.graph.input if value.name in required]),
        outputs=Schema([_tensor_spec(value) for value in model.graph.output]),
    )
    name = ONNX_NAMES[parent.name]
    logged = mlflow.onnx.log_model(
        model, name=name, signature=signature, pip_requirements=list(ONNX_REQUIREMENTS), save_as_external_data=False
    )
    tags = {"parent_version": str(parent.version), EXPORT_KEY_TAG: key, "bundle": place, **parent.tags}
    version = mlflow.register_model(logged.model_uri, name, tags=tags)
    share_aliases(parent, key)
    return version


def share_aliases(parent: ModelVersion, key: str) -> bool:
    """Give the aliases of a version to its ONNX version with this key; False if there is none."""
    client, name = MlflowClient(), ONNX_NAMES[parent.name]
    versions = client.search_model_versions(f"name='{name}'")
    exported = next((version for version in versions if version.tags.get(EXPORT_KEY_TAG) == key), None)
    if exported is None:
        return False
    for alias, holder in client.get_registered_model(parent.name).aliases.items():
        if str(holder) == str(parent.version):
            client.set_registered_model_alias(name, alias, exported.version)
    return True


def _tensor_spec(value: onnx.ValueInfoProto) -> TensorSpec:
    """A graph's value as MLflow describes it; a scalar has no dimensions."""
    tensor = value.type.tensor_type
    shape = tuple(-1 if size.dim_param or not size.dim_value else size.dim_value for size in tensor.shape.dim)
    return TensorSpec(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)), shape, value.name)
