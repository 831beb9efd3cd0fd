"""Quality of a split's synthetic clips, seen by a classifier that had no part in making them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sermodels.classifier import Classifier
from sermodels.classifier_checkpoint import CLASSIFIER_FILE, load_classifier
from sermodels.clips import ClipSet
from sermodels.config import Config
from sermodels.device import best_device
from sermodels.evaluation import figures
from sermodels.plots import log_mel_grid, save_figure
from sermodels.prediction import embed, probabilities_of
from sermodels.quality import (
    Vectors,
    density_and_coverage,
    distribution_distances,
    duplicate_ratio,
    near_copies,
    nearest,
    probe_uar,
)
from sermodels.stages.context import RunContext, RunData
from sermodels.store import StageResult
from sermodels.training_data import everything

LogMels = list[NDArray[np.float16]]
SHOWN = 3
"""Synthetic clips of each emotion that are shown beside their nearest training clip."""


@dataclass(frozen=True)
class Quality:
    """`figures` by name, and of each clip (clip,) what the judge makes of it.

    `copies`: whether it is a near-copy of a training clip; `agreement`: the probability of the emotion it was made for.
    """

    figures: dict[str, float]
    copies: NDArray[np.bool_]
    agreement: NDArray[np.float32]


def measure_quality(
    context: RunContext, judge: StageResult, log_mels: LogMels, labels: list[int], folder: Path
) -> Quality:
    """Figures of synthetic clips beside those of real ones, and a picture of their nearest training clips."""
    config, split, data = context.config, context.split(), context.load()
    classifier = load_classifier(judge.folder / CLASSIFIER_FILE)[0].to(best_device())
    real = _embed(config, classifier, data.log_mels, data.labels.tolist())
    training, development, test = (data.indices(part) for part in (split.training, split.development, split.test))
    synthetic, emotions = _embed(config, classifier, log_mels, labels), np.array(labels)
    heard = probabilities_of(classifier, torch.from_numpy(synthetic).to(best_device()))
    unseen = np.concatenate([development, test])
    found = {
        "clips": float(len(labels)),
        **_named("agreement", figures(emotions, heard, config.corpus.emotions)),
        **_named("synthetic", _spread(synthetic, real[training])),
        **_named("real", _spread(real[unseen], real[training])),
        "synthetic/duplicate_ratio": duplicate_ratio(synthetic, real[training], real[test]),
        "real/duplicate_ratio": duplicate_ratio(real[development], real[training], real[test]),
        "train_synthetic_test_real": probe_uar(synthetic, emotions, real[test], data.labels[test]),
        "train_real_test_synthetic": probe_uar(real[training], data.labels[training], synthetic, emotions),
        "train_real_test_real": probe_uar(real[training], data.labels[training], real[test], data.labels[test]),
    }
    copies = near_copies(synthetic, real[training])
    _picture(config, data, training[nearest(synthetic, real[training]).place], log_mels, labels, folder)
    return Quality({**found, "near_copies": float(copies.sum())}, copies, heard[np.arange(len(emotions)), emotions])


def _embed(config: Config, classifier: Classifier, log_mels: LogMels, labels: list[int]) -> Vectors:
    """The judge's embeddings of clips."""
    data = everything(ClipSet.from_config(log_mels, labels, config.clip, config.front_end).to(best_device()), config)
    return embed(classifier, data, data.training, config.training)


def _spread(vectors: Vectors, training: Vectors) -> dict[str, float]:
    """Distances from the training clips, fidelity and diversity."""
    return {**distribution_distances(vectors, training), **density_and_coverage(vectors, training)}


def _named(part: str, values: dict[str, float]) -> dict[str, float]:
    return {f"{part}/{name}": value for name, value in values.items()}


def _picture(
    config: Config,
    data: RunData,
    neighbours: NDArray[np.int64],
    log_mels: LogMels,
    labels: list[int],
    folder: Path,
) -> None:
    """Synthetic clips of each emotion, each beside the training clip that lies nearest to it."""
    rows = []
    for emotion in sorted(set(labels)):
        shown = [place for place, label in enumerate(labels) if label == emotion][:SHOWN]
        rows.append([clip for place in shown for clip in (log_mels[place], data.log_mels[neighbours[place]])])
    title = "Synthetic clips (1st, 3rd, 5th column) beside their nearest training clips (2nd, 4th, 6th)"
    save_figure(log_mel_grid(rows, config.corpus.emotions, config.front_end, title), folder / "neighbours.png", dpi=60)
