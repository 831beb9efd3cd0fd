"""A speaker of whom other recordings are known, without labels: what is heard in all of them tells no emotion."""

import numpy as np
from numpy.typing import NDArray

PRIOR_RECORDINGS = 5.0
"""What is always heard in a voice counts half when so many recordings of it are known. Chosen on development speakers:
with it one recording helps already, and a voice known by neutral speech alone is heard no worse than an unknown one.
"""
_SMALLEST_PROBABILITY = 1e-6


def relative_to_speaker(probabilities: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probabilities (..., emotion) without what a classifier hears in every recording of a speaker.

    `others` (recording, emotion) are the probabilities of the speaker's other recordings, none or more. Their mean
    logarithm, shrunk where they are few (James & Stein 1961), is subtracted, so that a voice which always sounds sad is
    not taken for sad. As with classifiers that are told other shares of the classes (Saerens et al. 2002), the
    recordings should be of several emotions.
    """
    known = len(others) / (len(others) + PRIOR_RECORDINGS)
    logits = _log(probabilities) - (known * _log(others).mean(axis=0) if len(others) else 0.0)
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: NDArray[np.float64] = shares / shares.sum(axis=-1, keepdims=True)
    return result


def _log(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Their logarithm, finite for those that are zero."""
    result: NDArray[np.float64] = np.log(np.maximum(probabilities.astype(np.float64), _SMALLEST_PROBABILITY))
    return result
