"""A registry with three small real classifiers, of which one is always wrong, one half right and one always right."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from flows import aliases, registry, tracking
from flows.export import export_version
from flows.registry import CLASSIFIER_MODEL, RegisteredVersion
from flows.tracking import Run
from sermodels.classifier import Classifier
from sermodels.classifier_checkpoint import save_classifier
from sermodels.clips import ClipSet
from sermodels.prediction import embed
from sermodels.stages.context import RunContext, read_utterances
from sermodels.training_data import everything
from tests.sermodels.tiny import tiny_config, write_corpus
from tests.sermodels.tiny_chain import start

PARTS = {"training": ("03", "08"), "development": ("09",), "test": ("10", "11", "13")}
WRONG, HALF, RIGHT = "1", "2", "3"
"""Their versions. The first is champion, the second always hears anger."""


@dataclass(frozen=True)
class SmallRegistry:
    """Where it is, and what its classifiers come from."""

    database: Path
    context: RunContext
    head: tuple[Tensor, Tensor]
    """Weight and bias that tell both emotions apart."""


def make_registry(folder: Path) -> SmallRegistry:
    """The registry in `folder`, which MLflow uses from now on; every classifier is exported."""
    write_corpus(folder / "data")
    context = start(tiny_config(folder / "data"), folder / "workspace")
    tracking.setup()
    made = SmallRegistry(folder / "mlflow.db", context, _head(context))
    weight, bias = made.head
    anger = torch.tensor([100.0, 0.0])
    for key, (own_weight, own_bias) in {
        "wrong": (-weight, -bias),
        "half": (0 * weight, anger),
        "right": made.head,
    }.items():
        version = register(made, folder, key, lambda c, w=own_weight, b=own_bias: _set_head(c, w, b))
        with tracking.open_run(f"export {key}", tags={}) as run:
            exported = export_version(run, version, role="candidate")
        if str(version.version) == WRONG:
            aliases.crown(version, exported, replacing=None)
    return made


def register(
    made: SmallRegistry,
    folder: Path,
    key: str,
    change: Callable[[Classifier], None],
    *,
    parts: dict[str, tuple[str, ...]] = PARTS,
    tags: dict[str, str] | None = None,
) -> RegisteredVersion:
    """A new version, changed as wanted, with the runs that say what it was taught."""
    config, classifier = made.context.config, _classifier(made.context)
    change(classifier)
    file = folder / f"{key}.safetensors"
    save_classifier(file, classifier, {"config": config.model_dump(mode="json")})
    own = {tracking.STAGE_KEY_TAG: key, "stage": key, "split": f"split {key}", "data_digest": "d", "test_uar": "0"}
    own |= {"development_uar": "0", "synthetic_speech": "false", **(tags or {})}
    with tracking.open_run("pipeline", tags={}) as parent:
        _describe(made.context, folder, f"split {key}", parts, parent)
        with tracking.open_run(key, tags={"stage": key}, parent=parent):
            return registry.register_classifier(file, n_mels=32, labels=config.corpus.emotions, tags=own, card="# Card")


def _describe(context: RunContext, folder: Path, name: str, parts: dict[str, tuple[str, ...]], parent: Run) -> None:
    """Corpus and split as the pipeline logs them."""
    utterances = read_utterances(context.prepared)
    split = {part: [u.identifier for u in utterances if u.speaker[-2:] in speakers] for part, speakers in parts.items()}
    file = folder / "split-0.json"
    file.write_text(json.dumps({"name": name, "protocol": "speaker", **split}))
    parent.log_file(file, "splits")
    with tracking.open_run("caching", tags={"stage": "caching"}, parent=parent) as run:
        run.log_file(context.prepared.folder / "corpus.json")


def _classifier(context: RunContext) -> Classifier:
    """Random weights, the same each time, and statistics that fit."""
    torch.manual_seed(0)
    classifier = Classifier(context.config.classifier, labels=context.config.corpus.emotions, n_mels=32)
    classifier.mean.fill_(-30.0)
    classifier.std.fill_(20.0)
    return classifier.eval()


def _head(context: RunContext) -> tuple[Tensor, Tensor]:
    """The linear layer that tells the emotions of all clips apart, by least squares."""
    config, data = context.config, context.load()
    clips = ClipSet.from_config(data.log_mels, data.labels.tolist(), config.clip, config.front_end)
    fed = everything(clips, config)
    vectors = embed(_classifier(context), fed, fed.training, config.training).astype(np.float64)
    design = np.concatenate([vectors, np.ones((len(vectors), 1))], axis=1)
    found = np.linalg.lstsq(design, 10.0 * (2 * np.eye(2)[data.labels] - 1), rcond=None)[0].T
    return torch.from_numpy(found[:, :-1]).float(), torch.from_numpy(found[:, -1]).float()


def _set_head(classifier: Classifier, weight: Tensor, bias: Tensor) -> None:
    classifier.fc.weight.data.copy_(weight)
    classifier.fc.bias.data.copy_(bias)


def holder(alias: str, name: str = CLASSIFIER_MODEL) -> str:
    """The number of the version that has the alias, or nothing."""
    version = registry.version_by_alias(name, alias)
    return str(version.version) if version is not None else ""


def served(alias: str) -> str:
    """The number of the classifier whose graph has the alias, or nothing."""
    exported = registry.version_by_alias(registry.ONNX_NAMES[CLASSIFIER_MODEL], alias)
    return str(exported.tags["parent_version"]) if exported is not None else ""
