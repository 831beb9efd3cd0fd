"""A classifier as it is kept: one safetensors file with config, labels and where it came from in the header."""

from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from sermodels.checkpoint import load_into, load_tensors, save_tensors
from sermodels.classifier import Classifier
from sermodels.config import ClassifierConfig
from sermodels.errors import WeightsError

CLASSIFIER_FILE = "classifier.safetensors"


def save_classifier(path: Path, classifier: Classifier, header: dict[str, Any]) -> None:
    """Write weights with `labels`, `n_mels`, the classifier's config and `header`. Raises StorageError."""
    own = {
        "labels": list(classifier.labels),
        "n_mels": len(classifier.mean),
        "classifier": classifier.config.model_dump(mode="json"),
    }
    save_tensors(path, dict(classifier.state_dict()), header | own)


def load_classifier(path: Path) -> tuple[Classifier, dict[str, Any]]:
    """The classifier in evaluation mode, and its header. Raises WeightsError naming the file."""
    tensors, header = load_tensors(path)
    try:
        config = ClassifierConfig.model_validate(header["classifier"])
        classifier = Classifier(config, labels=header["labels"], n_mels=header["n_mels"])
    except (KeyError, ValidationError) as error:
        raise WeightsError(f"{path}: is no classifier of this version ({error}); train it again") from error
    load_into(classifier, tensors, path)
    return classifier.to(memory_format=torch.channels_last).eval(), header
