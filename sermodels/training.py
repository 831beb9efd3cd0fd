"""The one training loop of every classifier: baseline, augmented, retrained and control differ by data and config."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from sermodels.augmentation import augment, draw
from sermodels.averaging import WeightAverage
from sermodels.checkpoint import (
    Tensors,
    load_into,
    load_optimizer,
    load_tensors,
    optimizer_tensors,
    prefixed,
    save_tensors,
    without_prefix,
)
from sermodels.classifier import Classifier
from sermodels.clips import ClipSet, frames_of
from sermodels.config import AugmentationConfig, ClipConfig, Config, TrainingConfig
from sermodels.device import autocast
from sermodels.evaluation import figures
from sermodels.randomness import generator, torch_seed

EpochRecord = dict[str, int | float]
"""Metrics of one epoch: `epoch`, `learning_rate`, `train/loss`, `train/accuracy`, `val/loss`, `val/uar`, …"""

OnEpoch = Callable[[EpochRecord], None]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class TrainingData:
    """Clips on the device, and which of them are trained on and which choose the epoch.

    `training` may name a clip several times (oversampling); an epoch draws `clips_per_epoch` of them.
    """

    clips: ClipSet
    training: Indices
    development: Indices
    clips_per_epoch: int
    frames: int
    clip: ClipConfig


def everything(clips: ClipSet, config: Config) -> TrainingData:
    """All clips, to be predicted or embedded."""
    places = np.arange(len(clips))
    return TrainingData(
        clips, places, places, len(places), frames_of(config.clip.duration_s, config.front_end), config.clip
    )


@dataclass
class TrainingState:
    """Everything that changes while training, saved and restored as one file."""

    classifier: Classifier
    optimizer: torch.optim.Optimizer
    average: WeightAverage
    history: list[EpochRecord] = field(default_factory=list)
    best: Tensors = field(default_factory=dict)
    best_uar: float = -1.0
    best_epoch: int = -1

    def save(self, path: Path) -> None:
        """Write the whole state atomically."""
        tensors = prefixed("model", self.classifier.state_dict()) | prefixed(
            "optimizer", optimizer_tensors(self.optimizer)
        )
        header = {"history": self.history, "best_uar": self.best_uar, "best_epoch": self.best_epoch}
        tensors |= prefixed("average", self.average.tensors) | prefixed("best", self.best)
        save_tensors(path, tensors, header)

    def restore(self, path: Path) -> None:
        """Continue from a file that `save` wrote."""
        tensors, header = load_tensors(path)
        load_into(self.classifier, without_prefix("model", tensors), path)
        load_optimizer(self.optimizer, without_prefix("optimizer", tensors))
        self.average.restore(without_prefix("average", tensors))
        self.best = without_prefix("best", tensors)
        self.history, self.best_uar, self.best_epoch = header["history"], header["best_uar"], header["best_epoch"]

    def note(self, record: EpochRecord) -> None:
        """Keep the epoch's figures, and its averaged weights when their development UAR is the best so far."""
        self.history.append(record)
        if record["val/uar"] > self.best_uar:
            self.best_uar, self.best_epoch = record["val/uar"], int(record["epoch"])
            self.best = {name: tensor.cpu().clone() for name, tensor in self.average.tensors.items()}


def train_classifier(
    classifier: Classifier,
    data: TrainingData,
    config: TrainingConfig,
    *,
    augmentation: AugmentationConfig | None,
    seed: int,
    checkpoint: Path,
    on_epoch: OnEpoch = lambda record: None,
    save_every_s: float = 20.0,
    description: str = "training",
) -> list[EpochRecord]:
    """Train in place and leave the epoch with the best development UAR in `classifier`; returns the history.

    Continues from `checkpoint` where one lies, with the same result as an uninterrupted run, and reports the epochs
    of before again. Raises StorageError when the checkpoint cannot be written.
    """
    state = TrainingState(classifier, _optimizer(classifier, config), WeightAverage(classifier))
    if checkpoint.exists():
        state.restore(checkpoint)
    for record in state.history:
        on_epoch(record)
    saved_at = time.monotonic()
    done = len(state.history)
    progress = tqdm(
        range(done, config.epochs), initial=done, total=config.epochs, desc=description, unit="epoch", mininterval=1.0
    )
    for epoch in progress:
        if epoch - state.best_epoch > config.patience:
            break
        state.note(_run_epoch(state, data, config, augmentation, seed, epoch))
        progress.set_postfix(loss=f"{state.history[-1]['train/loss']:.3f}", uar=f"{state.history[-1]['val/uar']:.3f}")
        on_epoch(state.history[-1])
        if time.monotonic() - saved_at >= save_every_s:
            state.save(checkpoint)
            saved_at = time.monotonic()
    progress.close()
    load_into(classifier, state.best, checkpoint)
    return state.history


def _optimizer(classifier: Classifier, config: TrainingConfig) -> torch.optim.Optimizer:
    """Adam or AdamW over the parameters that learn."""
    learning = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(learning, lr=config.learning_rate, weight_decay=config.weight_decay)


def learning_rate_factor(step: int, total: int, warmup_fraction: float) -> float:
    """Share of the base rate: a linear rise, then a cosine to zero (Loshchilov & Hutter 2017, eq. 5)."""
    warmup = warmup_fraction * total
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1.0, total - warmup)))


def _run_epoch(
    state: TrainingState,
    data: TrainingData,
    config: TrainingConfig,
    augmentation: AugmentationConfig | None,
    seed: int,
    epoch: int,
) -> EpochRecord:
    """One epoch of optimiser steps and its figures on the development clips."""
    batches = epoch_batches(data, config.batch_size, seed, epoch)
    total = config.epochs * len(batches)
    losses, hits = [], 0
    state.classifier.train()
    for step, indices in enumerate(tqdm(batches, desc=f"epoch {epoch}", leave=False, unit="batch", disable=None)):
        rate = config.learning_rate * learning_rate_factor(epoch * len(batches) + step, total, config.warmup_fraction)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        loss, correct = _step(state, data, config, augmentation, indices, (seed, epoch, step))
        state.average.update(state.classifier, config.ema_decay, epoch * len(batches) + step)
        losses.append(loss * len(indices))
        hits += correct
    drawn = sum(len(indices) for indices in batches)
    truth = data.clips.labels[torch.from_numpy(data.development)].cpu().numpy()
    with state.average.applied_to(state.classifier):
        probabilities = predict(state.classifier, data, data.development, config)
    development = figures(truth, probabilities, state.classifier.labels)
    return {
        "epoch": epoch,
        "learning_rate": rate,
        "train/loss": sum(losses) / drawn,
        "train/accuracy": hits / drawn,
        **{f"val/{name}": development[name] for name in ("loss", "uar", "accuracy", "macro_f1")},
    }


def epoch_batches(data: TrainingData, batch_size: int, seed: int, epoch: int) -> list[Indices]:
    """Clip indices of every batch of an epoch, drawn without replacement until the pool is used up."""
    order = generator(seed, epoch).permutation(data.training)[: data.clips_per_epoch]
    return np.array_split(order, math.ceil(len(order) / batch_size))


def _step(
    state: TrainingState,
    data: TrainingData,
    config: TrainingConfig,
    augmentation: AugmentationConfig | None,
    indices: Indices,
    key: tuple[int, int, int],
) -> tuple[float, int]:
    """One optimiser step; returns the loss and the number of clips classified right."""
    rng = generator(*key)
    torch.manual_seed(torch_seed(*key))  # dropout draws from torch's global generator
    rows = torch.from_numpy(indices).to(data.clips.values.device)
    offsets = data.clips.training_offsets(rows, data.frames, data.clip.crop, rng)
    batch = state.classifier.standardize(data.clips.batch(rows, offsets, data.frames))
    labels, partner_labels, share = data.clips.labels[rows], data.clips.labels[rows], 1.0
    if augmentation is not None:
        chance = draw(augmentation, (batch.shape[0], batch.shape[1], batch.shape[2]), rng)
        batch, share = augment(batch, chance), chance.share
        partner_labels = labels[torch.from_numpy(chance.partner).to(labels.device)]
    with autocast(batch.device, config.precision):
        logits = state.classifier.logits_standardized(batch).float()
    loss = _mixed_loss(logits, labels, partner_labels, share, config.label_smoothing)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    state.optimizer.step()
    return float(loss.detach()), int((logits.argmax(1) == labels).sum())


def _mixed_loss(logits: Tensor, labels: Tensor, partners: Tensor, share: float, smoothing: float) -> Tensor:
    """Cross-entropy; with mixup the weighted sum over both labels (Zhang et al. 2018, eq. 1)."""
    own = nn.functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    if share == 1.0:
        return own
    return share * own + (1.0 - share) * nn.functional.cross_entropy(logits, partners, label_smoothing=smoothing)


@torch.inference_mode()
def predict(
    classifier: Classifier, data: TrainingData, indices: Indices, config: TrainingConfig
) -> NDArray[np.float32]:
    """Probabilities of the given clips without augmentation, shape (clip, emotion)."""
    return probabilities_of(classifier, _embed(classifier, data, indices, config))


@torch.inference_mode()
def probabilities_of(classifier: Classifier, embeddings: Tensor) -> NDArray[np.float32]:
    """Probabilities (clip, emotion) of clips by their embeddings (clip, width), without another pass of the network."""
    return torch.softmax(classifier.fc(embeddings), dim=1).cpu().numpy()


@torch.inference_mode()
def embed(classifier: Classifier, data: TrainingData, indices: Indices, config: TrainingConfig) -> NDArray[np.float32]:
    """Embeddings of the given clips without augmentation, shape (clip, width)."""
    return _embed(classifier, data, indices, config).cpu().numpy()


def _embed(classifier: Classifier, data: TrainingData, indices: Indices, config: TrainingConfig) -> Tensor:
    """The mean embedding of each clip's views, batch by batch, in evaluation mode."""
    classifier.eval()
    device = data.clips.values.device
    embeddings = []
    for chunk in torch.from_numpy(indices).to(device).split(2 * config.batch_size):
        offsets = data.clips.evaluation_offsets(chunk, data.frames, data.clip)
        with autocast(device, config.precision):
            views = [classifier.embed(data.clips.batch(chunk, place, data.frames)).float() for place in offsets.T]
        embeddings.append(torch.stack(views).mean(dim=0))
    return torch.cat(embeddings)
