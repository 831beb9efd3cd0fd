"""Descriptors: what they say of sounds whose pitch, spectrum and loudness are known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sermodels.descriptors import HOP, SAMPLE_RATE_HZ, describe
from sermodels.errors import AudioError

SECOND = SAMPLE_RATE_HZ


def voice(hz: float, *, seconds: float = 1.0, harmonics: int = 10) -> NDArray[np.float64]:
    """A buzz of this fundamental frequency, whose harmonics fall by 6 dB an octave."""
    time = np.arange(int(seconds * SECOND)) / SECOND
    return sum(np.sin(2 * np.pi * hz * k * time) / k for k in range(1, harmonics + 1)) * np.ones_like(time)


def noise(*, seconds: float = 1.0) -> NDArray[np.float64]:
    return np.random.default_rng(0).standard_normal(int(seconds * SECOND))


def middle(waveform: NDArray[np.float64], name: str) -> float:
    return float(np.median(describe(waveform).contours[name]))


@pytest.mark.parametrize("hz", [80.0, 120.0, 200.0, 333.0, 480.0])
def test_the_pitch_of_a_voice_is_its_fundamental_frequency(hz: float) -> None:
    described = describe(voice(hz))
    pitch = 2.0 ** described.contours["pitch_octave"]
    np.testing.assert_allclose(np.median(pitch), hz, rtol=0.02)
    assert described.voiced_share > 0.9
    assert np.median(described.contours["harmonicity_db"]) > 15.0


def test_noise_is_hardly_voiced_and_more_even_than_a_voice() -> None:
    assert describe(noise()).voiced_share < 0.1
    assert middle(noise(), "entropy") > middle(voice(200.0), "entropy") + 3.0
    assert middle(noise(), "zero_crossings") > middle(voice(200.0), "zero_crossings")


@pytest.mark.parametrize("hz", [500.0, 2000.0, 6000.0])
def test_the_spectrum_of_a_tone_lies_where_the_tone_is(hz: float) -> None:
    tone = voice(hz, harmonics=1)
    assert np.exp(middle(tone, "centroid")) - 50.0 == pytest.approx(hz, rel=0.03)
    assert np.exp(middle(tone, "roll_off_50")) - 50.0 == pytest.approx(hz, abs=2 * SECOND / 1024)
    assert (np.exp(middle(tone, "share_1000_4000")) > 0.9) == (hz == 2000.0)


def test_higher_sounds_are_sharper_and_steeper_ones_are_not() -> None:
    assert middle(voice(4000.0, harmonics=1), "sharpness") > middle(voice(300.0, harmonics=1), "sharpness")
    dull = np.cumsum(noise())
    assert middle(dull - dull.mean(), "slope") < middle(noise(), "slope")


@pytest.mark.parametrize("gain", [0.001, 0.1, 30.0])
def test_the_level_of_a_recording_changes_nothing(gain: float) -> None:
    waveform = voice(150.0) + 0.01 * noise()
    one, other = describe(waveform), describe(gain * waveform)
    assert one.contours.keys() == other.contours.keys()
    for name, contour in one.contours.items():
        np.testing.assert_allclose(contour, other.contours[name], rtol=1e-6, atol=1e-8, err_msg=name)


def test_louder_in_the_middle_is_seen_in_the_level() -> None:
    waveform = voice(150.0, seconds=1.5) * np.repeat([0.1, 1.0, 0.1], SECOND // 2)[: int(1.5 * SECOND)]
    level = describe(waveform).contours["level_db"]
    third = len(level) // 3
    assert np.median(level[third : 2 * third]) - np.median(level[: third - 5]) == pytest.approx(20.0, abs=0.5)


def test_silence_at_both_ends_is_cut_off() -> None:
    spoken = voice(150.0)
    padded = np.pad(spoken, SECOND)
    contours = describe(padded).contours["level_db"]
    assert len(contours) == pytest.approx(SECOND / HOP, abs=12)
    assert len(describe(spoken).contours["level_db"]) == pytest.approx(SECOND / HOP, abs=2)


@pytest.mark.parametrize("samples", [1, 50, 221, 1024, 5000])
def test_short_recordings_have_all_descriptors(samples: int) -> None:
    described = describe(0.1 * noise()[:samples])
    lengths = {len(contour) for contour in described.contours.values()}
    assert len(lengths) == 1
    assert min(lengths) >= 1
    assert all(np.isfinite(contour).all() for contour in described.contours.values())
    assert described.contours.keys() == describe(voice(100.0)).contours.keys()


@pytest.mark.parametrize("samples", [1, 22050])
def test_silence_is_an_error(samples: int) -> None:
    with pytest.raises(AudioError, match="nothing but silence"):
        describe(np.zeros(samples, dtype=np.float32))
