"""How sure a figure is: intervals by bootstrap over speakers, and paired tests between two classifiers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap, permutation_test
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from sermodels.evaluation import unweighted_average_recall
from sermodels.predictions import Predictions

RESAMPLES = 1000
PERMUTATIONS = 9999
Metric = Callable[[NDArray[np.int64], NDArray[np.int64]], float]
"""A figure of true and predicted labels, each (clip,)."""


@dataclass(frozen=True)
class Interval:
    """A figure with the bounds of its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """As a table shows it."""
        return f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f})"


def with_bounds(intervals: Mapping[str, Interval]) -> dict[str, float]:
    """Figures by name, and the bounds of their intervals with `_low` and `_high` after it."""
    return {
        f"{name}{end}": value
        for name, one in intervals.items()
        for end, value in (("", one.value), ("_low", one.low), ("_high", one.high))
    }


def bounded(figures: Mapping[str, Any], name: str) -> Interval:
    """A figure with its interval, from among those that `with_bounds` gave."""
    return Interval(*(figures[f"{name}{end}"] for end in ("", "_low", "_high")))


def accuracy(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """WA: the share of clips that are right."""
    return float(np.mean(truth == predicted))


def speakers_in_words(predictions: Predictions) -> str:
    """Of how many speakers the clips are, and so what an interval is worth."""
    count = len(set(predictions.groups["speaker"]))
    return f"{count:,} speakers" if count > 1 else "one speaker, who says nothing of others"


def interval(predictions: Predictions, metric: Metric = unweighted_average_recall) -> Interval:
    """A figure between 0 and 1, and its interval by bootstrap over speakers; one speaker tells nothing of others."""
    value = metric(predictions.truth, predictions.predicted)
    places = _places_of_speakers(predictions)

    def of_speakers(drawn: NDArray[np.int64]) -> float:
        chosen = np.concatenate([places[speaker] for speaker in drawn])
        return metric(predictions.truth[chosen], predictions.predicted[chosen])

    return Interval(value, *_bootstrap(of_speakers, len(places), widest=(0.0, 1.0)))


def difference(first: Predictions, second: Predictions, metric: Metric = unweighted_average_recall) -> Interval:
    """How far the figure of `first` lies above that of `second` on the same clips, in the same order."""
    _same_clips(first, second)
    places = _places_of_speakers(first)

    def of_speakers(drawn: NDArray[np.int64]) -> float:
        chosen = np.concatenate([places[speaker] for speaker in drawn])
        scores = [metric(one.truth[chosen], one.predicted[chosen]) for one in (first, second)]
        return scores[0] - scores[1]

    bounds = _bootstrap(of_speakers, len(places), widest=(-1.0, 1.0))
    return Interval(of_speakers(np.arange(len(places))), *bounds)


def _bootstrap(
    figure: Callable[[NDArray[np.int64]], float], speakers: int, *, widest: tuple[float, float]
) -> tuple[float, float]:
    """95 % percentile bounds of a figure of speakers drawn with replacement; all that is possible of a single one."""
    if speakers < 2:
        return widest
    found = bootstrap(
        (np.arange(speakers),),
        figure,
        n_resamples=RESAMPLES,
        vectorized=False,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def permutation_p(first: Predictions, second: Predictions) -> float:
    """Two-sided p of the mean difference of the speakers' UAR, each speaker's pair swapped at random; 1 of one."""
    _same_clips(first, second)
    speakers = _speakers(first)
    scores = [
        [
            unweighted_average_recall(one.truth[speakers == name], one.predicted[speakers == name])
            for one in (first, second)
        ]
        for name in np.unique(speakers)
    ]
    if len(scores) < 2:
        return 1.0
    result = permutation_test(
        tuple(np.array(scores).T),
        lambda one, other, axis: np.mean(one - other, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        rng=np.random.default_rng(0),
    )
    return float(result.pvalue)


def mcnemar_p(first: Predictions, second: Predictions) -> float:
    """Exact McNemar test of the clips that only one of the two gets right (McNemar 1947)."""
    _same_clips(first, second)
    right, other = first.predicted == first.truth, second.predicted == second.truth
    table = [[np.sum(right & other), np.sum(right & ~other)], [np.sum(~right & other), np.sum(~right & ~other)]]
    return float(mcnemar(table, exact=True).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for being several (Holm 1979)."""
    adjusted: list[float] = multipletests(p_values, method="holm")[1].tolist() if p_values else []
    return adjusted


def _speakers(predictions: Predictions) -> NDArray[np.int64]:
    """The number of each clip's speaker."""
    numbers: NDArray[np.int64] = np.unique(np.array(predictions.groups["speaker"]), return_inverse=True)[1]
    return numbers


def _places_of_speakers(predictions: Predictions) -> list[NDArray[np.int64]]:
    """The places of each speaker's clips."""
    speakers = _speakers(predictions)
    return [np.flatnonzero(speakers == number) for number in range(speakers.max() + 1)]


def _same_clips(first: Predictions, second: Predictions) -> None:
    """Raise ValueError unless both are about the same clips in the same order."""
    if first.identifiers != second.identifiers:
        raise ValueError("these predictions are about other clips, or in another order")
