"""The one training loop of every classifier: baseline, augmented, retrained and control differ by data and config."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from sermodels import ranks
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
from sermodels.config import AugmentationConfig, TrainingConfig
from sermodels.device import autocast
from sermodels.evaluation import figures
from sermodels.frozen import FrozenFeatures, frozen_features
from sermodels.graphed import GraphedStep, Inputs, optimizer_options, set_rate
from sermodels.prediction import predict
from sermodels.randomness import generator, torch_seed
from sermodels.training_data import Indices, TrainingData, epoch_batches

EpochRecord = dict[str, int | float]
"""Metrics of one epoch: `epoch`, `learning_rate`, `train/loss`, `train/accuracy`, `val/loss`, `val/uar`, …"""

OnEpoch = Callable[[EpochRecord], None]


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

    def note(self, record: EpochRecord, keep: str) -> None:
        """Keep the epoch's figures, and its averaged weights when their development UAR, if any, is the best so far.

        If the last epoch is the one to `keep`, each takes the place of the one before.
        """
        self.history.append(record)
        uar = record.get("val/uar", 0.0)
        if uar > self.best_uar or keep == "last" or "val/uar" not in record:
            self.best_uar, self.best_epoch = uar, int(record["epoch"])
            self.best = {name: tensor.clone() for name, tensor in self.average.tensors.items()}


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
    """Train in place and leave the epoch that `config.keep` names in `classifier`; returns history.

    Continues from `checkpoint` where one lies, with the same result as an uninterrupted run, and reports the epochs
    of before again. Raises StorageError when the checkpoint cannot be written.
    """
    state = TrainingState(classifier, _optimizer(classifier, config), WeightAverage(classifier))
    if checkpoint.exists():
        state.restore(checkpoint)
    frozen = _frozen(classifier, data, config) if augmentation is None and data.clip.crop == "start" else None
    step = GraphedStep(partial(_step, state, config, frozen), data.clips.values.device)
    training = _Training(state, data, config, augmentation, seed, frozen, step)
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
        state.note(_run_epoch(training, epoch), config.keep)
        progress.set_postfix(
            {name: f"{value:.3f}" for name, value in state.history[-1].items() if name in ("train/loss", "val/uar")}
        )
        on_epoch(state.history[-1])
        if time.monotonic() - saved_at >= save_every_s and ranks.rank() == 0:
            state.save(checkpoint)
            saved_at = time.monotonic()
    progress.close()
    load_into(classifier, state.best, checkpoint)
    return state.history


def _frozen(classifier: Classifier, data: TrainingData, config: TrainingConfig) -> FrozenFeatures | None:
    """What the frozen stages make of all clips that are trained on or choose the epoch."""
    places = np.unique(np.concatenate([data.training, data.extra, data.development]))
    rows = torch.from_numpy(places).to(data.clips.values.device)
    return frozen_features(classifier, data.clips, rows, data.frames, config.precision)


def _optimizer(classifier: Classifier, config: TrainingConfig) -> torch.optim.Optimizer:
    """Adam or AdamW over the parameters that learn."""
    learning = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    device = learning[0].device
    return kind(learning, weight_decay=config.weight_decay, **optimizer_options(config.learning_rate, device))


def learning_rate_factor(step: int, total: int, warmup_fraction: float) -> float:
    """Share of the base rate: a linear rise, then a cosine to zero (Loshchilov & Hutter 2017, eq. 5)."""
    warmup = warmup_fraction * total
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1.0, total - warmup)))


@dataclass(frozen=True)
class _Training:
    """What stays the same through all epochs."""

    state: TrainingState
    data: TrainingData
    config: TrainingConfig
    augmentation: AugmentationConfig | None
    seed: int
    frozen: FrozenFeatures | None
    take_step: GraphedStep


def _run_epoch(training: _Training, epoch: int) -> EpochRecord:
    """One epoch of optimiser steps and its figures on the development clips."""
    state, data, config, frozen = training.state, training.data, training.config, training.frozen
    batches = epoch_batches(data, config.batch_size, training.seed, epoch, config.epochs)
    total = config.epochs * len(batches)
    device, losses, right = data.clips.values.device, [], []
    state.classifier.train()
    for step, indices in enumerate(tqdm(batches, desc=f"epoch {epoch}", leave=False, unit="batch", disable=None)):
        rate = config.learning_rate * learning_rate_factor(epoch * len(batches) + step, total, config.warmup_fraction)
        set_rate(state.optimizer, rate)
        key = (training.seed, epoch, step)
        inputs = _inputs(
            state.classifier, data, training.augmentation, indices, generator(*key), batched=frozen is None
        )
        torch.manual_seed(torch_seed(*key) + ranks.rank())  # dropout draws from torch's global generator
        loss, correct = training.take_step(inputs)
        if config.ema_decay > 0 or step == len(batches) - 1:  # without a decay it is the network as the epoch leaves it
            state.average.update(config.ema_decay, epoch * len(batches) + step)
        losses.append(loss * len(indices))
        right.append(correct)
    sums = [float(torch.stack(each).double().sum()) for each in (losses, right)]  # a GPU is waited for once an epoch
    loss_sum, hits = ranks.sum_numbers(sums, device)
    drawn = sum(len(indices) for indices in batches)
    return {
        "epoch": epoch,
        "learning_rate": rate,
        "train/loss": loss_sum / drawn,
        "train/accuracy": hits / drawn,
        **(_on_development(state, data, config, frozen) if len(data.development) else {}),
    }


def _on_development(
    state: TrainingState, data: TrainingData, config: TrainingConfig, frozen: FrozenFeatures | None
) -> EpochRecord:
    """Figures of the averaged weights on the development clips."""
    truth = data.clips.labels[torch.from_numpy(data.development)].cpu().numpy()
    with state.average.applied():
        own = predict(state.classifier, data, data.development[ranks.share(len(data.development))], config, frozen)
    probabilities = ranks.gather_rows(own, len(data.development))
    found = figures(truth, probabilities, state.classifier.labels)
    return {f"val/{name}": found[name] for name in ("loss", "uar", "accuracy", "macro_f1")}


def _step(
    state: TrainingState, config: TrainingConfig, frozen: FrozenFeatures | None, inputs: Inputs
) -> tuple[Tensor, Tensor]:
    """One optimiser step; returns this process's part of the loss and its number of clips classified right, () each."""
    labels = inputs["labels"]
    with autocast(labels.device, config.precision):
        embedding = frozen.embed(inputs["rows"]) if frozen else state.classifier.embed_standardized(inputs["batch"])
        logits = state.classifier.logits_of(embedding).float()
    loss = _mixed_loss(logits, labels, inputs.get("partners"), inputs.get("share"), config.label_smoothing)
    loss = loss * inputs["weight"]
    loss.backward()
    ranks.sum_gradients(state.classifier)
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    return loss.detach(), (logits.argmax(1) == labels).sum()


def _inputs(
    classifier: Classifier,
    data: TrainingData,
    augmentation: AugmentationConfig | None,
    indices: Indices,
    rng: np.random.Generator,
    *,
    batched: bool,
) -> dict[str, Tensor]:
    """This process's share of a batch: labels, and clips z-scored and augmented, or the rows of their frozen features.

    With mixup also the labels of the clips that they are mixed with, and their own share. The weight is that of this
    process's mean in the mean of the whole batch.
    """
    device, places, own = data.clips.values.device, torch.from_numpy(indices), ranks.share(len(indices))
    rows = places.to(device, non_blocking=True)
    labels = data.clips.labels[rows]
    inputs = {"labels": labels[own], "weight": ranks.weight(len(indices), device)}
    if not batched:
        return inputs | {"rows": rows[own]}
    offsets = data.clips.training_offsets(places, data.frames, data.clip.crop, rng)
    batch = classifier.standardize(data.clips.batch(rows, offsets, data.frames))
    if augmentation is None:
        return inputs | {"batch": batch[own]}
    chance = draw(augmentation, (batch.shape[0], batch.shape[1], batch.shape[2]), rng, data.bands_hz)
    inputs["batch"] = augment(batch, chance)[own]
    if augmentation.mixup_alpha > 0:
        partners = labels[torch.from_numpy(chance.partner).to(device, non_blocking=True)]
        inputs |= {"partners": partners[own], "share": torch.full((), chance.share, device=device)}
    return inputs


def _mixed_loss(
    logits: Tensor, labels: Tensor, partners: Tensor | None, share: Tensor | None, smoothing: float
) -> Tensor:
    """Cross-entropy; with mixup the weighted sum over both labels (Zhang et al. 2018, eq. 1)."""
    own = nn.functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    if partners is None or share is None:
        return own
    return share * own + (1.0 - share) * nn.functional.cross_entropy(logits, partners, label_smoothing=smoothing)
