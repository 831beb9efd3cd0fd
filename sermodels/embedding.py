"""Emotion embeddings: centroids and spread of the training clips, and the conditions drawn around them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from sermodels.checkpoint import load_tensors, save_tensors
from sermodels.errors import SplitError, WeightsError

TENSOR_NAMES = ("mean", "scale", "centroids", "spread")


@dataclass(frozen=True)
class EmotionEmbeddings:
    """Centroid and spread of each emotion's training embeddings, both z-scored over all training clips.

    `mean`, `scale` (width,) of the raw embeddings; `centroids`, `spread` (emotion, width) after the z-score.
    """

    labels: tuple[str, ...]
    mean: Float[Tensor, " width"]
    scale: Float[Tensor, " width"]
    centroids: Float[Tensor, "emotion width"]
    spread: Float[Tensor, "emotion width"]

    @staticmethod
    def fit(embeddings: NDArray[np.float32], truth: NDArray[np.int64], labels: Sequence[str]) -> "EmotionEmbeddings":
        """Fit on training clips: `embeddings` (clip, width), `truth` (clip,). SplitError if an emotion is absent."""
        absent = [label for number, label in enumerate(labels) if not np.any(truth == number)]
        if absent:
            raise SplitError(f"no training clip of {', '.join(absent)}: its centroid cannot be computed")
        raw = torch.from_numpy(embeddings).double()
        mean, scale = raw.mean(dim=0), raw.std(dim=0, correction=0).clamp(min=1e-4)
        scored = (raw - mean) / scale
        groups = [scored[torch.from_numpy(truth == number)] for number in range(len(labels))]
        centroids = torch.stack([group.mean(dim=0) for group in groups])
        spread = torch.stack([group.std(dim=0, correction=0) for group in groups])
        return EmotionEmbeddings(tuple(labels), mean.float(), scale.float(), centroids.float(), spread.float())

    @property
    def width(self) -> int:
        """Length of an embedding."""
        return self.centroids.shape[1]

    def conditions(
        self, emotions: Int64[Tensor, " batch"], noise: Float[Tensor, "batch width"], variation: float
    ) -> Float[Tensor, "batch width"]:
        """The emotion's centroid plus `variation` times its spread times unit noise."""
        return (
            self.centroids.to(noise, non_blocking=True)[emotions]
            + variation * self.spread.to(noise, non_blocking=True)[emotions] * noise
        )

    def save(self, path: Path) -> None:
        """Write as safetensors with the labels in the header."""
        save_tensors(path, {name: getattr(self, name) for name in TENSOR_NAMES}, {"labels": list(self.labels)})

    @staticmethod
    def load(path: Path) -> "EmotionEmbeddings":
        """Read what `save` wrote. Raises WeightsError."""
        tensors, header = load_tensors(path)
        try:
            return EmotionEmbeddings(tuple(header["labels"]), *(tensors[name] for name in TENSOR_NAMES))
        except KeyError as error:
            raise WeightsError(f"{path}: holds no emotion embeddings ({error} is missing); make them again") from error
