"""Functionals of contours that are known: constant, rising, bent, swinging; and of whole recordings."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sermodels.descriptors import SAMPLE_RATE_HZ, describe
from sermodels.functionals import FRAME_S, _functionals, functionals_of


def of(contour: NDArray[np.float64]) -> dict[str, float]:
    return {name: float(values[0]) for name, values in _functionals(contour[None]).items()}


def test_a_rising_line() -> None:
    found = of(np.linspace(2.0, 5.0, 301))
    expected = {
        "mean": 3.5, "median": 3.5, "quartile_1": 2.75, "interquartile": 1.5, "slope": 3.0, "line_error": 0.0,
        "curvature": 0.0, "time_rising": 1.0, "time_of_highest": 300 / 301, "time_of_lowest": 0.0, "skewness": 0.0,
        "rise_mean": 0.01, "rise_deviation": 0.0, "fall_mean": 0.0, "stretch_longest": 150 * FRAME_S,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-3)
    assert found["centre_of_time"] == pytest.approx(2 / 3, abs=0.02)


def test_a_parabola_has_its_curvature_and_no_error() -> None:
    time = np.linspace(0.0, 1.0, 200) - 0.5
    found = of(7.0 * time**2 - 2.0 * time)
    assert (found["curvature"], found["slope"]) == pytest.approx((7.0, -2.0), rel=0.02)
    assert found["parabola_error"] < 1e-3 < 0.1 < found["line_error"]
    assert found["time_curving_up"] == 1.0


def test_a_swinging_contour_has_its_peaks_where_they_are() -> None:
    period = 25
    found = of(np.sin(2 * np.pi * np.arange(500) / period))
    assert found["peak_distance"] == pytest.approx(period * FRAME_S)
    assert found["peak_distance_deviation"] == pytest.approx(0.0, abs=1e-9)
    assert found["peak_mean"] == pytest.approx(1.0, abs=0.01)
    assert found["stretch_mean"] == pytest.approx(period / 2 * FRAME_S, rel=0.1)
    assert found["stretch_rate"] == pytest.approx(1 / period, rel=0.06)
    assert found["lpc_error"] < 0.05


def test_noise_cannot_be_predicted() -> None:
    found = of(np.random.default_rng(0).standard_normal(2000))
    assert found["lpc_error"] > 0.95
    assert found["kurtosis"] == pytest.approx(3.0, abs=0.3)
    assert found["time_above_50"] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("frames", [1, 2, 3, 7])
@pytest.mark.parametrize("value", [0.0, -3.5])
def test_constant_and_short_contours_have_finite_functionals(frames: int, value: float) -> None:
    found = of(np.full(frames, value))
    assert np.isfinite(list(found.values())).all()
    assert (found["mean"], found["span"]) == pytest.approx((value, 0.0), abs=1e-6)
    assert found.keys() == of(np.linspace(0.0, 1.0, 50)).keys()


def test_a_recording_has_every_functional_of_every_contour_and_its_slope() -> None:
    time = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    waveform = np.sin(2 * np.pi * 150.0 * time) * (1.2 + np.sin(2 * np.pi * 4.0 * time))
    found = functionals_of(waveform)
    contours = list(describe(waveform).contours)
    names = {f"{name}{kind}/{each}" for name in contours for kind in ("", "_delta") for each in of(np.arange(9.0))}
    assert found.keys() == names | {"voiced_share", "log_frames"}
    assert np.isfinite(list(found.values())).all()
    assert found["pitch_octave/median"] == pytest.approx(np.log2(150.0), abs=0.03)
    assert found["level_db/peak_distance"] == pytest.approx(0.25, abs=0.05)
