"""Training steps of ResNet50 with the seed's frozen stages: images a second, and the same loss curve."""

import copy
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.agreement import require_close
from benchmarks.alternatives import notebook_training
from benchmarks.context import Bench
from benchmarks.flops import torch_flops
from benchmarks.fresh import fresh_classifier
from benchmarks.machine import matrix_rate
from benchmarks.measure import alternate
from benchmarks.rows import Measured, Row, row
from sermodels.cache import cache_log_mels, read_log_mels
from sermodels.classifier import Classifier
from sermodels.clips import ClipSet, statistics_of
from sermodels.config import Config
from sermodels.device import has_bfloat16
from sermodels.presets import resolve_config
from sermodels.training import learning_rate_factor, train_classifier
from sermodels.training_data import TrainingData, epoch_batches, everything

LOSS_TOLERANCE = 0.1
"""Of an epoch's mean cross-entropy: bfloat16 rounds to 3 digits, and Adam's steps carry that on."""
SEED_EPOCHS = 50
PARTS = {"cpu": "training step, ResNet50, seed's frozen stages, CPU", "cuda": "training step, ResNet50, GPU"}


@dataclass
class Case:
    """The same task for both sides: a starting network, clips, and what each epoch's batches are."""

    config: Config
    classifier: Classifier
    data: TrainingData
    files: list[Path]

    @property
    def images(self) -> int:
        """Of an epoch."""
        return self.data.clips_per_epoch


def measure(bench: Bench) -> Measured:
    """A row for the CPU, and one for the GPU where there is one."""
    results = {device: _on(bench, device) for device in bench.devices}
    return Measured([one for one, _ in results.values()], {device: raw for device, (_, raw) in results.items()})


def _on(bench: Bench, device: str) -> tuple[Row, dict[str, Any]]:
    """The row of a device and its raw figures."""
    case = prepare(bench, device)
    curves: dict[str, list[list[float]]] = {"ours": [], "notebook": []}

    def ours() -> float:
        losses, seconds = train_ours(case, bench.scratch)
        curves["ours"].append(losses)
        return _images_a_second(case, seconds)

    def notebook() -> float:
        losses, seconds = zip(*train_notebook(case, workers=bench.cores, device=device), strict=True)
        curves["notebook"].append(list(losses))
        return _images_a_second(case, list(seconds))

    figures = alternate({"ours": ours, "notebook": notebook}, rounds=bench.rounds)
    differ = require_close(
        "mean loss of the epochs", curves["ours"][0], curves["notebook"][0], tolerance=LOSS_TOLERANCE, unit="nats"
    )
    operations, rate = _operations_an_image(case), _rate(bench, device)
    share = statistics.median(figures["ours"]) * operations / rate
    one = row(
        f"{PARTS[device]}, against a float32 DataLoader loop",
        figures["ours"],
        figures["notebook"],
        unit="images/s",
        better="higher",
        target=4.0,
        floor=rate / operations,
        device=bench.device if device == "cpu" else torch.cuda.get_device_name(),
        note=f"reckoned to {SEED_EPOCHS} epochs from {case.config.training.epochs} measured; {share:.0%} of the matrix "
        f"rate; losses differ by {differ:.3f}, allowed {LOSS_TOLERANCE:g}",
    )
    return one, {"images_per_second": figures, "losses": curves, "flop_an_image": operations, "matrix_rate": rate}


def prepare(bench: Bench, device: str) -> Case:
    """Clips of the corpus, the seed's network on them, and the same pictures as .npy files."""
    config = _config(bench)
    spread = bench.utterances[:: max(1, len(bench.utterances) // (bench.sizes.training_clips + 2))]
    chosen = list(spread[: bench.sizes.training_clips + 2])
    cache = bench.scratch / "training-cache"
    cache_log_mels(chosen, config.front_end, cache)
    chosen = [*chosen[:-2] * (bench.sizes.training_copies_cuda if device == "cuda" else 1), *chosen[-2:]]
    log_mels = read_log_mels(cache, chosen, config.front_end)
    labels = [config.corpus.emotions.index(one.emotion) for one in chosen]
    clips = ClipSet.from_config(log_mels, labels, config.clip, config.front_end).to(torch.device(device))
    places = np.arange(len(chosen))
    data = replace(
        everything(clips, config), training=places[:-2], development=places[-2:], clips_per_epoch=len(chosen) - 2
    )
    classifier = _frozen_classifier(config, data).to(memory_format=torch.channels_last).to(device)
    return Case(config, classifier, data, _write_pictures(classifier, data, bench.scratch / f"pictures-{device}"))


def _config(bench: Bench) -> Config:
    """The seed's, in the precision that the pipeline chooses by itself, without chance."""
    config = resolve_config("seed")
    sizes = {"epochs": bench.sizes.training_epochs, "batch_size": bench.sizes.training_batch, "precision": "auto"}
    network = config.classifier.model_copy(update={"dropout": 0.0})
    return config.model_copy(
        update={
            "training": config.training.model_copy(update=sizes),
            "classifier": network,
            "corpus": bench.config.corpus,
        }
    )


def _frozen_classifier(config: Config, data: TrainingData) -> Classifier:
    """Frozen stages with statistics of these clips, as pretrained ones have those of pictures."""
    classifier = fresh_classifier(config)
    clips = data.clips.to(torch.device("cpu"))
    mean, std = statistics_of(clips, torch.from_numpy(data.training))
    classifier.mean.copy_(mean)
    classifier.std.copy_(std)
    batch = clips.batch(torch.arange(4), torch.zeros(4, dtype=torch.int64), data.frames)
    for module in classifier.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        classifier.train()(batch)
    for module in classifier.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.1
    classifier.freeze(())
    return classifier


@torch.no_grad()
def _write_pictures(classifier: Classifier, data: TrainingData, folder: Path) -> list[Path]:
    """What the classifier's backbone sees of each clip, as the notebook keeps it: (3, 224, 224) in float32."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for place in range(len(data.clips)):
        row_ = torch.tensor([place], device=data.clips.values.device)
        scored = classifier.standardize(data.clips.batch(row_, torch.zeros_like(row_), data.frames))
        image = torch.nn.functional.interpolate(
            scored[:, None], classifier.config.image_size, mode="bilinear", align_corners=False
        )
        files.append(folder / f"{place:06d}.npy")
        np.save(files[-1], image[0].expand(3, -1, -1).cpu().numpy())
    return files


def train_ours(case: Case, scratch: Path) -> tuple[list[float], list[float]]:
    """Mean loss and seconds of each epoch, by the pipeline's loop."""
    stamps = [time.perf_counter()]
    history = train_classifier(
        copy.deepcopy(case.classifier),
        case.data,
        case.config.training,
        augmentation=None,
        seed=case.config.seed,
        checkpoint=scratch / "no-checkpoint.safetensors",
        on_epoch=lambda record: stamps.append(time.perf_counter()),
        save_every_s=float("inf"),
    )
    return [record["train/loss"] for record in history], [after - before for before, after in pairwise(stamps)]


def train_notebook(case: Case, *, workers: int, device: str) -> Iterator[tuple[float, float]]:
    """The same, by the alternative."""
    training, state = case.config.training, case.classifier.state_dict()
    names = {name: name.removeprefix("backbone.") for name in state if name.startswith(("backbone.", "fc."))}
    weights = {short: state[name].contiguous().cpu() for name, short in names.items()}
    epochs = [
        epoch_batches(case.data, training.batch_size, case.config.seed, one, training.epochs)
        for one in range(training.epochs)
    ]
    total = sum(len(batches) for batches in epochs)
    rates = [
        training.learning_rate * learning_rate_factor(step, total, training.warmup_fraction) for step in range(total)
    ]
    model = notebook_training.resnet50(weights, len(case.classifier.labels))
    pictures = notebook_training.Pictures(case.files, case.data.clips.labels.tolist())
    return notebook_training.train(model, pictures, epochs, rates, workers=workers, device=device)


def _images_a_second(case: Case, seconds: list[float]) -> float:
    """Of the seed's whole training: its first epoch, and all others as fast as the later ones that were measured."""
    later = statistics.median(seconds[1:])
    return case.images * SEED_EPOCHS / (seconds[0] + (SEED_EPOCHS - 1) * later)


def _operations_an_image(case: Case) -> float:
    """Forward and backward through the stages that learn: what the others give is the same in every epoch."""
    classifier, data = copy.deepcopy(case.classifier), case.data
    rows = torch.arange(2, device=data.clips.values.device)
    image = classifier.image(classifier.standardize(data.clips.batch(rows, torch.zeros_like(rows), data.frames)))
    frozen, learning = classifier.train().halves()
    with torch.no_grad():
        features = frozen(image)
    return torch_flops(lambda: learning(features).sum().backward()) / 2


def _rate(bench: Bench, device: str) -> float:
    """Of the number format that the pipeline computes in."""
    half = has_bfloat16(torch.device(device))
    if device == "cpu":
        return bench.rates.bfloat16 if half else bench.rates.float32
    return matrix_rate(torch.bfloat16 if half else torch.float32, device)
