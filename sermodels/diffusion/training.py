"""Training of the denoiser, with averaged weights, resumable after any epoch."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from sermodels import ranks
from sermodels.averaging import WeightAverage
from sermodels.checkpoint import (
    load_into,
    load_optimizer,
    load_tensors,
    optimizer_tensors,
    prefixed,
    save_tensors,
    without_prefix,
)
from sermodels.clips import ClipSet
from sermodels.config import DiffusionConfig
from sermodels.device import autocast
from sermodels.diffusion.denoiser import Denoiser
from sermodels.diffusion.model import DiffusionModel
from sermodels.diffusion.schedule import drawn_sigmas
from sermodels.graphed import GraphedStep, Inputs, optimizer_options, set_rate
from sermodels.randomness import generator, torch_seed
from sermodels.training import EpochRecord, OnEpoch, learning_rate_factor

WARMUP_FRACTION = 0.05

OnSamples = Callable[[int, DiffusionModel], None]
"""Called with the epoch and a model of the averaged weights, every `sample_every` epochs and after the last."""


@dataclass
class DenoiserState:
    """Everything that changes while training, saved and restored as one file."""

    denoiser: Denoiser
    optimizer: torch.optim.Optimizer
    average: WeightAverage
    history: list[EpochRecord] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write the whole state atomically."""
        tensors = prefixed("model", self.denoiser.state_dict()) | prefixed(
            "optimizer", optimizer_tensors(self.optimizer)
        )
        save_tensors(path, tensors | prefixed("average", self.average.tensors), {"history": self.history})

    def restore(self, path: Path) -> None:
        """Continue from a file that `save` wrote."""
        tensors, header = load_tensors(path)
        load_into(self.denoiser, without_prefix("model", tensors), path)
        load_optimizer(self.optimizer, without_prefix("optimizer", tensors))
        self.average.restore(without_prefix("average", tensors))
        self.history = header["history"]


def train_denoiser(
    model: DiffusionModel,
    clips: ClipSet,
    training: NDArray[np.int64],
    *,
    seed: int,
    checkpoint: Path,
    on_epoch: OnEpoch = lambda record: None,
    on_samples: OnSamples = lambda epoch, model: None,
    save_every_s: float = 20.0,
) -> list[EpochRecord]:
    """Train `model.denoiser` in place and leave the averaged weights in it; returns the history.

    Only the clips named in `training` are seen. Continues from `checkpoint` where one lies, with the same result as an
    uninterrupted run, and reports the epochs of before again. Raises StorageError when it cannot be written.
    """
    config = model.config
    device, learning = clips.values.device, model.denoiser.parameters()
    optimizer = torch.optim.AdamW(learning, weight_decay=0.0, **optimizer_options(config.learning_rate, device))
    state = DenoiserState(model.denoiser, optimizer, WeightAverage(model.denoiser))
    step = GraphedStep(partial(_step, state, config), device)
    if checkpoint.exists():
        state.restore(checkpoint)
    for record in state.history:
        on_epoch(record)
    saved_at = time.monotonic()
    done = len(state.history)
    epochs = tqdm(
        range(done, config.epochs), initial=done, total=config.epochs, desc="diffusion", unit="epoch", mininterval=1.0
    )
    for epoch in epochs:
        state.history.append(_run_epoch(state, model, clips, training, seed, epoch, step))
        epochs.set_postfix(loss=f"{state.history[-1]['train/loss']:.4f}")
        on_epoch(state.history[-1])
        first = ranks.rank() == 0
        if first and (epoch + 1) % config.sample_every == 0 and epoch + 1 < config.epochs:
            with state.average.applied():
                on_samples(epoch, model)
        if first and time.monotonic() - saved_at >= save_every_s:  # after the samples: a killed run draws them again
            state.save(checkpoint)
            saved_at = time.monotonic()
    load_into(model.denoiser, state.average.tensors, checkpoint)
    if ranks.rank() == 0:
        on_samples(config.epochs - 1, model)
    return state.history


def _run_epoch(
    state: DenoiserState,
    model: DiffusionModel,
    clips: ClipSet,
    training: NDArray[np.int64],
    seed: int,
    epoch: int,
    take_step: GraphedStep,
) -> EpochRecord:
    """One pass over the training clips."""
    config = model.config
    order = generator(seed, epoch).permutation(training)
    batches = np.array_split(order, math.ceil(len(order) / config.batch_size))
    total, losses = config.epochs * len(batches), []
    state.denoiser.train()
    for step, indices in enumerate(tqdm(batches, desc=f"epoch {epoch}", leave=False, unit="batch", disable=None)):
        done = epoch * len(batches) + step
        rate = config.learning_rate * learning_rate_factor(done, total, WARMUP_FRACTION)
        set_rate(state.optimizer, rate)
        (loss,) = take_step(_inputs(model, clips, torch.from_numpy(indices), (seed, epoch, step)))
        state.average.update(config.ema_decay, done)
        losses.append(loss * len(indices))
    total_loss = float(torch.stack(losses).double().sum())  # a GPU is waited for once an epoch
    (loss_sum,) = ranks.sum_numbers([total_loss], clips.values.device)
    return {"epoch": epoch, "learning_rate": rate, "train/loss": loss_sum / len(order)}


def _step(state: DenoiserState, config: DiffusionConfig, inputs: Inputs) -> tuple[Tensor]:
    """One optimiser step; returns this process's part of the loss, ()."""
    loss = _loss(state.denoiser, config, inputs)
    loss.backward()
    ranks.sum_gradients(state.denoiser)
    torch.nn.utils.clip_grad_norm_(state.denoiser.parameters(), 1.0)
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    return (loss.detach(),)


def batch_loss(model: DiffusionModel, clips: ClipSet, indices: Tensor, key: tuple[int, int, int]) -> Float[Tensor, ""]:
    """Weighted error of the predicted x0 of these clips, with the chance that `key` stands for."""
    return _loss(model.denoiser, model.config, _inputs(model, clips, indices, key))


def _inputs(model: DiffusionModel, clips: ClipSet, indices: Tensor, key: tuple[int, int, int]) -> dict[str, Tensor]:
    """This process's share of a batch: clips, unit noise, noise levels, conditions, and where there is to be none.

    The weight is that of this process's mean in the mean of the whole batch.
    """
    config, device = model.config, clips.values.device
    rng = generator(*key)
    chance = torch.Generator(device).manual_seed(torch_seed(*key))
    rows, own = indices.to(device, non_blocking=True), ranks.share(len(indices))
    offsets = clips.training_offsets(indices, config.frames, "random", rng).clamp(max=0)
    clean = (clips.batch(rows, offsets, config.frames) - model.mean.to(device)[:, None]) / model.std.to(device)[:, None]
    sigma = drawn_sigmas(config, len(rows), rng).to(device, non_blocking=True)
    noise = torch.randn(clean.shape, generator=chance, device=device)
    variation = torch.randn((len(rows), model.embeddings.width), generator=chance, device=device)
    condition = model.embeddings.conditions(clips.labels[rows], variation, config.variation)
    dropped = torch.from_numpy(rng.random(len(rows)) < config.condition_dropout).to(device, non_blocking=True)
    whole = {"clean": clean, "noise": noise, "sigma": sigma, "condition": condition, "dropped": dropped}
    return {"weight": ranks.weight(len(rows), device), **{name: tensor[own] for name, tensor in whole.items()}}


def _loss(denoiser: Denoiser, config: DiffusionConfig, inputs: Inputs) -> Float[Tensor, ""]:
    """Weighted error of the predicted x0 at random noise levels (Karras et al. 2022, eq. 2 with lambda of table 1).

    Where several processes train together, this one's part of it.
    """
    clean, sigma = inputs["clean"], inputs["sigma"]
    condition = denoiser.drop_condition(inputs["condition"], inputs["dropped"])
    with autocast(clean.device, config.precision):
        predicted = denoiser(clean + sigma[:, None, None] * inputs["noise"], sigma, condition)
    weight = (1.0 + sigma.square()) / sigma.square()
    loss: Tensor = (weight[:, None, None] * (predicted.float() - clean).square()).mean()
    return loss * inputs["weight"]
