"""Predictions of one stage as they are kept, one CSV row a clip, and joined over folds and seeds."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sermodels.adaptation import adapt, logarithm, without_habit
from sermodels.corpora.utterance import Utterance
from sermodels.files import atomic_write

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


def adapted(
    predictions: Predictions,
    *,
    to: Literal["speaker", "corpus"] = "speaker",
    recordings: int | None = None,
    emotion: str | None = None,
    seed: int = 0,
) -> Predictions:
    """One classifier's predictions, each adapted to the other clips of its speaker or corpus, without their labels.

    Of those others all are known, or `recordings` at random, or the ones of an `emotion` alone.
    """
    names, given = np.array(predictions.groups[to]), predictions.probabilities
    may_be_known = np.ones(len(given), dtype=bool)
    if emotion is not None:
        may_be_known = predictions.truth == predictions.labels.index(emotion)
    result, rng = np.empty(given.shape), np.random.default_rng(seed)
    for name in dict.fromkeys(predictions.groups[to]):
        own = np.flatnonzero(names == name)
        known = own[may_be_known[own]]
        if recordings is None:
            result[own] = _adapted_to_all_others(given[own], may_be_known[own])
        else:
            for place in own:
                some = rng.permutation(known[known != place])[:recordings]
                result[place] = adapt(given[place], given[some])
    return replace(predictions, probabilities=result)


def _adapted_to_all_others(given: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Each row adapted to all other `known` rows; one pass, however many they are."""
    logits, own = logarithm(given), known[:, None].astype(np.int64)
    count = own.sum() - own
    habit = (logits[known].sum(axis=0) - own * logits) / np.maximum(count, 1)
    return without_habit(given, habit, count)
