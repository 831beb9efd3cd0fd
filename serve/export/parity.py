"""Parity: how far each graph is from torch in float64, case by case."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sermodels.diffusion.denoiser import guided
from sermodels.diffusion.model import DiffusionModel
from sermodels.diffusion.samplers import sample
from sermodels.diffusion.schedule import sampling_sigmas
from serve.batching import padded
from serve.bundle import CLASSIFIER, SAMPLER, UNET_STEP, VOCODER
from serve.export.classifier_graph import EVERYTHING, OUTPUTS, WaveformClassifier
from serve.export.sampler_graph import STEP_OUTPUTS, SamplingStep
from serve.sessions import Session, scalar

Waveforms = Sequence[NDArray[np.float32]]
BATCHES = (1, 2, 3, 8)
GUIDANCE = 1.5
LARGEST_DIFFERENCE = {"classifier": 1e-3, "unet_step": 1e-2, "sampler": 1e-1, "vocoder": 5e-2}
"""What a graph may be off, by its name in the figures: dB of log-mels, embeddings, logits, samples."""


def classifier_parity(folder: Path, module: WaveformClassifier, waveforms: Waveforms) -> dict[str, float]:
    """Largest |difference| of each output on real clips, silence, one sample, the longest clip and batches."""
    session, reference = Session(folder / CLASSIFIER, device="cpu"), copy.deepcopy(module).double().eval()
    longest = max(waveforms, key=len)
    silence = np.zeros(len(longest), dtype=np.float32)
    cases = {"silence": [silence], "one_sample": [longest[len(longest) // 2 :][:1]], "longest": [longest]}
    cases |= {f"batch_{size}": [waveforms[i % len(waveforms)] for i in range(size)] for size in BATCHES}
    found: dict[str, float] = {}
    for case, clips in cases.items():
        batch, lengths = padded(clips)
        served = session.run({"waveform": batch, "length": lengths})
        with torch.inference_mode():
            wanted = reference(torch.from_numpy(batch), torch.from_numpy(lengths).clamp(max=EVERYTHING))
        found |= _differences(f"classifier/{case}", served, dict(zip(OUTPUTS, wanted, strict=True)))
    return found


def sampler_parity(folder: Path, model: DiffusionModel, step: SamplingStep, *, steps: int) -> dict[str, float]:
    """Largest |difference| of one step and of the whole loop, by batch; log-mels in dB."""
    loop, one = Session(folder / SAMPLER, device="cpu"), Session(folder / UNET_STEP, device="cpu")
    reference, single = copy.deepcopy(model.denoiser).double().eval(), copy.deepcopy(step).double().eval()
    sigmas = sampling_sigmas(model.config, steps)
    found: dict[str, float] = {}
    generator = torch.Generator().manual_seed(0)
    for size in BATCHES:
        noise = torch.randn(size, len(model.mean), model.config.frames, generator=generator)
        condition = model.embeddings.centroids[torch.arange(size) % len(model.embeddings.labels)]
        around = torch.tensor([2.0, 1.0, 0.5])
        feed = {"x": noise, "previous": noise, "sigmas": around, "condition": condition}
        served = one.run(
            {name: t.numpy() for name, t in feed.items()} | {"guidance_scale": scalar(GUIDANCE, np.float32)}
        )
        with torch.inference_mode():
            wanted = single(*(t.double() for t in feed.values()), torch.tensor(GUIDANCE, dtype=torch.float64))
            clean = sample(
                guided(reference, condition.double(), GUIDANCE),
                noise.double() * float(sigmas[0]),
                sigmas,
                sampler="dpmpp_2m",
                draw_noise=lambda: torch.zeros(()),
            )
        found |= _differences(f"unet_step/batch_{size}", served, dict(zip(STEP_OUTPUTS, wanted, strict=True)))
        whole = loop.run(
            {
                "noise": noise.numpy(),
                "condition": condition.numpy(),
                "steps": scalar(steps, np.int64),
                "guidance_scale": scalar(GUIDANCE, np.float32),
            }
        )
        found |= _differences(f"sampler/batch_{size}", whole, {"log_mel": model.to_log_mel(clean)})
    return found


def vocoder_parity(folder: Path, module: nn.Module, log_mel: NDArray[np.float32]) -> dict[str, float]:
    """Largest |difference| of the waveform, whose peak is 0.7, by batch; `log_mel` (mel, frame) in dB."""
    session, reference = Session(folder / VOCODER, device="cpu"), copy.deepcopy(module).double().eval()
    found: dict[str, float] = {}
    for size in BATCHES:
        batch = np.stack([np.roll(log_mel, 7 * i, axis=1) for i in range(size)])
        with torch.inference_mode():
            wanted = reference(torch.from_numpy(batch).double())
        found |= _differences(f"vocoder/batch_{size}", session.run({"log_mel": batch}), {"waveform": wanted})
    return found


def _differences(
    case: str, served: Mapping[str, NDArray[np.float32]], wanted: Mapping[str, torch.Tensor]
) -> dict[str, float]:
    """Largest |difference| of each output; NaN where either has one, so that it cannot pass for agreement."""
    return {
        f"{case}/{name}": float(np.abs(served[name].astype(np.float64) - tensor.double().numpy()).max())
        for name, tensor in wanted.items()
    }
