"""Checks that fail in seconds what would otherwise fail after an hour."""

from pathlib import Path
from typing import TYPE_CHECKING

from sermodels.config import Config
from sermodels.corpora import DEMO, load_corpus
from sermodels.files import atomic_write, check_free
from sermodels.known import known_files

if TYPE_CHECKING:  # a wrong folder is said before torch and torchvision are loaded
    from sermodels.weights import WeightsReport

NEEDED_BYTES = 1_000_000_000


def check_start(config: Config, workspace: Path) -> "WeightsReport":
    """Try the workspace, the number of sampling steps, the corpus folders and the starting weights.

    Raises StorageError, CorpusError, ConfigError or WeightsError.
    """
    _check_workspace(workspace)
    if DEMO not in config.corpus.names:  # the demo corpus is made by the run itself
        load_corpus(config.corpus, known_files(workspace))
    return _check_networks(config)


def _check_networks(config: Config) -> "WeightsReport":
    """The sampling steps fit the schedule, and the starting weights fit the backbone."""
    from sermodels.classifier import Classifier
    from sermodels.diffusion.schedule import sampling_sigmas
    from sermodels.weights import load_pretrained

    sampling_sigmas(config.diffusion, config.synthesis.steps)
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
    check_free(workspace, needed_bytes=NEEDED_BYTES)
