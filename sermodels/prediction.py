"""Embeddings and probabilities of clips by a trained classifier, without augmentation, averaged over views in time."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sermodels.classifier import Classifier
from sermodels.config import TrainingConfig
from sermodels.device import autocast
from sermodels.frozen import FrozenFeatures
from sermodels.training_data import Indices, TrainingData


@torch.inference_mode()
def predict(
    classifier: Classifier,
    data: TrainingData,
    indices: Indices,
    config: TrainingConfig,
    frozen: FrozenFeatures | None = None,
) -> NDArray[np.float32]:
    """Probabilities of the given clips without augmentation, shape (clip, emotion)."""
    return probabilities_of(classifier, _embed(classifier, data, indices, config, frozen))


@torch.inference_mode()
def probabilities_of(classifier: Classifier, embeddings: Tensor) -> NDArray[np.float32]:
    """Probabilities (clip, emotion) of clips by their embeddings (clip, width), without another pass of the network."""
    return torch.softmax(classifier.fc(embeddings), dim=1).cpu().numpy()


@torch.inference_mode()
def embed(classifier: Classifier, data: TrainingData, indices: Indices, config: TrainingConfig) -> NDArray[np.float32]:
    """Embeddings of the given clips without augmentation, shape (clip, width)."""
    return _embed(classifier, data, indices, config).cpu().numpy()


def _embed(
    classifier: Classifier,
    data: TrainingData,
    indices: Indices,
    config: TrainingConfig,
    frozen: FrozenFeatures | None = None,
) -> Tensor:
    """The mean embedding of each clip's views, batch by batch, in evaluation mode."""
    classifier.eval()
    device, frames = data.clips.values.device, data.evaluation_frames or data.frames
    embeddings = []
    for chunk in torch.from_numpy(indices).to(device).split(2 * config.batch_size):
        offsets = data.clips.evaluation_offsets(chunk, frames, data.clip)
        with autocast(device, config.precision):
            if frozen is not None:
                views = [frozen.embed(chunk).float()]
            else:
                views = [classifier.embed(data.clips.batch(chunk, place, frames)).float() for place in offsets.T]
        embeddings.append(torch.stack(views).mean(dim=0))
    return torch.cat(embeddings)
