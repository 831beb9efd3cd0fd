"""Synthesis: seeded, batched sampling of log-mels per emotion, kept in shards that a rerun continues."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from sermodels.cache import is_cached, read_log_mel, write_log_mel
from sermodels.config import SynthesisConfig
from sermodels.device import autocast, on_each_core
from sermodels.diffusion.denoiser import LogMelBatch, guided
from sermodels.diffusion.model import DiffusionModel
from sermodels.diffusion.samplers import OnStep, sample
from sermodels.diffusion.schedule import last_sigmas, sampling_sigmas
from sermodels.randomness import torch_seed


@dataclass(frozen=True)
class Draw:
    """One clip to be drawn: which emotion, and its number among that emotion's clips."""

    emotion: int
    number: int


AT_ONCE_ON_CPU = 8
"""Clips of one core, whose layers fit its caches: a tenth faster than 50 at once, to the same clips."""
OriginalsOf = Callable[[Sequence[Draw]], LogMelBatch]
"""The real clip that each draw starts from, z-scored, shape (batch, mel, frame)."""


class ClipNoise:
    """Unit noise of several clips, each from its own generator: a clip does not depend on its batch."""

    def __init__(self, draws: Sequence[Draw], seed: int, device: torch.device) -> None:
        """One generator a clip, seeded by (seed, emotion, number)."""
        self.device = device
        self.generators = [torch.Generator().manual_seed(torch_seed(seed, draw.emotion, draw.number)) for draw in draws]

    def __call__(self, *shape: int) -> Tensor:
        """Fresh noise of shape (clip, *shape)."""
        return torch.stack([torch.randn(shape, generator=generator) for generator in self.generators]).to(self.device)


@torch.inference_mode()
def sample_log_mels(
    model: DiffusionModel,
    draws: Sequence[Draw],
    config: SynthesisConfig,
    *,
    seed: int,
    originals: LogMelBatch | None = None,
    on_step: OnStep = lambda step, clean: None,
) -> LogMelBatch:
    """Log-mels in dB of the given clips; the same clip and seed give the same result.

    `originals` (batch, mel, frame), z-scored as the model was trained, are noised as far as `config.strength` says and
    denoised towards the clips' emotions; without them clips are made from pure noise.
    """
    device = model.device
    noise = ClipNoise(draws, seed, device)
    shape = (len(model.mean), model.config.frames)
    emotions = torch.tensor([draw.emotion for draw in draws], device=device)
    condition = model.embeddings.conditions(emotions, noise(model.embeddings.width), model.config.variation)
    sigmas = sampling_sigmas(model.config, config.steps)
    start = torch.zeros(len(draws), *shape, device=device)
    if originals is not None:
        sigmas, start = last_sigmas(sigmas, config.strength), originals.to(device)
    model.denoiser.eval()
    with autocast(device, model.config.precision):
        denoise = guided(model.denoiser, condition, config.guidance_scale)
        clean = sample(
            denoise,
            start + noise(*shape) * float(sigmas[0]),
            sigmas,
            sampler=config.sampler,
            draw_noise=lambda: noise(*shape),
            on_step=on_step,
        )
    return model.to_log_mel(clean.float())


def synthesize(
    model: DiffusionModel,
    config: SynthesisConfig,
    folder: Path,
    *,
    seed: int,
    originals: OriginalsOf | None = None,
    on_progress: Callable[[float], None] = lambda share: None,
    part: int = 0,
    parts: int = 1,
) -> list[Draw]:
    """Draw `per_emotion` clips of each emotion into shards in `folder`; shards that are there are kept.

    `originals` gives the real clips that they start from, if they do. Of several `parts`, which processes may draw at
    the same time, only number `part`: every `parts`-th shard. Returns all clips in the order of `read_synthetic`.
    Raises StorageError when a shard cannot be written.
    """
    shards = shards_of(len(model.embeddings.labels), config)
    own = list(shards.items())[part::parts]
    for done, (name, draws) in enumerate(tqdm(own, desc="synthesis", unit="batch"), 1):
        path = folder / name
        if not is_cached(path):
            given = originals(draws) if originals else None
            write_log_mel(path, _sample_in_pieces(model, draws, config, seed, given))
        on_progress(done / len(own))
    return [draw for draws in shards.values() for draw in draws]


def _sample_in_pieces(
    model: DiffusionModel, draws: Sequence[Draw], config: SynthesisConfig, seed: int, originals: LogMelBatch | None
) -> NDArray[np.float32]:
    """`sample_log_mels`, on a CPU a few clips at a time on each core."""
    places = np.arange(len(draws))

    def piece(some: NDArray[np.int64]) -> LogMelBatch:
        given = originals[some] if originals is not None else None
        return sample_log_mels(model, [draws[place] for place in some], config, seed=seed, originals=given)

    if model.device.type == "cpu":
        cores = torch.get_num_threads()
        rounds = -(-len(draws) // (AT_ONCE_ON_CPU * cores))
        pieces = on_each_core(piece, np.array_split(places, min(rounds * cores, len(draws))))
    else:
        pieces = [piece(places)]
    log_mels: NDArray[np.float32] = torch.cat(pieces).cpu().numpy()
    return log_mels


def shards_of(emotions: int, config: SynthesisConfig) -> dict[str, list[Draw]]:
    """The clips of each shard file, in order: one emotion a shard, at most `batch_size` clips."""
    shards = {}
    for emotion in range(emotions):
        for start in range(0, config.per_emotion, config.batch_size):
            numbers = range(start, min(start + config.batch_size, config.per_emotion))
            shards[f"shard-{emotion}-{start:05d}.npz"] = [Draw(emotion, number) for number in numbers]
    return shards


def read_synthetic(folder: Path, emotions: int, config: SynthesisConfig) -> tuple[list[NDArray[np.float16]], list[int]]:
    """Log-mels (mel, frame) in dB and labels of all synthetic clips. Raises StorageError if a shard is damaged."""
    log_mels: list[NDArray[np.float16]] = []
    labels: list[int] = []
    for name, draws in shards_of(emotions, config).items():
        log_mels += list(read_log_mel(folder / name))
        labels += [draw.emotion for draw in draws]
    return log_mels, labels


def draw_log_mels(
    model: DiffusionModel,
    draws: Sequence[Draw],
    config: SynthesisConfig,
    *,
    seed: int,
    on_progress: Callable[[float], None] = lambda share: None,
) -> list[NDArray[np.float32]]:
    """Log-mels (mel, frame) in dB of any clips, from pure noise, `batch_size` at a time, in the order of `draws`."""
    log_mels: list[NDArray[np.float32]] = []
    for start in tqdm(range(0, len(draws), config.batch_size), desc="synthesis", unit="batch"):
        batch = draws[start : start + config.batch_size]
        log_mels += list(_sample_in_pieces(model, batch, config, seed, None))
        on_progress(len(log_mels) / len(draws))
    return log_mels
