"""Registered models as MLflow's pyfunc flavour loads them: a checkpoint becomes an object with `predict`."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sermodels.classifier_checkpoint import CLASSIFIER_FILE, load_classifier
from sermodels.config import SynthesisConfig
from sermodels.diffusion.model import DiffusionModel
from sermodels.errors import ConfigError
from sermodels.synthesis import Draw, sample_log_mels


class ClassifierPredictor:
    """Log-mels to probabilities; `labels` and `header` come from the checkpoint."""

    def __init__(self, path: Path) -> None:
        """Load the checkpoint at `path`."""
        self.classifier, self.header = load_classifier(path)
        self.labels = self.classifier.labels

    def predict(self, log_mels: NDArray[np.float32], params: Any = None) -> NDArray[np.float32]:
        """Probabilities (clip, emotion) of log-mels (clip, mel, frame) in dB, in the order of `labels`."""
        with torch.inference_mode():
            return torch.softmax(self.classifier(torch.from_numpy(log_mels)), dim=1).numpy()


class DiffusionPredictor:
    """Emotions to log-mels, with the default sampler."""

    def __init__(self, path: Path) -> None:
        """Load the checkpoint at `path`."""
        self.model = DiffusionModel.load(path)
        self.labels = self.model.embeddings.labels

    def predict(self, rows: Any, params: Any = None) -> NDArray[np.float32]:
        """Log-mels (row, mel, frame) in dB for a table of `emotion` and `number`; the same row gives the same clip."""
        if unknown := sorted(set(rows["emotion"]) - set(self.labels)):
            raise ConfigError(f"unknown emotion {unknown[0]!r}; allowed: {', '.join(self.labels)}")
        pairs = zip(rows["emotion"], rows["number"], strict=True)
        draws = [Draw(self.labels.index(emotion), int(number)) for emotion, number in pairs]
        return sample_log_mels(self.model, draws, SynthesisConfig(), seed=0).numpy()


def _load_pyfunc(data_path: str) -> ClassifierPredictor | DiffusionPredictor:
    """MLflow's entry point: the predictor for the checkpoint at `data_path`."""
    path = Path(data_path)
    return ClassifierPredictor(path) if path.name == CLASSIFIER_FILE else DiffusionPredictor(path)
