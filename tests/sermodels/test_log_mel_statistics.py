"""The numbers that describe a log-mel: what they measure, and what they do not depend on."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sermodels.config import FrontEndConfig
from sermodels.features import LogMel
from sermodels.log_mel_statistics import STATISTICS, log_mel_statistics

CONFIG = FrontEndConfig()
RATE_HZ = CONFIG.sample_rate_hz


def described(waveform: NDArray[np.floating]) -> dict[str, float]:
    log_mel = LogMel(CONFIG)(torch.from_numpy(waveform.astype(np.float32))[None])[0].numpy()
    return log_mel_statistics(log_mel, CONFIG)


def noise(duration_s: float = 2.0) -> NDArray[np.float64]:
    return np.asarray(0.1 * np.random.default_rng(0).normal(size=round(duration_s * RATE_HZ)))


def test_all_are_there_and_finite() -> None:
    for waveform in (noise(), np.zeros(RATE_HZ), noise(0.001)):
        numbers = described(waveform)
        assert list(numbers) == list(STATISTICS)
        assert np.isfinite(list(numbers.values())).all(), numbers


def test_a_gain_is_in_the_level_alone() -> None:
    before, after = described(noise()), described(4.0 * noise())
    assert after.pop("level_db") - before.pop("level_db") == pytest.approx(20 * np.log10(4.0), abs=0.05)
    assert after == pytest.approx(before, rel=0.01, abs=0.05)


def test_pauses_change_their_share_and_not_the_level() -> None:
    speech = noise()
    paused = described(np.concatenate([speech, 1e-4 * speech]))
    assert paused["quiet_share"] == pytest.approx(0.5, abs=0.02)
    assert paused["duration_s"] == pytest.approx(4.0, abs=0.02)
    assert paused["level_db"] == pytest.approx(described(speech)["level_db"], abs=0.5)


def test_what_a_telephone_takes_away() -> None:
    full = described(noise())
    spectrum = np.fft.rfft(noise())
    spectrum[np.fft.rfftfreq(2 * RATE_HZ, 1 / RATE_HZ) > 3_400] = 0.0
    telephone = described(np.fft.irfft(spectrum))
    assert telephone["high_band_db"] < full["high_band_db"] - 20
    assert telephone["centroid_hz"] < full["centroid_hz"] - 1_000
    assert telephone["tilt_db_per_octave"] < full["tilt_db_per_octave"] - 1


def test_a_tone_lies_at_its_frequency_and_does_not_change() -> None:
    tone = described(np.sin(2 * np.pi * 1_000 * np.arange(2 * RATE_HZ) / RATE_HZ))
    assert tone["centroid_hz"] == pytest.approx(1_000, rel=0.05)
    assert tone["flux_db"] < described(noise())["flux_db"] / 2
