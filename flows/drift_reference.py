"""What a served model's answers are compared with: training clips, and its verdicts on clips it had not heard."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flows import registry
from flows.export import split_recordings
from flows.finished import fetch_file
from flows.registry import RegisteredVersion
from sermodels.cache import cache_log_mels, read_log_mels
from sermodels.checkpoint import load_tensors
from sermodels.config import Config, FrontEndConfig
from sermodels.corpora.utterance import Utterance
from sermodels.errors import SermodelsError
from sermodels.log_mel_statistics import STATISTICS, log_mel_statistics
from sermodels.predictions import joined, read_predictions
from sermodels.stages.context import cache_folder

EMOTION, CONFIDENCE = "emotion", "confidence"
Columns = dict[str, NDArray[np.generic]]


class DriftError(SermodelsError):
    """Answers cannot be compared with the training data."""


def reference_columns(version: RegisteredVersion, workspace: Path, scratch: Path) -> Columns:
    """The columns of a version's reference: verdicts, and log-mel statistics of its training clips.

    Verdicts on clips that it was trained on would be too sure, so that those on development and test clips are taken.
    Log-mels that the cache lacks are computed where the recordings are there. Raises DriftError and StorageError.
    """
    header = load_tensors(registry.fetch_checkpoint(version, scratch / "model"))[1]
    front_end = Config.model_validate(header["config"]).front_end
    training = split_recordings(version, scratch)[0]
    if not training:
        raise DriftError(f"{registry.described(version)}: MLflow does not hold what it was trained on")
    return _verdicts(version, scratch) | _statistics(training, front_end, workspace)


def _verdicts(version: RegisteredVersion, scratch: Path) -> Columns:
    """Emotion and confidence on development and test clips, from the run that trained the version."""
    files = [f"predictions-{part}.csv" for part in ("development", "test")]
    found = joined([read_predictions(fetch_file(str(version.run_id), file, scratch)) for file in files])
    return {EMOTION: np.array(found.labels)[found.predicted], CONFIDENCE: found.probabilities.max(axis=1)}


def _statistics(training: list[Utterance], front_end: FrontEndConfig, workspace: Path) -> Columns:
    """Log-mel statistics of every training clip that is cached or can be read."""
    cache = cache_folder(workspace)
    report = cache_log_mels(training, front_end, cache)
    lost = {identifier for identifier, _ in report.unreadable}
    readable = [utterance for utterance in training if utterance.identifier not in lost]
    rows = [log_mel_statistics(log_mel, front_end) for log_mel in read_log_mels(cache, readable, front_end)]
    if not rows:
        raise DriftError(
            f"{cache}: holds no log-mel of the training clips, and the recordings are not on this machine; "
            "run this where the model was trained, or name its --workspace"
        )
    if lost:
        print(f"{len(lost):,} of {len(training):,} training clips are neither cached nor on this machine: left out")
    return {name: np.array([row[name] for row in rows]) for name in STATISTICS}
