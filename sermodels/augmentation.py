"""Augmentation of a z-scored log-mel batch on its device: chance is drawn first, the transform is deterministic.

What was drawn is copied to a GPU without waiting for it.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from sermodels.config import AugmentationConfig

Batch = Float[Tensor, "batch mel frame"]
EQUALIZER_POINTS = 6
Span = tuple[NDArray[np.int64], NDArray[np.int64]]
Sources = NDArray[np.float32]


@dataclass(frozen=True)
class AugmentationDraw:
    """Everything random about one batch; where a transform is not applied its value is the identity.

    `source_band` (batch, mel) and `source_frame` (batch, frame): which place of the clip, between two cells, comes to
    each band and frame, None where no clip is warped. `time_span`, `mel_span`: first cell and width of each clip's
    mask; `shift`: frames to the right, circular; `noise_std` and `gain`: one value a clip; `equalizer` (batch, mel) is
    added to every frame; `partner` and `share`: mixup's other clip and this clip's weight.
    """

    source_band: Sources | None
    source_frame: Sources | None
    time_span: Span
    mel_span: Span
    shift: NDArray[np.int64]
    noise_std: NDArray[np.float32]
    noise_seed: int
    gain: NDArray[np.float32]
    equalizer: NDArray[np.float32]
    partner: NDArray[np.int64]
    share: float


def draw(
    config: AugmentationConfig, shape: tuple[int, int, int], rng: np.random.Generator, bands_hz: NDArray[np.float64]
) -> AugmentationDraw:
    """Draw the augmentation of a batch of shape (batch, mel, frame), whose bands have their centres at `bands_hz`."""
    batch, mels, frames = shape
    masked_time, masked_mel, shifted, noisy, scaled, equalized = rng.random((6, batch)) < config.probability
    largest_shift = int(config.shift_fraction * frames)
    gain = rng.uniform(config.gain_low, config.gain_high, batch)
    return AugmentationDraw(
        time_span=_spans(rng, masked_time, frames, config.time_mask_fraction),
        mel_span=_spans(rng, masked_mel, mels, config.frequency_mask_fraction),
        shift=np.where(shifted, rng.integers(-largest_shift, largest_shift, batch, endpoint=True), 0),
        noise_std=np.where(noisy, config.noise_std, 0.0).astype(np.float32),
        noise_seed=int(rng.integers(2**31)),
        gain=np.where(scaled, gain, 1.0).astype(np.float32),
        equalizer=np.where(equalized[:, None], _curves(rng, batch, mels, config.equalizer_std), 0.0).astype(np.float32),
        partner=rng.permutation(batch),
        share=float(rng.beta(config.mixup_alpha, config.mixup_alpha)) if config.mixup_alpha > 0 else 1.0,
        source_band=_source_bands(rng, batch, config, bands_hz) if config.frequency_warp > 0 else None,
        source_frame=_source_frames(rng, batch, config, frames) if config.time_stretch > 0 else None,
    )


def _source_bands(
    rng: np.random.Generator, batch: int, config: AugmentationConfig, bands_hz: NDArray[np.float64]
) -> Sources:
    """Which band holds what comes to each, as all frequencies change by one factor; shape (batch, mel)."""
    wanted_hz = bands_hz / _factors(rng, batch, config.probability, config.frequency_warp)
    return np.interp(wanted_hz, bands_hz, np.arange(len(bands_hz))).astype(np.float32)


def _source_frames(rng: np.random.Generator, batch: int, config: AugmentationConfig, frames: int) -> Sources:
    """Which frame holds what comes to each, as speech gets slower or faster around the middle; shape (batch, frame)."""
    middle = (frames - 1) / 2
    wanted = middle + (np.arange(frames) - middle) / _factors(rng, batch, config.probability, config.time_stretch)
    return wanted.clip(0, frames - 1).astype(np.float32)


def _factors(rng: np.random.Generator, batch: int, probability: float, largest: float) -> NDArray[np.float64]:
    """A factor for each clip, as likely above 1 as below; 1 where not applied; shape (batch, 1)."""
    logarithm = rng.uniform(-1.0, 1.0, batch) * np.log1p(largest)
    return np.exp(np.where(rng.random(batch) < probability, logarithm, 0.0))[:, None]


def _spans(rng: np.random.Generator, applied: NDArray[np.bool_], size: int, fraction: float) -> Span:
    """First cell and width of one mask a clip; a width is at most `fraction` of `size`, and 0 where not applied."""
    widths = rng.integers(0, int(fraction * size), len(applied), endpoint=True)
    starts = rng.integers(0, size - widths, endpoint=True)
    return starts, np.where(applied, widths, 0)


def _curves(rng: np.random.Generator, batch: int, mels: int, std: float) -> NDArray[np.float64]:
    """Smooth gains over the mel bands, shape (batch, mel): normal values at a few bands, linear between them."""
    points = rng.normal(0.0, std, (batch, EQUALIZER_POINTS))
    places = np.linspace(0, mels - 1, EQUALIZER_POINTS)
    return np.stack([np.interp(np.arange(mels), places, values) for values in points])


def augment(batch: Batch, chance: AugmentationDraw) -> Batch:
    """Warp, shift, scale, equalize, add noise, mask and mix a z-scored batch as drawn; masked cells become the mean."""
    device = batch.device
    mels, frames = batch.shape[1:]
    batch = _warped(_warped(batch, chance.source_band, 1), chance.source_frame, 2)
    source = (torch.arange(frames) - torch.from_numpy(chance.shift)[:, None]) % frames
    shifted = batch.gather(2, source.to(device, non_blocking=True)[:, None, :].expand(-1, mels, -1))
    noise = torch.randn(batch.shape, generator=torch.Generator(device).manual_seed(chance.noise_seed), device=device)
    equalized = (
        shifted * _per_clip(chance.gain, device)
        + torch.from_numpy(chance.equalizer).to(device, non_blocking=True)[:, :, None]
    )
    noisy = equalized + noise * _per_clip(chance.noise_std, device)
    kept = _outside(chance.time_span, frames, device)[:, None, :] & _outside(chance.mel_span, mels, device)[:, :, None]
    masked = torch.where(kept, noisy, torch.zeros_like(noisy))
    if chance.share == 1.0:
        return masked
    partner = torch.from_numpy(chance.partner).to(device, non_blocking=True)
    return chance.share * masked + (1.0 - chance.share) * masked[partner]


def _warped(batch: Batch, sources: Sources | None, axis: int) -> Batch:
    """Each clip's bands (axis 1) or frames (2) from between two others, in proportion."""
    if sources is None:
        return batch
    place = torch.from_numpy(sources).to(batch.device, non_blocking=True).unsqueeze(3 - axis)
    below = place.floor().long().clamp(max=max(0, batch.shape[axis] - 2))
    above = (below + 1).clamp(max=batch.shape[axis] - 1)
    low, high = (batch.gather(axis, each.expand(batch.shape)) for each in (below, above))
    return torch.lerp(low, high, (place - below).to(batch.dtype))


def _per_clip(values: NDArray[np.float32], device: torch.device) -> Tensor:
    """One value a clip, shaped to scale a batch."""
    return torch.from_numpy(values).to(device, non_blocking=True)[:, None, None]


def _outside(span: Span, size: int, device: torch.device) -> Tensor:
    """True where a cell lies outside its clip's mask; shape (batch, size)."""
    start, width = (torch.from_numpy(part)[:, None] for part in span)
    cell = torch.arange(size)
    return ((cell < start) | (cell >= start + width)).to(device, non_blocking=True)
