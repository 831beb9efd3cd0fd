"""Whether probabilities can be believed: calibration error, and the one temperature that mends it."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.metrics import log_loss
from torchmetrics.functional.classification import multiclass_calibration_error

BINS = 15
LARGEST_TEMPERATURE = 20.0
_SMALLEST_PROBABILITY = 1e-7


def expected_calibration_error(truth: NDArray[np.int64], probabilities: NDArray[np.floating]) -> float:
    """ECE over 15 bins of the largest probability (Guo et al. 2017, eq. 3), between 0 and 1."""
    rows = torch.from_numpy(probabilities.astype(np.float32))
    error = multiclass_calibration_error(rows, torch.from_numpy(truth), num_classes=rows.shape[1], n_bins=BINS)
    return float(error)


def negative_log_likelihood(truth: NDArray[np.int64], probabilities: NDArray[np.floating]) -> float:
    """Mean -log of the true emotion's probability, in nats."""
    return float(log_loss(truth, _positive(probabilities), labels=np.arange(probabilities.shape[1])))


def with_temperature(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Probabilities (clip, emotion) whose logits are divided by `temperature`; above 1 they are less sure."""
    result: NDArray[np.float64] = softmax(np.log(_positive(probabilities)) / temperature, axis=1)
    return result


def fit_temperature(truth: NDArray[np.int64], probabilities: NDArray[np.floating]) -> float:
    """The temperature with the smallest negative log-likelihood on these, development clips (Guo et al. 2017, 4.2)."""
    bounds = (-np.log(LARGEST_TEMPERATURE), np.log(LARGEST_TEMPERATURE))
    found = minimize_scalar(
        lambda log_t: negative_log_likelihood(truth, with_temperature(probabilities, float(np.exp(log_t)))),
        bounds=bounds,
        method="bounded",
    )
    return float(np.exp(found.x))


def _positive(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows that sum to 1, without zeros."""
    clipped = np.clip(probabilities.astype(np.float64), _SMALLEST_PROBABILITY, 1.0)
    rows: NDArray[np.float64] = clipped / clipped.sum(axis=1, keepdims=True)
    return rows
