"""Figures of a classifier against scikit-learn and against counting by hand."""

import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss, recall_score

from sermodels.evaluation import confusion, figures, unweighted_average_recall

LABELS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness")


def ids(values: Any) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def certain(predicted: NDArray[np.int64]) -> NDArray[np.float64]:
    """Probabilities that are all on the predicted class."""
    return np.eye(len(LABELS))[predicted]


@st.composite
def classified(draw: st.DrawFn) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Truth, often without some classes, and probabilities of all six."""
    count = draw(st.integers(1, 40))
    present = draw(st.lists(st.integers(0, 5), min_size=1, max_size=6, unique=True))
    truth = draw(st.lists(st.sampled_from(present), min_size=count, max_size=count))
    probabilities = np.random.default_rng(draw(st.integers(0, 10_000))).dirichlet(np.full(6, 0.5), count)
    return ids(truth), probabilities


@settings(deadline=None)
@given(classified())
def test_uar_and_the_others_equal_scikit_learn(case: tuple[NDArray[np.int64], NDArray[np.float64]]) -> None:
    truth, probabilities = case
    predicted, present = probabilities.argmax(axis=1), np.unique(truth)
    result = figures(truth, probabilities, LABELS)
    recalls = recall_score(truth, predicted, labels=present, average=None, zero_division=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells of a class that never occurs, or of one alone
        balanced = balanced_accuracy_score(truth, predicted)
    assert unweighted_average_recall(truth, predicted) == pytest.approx(balanced)
    assert result["uar"] == unweighted_average_recall(truth, predicted) == pytest.approx(recalls.mean())
    assert result["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
    f1 = f1_score(truth, predicted, labels=present, average="macro", zero_division=0.0)
    assert result["macro_f1"] == pytest.approx(f1)
    floored = np.maximum(probabilities, 1e-12)  # as in `figures`; scikit-learn's own floor is lower
    assert result["loss"] == pytest.approx(log_loss(truth, floored, labels=range(6)), rel=1e-6)
    for label, recall in zip(present, recalls, strict=True):
        assert result[f"recall/{LABELS[label]}"] == pytest.approx(recall)


@settings(deadline=None)
@given(classified())
def test_confusion_counts_every_clip(case: tuple[NDArray[np.int64], NDArray[np.float64]]) -> None:
    truth, probabilities = case
    matrix = confusion(truth, probabilities)
    expected = np.zeros((6, 6), dtype=np.int64)
    for row, column in zip(truth, probabilities.argmax(axis=1), strict=True):
        expected[row, column] += 1
    np.testing.assert_array_equal(matrix, expected)
    present = np.unique(truth)
    recalls = np.diag(matrix)[present] / matrix.sum(axis=1)[present]
    assert unweighted_average_recall(truth, probabilities.argmax(axis=1)) == pytest.approx(recalls.mean())


def test_uar_gives_every_class_one_vote() -> None:
    truth = ids([0] * 90 + [1] * 10)
    assert unweighted_average_recall(truth, ids([0] * 100)) == 0.5
    assert unweighted_average_recall(truth, ids([0] * 90 + [1] * 5 + [0] * 5)) == 0.75


def test_a_class_that_does_not_occur_has_no_vote_and_no_key() -> None:
    truth, predicted = ids([0, 0, 2, 2]), ids([0, 1, 2, 5])
    result = figures(truth, certain(predicted), LABELS)
    assert result["uar"] == 0.5
    assert {key for key in result if key.startswith("recall/")} == {"recall/anger", "recall/fear"}


def test_the_keys_are_the_documented_ones() -> None:
    truth = ids([0, 1, 2, 3, 4, 5])
    groups = {
        "corpus": ["emodb", "emodb", "ravdess", "ravdess", "ravdess", "emodb"],
        "sex": ["f", "m", "f", "m", "", ""],
    }
    result = figures(truth, certain(truth), LABELS, groups)
    assert set(result) == {
        *("uar", "accuracy", "macro_f1", "loss"),
        *(f"recall/{label}" for label in LABELS),
        *("uar/corpus/emodb", "uar/corpus/ravdess", "uar/sex/f", "uar/sex/m"),
    }
    assert all(type(value) is float for value in result.values())
    assert result.pop("loss") == pytest.approx(0.0, abs=1e-9)
    assert set(result.values()) == {1.0}


def test_groups_are_measured_on_their_own_clips() -> None:
    truth, predicted = ids([0, 0, 1, 1, 0, 1]), ids([0, 1, 1, 1, 1, 0])
    groups = {"corpus": ["a", "a", "a", "a", "b", "b"]}
    result = figures(truth, certain(predicted), LABELS, groups)
    assert result["uar/corpus/a"] == 0.75
    assert result["uar/corpus/b"] == 0.0


def test_a_sure_and_wrong_answer_has_a_finite_loss() -> None:
    result = figures(ids([0]), certain(ids([1])), LABELS)
    assert result["loss"] == pytest.approx(-math.log(1e-12))
    assert result["uar"] == 0.0


def test_even_probabilities_have_the_loss_of_guessing() -> None:
    assert figures(ids([3, 4]), np.full((2, 6), 1 / 6), LABELS)["loss"] == pytest.approx(math.log(6))


def test_single_precision_is_taken() -> None:
    truth = ids([0, 1])
    assert figures(truth, certain(truth).astype(np.float32), LABELS)["uar"] == 1.0
