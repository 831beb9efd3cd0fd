"""Checks that fail in seconds what would otherwise fail after an hour."""

from pathlib import Path

from sermodels.classifier import Classifier
from sermodels.config import Config
from sermodels.files import atomic_write
from sermodels.weights import WeightsReport, load_pretrained


def check_start(config: Config, workspace: Path) -> WeightsReport:
    """Write to the workspace and load the starting weights. Raises StorageError, ConfigError or WeightsError."""
    with atomic_write(workspace / "writable") as temporary:
        temporary.write_bytes(b"")
    (workspace / "writable").unlink()
    classifier = Classifier(config.classifier, labels=config.corpus.emotions, n_mels=config.front_end.n_mels)
    report = load_pretrained(classifier, config.classifier.weights)
    classifier.freeze(report.missing_stages)
    return report
