"""Samplers from noise to a clean log-mel, all behind one interface: `sampler(model, noise, sigmas, ...)`."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from sermodels.diffusion.denoiser import Denoise, LogMelBatch

Sigmas = Float[Tensor, " step_plus_one"]
OnStep = Callable[[int, LogMelBatch], None]
"""Called after each sampling step with its number, from 1, and the prediction of x0."""
DrawNoise = Callable[[], LogMelBatch]
"""Gives fresh unit noise of the batch's shape, for samplers that add some."""


class Sampler(Protocol):
    """From `x` at noise level `sigmas[0]` to x0; `sigmas` fall and end with 0."""

    def __call__(
        self, model: Denoise, x: LogMelBatch, sigmas: Sigmas, draw_noise: DrawNoise, on_step: OnStep
    ) -> LogMelBatch:
        """Returns x0."""


def sample(
    model: Denoise,
    x: LogMelBatch,
    sigmas: Sigmas,
    *,
    sampler: str,
    draw_noise: DrawNoise,
    on_step: OnStep = lambda step, clean: None,
) -> LogMelBatch:
    """Run the sampler of this name; see SAMPLERS."""
    return SAMPLERS[sampler](model, x, sigmas, draw_noise, on_step)


def ddpm(model: Denoise, x: LogMelBatch, sigmas: Sigmas, draw_noise: DrawNoise, on_step: OnStep) -> LogMelBatch:
    """Ancestral sampling with the posterior variance (Ho et al. 2020, eq. 6-7, in the variance-exploding form)."""
    for step, (now, after) in enumerate(_pairs(sigmas), 1):
        clean = model(x, _full(x, now))
        up = (after * after * (now * now - after * after) / (now * now)) ** 0.5
        down = after * after / now
        x = clean + down / now * (x - clean)
        if up > 0:
            x = x + up * draw_noise()
        on_step(step, clean)
    return x


def ddim(model: Denoise, x: LogMelBatch, sigmas: Sigmas, draw_noise: DrawNoise, on_step: OnStep) -> LogMelBatch:
    """Deterministic DDIM (Song et al. 2021, eq. 12), which is Euler's method on the probability flow."""
    for step, (now, after) in enumerate(_pairs(sigmas), 1):
        clean = model(x, _full(x, now))
        x = clean + after / now * (x - clean)
        on_step(step, clean)
    return x


def heun(model: Denoise, x: LogMelBatch, sigmas: Sigmas, draw_noise: DrawNoise, on_step: OnStep) -> LogMelBatch:
    """Heun's second-order method (Karras et al. 2022, algorithm 1): two passes a step, one in the last."""
    for step, (now, after) in enumerate(_pairs(sigmas), 1):
        clean = model(x, _full(x, now))
        slope = (x - clean) / now
        euler = x + (after - now) * slope
        if after > 0:
            slope_after = (euler - model(euler, _full(x, after))) / after
            euler = x + (after - now) * 0.5 * (slope + slope_after)
        x = euler
        on_step(step, clean)
    return x


def dpmpp_2m(model: Denoise, x: LogMelBatch, sigmas: Sigmas, draw_noise: DrawNoise, on_step: OnStep) -> LogMelBatch:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): second order at one pass a step."""
    before: tuple[float, LogMelBatch] | None = None
    for step, (now, after) in enumerate(_pairs(sigmas), 1):
        clean = model(x, _full(x, now))
        estimate = clean
        if before is not None and after > 0:
            sigma_before, clean_before = before
            ratio = _log_step(now, after) / _log_step(sigma_before, now)
            estimate = clean + 0.5 * ratio * (clean - clean_before)
        x = estimate + after / now * (x - estimate)
        before = (now, clean)
        on_step(step, clean)
    return x


SAMPLERS: dict[str, Sampler] = {"ddpm": ddpm, "ddim": ddim, "heun": heun, "dpmpp_2m": dpmpp_2m}


def _pairs(sigmas: Sigmas) -> list[tuple[float, float]]:
    """Each step's sigma and the next one."""
    values = [float(sigma) for sigma in sigmas]
    return list(pairwise(values))


def _full(x: LogMelBatch, sigma: float) -> Float[Tensor, " batch"]:
    """The same sigma for every batch item."""
    return torch.full((len(x),), sigma, device=x.device)


def _log_step(now: float, after: float) -> float:
    """Step in log signal-to-noise ratio, lambda = -log sigma."""
    return math.log(now / after)
