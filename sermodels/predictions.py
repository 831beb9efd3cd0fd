"""Predictions of one stage as they are kept, one CSV row a clip, and joined over folds and seeds."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sermodels.corpora.utterance import Utterance
from sermodels.files import atomic_write
from sermodels.speakers import relative_to_speaker

COLUMNS = ("identifier", "corpus", "speaker", "sex", "emotion", "predicted")


@dataclass(frozen=True)
class Predictions:
    """Who was heard, what it is, and the probabilities (clip, emotion) in the order of `labels`."""

    labels: tuple[str, ...]
    identifiers: tuple[str, ...]
    groups: dict[str, tuple[str, ...]]
    """`corpus`, `speaker` and `sex` of each clip."""
    truth: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.truth)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable emotion of each clip."""
        numbers: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return numbers


def write_predictions(
    path: Path, utterances: Sequence[Utterance], probabilities: NDArray[np.floating], labels: Sequence[str]
) -> None:
    """One row a clip: who, what it is, what it was taken for, and the probabilities."""
    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, *labels])
        for utterance, row in zip(utterances, probabilities, strict=True):
            who = [utterance.identifier, utterance.corpus, utterance.speaker, utterance.sex]
            writer.writerow([*who, utterance.emotion, labels[int(row.argmax())], *(f"{value:.6f}" for value in row)])


def read_predictions(path: Path) -> Predictions:
    """The inverse of `write_predictions`."""
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    labels = tuple(name for name in reader.fieldnames or () if name not in COLUMNS)
    return Predictions(
        labels=labels,
        identifiers=tuple(row["identifier"] for row in rows),
        groups={name: tuple(row[name] for row in rows) for name in ("corpus", "speaker", "sex")},
        truth=np.array([labels.index(row["emotion"]) for row in rows], dtype=np.int64),
        probabilities=np.array([[float(row[label]) for label in labels] for row in rows]).reshape(
            len(rows), len(labels)
        ),
    )


def averaged(parts: Sequence[Predictions]) -> Predictions:
    """The mean probabilities of several classifiers on the same clips. Raises ValueError if they are others."""
    if len({part.identifiers for part in parts}) > 1:
        raise ValueError("these predictions are about other clips, or in another order")
    return replace(parts[0], probabilities=np.mean([part.probabilities for part in parts], axis=0))


def joined(parts: Sequence[Predictions]) -> Predictions:
    """Predictions of several folds or seeds as one."""
    first = parts[0]
    return Predictions(
        labels=first.labels,
        identifiers=tuple(name for part in parts for name in part.identifiers),
        groups={group: tuple(value for part in parts for value in part.groups[group]) for group in first.groups},
        truth=np.concatenate([part.truth for part in parts]),
        probabilities=np.concatenate([part.probabilities for part in parts]),
    )


def of_known_speakers(
    predictions: Predictions, *, recordings: int | None = None, emotion: str | None = None, seed: int = 0
) -> Predictions:
    """One classifier's predictions, each made relative to the speaker's other clips among them, without their labels.

    Of those others all are known, or `recordings` at random, or the ones of an `emotion` alone.
    """
    rng, given = np.random.default_rng(seed), predictions.probabilities
    wanted = None if emotion is None else predictions.labels.index(emotion)
    clips: dict[str, list[int]] = {}
    for place, speaker in enumerate(predictions.groups["speaker"]):
        if wanted is None or predictions.truth[place] == wanted:
            clips.setdefault(speaker, []).append(place)
    relative = np.empty(given.shape)
    for place, speaker in enumerate(predictions.groups["speaker"]):
        others = [other for other in clips.get(speaker, []) if other != place]
        if recordings is not None:
            others = [others[number] for number in rng.permutation(len(others))[:recordings]]
        relative[place] = relative_to_speaker(given[place], given[np.array(others, dtype=np.int64)])
    return replace(predictions, probabilities=relative)
