"""The model registry in MLflow: checkpoints and graphs as registered versions, found by key, alias or number."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import mlflow.onnx
import mlflow.pyfunc
import numpy as np
import onnx
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types.schema import ColSpec, Schema, TensorSpec

from flows.finished import made
from flows.tracking import ROOT, STAGE_KEY_TAG, shown_uri
from sermodels.errors import SermodelsError

RegisteredVersion = ModelVersion
CLASSIFIER_MODEL = "ser-classifier"
DIFFUSION_MODEL = "ser-diffusion"
CHAMPION, CHALLENGER = "champion", "challenger"
ONNX_NAMES = {CLASSIFIER_MODEL: "ser-classifier-onnx", DIFFUSION_MODEL: "ser-diffusion-onnx"}
ONNX_REQUIREMENTS = ("numpy", "onnx", "onnxruntime-gpu")
MODEL_REQUIREMENTS = ("torch", "torchvision", "numpy", "pydantic", "safetensors", "jaxtyping")
BUNDLE_ARTIFACTS = "bundle-{role}"
EXPORT_KEY_TAG = "export_key"
GATE_TAG = "gate.{}"
"""What the gate says of a version; its graph does not inherit it."""
SOUND_TAG = "sound"
"""Of classifiers and diffusion models: the digest of what a bundle has once for both, front end, level and emotions."""
EXAMPLE_FRAMES = 32


class RegistryError(SermodelsError):
    """The registry has no model of the kind asked for."""


def nothing_registered(name: str) -> str:
    """What to do with an empty registry."""
    return (
        f"{shown_uri()}: no {name}@{CHAMPION} is registered; train one first with: make run "
        "(or: python -m flows run --preset quick --data-dir data), then: make serve"
    )


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


def register_onnx(file: Path, parent: ModelVersion, *, key: str, place: str) -> ModelVersion:
    """Log a graph with the ONNX flavour and register it beside its parent's version."""
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
    inherited = {name: value for name, value in parent.tags.items() if not name.startswith(GATE_TAG.format(""))}
    tags = {"parent_version": str(parent.version), EXPORT_KEY_TAG: key, "bundle": place, **inherited}
    return mlflow.register_model(logged.model_uri, name, tags=tags)


def _tensor_spec(value: onnx.ValueInfoProto) -> TensorSpec:
    """A graph's value as MLflow describes it; a scalar has no dimensions."""
    tensor = value.type.tensor_type
    shape = tuple(-1 if size.dim_param or not size.dim_value else size.dim_value for size in tensor.shape.dim)
    return TensorSpec(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)), shape, value.name)


def find_version(name: str, stage_key: str) -> ModelVersion | None:
    """The registered version that holds this stage result."""
    return next((version for version in versions(name) if version.tags.get(STAGE_KEY_TAG) == stage_key), None)


def described(version: ModelVersion) -> str:
    """A version as people call it."""
    return f"{version.name} {version.version}"


def same(one: ModelVersion | None, other: ModelVersion | None) -> bool:
    """Whether both are one version, or both none; objects of the same version differ by when they were read."""
    return (one and (one.name, str(one.version))) == (other and (other.name, str(other.version)))


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


def find_export(parent: ModelVersion, key: str) -> ModelVersion | None:
    """The ONNX version of a version with this export key."""
    return next((one for one in exports_of(parent) if one.tags.get(EXPORT_KEY_TAG) == key), None)


def exports_of(parent: ModelVersion) -> list[ModelVersion]:
    """Every ONNX version of a version, the newest first."""
    return [one for one in versions(ONNX_NAMES[parent.name]) if one.tags["parent_version"] == str(parent.version)]


def versions(name: str) -> list[ModelVersion]:
    """All versions of a model, the newest first."""
    found = MlflowClient().search_model_versions(f"name='{name}'")
    return sorted(found, key=lambda version: -int(version.version))


def fetch_checkpoint(version: ModelVersion, folder: Path) -> Path:
    """The safetensors file of a registered version, in `folder`."""
    uri = MlflowClient().get_model_version_download_uri(version.name, version.version)
    fetched = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=made(folder)))
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
    described = Path(client.download_artifacts(caching[0].info.run_id, "corpus.json", made(folder)))
    splits = Path(client.download_artifacts(parent, "splits", made(folder)))
    return described, sorted(splits.glob("*.json"))


def synthesis_figures(version: ModelVersion) -> dict[str, float] | None:
    """The figures of the synthetic clips that a classifier was trained on; None if there were none."""
    client = MlflowClient()
    run = client.get_run(str(version.run_id))
    key = run.data.params.get("synthetic")
    if not key:
        return None
    query = f"tags.{STAGE_KEY_TAG} = '{key}' and attributes.status = 'FINISHED'"
    drawn = client.search_runs([run.info.experiment_id], query, max_results=1)
    return dict(drawn[0].data.metrics) if drawn else {}
