"""The melody that two sounds share."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sermodels.pitch import pitch_correlation

RATE_HZ = 22_050
TIME_S = np.arange(2 * RATE_HZ) / RATE_HZ
RISING, WAVING = 150.0 + 40.0 * TIME_S, 180.0 + 40.0 * np.sin(2 * np.pi * 2 * TIME_S)


def voice(pitch_hz: NDArray[np.float64], *, brightness: float = 0.5) -> NDArray[np.float32]:
    """Partials of a gliding tone, shape (sample,)."""
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
    tones = sum(brightness**number * np.sin((number + 1) * phase) for number in range(5))
    return (0.2 * np.asarray(tones)).astype(np.float32)


def test_the_same_melody_in_another_voice_is_kept() -> None:
    assert pitch_correlation(voice(WAVING), voice(1.2 * WAVING, brightness=0.8), RATE_HZ) > 0.95


def test_another_melody_is_not() -> None:
    assert abs(pitch_correlation(voice(WAVING), voice(RISING), RATE_HZ)) < 0.3
    assert pitch_correlation(voice(RISING), voice(RISING[::-1]), RATE_HZ) < -0.9


@pytest.mark.parametrize("sound", [voice(RISING)[:500], np.zeros(100, dtype=np.float32)])
def test_too_little_sound_has_no_melody(sound: NDArray[np.float32]) -> None:
    assert np.isnan(pitch_correlation(sound, voice(RISING), RATE_HZ))
