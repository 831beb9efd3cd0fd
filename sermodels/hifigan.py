"""HiFi-GAN (Kong, Kim & Bae 2020) from a checkpoint, fed with this project's log-mel."""

from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from sermodels.config import FrontEndConfig
from sermodels.errors import WeightsError
from sermodels.griffin_lim import to_peak
from sermodels.mel import mel_filters
from sermodels.mel_inversion import MelInversion

INPUT = FrontEndConfig(sample_rate_hz=22_050, n_fft=1024, hop_length=256, n_mels=80, f_max_hz=8_000.0)
"""What the checkpoint was trained on, but for its mels being natural logarithms of magnitudes."""
NEEDED = ("sample_rate_hz", "n_fft", "hop_length")
MAGNITUDE_FLOOR = 1e-5
LOUDEST_FRAME_DB = 44.0
"""Power of the loudest frame, summed over its bins, of a recording whose peak is 0.95, as in HiFi-GAN's training.

The mean over 60 clips each of EmoDB and RAVDESS (44.1 and 44.0 dB; standard deviation 1.6 dB). Of nine such figures it
varied least; the loudest cell, by 2.8 dB.
"""
CHANNELS = 128
STEPS = ((8, 16), (8, 16), (2, 4), (2, 4))
"""Factor and kernel of each upsampling; the factors' product is the hop length."""
KERNELS = (3, 7, 11)
DILATIONS = (1, 3, 5)
SLOPE = 0.1
REMEDY = (
    "give a HiFi-GAN V2 generator for 80 mels at 22,050 Hz, weight norm removed, as .safetensors; or use Griffin-Lim"
)

Channels = Float[Tensor, "batch channel step"]


class ResidualBlock(nn.Module):
    """Pairs of a dilated and a plain convolution, each pair added to its input (appendix A.1, table 5)."""

    def __init__(self, channels: int, kernel: int) -> None:
        """Length stays the same."""
        super().__init__()
        self.convs1 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, dilation=d, padding=d * (kernel // 2)) for d in DILATIONS
        )
        self.convs2 = nn.ModuleList(nn.Conv1d(channels, channels, kernel, padding=kernel // 2) for _ in DILATIONS)

    def forward(self, x: Channels) -> Channels:
        """The sum of the input and what each pair adds."""
        for dilated, plain in zip(self.convs1, self.convs2, strict=True):
            x = x + plain(leaky_relu(dilated(leaky_relu(x, SLOPE)), SLOPE))
        return x


class HifiGan(nn.Module):
    """The generator, size V2; its parameters have the names of the original code."""

    def __init__(self) -> None:
        """Random weights; `from_file` has trained ones."""
        super().__init__()
        widths = [CHANNELS >> i for i in range(len(STEPS) + 1)]
        self.conv_pre = nn.Conv1d(INPUT.n_mels, CHANNELS, 7, padding=3)
        self.ups = nn.ModuleList(
            nn.ConvTranspose1d(width, width // 2, kernel, factor, padding=(kernel - factor) // 2)
            for width, (factor, kernel) in zip(widths, STEPS, strict=False)
        )
        self.resblocks = nn.ModuleList(ResidualBlock(width, kernel) for width in widths[1:] for kernel in KERNELS)
        self.conv_post = nn.Conv1d(widths[-1], 1, 7, padding=3)

    @classmethod
    def from_file(cls, path: Path) -> "HifiGan":
        """The generator with the weights of a .safetensors file. Raises WeightsError."""
        generator = cls().eval().requires_grad_(False)
        state = _read(path)
        _check(state, generator.state_dict(), path)
        generator.load_state_dict(state)
        return generator

    def forward(self, log_mel: Float[Tensor, "batch mel frame"]) -> Float[Tensor, "batch sample"]:
        """Waveform in [-1, 1] of natural-log magnitude mels as INPUT describes them."""
        x: Tensor = self.conv_pre(log_mel)
        for i, up in enumerate(self.ups):
            x = up(leaky_relu(x, SLOPE))
            blocks = self.resblocks[len(KERNELS) * i : len(KERNELS) * (i + 1)]
            x = torch.stack([block(x) for block in blocks]).mean(dim=0)
        return torch.tanh(self.conv_post(leaky_relu(x)))[:, 0]  # the original has the default slope here


class HifiGanVocoder(nn.Module):
    """Log-mel in dB, at any level and with any bands, to a waveform of `hop_length` samples a frame, peak PEAK."""

    filters: Tensor

    def __init__(self, config: FrontEndConfig, path: Path) -> None:
        """Load the checkpoint. Raises WeightsError when it cannot be read, or was made for another front end."""
        super().__init__()
        if differing := [name for name in NEEDED if getattr(config, name) != getattr(INPUT, name)]:
            given = ", ".join(f"{name} {getattr(config, name)}" for name in differing)
            needed = ", ".join(f"{name} {getattr(INPUT, name)}" for name in NEEDED)
            raise WeightsError(f"{path}: HiFi-GAN needs {needed}, but the front end has {given}; use Griffin-Lim")
        self.magnitude, self.generator = MelInversion(config), HifiGan.from_file(path)
        self.register_buffer("filters", torch.from_numpy(mel_filters(INPUT)), persistent=False)

    def forward(self, log_mel: Float[Tensor, "batch mel frame"]) -> Float[Tensor, "batch sample"]:
        """Waveform of each clip.

        The front end centres a frame on its first sample, HiFi-GAN on the middle of its hop: half a hop more is made
        at the end, and half a hop dropped at the start.
        """
        hop = INPUT.hop_length
        mels = self._log_magnitude(log_mel)
        waveform = self.generator(torch.cat([mels, mels[:, :, -1:]], dim=2))
        return to_peak(waveform[:, hop // 2 : hop // 2 + hop * log_mel.shape[2]])

    def _log_magnitude(self, log_mel: Float[Tensor, "batch mel frame"]) -> Float[Tensor, "batch mel_ frame"]:
        """The generator's input, at the level of a recording whose peak is 0.95."""
        magnitude = self.magnitude(log_mel)
        loudest = magnitude.square().sum(dim=2).amax(dim=1)[:, None, None].sqrt()
        scaled = magnitude * (10.0 ** (LOUDEST_FRAME_DB / 20.0) / loudest)
        return torch.log((scaled @ self.filters).clamp(min=MAGNITUDE_FLOOR)).transpose(1, 2)


def _read(path: Path) -> dict[str, Tensor]:
    """Named tensors of a .safetensors file."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file; {REMEDY}")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error}); {REMEDY}") from error


def _check(state: dict[str, Tensor], own: dict[str, Tensor], path: Path) -> None:
    """Refuse tensors that are missing, unknown or of another shape."""
    for problem, names in (("lacks", own.keys() - state.keys()), ("has, unexpectedly,", state.keys() - own.keys())):
        if names:
            raise WeightsError(f"{path}: {problem} {len(names)} tensors, such as {min(names)}; {REMEDY}")
    for name, tensor in state.items():
        if tensor.shape != own[name].shape:
            shapes = f"{tuple(tensor.shape)}, but the generator needs {tuple(own[name].shape)}"
            raise WeightsError(f"{path}: {name} has shape {shapes}; {REMEDY}")
