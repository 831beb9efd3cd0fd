"""Figures of a classifier: UAR, accuracy, macro-F1, per class, corpus and sex, and the confusion matrix."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, f1_score

Labels = NDArray[np.int64]


def unweighted_average_recall(truth: Labels, predicted: Labels) -> float:
    """UAR: the mean recall of the classes that occur in `truth` (Schuller et al. 2009), between 0 and 1."""
    return float(np.mean([np.mean(predicted[truth == label] == label) for label in np.unique(truth)]))


def figures(
    truth: Labels,
    probabilities: NDArray[np.floating],
    labels: Sequence[str],
    groups: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, float]:
    """All figures of one set of clips.

    `truth` (clip,), `probabilities` (clip, emotion). `groups` maps a name such as `corpus` to each clip's value and
    gives `uar/<name>/<value>`. Keys: uar, accuracy, macro_f1, loss, recall/<emotion>, uar/<group>/<value>.
    """
    predicted = probabilities.argmax(axis=1)
    chosen = probabilities[np.arange(len(truth)), truth]
    result = {
        "uar": unweighted_average_recall(truth, predicted),
        "accuracy": float(np.mean(truth == predicted)),
        "macro_f1": float(f1_score(truth, predicted, average="macro", labels=np.unique(truth), zero_division=0.0)),
        "loss": float(-np.mean(np.log(np.maximum(chosen, 1e-12)))),
    }
    for label in np.unique(truth):
        result[f"recall/{labels[label]}"] = float(np.mean(predicted[truth == label] == label))
    for group, values in (groups or {}).items():
        for value in sorted(set(values) - {""}):
            member = np.array([v == value for v in values])
            result[f"uar/{group}/{value}"] = unweighted_average_recall(truth[member], predicted[member])
    return result


def confusion(truth: Labels, probabilities: NDArray[np.floating]) -> NDArray[np.int64]:
    """Confusion matrix in clips: rows are the truth, columns the prediction."""
    classes = np.arange(probabilities.shape[1])
    matrix: NDArray[np.int64] = confusion_matrix(truth, probabilities.argmax(axis=1), labels=classes)
    return matrix
