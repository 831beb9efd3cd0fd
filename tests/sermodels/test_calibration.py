"""Calibration error, likelihood and the temperature."""

import numpy as np
import pytest
from sklearn.metrics import log_loss

from sermodels.calibration import (
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    with_temperature,
)


def calibrated(count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Truth drawn from the probabilities themselves."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(4, 0.7), count)
    truth = np.array([rng.choice(4, p=row) for row in probabilities])
    return truth, probabilities


def test_probabilities_that_hold_have_almost_no_error() -> None:
    truth, probabilities = calibrated()
    assert expected_calibration_error(truth, probabilities) < 0.03


def test_one_bin_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1]] * 10)
    truth = np.array([0] * 6 + [1] * 4)
    assert expected_calibration_error(truth, probabilities) == pytest.approx(0.3, abs=1e-6)


def test_likelihood_is_scikit_learns_and_survives_a_zero() -> None:
    truth, probabilities = calibrated(50)
    assert negative_log_likelihood(truth, probabilities) == pytest.approx(log_loss(truth, probabilities), rel=1e-6)
    assert np.isfinite(negative_log_likelihood(np.array([1]), np.array([[1.0, 0.0]])))


@pytest.mark.parametrize("temperature", [0.5, 2.0, 3.0])
def test_the_temperature_that_was_put_in_is_found(temperature: float) -> None:
    truth, probabilities = calibrated()
    distorted = with_temperature(probabilities, 1 / temperature)
    found = fit_temperature(truth, distorted)
    assert found == pytest.approx(temperature, rel=0.1)
    assert negative_log_likelihood(truth, with_temperature(distorted, found)) < negative_log_likelihood(
        truth, distorted
    )


def test_a_temperature_changes_no_answer() -> None:
    _, probabilities = calibrated(200)
    scaled = with_temperature(probabilities, 3.0)
    np.testing.assert_allclose(scaled.sum(axis=1), 1.0)
    np.testing.assert_array_equal(scaled.argmax(axis=1), probabilities.argmax(axis=1))
    np.testing.assert_allclose(with_temperature(probabilities, 1.0), probabilities, atol=1e-6)
