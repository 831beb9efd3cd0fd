"""The classifier: a torchvision ResNet whose input is a log-mel; z-score, resize and channels are in `forward`."""

import math
from collections.abc import Sequence
from itertools import takewhile

import torch
import torchvision
from jaxtyping import Float
from torch import Tensor, nn

from sermodels.config import ClassifierConfig
from sermodels.errors import ConfigError
from sermodels.features import POWER_FLOOR

STAGES = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc")

LogMelBatch = Float[Tensor, "batch mel frame"]


class Classifier(nn.Module):
    """Emotion logits and embeddings of log-mel batches in dB.

    `mean` and `std` (mel,) are the training split's statistics; they are part of the weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ClassifierConfig, *, labels: Sequence[str], n_mels: int) -> None:
        """An untrained network; `sermodels.weights.load_pretrained` and `freeze` come next."""
        super().__init__()
        self.config, self.labels = config, tuple(labels)
        self.backbone = torchvision.models.get_model(config.backbone, weights=None)
        width = self.backbone.fc.in_features
        self.backbone.fc = nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        self.fc = nn.Linear(width, len(self.labels))
        self.frozen: tuple[str, ...] = ()
        self.register_buffer("mean", torch.zeros(n_mels))
        self.register_buffer("std", torch.ones(n_mels))

    def standardize(self, log_mel: LogMelBatch) -> LogMelBatch:
        """Average the power of neighbouring cells, then z-score each mel band with the training split's statistics."""
        return (self.smooth(log_mel) - self.mean[:, None]) / self.std[:, None]

    def smooth(self, log_mel: LogMelBatch) -> LogMelBatch:
        """The level in dB of the mean power of the cells that lie within `smoothing` bands and frames."""
        around = self.config.smoothing
        if around == (0, 0):
            return log_mel
        power = torch.exp(log_mel * (math.log(10.0) / 10.0))[:, None]
        size = [2 * side + 1 for side in around]
        mean = nn.functional.avg_pool2d(power, size, stride=1, padding=around, count_include_pad=False)
        return 10.0 * torch.log10(mean[:, 0].clamp(min=POWER_FLOOR))

    def embed_standardized(self, batch: LogMelBatch) -> Float[Tensor, "batch width"]:
        """Pooled features before the head: 2048 wide for ResNet50, 512 for ResNet18 and 34."""
        embedding: Tensor = self.backbone(self.image(batch))
        return embedding

    def image(self, batch: LogMelBatch) -> Float[Tensor, "batch 3 height width_"]:
        """A z-scored log-mel in the backbone's size, with three channels alike."""
        image = batch[:, None]
        if self.config.image_size is not None:
            image = nn.functional.interpolate(image, self.config.image_size, mode="bilinear", align_corners=False)
        return three_channels(image)

    def embed_image(self, image: Float[Tensor, "batch height width_"]) -> Float[Tensor, "batch width"]:
        """Pooled features of a z-scored log-mel that has the backbone's size already."""
        embedding: Tensor = self.backbone(three_channels(image[:, None]))
        return embedding

    def halves(self) -> tuple[nn.Sequential, nn.Sequential]:
        """The backbone's frozen beginning, which may be empty, and the rest of it up to the pooled features.

        torchvision's ResNet runs its children in the order in which they are named.
        """
        children = [(name, module) for name, module in self.backbone.named_children() if name != "fc"]
        still = {*self.frozen, "relu", "maxpool"} if "conv1" in self.frozen else set()
        count = len(list(takewhile(lambda child: child[0] in still, children)))
        modules = [module for _, module in children]
        return nn.Sequential(*modules[:count]), nn.Sequential(*modules[count:], nn.Flatten())

    def logits_of(self, embedding: Float[Tensor, "batch width"]) -> Float[Tensor, "batch emotion"]:
        """The head, with dropout before it in training mode."""
        logits: Tensor = self.fc(self.dropout(embedding))
        return logits

    def logits_standardized(self, batch: LogMelBatch) -> Float[Tensor, "batch emotion"]:
        """Logits of a batch that is z-scored already, as augmentation leaves it."""
        return self.logits_of(self.embed_standardized(batch))

    def embed(self, log_mel: LogMelBatch) -> Float[Tensor, "batch width"]:
        """Embeddings of log-mels in dB."""
        return self.embed_standardized(self.standardize(log_mel))

    def forward(self, log_mel: LogMelBatch) -> Float[Tensor, "batch emotion"]:
        """Logits of log-mels in dB, in the order of `labels`."""
        return self.logits_standardized(self.standardize(log_mel))

    def freeze(self, without_weights: Sequence[str]) -> tuple[str, ...]:
        """Freeze every stage that `trainable` does not name; one without pretrained weights learns all the same.

        Returns the frozen stages. Raises ConfigError when `trainable` names an unknown stage.
        """
        wanted = set(STAGES) if "all" in self.config.trainable else set(self.config.trainable)
        if unknown := sorted(wanted - set(STAGES)):
            raise ConfigError(
                f"classifier.trainable: unknown stage {', '.join(unknown)}; allowed: {', '.join(STAGES)}, all"
            )
        self.frozen = tuple(stage for stage in STAGES if stage not in wanted | set(without_weights) | {"fc"})
        for stage in self.frozen:
            self.backbone.get_submodule(stage).requires_grad_(False)
        return self.frozen

    def train(self, mode: bool = True) -> "Classifier":
        """Training mode, in which frozen stages keep their batch statistics as they are."""
        super().train(mode)
        for stage in self.frozen:
            self.backbone.get_submodule(stage).eval()
        return self


def three_channels(image: Float[Tensor, "batch 1 height width_"]) -> Float[Tensor, "batch 3 height width_"]:
    """The one channel three times, laid out as convolutions on a CPU and on tensor cores are fastest."""
    return image.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
