"""Griffin-Lim and the mel inversion: shapes, levels, silence, and the same steps as librosa's."""

import librosa
import numpy as np
import pytest
import torch
from torch import Tensor

from sermodels.config import FrontEndConfig
from sermodels.griffin_lim import PEAK, GriffinLim
from sermodels.mel import mel_filters
from sermodels.mel_inversion import RANGE_DB, MelInversion

CONFIG = FrontEndConfig()
SMALL = FrontEndConfig(sample_rate_hz=16_000, n_fft=512, hop_length=160, n_mels=64, f_max_hz=8_000.0)
FRONT_ENDS = {
    "default": CONFIG,
    "16 kHz": SMALL,
    "odd": FrontEndConfig(n_fft=1001, hop_length=333, n_mels=33),
    "hop above window": FrontEndConfig(n_fft=512, hop_length=700, n_mels=40),
    "band": FrontEndConfig(f_min_hz=50.0, f_max_hz=8_000.0),
    "bands between two bins": FrontEndConfig(n_fft=256, hop_length=64, n_mels=100),
}


def noise(batch: int, frames: int, config: FrontEndConfig = CONFIG) -> Tensor:
    values = np.random.default_rng(0).normal(-40.0, 10.0, (batch, config.n_mels, frames))
    return torch.from_numpy(values.astype(np.float32))


@pytest.mark.parametrize("config", FRONT_ENDS.values(), ids=FRONT_ENDS)
@pytest.mark.parametrize(("batch", "frames"), [(1, 1), (3, 2), (2, 70)])
def test_shape_and_peak(config: FrontEndConfig, batch: int, frames: int) -> None:
    waveform = GriffinLim(config, iterations=3)(noise(batch, frames, config))

    assert waveform.shape == (batch, frames * config.hop_length)
    assert waveform.dtype == torch.float32
    np.testing.assert_allclose(waveform.abs().amax(dim=1), PEAK, rtol=1e-5)


@pytest.mark.parametrize("level_db", [-1_000.0, -100.0, 0.0, 1_000.0])
def test_silence_and_any_constant_give_numbers(level_db: float) -> None:
    assert GriffinLim(CONFIG)(torch.full((2, 80, 5), level_db)).isfinite().all()


def test_a_single_loud_cell_gives_numbers() -> None:
    log_mel = torch.full((1, 80, 30), -1e9)
    log_mel[0, 40, 15] = 0.0
    assert GriffinLim(CONFIG)(log_mel).isfinite().all()


def test_a_batch_equals_its_clips_one_by_one() -> None:
    vocoder = GriffinLim(CONFIG, iterations=3)
    log_mel = noise(3, 20) + torch.tensor([0.0, -60.0, 60.0])[:, None, None]

    together = vocoder(log_mel)

    for clip, waveform in zip(log_mel, together, strict=True):
        np.testing.assert_allclose(vocoder(clip[None])[0], waveform, atol=1e-4)


@pytest.mark.parametrize("iterations", [0, 1, 2, 5])
def test_each_step_is_librosas(iterations: int) -> None:
    frames, samples_of_the_end = 60, (iterations + 2) * CONFIG.n_fft  # librosa's waveform is a hop shorter
    vocoder = GriffinLim(CONFIG, iterations=iterations).double()
    vocoder.phases[:, :, 0], vocoder.phases[:, :, 1] = 1.0, 0.0
    log_mel = noise(1, frames).double()
    theirs = librosa.griffinlim(
        vocoder.magnitude(log_mel)[0].T.numpy(),
        n_iter=iterations,
        hop_length=CONFIG.hop_length,
        n_fft=CONFIG.n_fft,
        momentum=0.99,
        init=None,
    )

    ours = vocoder(log_mel)[0, : len(theirs)].numpy()

    beginning = slice(0, len(theirs) - samples_of_the_end)
    scale = np.dot(ours[beginning], theirs[beginning]) / np.dot(theirs[beginning], theirs[beginning])
    np.testing.assert_allclose(ours[beginning], scale * theirs[beginning], atol=2e-4)


def test_the_inversion_reproduces_the_bands() -> None:
    power = np.random.default_rng(1).exponential(size=(30, 513)) * np.geomspace(1.0, 1e-5, 513)
    bands = torch.from_numpy(power @ mel_filters(CONFIG)).T[None].float()

    magnitude = MelInversion(CONFIG, iterations=64)(10.0 * bands.log10())

    again_db = 10.0 * (magnitude.square() @ torch.from_numpy(mel_filters(CONFIG))).log10()
    wanted_db = 10.0 * (bands / bands.max()).log10().transpose(1, 2) + RANGE_DB
    assert magnitude.shape == (1, 30, 513)
    assert (magnitude >= 0.0).all()
    assert (again_db - wanted_db).abs().mean() < 0.05


def test_tables_stay_out_of_checkpoints() -> None:
    assert GriffinLim(CONFIG).state_dict() == {}
