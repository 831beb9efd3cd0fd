"""Noise schedules: the sigma of each timestep, from clean to pure noise, and the sigmas that a sampler visits."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sermodels.config import DiffusionConfig
from sermodels.errors import ConfigError

SIGMA_MIN, RHO = 0.01, 7.0
"""Lower end and curvature of the Karras schedule (Karras et al. 2022, table 1; data of unit variance)."""
LOG_NORMAL = -0.5, 1.2
"""Mean and standard deviation of ln sigma in training (table 1 as well, where the data's deviation is 0.5)."""


def training_sigmas(config: DiffusionConfig) -> Float[Tensor, " timestep"]:
    """Noise standard deviation of each timestep, rising, for data of unit variance.

    `karras`: Karras et al. 2022, eq. 5. `linear`: the linear betas of DDPM (Ho et al. 2020), scaled to the number of
    timesteps as if there were 1000 (with 50 unscaled steps the noise would never cover the signal), in the
    variance-exploding form sigma = sqrt((1 - alpha_bar) / alpha_bar).
    """
    if config.schedule == "karras":
        return karras_sigmas(config.timesteps, config.sigma_max).flip(0)
    scale = 1000.0 / config.timesteps
    betas = torch.linspace(1e-4 * scale, 0.02 * scale, config.timesteps, dtype=torch.float64).clamp(max=0.999)
    alpha_bar = torch.cumprod(1.0 - betas, dim=0)
    return ((1.0 - alpha_bar) / alpha_bar).sqrt().float()


def drawn_sigmas(config: DiffusionConfig, count: int, rng: np.random.Generator) -> Float[Tensor, " count"]:
    """Random noise levels to train at."""
    if config.noise_levels == "timesteps":
        return training_sigmas(config)[torch.from_numpy(rng.integers(config.timesteps, size=count))]
    return torch.from_numpy(np.exp(rng.normal(*LOG_NORMAL, count))).float()


def karras_sigmas(steps: int, sigma_max: float) -> Float[Tensor, " step"]:
    """Falling sigmas from `sigma_max` to SIGMA_MIN (Karras et al. 2022, eq. 5)."""
    ramp = torch.linspace(0.0, 1.0, steps, dtype=torch.float64)
    high, low = sigma_max ** (1 / RHO), SIGMA_MIN ** (1 / RHO)
    sigmas: Tensor = (high + ramp * (low - high)) ** RHO
    return sigmas.float()


def sampling_sigmas(config: DiffusionConfig, steps: int) -> Float[Tensor, " step_plus_one"]:
    """Falling sigmas of `steps` sampling steps, evenly spread over the timesteps, with a final 0.

    Raises ConfigError when there are more steps than timesteps: they would stand still at some.
    """
    if steps > config.timesteps:
        raise ConfigError(f"synthesis.steps={steps} is more than the model has: diffusion.timesteps={config.timesteps}")
    rising = training_sigmas(config)
    places = torch.linspace(len(rising) - 1, 0, steps).round().long()
    return torch.cat([rising[places], torch.zeros(1)])


def last_sigmas(sigmas: Float[Tensor, " step_plus_one"], strength: float) -> Float[Tensor, " fewer"]:
    """The share `strength` of falling sigmas, at least one step, that a clip goes through which is noised part-way."""
    kept = max(1, round(strength * (len(sigmas) - 1)))
    return sigmas[-kept - 1 :]
