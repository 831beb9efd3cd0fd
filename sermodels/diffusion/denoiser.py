"""The denoiser wraps the network and predicts the clean log-mel; guidance wraps the denoiser."""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sermodels.diffusion.unet import UNet

LogMelBatch = Float[Tensor, "batch mel frame"]
Denoise = Callable[[LogMelBatch, Float[Tensor, " batch"]], LogMelBatch]
"""What a sampler calls: `model(x, sigma)` predicts x0."""


class Denoiser(nn.Module):
    """Preconditioned network D(x, sigma, condition) for data of unit variance (Karras et al. 2022, table 1)."""

    def __init__(self, network: UNet, *, condition_size: int) -> None:
        """`condition_size`: width of the emotion embedding; the null condition for guidance is learnt."""
        super().__init__()
        self.network = network
        self.null_condition = nn.Parameter(torch.zeros(condition_size))

    def forward(
        self, noisy: LogMelBatch, sigma: Float[Tensor, " batch"], condition: Float[Tensor, "batch width"]
    ) -> LogMelBatch:
        """Prediction of the clean, z-scored log-mel x0 from x0 + sigma * noise."""
        wide = sigma[:, None, None]
        total = 1.0 + wide.square()
        output = self.network(noisy / total.sqrt(), 0.25 * sigma.log(), condition)
        clean: Tensor = noisy / total + wide / total.sqrt() * output.float()
        return clean

    def drop_condition(self, condition: Float[Tensor, "batch width"], dropped: Tensor) -> Float[Tensor, "batch width"]:
        """The null condition where `dropped` is true (Ho & Salimans 2022, algorithm 1)."""
        return torch.where(dropped[:, None], self.null_condition, condition)


def _with_condition(
    denoiser: Denoiser, condition: Float[Tensor, "batch width"], noisy: LogMelBatch, sigma: Float[Tensor, " batch"]
) -> LogMelBatch:
    """The denoiser with its condition as the first argument, to be fixed beforehand."""
    clean: Tensor = denoiser(noisy, sigma, condition)
    return clean


def guided(denoiser: Denoiser, condition: Float[Tensor, "batch width"], guidance_scale: float) -> Denoise:
    """A function of (x, sigma) with classifier-free guidance; scale 1 is none and costs one pass instead of two.

    D = D(null) + scale * (D(condition) - D(null)) (Ho & Salimans 2022, eq. 6, with scale = 1 + w).
    """
    if guidance_scale == 1.0:
        return partial(_with_condition, denoiser, condition)
    size = len(condition)
    both = torch.cat([condition, denoiser.null_condition.expand_as(condition)])

    def denoise(noisy: LogMelBatch, sigma: Float[Tensor, " batch"]) -> LogMelBatch:
        clean = denoiser(torch.cat([noisy, noisy]), torch.cat([sigma, sigma]), both)
        conditional, unconditional = clean[:size], clean[size:]
        mixed: Tensor = unconditional + guidance_scale * (conditional - unconditional)
        return mixed

    return denoise
