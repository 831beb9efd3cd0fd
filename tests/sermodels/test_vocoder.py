"""The one vocoder: a waveform of the right length, level and pitch, nearer to its log-mel than librosa's."""

from pathlib import Path

import librosa
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sermodels.audio import read_waveform
from sermodels.config import FrontEndConfig
from sermodels.features import LogMel
from sermodels.vocoder import PEAK, log_mel_to_waveform

CONFIG = FrontEndConfig()


def log_mel_of(waveform: NDArray[np.floating], config: FrontEndConfig = CONFIG) -> NDArray[np.float32]:
    with torch.inference_mode():
        log_mel: NDArray[np.float32] = LogMel(config)(torch.from_numpy(waveform.astype(np.float32))[None])[0].numpy()
    return log_mel


def tone(pitch_hz: float, *, duration_s: float = 0.4, sample_rate_hz: int = 22_050) -> NDArray[np.float64]:
    return 0.1 * np.sin(2 * np.pi * pitch_hz * np.arange(int(duration_s * sample_rate_hz)) / sample_rate_hz)


def error_db(waveform: NDArray[np.floating], log_mel: NDArray[np.float32]) -> float:
    """Mean distance of cells within 40 dB of the loudest, the overall level left out."""
    again = log_mel_of(waveform)
    frames = min(again.shape[1], log_mel.shape[1])
    audible = log_mel[:, :frames] > log_mel.max() - 40.0
    difference = (again[:, :frames] - log_mel[:, :frames])[audible]
    return float(np.abs(difference - np.median(difference)).mean())


def by_librosa(log_mel: NDArray[np.float32]) -> NDArray[np.float32]:
    magnitude = librosa.feature.inverse.mel_to_stft(
        librosa.db_to_power(log_mel - log_mel.max()),
        sr=CONFIG.sample_rate_hz,
        n_fft=CONFIG.n_fft,
        fmin=CONFIG.f_min_hz,
        fmax=CONFIG.f_max_hz,
    )
    waveform: NDArray[np.float32] = librosa.griffinlim(
        magnitude, hop_length=CONFIG.hop_length, n_fft=CONFIG.n_fft, n_iter=32, random_state=0
    )
    return waveform


def test_the_waveform_has_a_hop_for_each_frame_and_a_peak_of_0_7() -> None:
    log_mel = log_mel_of(tone(440.0))

    waveform = log_mel_to_waveform(log_mel, CONFIG)

    assert waveform.dtype == np.float32
    assert waveform.shape == (CONFIG.hop_length * log_mel.shape[1],)
    assert np.isfinite(waveform).all()
    assert float(np.abs(waveform).max()) == pytest.approx(PEAK) == 0.7


@pytest.mark.parametrize("pitch_hz", [300.0, 1_000.0, 4_000.0])
def test_a_tone_keeps_its_mel_band(pitch_hz: float) -> None:
    log_mel = log_mel_of(tone(pitch_hz))

    again = log_mel_of(log_mel_to_waveform(log_mel, CONFIG))

    assert again.mean(axis=1).argmax() == log_mel.mean(axis=1).argmax()


def test_a_sound_keeps_its_shape_in_time_and_frequency() -> None:
    sweep = np.concatenate(
        [tone(300.0, duration_s=0.2), 0.05 * tone(900.0, duration_s=0.2), tone(2_500.0, duration_s=0.2)]
    )
    log_mel = log_mel_of(sweep)

    assert error_db(log_mel_to_waveform(log_mel, CONFIG), log_mel) < 3.0


def test_speech_comes_back_closer_than_by_librosa(real_corpora_dir: Path) -> None:
    paths = [*sorted((real_corpora_dir / "emodb").glob("*.wav"))[::300]]
    paths += sorted((real_corpora_dir / "ravdess").glob("Actor_*/*.wav"))[::800]
    log_mels = [log_mel_of(read_waveform(path, sample_rate_hz=CONFIG.sample_rate_hz)) for path in paths]
    assert len(log_mels) == 4

    ours = [error_db(log_mel_to_waveform(log_mel, CONFIG), log_mel) for log_mel in log_mels]

    assert max(ours) < 0.8
    assert np.mean(ours) < 0.7 * np.mean([error_db(by_librosa(log_mel), log_mel) for log_mel in log_mels])


def test_another_front_end_gives_the_same_pitch() -> None:
    config = FrontEndConfig(sample_rate_hz=16_000, n_fft=512, hop_length=160, n_mels=64, f_max_hz=8_000.0)
    log_mel = log_mel_of(tone(1_000.0, sample_rate_hz=16_000), config)

    waveform = log_mel_to_waveform(log_mel, config)

    spectrum = np.abs(np.fft.rfft(waveform))
    assert np.fft.rfftfreq(len(waveform), 1 / 16_000)[spectrum.argmax()] == pytest.approx(1_000.0, abs=60.0)


def test_half_precision_and_the_absolute_level_make_no_difference() -> None:
    log_mel = log_mel_of(tone(440.0)).astype(np.float16)

    quiet, loud = (log_mel_to_waveform(log_mel.astype(np.float32) + offset_db, CONFIG) for offset_db in (-40.0, 40.0))

    assert np.isfinite(log_mel_to_waveform(log_mel, CONFIG)).all()
    np.testing.assert_allclose(quiet, loud, atol=1e-3)


def test_the_same_log_mel_gives_the_same_waveform() -> None:
    log_mel = np.random.default_rng(0).normal(-40.0, 10.0, (80, 20)).astype(np.float32)

    np.testing.assert_array_equal(log_mel_to_waveform(log_mel, CONFIG), log_mel_to_waveform(log_mel, CONFIG))
