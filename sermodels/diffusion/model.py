"""The diffusion model as it is kept: averaged denoiser weights, the z-score of its log-mels, its emotions."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from pydantic import ValidationError
from torch import Tensor

from sermodels.checkpoint import load_into, load_tensors, prefixed, save_tensors, without_prefix
from sermodels.config import DiffusionConfig
from sermodels.diffusion.denoiser import Denoiser
from sermodels.diffusion.unet import UNet
from sermodels.embedding import TENSOR_NAMES, EmotionEmbeddings
from sermodels.errors import WeightsError


@dataclass(frozen=True)
class DiffusionModel:
    """A denoiser with everything that sampling needs.

    `mean` and `std` (mel,) undo the z-score, in dB; `top_db` is the dynamic range of the log-mels it was trained on.
    """

    config: DiffusionConfig
    denoiser: Denoiser
    embeddings: EmotionEmbeddings
    mean: Float[Tensor, " mel"]
    std: Float[Tensor, " mel"]
    top_db: float

    @property
    def device(self) -> torch.device:
        """Where its network computes; its statistics may lie elsewhere."""
        return self.denoiser.null_condition.device

    def to_log_mel(self, standardized: Float[Tensor, "batch mel frame"]) -> Float[Tensor, "batch mel frame"]:
        """Z-scored log-mels back to dB, nothing more than `top_db` below the clip's loudest cell."""
        level_db = standardized * self.std.to(standardized)[:, None] + self.mean.to(standardized)[:, None]
        return torch.maximum(level_db, level_db.amax(dim=(-2, -1), keepdim=True) - self.top_db)

    def save(self, path: Path) -> None:
        """Write weights, statistics and embeddings as one safetensors file with config and labels in the header."""
        tensors = prefixed("denoiser", self.denoiser.state_dict()) | {"mean": self.mean, "std": self.std}
        tensors |= prefixed("embeddings", {name: getattr(self.embeddings, name) for name in TENSOR_NAMES})
        header = {"labels": list(self.embeddings.labels), "top_db": self.top_db}
        save_tensors(path, tensors, header | {"config": self.config.model_dump(mode="json")})

    @staticmethod
    def load(path: Path) -> "DiffusionModel":
        """Read what `save` wrote. Raises WeightsError naming the file."""
        tensors, header = load_tensors(path)
        kept = without_prefix("embeddings", tensors)
        try:
            config = DiffusionConfig.model_validate(header["config"])
            embeddings = EmotionEmbeddings(tuple(header["labels"]), *(kept[name] for name in TENSOR_NAMES))
            mean, std, top_db = tensors["mean"], tensors["std"], float(header["top_db"])
        except (KeyError, ValidationError) as error:
            raise WeightsError(f"{path}: is no diffusion model of this version ({error}); train it again") from error
        denoiser = build_denoiser(config, condition_size=embeddings.width)
        load_into(denoiser, without_prefix("denoiser", tensors), path)
        return DiffusionModel(config, denoiser.eval(), embeddings, mean, std, top_db)


def build_denoiser(config: DiffusionConfig, *, condition_size: int) -> Denoiser:
    """An untrained denoiser of the configured size."""
    network = UNet(widths=config.widths, patch=config.patch, condition_size=condition_size)
    return Denoiser(network, condition_size=condition_size).to(memory_format=torch.channels_last)
