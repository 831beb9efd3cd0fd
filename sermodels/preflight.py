"""Checks that fail in seconds what would otherwise fail after an hour."""

import shutil
from pathlib import Path

from sermodels.classifier import Classifier
from sermodels.config import Config
from sermodels.corpora import DEMO, load_corpus
from sermodels.diffusion.schedule import sampling_sigmas
from sermodels.errors import StorageError
from sermodels.files import atomic_write
from sermodels.weights import WeightsReport, load_pretrained

NEEDED_BYTES = 1_000_000_000


def check_start(config: Config, workspace: Path) -> WeightsReport:
    """Try the workspace, the number of sampling steps, the corpus folders and the starting weights.

    Raises StorageError, CorpusError, ConfigError or WeightsError.
    """
    _check_workspace(workspace)
    sampling_sigmas(config.diffusion, config.synthesis.steps)
    if DEMO not in config.corpus.names:  # the demo corpus is made by the run itself
        load_corpus(config.corpus)
    classifier = Classifier(config.classifier, labels=config.corpus.emotions, n_mels=config.front_end.n_mels)
    report = load_pretrained(classifier, config.classifier.weights)
    classifier.freeze(report.missing_stages)
    return report


def _check_workspace(workspace: Path) -> None:
    """The workspace can be written to and has room for checkpoints."""
    probe = workspace / "writable"
    with atomic_write(probe) as temporary:
        temporary.write_bytes(b"")
    probe.unlink()
    free = shutil.disk_usage(workspace).free
    if free < NEEDED_BYTES:
        raise StorageError(
            f"{workspace}: {free / 1e6:,.0f} MB free, {NEEDED_BYTES / 1e6:,.0f} MB are needed; "
            "free some space or choose another workspace"
        )
