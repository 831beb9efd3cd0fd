"""What a classifier hears in all recordings of a speaker, or of a collection, tells no emotion: it is taken out again.

No label is used, and nothing is trained.
"""

import numpy as np
from numpy.typing import NDArray

PRIOR_RECORDINGS = 5.0
"""What is always heard in a voice counts half when so many recordings of it are known. Chosen on development speakers:
with it one recording helps already, and a voice known by neutral speech alone is heard no worse than an unknown one.
"""
_SMALLEST_PROBABILITY = 1e-6


def adapt(probabilities: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probabilities (..., emotion) without what is heard in every one of a speaker's or a collection's recordings.

    `others` (recording, emotion) are the probabilities of other recordings, none or more. Their mean logarithm, shrunk
    where they are few (James & Stein 1961), is subtracted, so that a voice which always sounds sad is not taken for
    sad. As with classifiers that are told other shares of the classes (Saerens et al. 2002), the recordings should be
    of several emotions.
    """
    count = len(others)
    habit = logarithm(others).mean(axis=0) if count else np.zeros(np.shape(others)[-1])
    return without_habit(probabilities, habit, count)


def without_habit(
    probabilities: NDArray[np.floating], habit: NDArray[np.float64], count: int | NDArray[np.int64]
) -> NDArray[np.float64]:
    """Probabilities (..., emotion) without a mean logarithm of `count` other recordings; both may differ by row."""
    logits = logarithm(probabilities) - count / (count + PRIOR_RECORDINGS) * habit
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: NDArray[np.float64] = shares / shares.sum(axis=-1, keepdims=True)
    return result


def logarithm(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Their logarithm, finite for those that are zero."""
    result: NDArray[np.float64] = np.log(np.maximum(probabilities.astype(np.float64), _SMALLEST_PROBABILITY))
    return result
