"""What a classifier is trained on, and in which order: clips on the device, their parts, and each epoch's batches."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sermodels.clips import ClipSet, frames_of
from sermodels.config import ClipConfig, Config, RetrainingConfig
from sermodels.mel import mel_centres_hz
from sermodels.randomness import generator

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class TrainingData:
    """Clips on the device, and which of them are trained on and which choose the epoch.

    An epoch draws `clips_per_epoch` clips of `training` and of `extra`, synthetic or repeated ones, as `mixture` says.
    Each has `frames` frames in training and `evaluation_frames`, or as many as in training, in evaluation.
    Without `development` clips the last epoch is the one that is kept. `bands_hz` are the mel bands' centres.
    """

    clips: ClipSet
    training: Indices
    development: Indices
    clips_per_epoch: int
    frames: int
    clip: ClipConfig
    bands_hz: NDArray[np.float64]
    extra: Indices = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    mixture: RetrainingConfig = field(default_factory=RetrainingConfig)
    evaluation_frames: int | None = None


def everything(clips: ClipSet, config: Config) -> TrainingData:
    """All clips, to be predicted or embedded."""
    places = np.arange(len(clips))
    return TrainingData(
        clips,
        places,
        places,
        len(places),
        frames_of(config.clip.duration_s, config.front_end),
        config.clip,
        mel_centres_hz(config.front_end),
        evaluation_frames=frames_of(config.clip.heard_s, config.front_end),
    )


def epoch_batches(data: TrainingData, batch_size: int, seed: int, epoch: int, epochs: int) -> list[Indices]:
    """Clip indices of every batch of one of the `epochs`, drawn without replacement until the pool is used up."""
    rng, extra = generator(seed, epoch), data.extra
    if epoch >= data.mixture.until * epochs:
        extra = extra[:0]
    if data.mixture.share is None or not len(extra):
        order = rng.permutation(np.concatenate([data.training, extra]))[: data.clips_per_epoch]
    else:
        chosen = rng.permutation(extra)[: round(data.mixture.share * data.clips_per_epoch)]
        real = rng.permutation(data.training)[: data.clips_per_epoch - len(chosen)]
        order = rng.permutation(np.concatenate([real, chosen]))
    return np.array_split(order, math.ceil(len(order) / batch_size))
