"""The short-time Fourier transform against numpy's, and there and back, for many window and hop lengths."""

import numpy as np
import pytest
import torch

from sermodels.fourier import ShortTimeFourier

FRAMES = 9
SIZES = [(1024, 256), (2048, 512), (512, 160), (1000, 250), (1001, 333), (509, 128), (512, 512), (512, 700), (64, 48)]


def waveforms(samples: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(2, samples)).astype(np.float32))


@pytest.mark.parametrize(("n_fft", "hop_length"), SIZES)
def test_the_spectrum_equals_numpys(n_fft: int, hop_length: int) -> None:
    transform, waveform = ShortTimeFourier(n_fft=n_fft, hop_length=hop_length), waveforms(FRAMES * hop_length)
    padded = np.pad(waveform.numpy(), ((0, 0), (n_fft // 2, n_fft + hop_length)))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    frames = np.stack([padded[:, i * hop_length : i * hop_length + n_fft] * window for i in range(FRAMES)], axis=1)

    real, imaginary = transform(transform.hops(waveform)).permute(3, 1, 2, 0, 4).numpy()

    wanted = np.fft.rfft(frames)[..., transform.bins.numpy()]
    np.testing.assert_allclose(real, wanted.real, atol=1e-4)
    np.testing.assert_allclose(np.abs(imaginary), np.abs(wanted.imag), atol=1e-4)  # a mirrored bin's sign is turned
    assert set(transform.bins.flatten().tolist()) == set(range(n_fft // 2 + 1))


@pytest.mark.parametrize(("n_fft", "hop_length"), SIZES[:6])
@pytest.mark.parametrize("frames", [1, 2, FRAMES])
def test_there_and_back_is_the_identity(n_fft: int, hop_length: int, frames: int) -> None:
    transform, waveform = ShortTimeFourier(n_fft=n_fft, hop_length=hop_length), waveforms(frames * hop_length)

    again = transform.waveform(transform.inverse(transform(transform.hops(waveform)), transform.gain(frames)))

    np.testing.assert_allclose(again, waveform, atol=1e-5)


@pytest.mark.parametrize(("n_fft", "hop_length"), SIZES[6:])
def test_hops_that_windows_do_not_cover_stay_finite(n_fft: int, hop_length: int) -> None:
    transform, waveform = ShortTimeFourier(n_fft=n_fft, hop_length=hop_length), waveforms(FRAMES * hop_length)

    again = transform.waveform(transform.inverse(transform(transform.hops(waveform)), transform.gain(FRAMES)))

    assert again.shape == waveform.shape
    assert again.abs().max() <= waveform.abs().max() + 1e-4
    centres = slice(None, None, hop_length)
    np.testing.assert_allclose(again[:, centres], waveform[:, centres], atol=1e-5)


def test_beyond_the_ends_there_is_nothing() -> None:
    transform = ShortTimeFourier(n_fft=1024, hop_length=256)
    hops = transform.inverse(torch.randn(17, 1, 5, 2, 32), transform.gain(5))

    np.testing.assert_array_equal(transform.hops(transform.waveform(hops)), hops)


def test_tables_stay_out_of_checkpoints() -> None:
    assert ShortTimeFourier(n_fft=64, hop_length=16).state_dict() == {}
