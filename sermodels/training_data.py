"""What a classifier is trained on, and in which order: clips on the device, their parts, and each epoch's batches."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sermodels.clips import ClipSet, frames_of
from sermodels.config import ClipConfig, Config
from sermodels.randomness import generator

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class TrainingData:
    """Clips on the device, and which of them are trained on and which choose the epoch.

    `training` may name a clip several times (oversampling); an epoch draws `clips_per_epoch` of them. Without
    `development` clips the last epoch is the one that is kept.
    """

    clips: ClipSet
    training: Indices
    development: Indices
    clips_per_epoch: int
    frames: int
    clip: ClipConfig


def everything(clips: ClipSet, config: Config) -> TrainingData:
    """All clips, to be predicted or embedded."""
    places = np.arange(len(clips))
    return TrainingData(
        clips, places, places, len(places), frames_of(config.clip.duration_s, config.front_end), config.clip
    )


def epoch_batches(data: TrainingData, batch_size: int, seed: int, epoch: int) -> list[Indices]:
    """Clip indices of every batch of an epoch, drawn without replacement until the pool is used up."""
    order = generator(seed, epoch).permutation(data.training)[: data.clips_per_epoch]
    return np.array_split(order, math.ceil(len(order) / batch_size))
