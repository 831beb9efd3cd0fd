"""The real clips that synthetic ones start from when they are not made from pure noise."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from sermodels.clips import ClipSet
from sermodels.diffusion.denoiser import LogMelBatch
from sermodels.diffusion.model import DiffusionModel
from sermodels.randomness import generator
from sermodels.stages.context import RunContext
from sermodels.stages.diffusion import diffusion_clips
from sermodels.synthesis import Draw


class Originals:
    """A training clip of its emotion for each draw, always the same one for the same seed."""

    def __init__(self, context: RunContext, model: DiffusionModel) -> None:
        """Load the split's training clips as the diffusion model was trained on them."""
        data = context.load()
        self.seed, self.model = context.config.seed, model
        self.clips = diffusion_clips(context.config, data)
        self.identifiers = [utterance.identifier for utterance in data.utterances]
        training = data.indices(context.split().training)
        emotions = range(len(model.embeddings.labels))
        self.of_emotion = [training[data.labels[training] == emotion] for emotion in emotions]

    def place(self, draw: Draw) -> int:
        """The number of the clip that a draw starts from."""
        return int(generator(self.seed, draw.emotion, draw.number).choice(self.of_emotion[draw.emotion]))

    def identifier(self, draw: Draw) -> str:
        """The name of the clip that a draw starts from."""
        return self.identifiers[self.place(draw)]

    def standardized(self, draws: Sequence[Draw]) -> LogMelBatch:
        """The clips that draws start from, as the model sees them."""
        return standardized(self.model, self.clips, np.array([self.place(draw) for draw in draws]))


def standardized(model: DiffusionModel, clips: ClipSet, places: NDArray[np.int64]) -> LogMelBatch:
    """These clips as the model sees them: z-scored, cut around their middle or padded to its length."""
    rows, frames = torch.from_numpy(places), model.config.frames
    offsets = torch.div(frames - clips.lengths[rows], 2, rounding_mode="floor").clamp(max=0)
    mean, std = (values.cpu()[:, None] for values in (model.mean, model.std))
    return (clips.batch(rows, offsets, frames) - mean) / std
