"""What frozen stages make of clips that look the same in every epoch: computed once, and then trained on."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from sermodels.classifier import Classifier
from sermodels.clips import ClipSet
from sermodels.device import autocast

LARGEST_BYTES = 2_000_000_000
"""Features that would take more memory than this are computed anew in each epoch."""
CHUNK = 32

Rows = Int64[Tensor, " some"]


class FrozenFeatures:
    """The output of a classifier's frozen stages for some clips, each placed at its first frame."""

    def __init__(self, learning: nn.Module, features: Tensor, rows: Rows, clips: int) -> None:
        """`features` (row, channel, height, width) of `rows` out of so many `clips`; `learning` goes on from there."""
        self._learning, self._features = learning, features
        self._places = torch.full((clips,), clips, device=rows.device)
        self._places[rows] = torch.arange(len(rows), device=rows.device)

    def embed(self, rows: Rows) -> Float[Tensor, "some width"]:
        """Embeddings of clips by the stages that learn."""
        features = self._features[self._places[rows]].contiguous(memory_format=torch.channels_last)
        embeddings: Tensor = self._learning(features)
        return embeddings


@torch.no_grad()
def frozen_features(
    classifier: Classifier, clips: ClipSet, rows: Rows, frames: int, precision: str
) -> FrozenFeatures | None:
    """Features of the given clips, in the number format of training.

    None where no stage is frozen from the beginning on, or they would take too much memory.
    """
    frozen, learning = classifier.eval().halves()
    if not len(frozen):
        return None
    done: list[Tensor] = []
    for chunk in rows.split(CHUNK):
        batch = classifier.standardize(clips.batch(chunk, torch.zeros_like(chunk), frames))
        with autocast(batch.device, precision):
            done.append(frozen(classifier.image(batch)))
        if done[0][0].nbytes * len(rows) > LARGEST_BYTES:
            return None
    return FrozenFeatures(learning, torch.cat(done), rows, len(clips))
