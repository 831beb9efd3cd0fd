"""Stages that train a classifier: baseline (A), augmentation (B), retraining (C), oversampling (D), refitting (R)."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from sermodels import ranks
from sermodels.classifier import Classifier
from sermodels.classifier_checkpoint import CLASSIFIER_FILE, save_classifier
from sermodels.clips import ClipSet, statistics_of
from sermodels.config import Config
from sermodels.device import best_device, number_format
from sermodels.errors import SplitError
from sermodels.files import write_json, write_text
from sermodels.model_card import model_card
from sermodels.plots import curves, save_figure
from sermodels.prediction import predict
from sermodels.predictions import read_predictions
from sermodels.randomness import generator, torch_seed
from sermodels.splits import PARTS, Split, check_synthetic
from sermodels.stages.context import RunContext, RunData
from sermodels.stages.launch import Request, train_together, wanted_ranks
from sermodels.stages.parts import write_part
from sermodels.store import StageResult, run_stage
from sermodels.synthesis import read_synthetic
from sermodels.training import EpochRecord, OnEpoch, train_classifier
from sermodels.training_data import TrainingData, everything
from sermodels.weights import WeightsReport, load_pretrained, weights_digest

VERSION = 3
"""Bumped by hand when the same inputs would give another classifier."""

STATE_FILE = "state.safetensors"
CARD_FILE = "model-card.md"


@dataclass(frozen=True)
class Recipe:
    """What sets one classifier stage apart from another."""

    name: str
    letter: Literal["A", "B", "C", "D", "R"]
    augmented: bool = True
    oversampled: bool = False
    refitted: bool = False
    """Trained on the development clips too, once everything else is settled; the last epoch is kept."""


BASELINE = Recipe("baseline", "A", augmented=False)
AUGMENTATION = Recipe("augmentation", "B")
RETRAINING = Recipe("retraining", "C")
OVERSAMPLING = Recipe("oversampling", "D", oversampled=True)
REFITTING = Recipe("refitting", "R", refitted=True)
RECIPES = (BASELINE, AUGMENTATION, RETRAINING, OVERSAMPLING, REFITTING)


def run_classification(
    context: RunContext,
    recipe: Recipe,
    *,
    given: StageResult | None = None,
    on_epoch: OnEpoch = lambda record: None,
) -> StageResult:
    """Train one classifier and evaluate it on training, development and test clips.

    `given` is what the recipe builds on. Retraining: synthetic clips, which join the training part only; SplitError if
    they descend from anything else than this split's training clips. Refitting: the augmented classifier, whose
    development figures are its own as well, since it was settled by them and then trained on those clips. The folder
    holds the classifier, history, figures, predictions and pictures.
    """
    config = context.config
    sections = ["front_end", "clip", "classifier", "training"]
    sections += ["augmentation"] if recipe.augmented else []
    sections += ["retraining"] if recipe in (RETRAINING, OVERSAMPLING) else []
    oversampled = config.synthesis.per_emotion if recipe.oversampled else 0
    inputs = context.inputs(
        *sections,
        version=VERSION,
        weights=weights_digest(config.classifier.backbone, config.classifier.weights),
        **{"settled" if recipe.refitted else "synthetic": given.key if given else ""},
        oversampled=oversampled,
    )
    result = run_stage(
        context.workspace,
        recipe.name,
        inputs,
        lambda folder: _train_here_or_together(context, recipe, given, on_epoch, folder),
    )
    if result.reused:
        for record in result.read("history.json"):
            on_epoch(record)
    return result


def _train_here_or_together(
    context: RunContext, recipe: Recipe, given: StageResult | None, on_epoch: OnEpoch, folder: Path
) -> None:
    """In this process, or with more than one GPU in a process for each."""
    if (processes := wanted_ranks()) == 1:
        train_and_evaluate(context, recipe, given, on_epoch, folder)
    else:
        request = Request(recipe.name, context, folder, given)
        train_together(request, processes, lambda kind, record: on_epoch(record))


def train_and_evaluate(
    context: RunContext, recipe: Recipe, given: StageResult | None, on_epoch: OnEpoch, folder: Path
) -> None:
    """Everything that the stage does, in its folder; where several processes train together, the first one writes."""
    config, split, data = context.config, context.split(), context.load()
    clips = data.clip_set(config, best_device())
    training, development = data.indices(split.training), data.indices(split.development)
    if recipe.refitted:
        training, development = np.concatenate([training, development]), development[:0]
    classifier, report = build_classifier(config, clips, training)
    clips, extra = _extra_clips(config, recipe, data, clips, training, given, split)
    fed = replace(
        everything(clips, config),
        training=training,
        development=development,
        clips_per_epoch=len(training) + (0 if config.training.epoch_size == "real" else len(extra)),
        extra=extra,
        mixture=config.retraining,
    )
    ranks.synchronize_statistics(classifier)
    history = train_classifier(
        classifier,
        fed,
        config.training,
        augmentation=config.augmentation if recipe.augmented else None,
        seed=config.seed,
        checkpoint=folder / STATE_FILE,
        on_epoch=on_epoch,
        description=recipe.name,
    )
    if ranks.rank():
        return
    check_statistics(classifier, clips, training, split)
    _write_results(config, recipe, given, split, data, fed, classifier, report, history, folder)
    (folder / STATE_FILE).unlink(missing_ok=True)


def build_classifier(config: Config, clips: ClipSet, training: NDArray[np.int64]) -> tuple[Classifier, WeightsReport]:
    """A classifier with its starting weights and the training clips' statistics, on their device."""
    torch.manual_seed(torch_seed(config.seed))
    classifier = Classifier(config.classifier, labels=config.corpus.emotions, n_mels=config.front_end.n_mels)
    report = load_pretrained(classifier, config.classifier.weights)
    classifier.freeze(report.missing_stages)
    mean, std = statistics_of(clips, torch.from_numpy(training).to(clips.values.device))
    classifier.mean.copy_(mean)
    classifier.std.copy_(std)
    return classifier.to(memory_format=torch.channels_last).to(clips.values.device), report


def check_statistics(classifier: Classifier, clips: ClipSet, training: NDArray[np.int64], split: Split) -> None:
    """Raise SplitError unless the classifier's z-score is that of the split's training clips."""
    kept = (classifier.mean, classifier.std)
    own = statistics_of(clips, torch.from_numpy(training).to(clips.values.device))
    for name, found, expected in zip(("mean", "std"), kept, own, strict=True):
        if not torch.allclose(found.cpu(), expected.cpu(), rtol=1e-4, atol=1e-4):
            raise SplitError(f"{split.name}: the classifier's {name} of the log-mels is not that of the training clips")


def _extra_clips(
    config: Config,
    recipe: Recipe,
    data: RunData,
    clips: ClipSet,
    training: NDArray[np.int64],
    given: StageResult | None,
    split: Split,
) -> tuple[ClipSet, NDArray[np.int64]]:
    """The clips, with synthetic ones behind them, and what joins the real ones in training: synthetic or repeated."""
    if recipe.oversampled:
        return clips, oversample(data.labels, training, config.synthesis.per_emotion, config.seed)
    if given is None or recipe.refitted:
        return clips, training[:0]
    provenance = given.read("provenance.json")
    check_synthetic(provenance, split)
    log_mels, labels = read_synthetic(given.folder / "clips", len(config.corpus.emotions), config.synthesis)
    least = config.retraining.least_agreement
    fresh = [
        place for place, clip in enumerate(provenance["clips"]) if not clip["near_copy"] and clip["agreement"] >= least
    ]
    chosen = [log_mels[place] for place in fresh], [labels[place] for place in fresh]
    made = ClipSet.from_config(*chosen, config.clip, config.front_end).to(clips.values.device)
    return clips.join(made), np.arange(len(clips), len(clips) + len(made))


def oversample(
    labels: NDArray[np.int64], training: NDArray[np.int64], per_emotion: int, seed: int
) -> NDArray[np.int64]:
    """Real training clips drawn again, as many of each emotion as synthesis would add."""
    rng = generator(seed)
    classes = np.unique(labels[training])
    return np.concatenate([rng.choice(training[labels[training] == label], per_emotion) for label in classes])


def _write_results(
    config: Config,
    recipe: Recipe,
    given: StageResult | None,
    split: Split,
    data: RunData,
    fed: TrainingData,
    classifier: Classifier,
    report: WeightsReport,
    history: list[EpochRecord],
    folder: Path,
) -> None:
    """Figures, predictions, pictures and, last, the classifier itself."""
    labels = config.corpus.emotions
    last = recipe.refitted or config.training.keep == "last"
    kept = history[-1] if last else max(history, key=lambda record: record["val/uar"])
    results: dict[str, Any] = {
        "stage": recipe.letter,
        "weights": report.message(),
        "number_format": number_format(best_device(), config.training.precision),
        "training_clips": len(fed.training) + len(fed.extra),
        "optimizer_steps": len(history) * -(-fed.clips_per_epoch // config.training.batch_size),
        "best_epoch": kept["epoch"],
    }
    places = {part: data.indices(getattr(split, part)) for part in PARTS}
    if recipe.refitted and given:
        results["development"] = given.read("figures.json")["development"]
        for name in ("predictions-development.csv", "confusion-development.png"):
            shutil.copyfile(given.folder / name, folder / name)
        places["training"] = np.concatenate([places["training"], places.pop("development")])
    for part, indices in places.items():
        probabilities = predict(classifier, fed, indices, config.training)
        utterances = [data.utterances[index] for index in indices]
        name = f"{recipe.name} ({recipe.letter}), {split.name}"
        results[part] = write_part(folder, part, name, utterances, data.labels[indices], probabilities, labels)
    results["gap"] = results["training"]["accuracy"] - results["development"]["accuracy"]
    card = model_card(
        config,
        split,
        read_predictions(folder / "predictions-test.csv"),
        stage=f"{recipe.name} ({recipe.letter})",
        weights=report.message(),
        gap=results["gap"],
        synthetic=recipe is RETRAINING,
    )
    write_text(folder / CARD_FILE, card)
    save_figure(curves(history, f"{recipe.name} ({recipe.letter}), {split.name}"), folder / "curves.png")
    write_json(folder / "history.json", history)
    write_json(folder / "figures.json", results)
    header = {
        "stage": recipe.letter,
        "split": split.name,
        "config": config.model_dump(mode="json"),
        "weights": report.message(),
    }
    save_classifier(folder / CLASSIFIER_FILE, classifier, header)
