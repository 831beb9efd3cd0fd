"""The front end against librosa, on generated signals and on real recordings."""

import warnings
from pathlib import Path

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sermodels.audio import read_waveform
from sermodels.config import FrontEndConfig
from sermodels.features import LogMel
from sermodels.mel import mel_centres_hz, mel_filters

TOLERANCE_DB = 1e-3
DEFAULT = FrontEndConfig()
CONFIGS = {
    "default": DEFAULT,
    "small": FrontEndConfig(n_fft=512, hop_length=160, n_mels=40),
    "large": FrontEndConfig(n_fft=2048, hop_length=512, n_mels=128),
    "not a power of two": FrontEndConfig(n_fft=1000, hop_length=250, n_mels=64),
    "odd": FrontEndConfig(n_fft=1001, hop_length=333, n_mels=33),
    "prime": FrontEndConfig(n_fft=509, hop_length=128, n_mels=20),
    "band": FrontEndConfig(f_min_hz=50.0, f_max_hz=8_000.0),
    "16 kHz": FrontEndConfig(sample_rate_hz=16_000, n_fft=400, hop_length=160, f_min_hz=20.0, f_max_hz=7_600.0),
    "hop above window": FrontEndConfig(n_fft=512, hop_length=700),
    "top_db 30": FrontEndConfig(top_db=30.0),
    "top_db 60, the last in single precision": FrontEndConfig(top_db=60.0),
    "top_db 61, the first in double": FrontEndConfig(top_db=61.0),
}
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def log_mel(waveform: NDArray[np.float32], config: FrontEndConfig) -> NDArray[np.float32]:
    with torch.inference_mode():
        values: NDArray[np.float32] = LogMel(config)(torch.from_numpy(waveform)[None])[0].numpy()
    return values


def reference(waveform: NDArray[np.float32], config: FrontEndConfig) -> NDArray[np.float32]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # librosa tells of signals shorter than a window and of bands between two bins
        power = librosa.feature.melspectrogram(
            y=waveform,
            sr=config.sample_rate_hz,
            n_fft=config.n_fft,
            hop_length=config.hop_length,
            n_mels=config.n_mels,
            fmin=config.f_min_hz,
            fmax=config.f_max_hz,
        )
    decibels: NDArray[np.float32] = librosa.power_to_db(power, top_db=config.top_db)
    return decibels


def signals(sample_rate_hz: int) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    time_s = np.arange(sample_rate_hz) / sample_rate_hz
    shapes = {
        "noise": rng.normal(scale=0.1, size=len(time_s)),
        "quiet noise": rng.normal(scale=1e-6, size=len(time_s)),
        "tone": np.sin(2 * np.pi * 440.0 * time_s),
        "chirp": np.sin(2 * np.pi * (50.0 + 3_000.0 * time_s) * time_s),
        "silence": np.zeros(len(time_s)),
        "click": np.eye(1, len(time_s), 5_000)[0],
        "speech between silences": np.where(np.abs(time_s - 0.5) < 0.2, rng.normal(size=len(time_s)), 0.0),
        "full scale": np.sign(np.sin(2 * np.pi * 100.0 * time_s)),
        "one sample": np.array([0.5]),
        "two samples": np.array([0.5, -0.25]),
        "half a window": rng.normal(size=300),
        "long": rng.normal(scale=0.05, size=30 * sample_rate_hz),
    }
    return {name: samples.astype(np.float32) for name, samples in shapes.items()}


@pytest.mark.parametrize("samples", [1, 255, 256, 1_000, 22_050])
@every_config
def test_shape(config: FrontEndConfig, samples: int) -> None:
    values = LogMel(config)(torch.zeros(3, samples))
    pad = 2 * (config.n_fft // 2)
    assert values.shape == (3, config.n_mels, 1 + (samples + pad - config.n_fft) // config.hop_length)
    assert values.dtype == torch.float32


@every_config
def test_generated_signals_equal_librosa(config: FrontEndConfig) -> None:
    for name, waveform in signals(config.sample_rate_hz).items():
        ours, theirs = log_mel(waveform, config), reference(waveform, config)
        assert ours.shape == theirs.shape, name
        assert np.abs(ours - theirs).max() <= TOLERANCE_DB, name


def test_real_recordings_equal_librosa(real_corpora_dir: Path) -> None:
    emodb = sorted((real_corpora_dir / "emodb").glob("*.wav"))[::40]
    ravdess = sorted((real_corpora_dir / "ravdess").glob("Actor_*/*.wav"))[::120]
    assert len(emodb) + len(ravdess) >= 20
    assert min(len(emodb), len(ravdess)) >= 10
    for path in emodb + ravdess:
        waveform = read_waveform(path, sample_rate_hz=DEFAULT.sample_rate_hz)
        difference = np.abs(log_mel(waveform, DEFAULT) - reference(waveform, DEFAULT)).max()
        assert difference <= TOLERANCE_DB, path.name


def test_silence_is_the_floor() -> None:
    np.testing.assert_array_equal(log_mel(np.zeros(5_000, np.float32), DEFAULT), np.float32(-100.0))


@pytest.mark.parametrize("top_db", [10.0, 80.0])
def test_nothing_lies_below_the_floor(top_db: float) -> None:
    waveform = signals(22_050)["speech between silences"]
    values = log_mel(waveform, FrontEndConfig(top_db=top_db))
    assert values.min() == pytest.approx(values.max() - top_db, abs=1e-4)


def test_ten_times_the_amplitude_is_twenty_decibels_more() -> None:
    waveform = signals(22_050)["noise"]
    np.testing.assert_allclose(log_mel(10 * waveform, DEFAULT) - log_mel(waveform, DEFAULT), 20.0, atol=1e-3)


def test_a_batch_equals_its_clips_one_by_one() -> None:
    rng = np.random.default_rng(1)
    batch = (rng.normal(size=(5, 9_000)) * np.array([1, 0.1, 1e-3, 1e-5, 0])[:, None]).astype(np.float32)
    together = LogMel(DEFAULT)(torch.from_numpy(batch)).numpy()
    for clip, values in zip(batch, together, strict=True):
        np.testing.assert_allclose(values, log_mel(clip, DEFAULT), atol=1e-4)


def test_a_tone_is_loudest_in_the_band_around_it() -> None:
    centres_hz = mel_centres_hz(DEFAULT)
    time_s = np.arange(11_025) / 22_050
    for band in (3, 20, 50, 75):
        tone = np.sin(2 * np.pi * centres_hz[band] * time_s).astype(np.float32)
        assert abs(int(log_mel(tone, DEFAULT)[:, 20].argmax()) - band) <= 1


def test_tables_stay_out_of_checkpoints() -> None:
    assert LogMel(DEFAULT).state_dict() == {}


@every_config
def test_filters_equal_librosa(config: FrontEndConfig) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = librosa.filters.mel(
            sr=config.sample_rate_hz,
            n_fft=config.n_fft,
            n_mels=config.n_mels,
            fmin=config.f_min_hz,
            fmax=config.f_max_hz,
            htk=False,
            norm="slaney",
        )
    ours = mel_filters(config)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours.T, theirs, rtol=1e-5, atol=1e-9)


@every_config
def test_centres_are_librosas_mel_frequencies(config: FrontEndConfig) -> None:
    theirs = librosa.mel_frequencies(n_mels=config.n_mels + 2, fmin=config.f_min_hz, fmax=config.f_max_hz)
    np.testing.assert_allclose(mel_centres_hz(config), theirs[1:-1], rtol=1e-9)


@settings(deadline=None)
@given(
    n_mels=st.integers(1, 100),
    f_min_hz=st.floats(0.0, 2_000.0),
    width_hz=st.floats(100.0, 9_000.0),
)
def test_centres_rise_within_the_band(n_mels: int, f_min_hz: float, width_hz: float) -> None:
    config = FrontEndConfig(n_mels=n_mels, f_min_hz=f_min_hz, f_max_hz=f_min_hz + width_hz)
    edges_hz = np.concatenate([[f_min_hz], mel_centres_hz(config), [f_min_hz + width_hz]])
    assert (np.diff(edges_hz) > 0).all()
