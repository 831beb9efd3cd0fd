"""HiFi-GAN: shapes and refusals with weights made here; level and pitch with the shared checkpoint."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sermodels.audio import read_waveform
from sermodels.config import FrontEndConfig
from sermodels.errors import WeightsError
from sermodels.features import LogMel
from sermodels.griffin_lim import PEAK
from sermodels.hifigan import HifiGan, HifiGanVocoder

CHECKPOINT = (
    Path(__file__).resolve().parents[2].parent / "shared" / "data" / "weights" / "hifigan_v2_22k_80mel.safetensors"
)
CONFIG = FrontEndConfig()


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    save_file(HifiGan().state_dict(), path)
    return path


@pytest.fixture(scope="module")
def checkpoint() -> Path:
    if not CHECKPOINT.is_file():
        pytest.skip(f"no weights at {CHECKPOINT.parent}")
    return CHECKPOINT


def tone(pitch_hz: float) -> Tensor:
    return 0.1 * torch.sin(2 * torch.pi * pitch_hz * torch.arange(22_050) / 22_050)[None]


@pytest.mark.parametrize(("batch", "frames"), [(1, 1), (3, 2), (2, 33)])
def test_shape_and_peak(untrained: Path, batch: int, frames: int) -> None:
    waveform = HifiGanVocoder(CONFIG, untrained)(torch.randn(batch, 80, frames) * 10.0)

    assert waveform.shape == (batch, 256 * frames)
    np.testing.assert_allclose(waveform.abs().amax(dim=1), PEAK, rtol=1e-5)


def test_other_bands_are_taken_and_the_level_makes_no_difference(untrained: Path) -> None:
    vocoder = HifiGanVocoder(FrontEndConfig(n_mels=64, f_min_hz=50.0, f_max_hz=7_600.0), untrained)
    log_mel = torch.randn(1, 64, 10) * 10.0

    np.testing.assert_allclose(vocoder(log_mel), vocoder(log_mel - 50.0), atol=1e-3)


def test_silence_gives_numbers(untrained: Path) -> None:
    assert HifiGanVocoder(CONFIG, untrained)(torch.full((2, 80, 4), -100.0)).isfinite().all()


def test_weights_load_exactly(untrained: Path) -> None:
    torch.manual_seed(0)
    wanted = HifiGan().state_dict()

    loaded = HifiGan.from_file(untrained)

    assert all(torch.equal(tensor, wanted[name]) for name, tensor in loaded.state_dict().items())
    assert not loaded.training


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"conv_pre.bias": None}, r"lacks 1 tensors, such as conv_pre\.bias"),
        ({"other.weight": torch.zeros(1)}, r"has, unexpectedly, 1 tensors, such as other\.weight"),
        (
            {"conv_pre.weight": torch.zeros(512, 80, 7)},
            r"conv_pre\.weight has shape \(512, 80, 7\), but .* \(128, 80, 7\)",
        ),
    ],
    ids=["lacking", "unknown", "another size"],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    tmp_path: Path, change: dict[str, Tensor | None], reason: str
) -> None:
    state = {name: tensor for name, tensor in (HifiGan().state_dict() | change).items() if tensor is not None}
    save_file(state, tmp_path / "other.safetensors")

    with pytest.raises(WeightsError, match=rf"other\.safetensors: {reason}.*; give a HiFi-GAN V2"):
        HifiGan.from_file(tmp_path / "other.safetensors")


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "damaged.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{damaged}")

    with pytest.raises(WeightsError, match=r"damaged\.safetensors: not a readable safetensors file"):
        HifiGan.from_file(tmp_path / "damaged.safetensors")
    for path in (tmp_path / "absent.safetensors", tmp_path):
        with pytest.raises(WeightsError, match=f"{path}: no such weights file"):
            HifiGan.from_file(path)


@pytest.mark.parametrize(
    ("changed", "given"),
    [
        ({"sample_rate_hz": 16_000, "f_max_hz": 8_000.0}, "sample_rate_hz 16000"),
        ({"n_fft": 2048}, "n_fft 2048"),
        ({"hop_length": 128}, "hop_length 128"),
    ],
)
def test_another_front_end_is_refused(untrained: Path, changed: dict[str, float], given: str) -> None:
    config = FrontEndConfig.model_validate(changed)

    with pytest.raises(WeightsError, match=rf"untrained\.safetensors: HiFi-GAN needs .*has {given}; use Griffin-Lim"):
        HifiGanVocoder(config, untrained)


@pytest.mark.parametrize("pitch_hz", [300.0, 1_000.0])
def test_a_tone_keeps_its_pitch(checkpoint: Path, pitch_hz: float) -> None:
    waveform = HifiGanVocoder(CONFIG, checkpoint)(LogMel(CONFIG)(tone(pitch_hz)))[0].numpy()

    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    assert np.fft.rfftfreq(len(waveform), 1 / 22_050)[spectrum.argmax()] == pytest.approx(pitch_hz, rel=0.15)


def test_speech_is_fed_at_the_level_of_training_and_comes_back(checkpoint: Path, real_corpora_dir: Path) -> None:
    vocoder, front_end = HifiGanVocoder(CONFIG, checkpoint), LogMel(CONFIG)
    paths = [sorted(real_corpora_dir.glob(pattern))[7] for pattern in ("emodb/*.wav", "ravdess/Actor_05/*.wav")]
    for path in paths:
        waveform = torch.from_numpy(read_waveform(path, sample_rate_hz=CONFIG.sample_rate_hz))[None]
        log_mel = front_end(waveform)
        padded = torch.nn.functional.pad(waveform * (0.95 / waveform.abs().max()), (512, 512))
        spectrum = torch.stft(padded, 1024, 256, window=torch.hann_window(1024), center=False, return_complex=True)
        wanted = torch.log((spectrum.abs().transpose(1, 2) @ vocoder.filters).clamp(min=1e-5)).transpose(1, 2)

        fed, again = vocoder._log_magnitude(log_mel), front_end(vocoder(log_mel))[:, :, : log_mel.shape[2]]

        loud = wanted > wanted.max() - 4.6  # 40 dB
        assert (fed - wanted)[loud].mean().abs() < 0.5, path.name
        audible = log_mel > log_mel.max() - 40.0
        difference = (again - log_mel)[audible]
        assert (difference - difference.median()).abs().mean() < 5.0, path.name
