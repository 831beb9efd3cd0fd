"""Griffin-Lim as a torch module: log-mel to waveform by matrix products, so that it runs and exports anywhere."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from sermodels.config import FrontEndConfig
from sermodels.fourier import Gain, ShortTimeFourier, Spectrum
from sermodels.mel_inversion import SMALLEST, MelInversion

PEAK = 0.7
ITERATIONS = 32
MOMENTUM = 0.99
PHASE_FRAMES = 64
"""Frames after which the initial phases repeat."""


Magnitude = Float[Tensor, "row batch frame 1 column"]


class GriffinLim(nn.Module):
    """Log-mel in dB, at any level, to a waveform of `hop_length` samples a frame whose peak is PEAK.

    The fast algorithm of Perraudin, Balazs & Søndergaard 2013, as librosa's `griffinlim` has it, from fixed phases.
    """

    phases: Tensor

    def __init__(self, config: FrontEndConfig, *, iterations: int = ITERATIONS, momentum: float = MOMENTUM) -> None:
        """Compute the tables."""
        super().__init__()
        self.iterations, self.momentum = iterations, momentum
        self.magnitude = MelInversion(config)
        self.transform = ShortTimeFourier(n_fft=config.n_fft, hop_length=config.hop_length)
        rows, columns = self.transform.bins.shape
        angle = np.random.default_rng(0).uniform(0.0, 2 * np.pi, (rows, PHASE_FRAMES, columns))
        phases = np.stack([np.cos(angle), np.sin(angle)], axis=2).astype(np.float32)
        self.register_buffer("phases", torch.from_numpy(phases), persistent=False)

    def forward(self, log_mel: Float[Tensor, "batch mel frame"]) -> Float[Tensor, "batch sample"]:
        """Waveform of each clip."""
        spectrum, magnitude, gain = self.begin(log_mel)
        rebuilt = torch.zeros_like(spectrum)
        for _ in range(self.iterations):
            spectrum, rebuilt = self.step(spectrum, rebuilt, magnitude, gain)
        return self.end(spectrum, gain)

    def begin(self, log_mel: Float[Tensor, "batch mel frame"]) -> tuple[Spectrum, Magnitude, Gain]:
        """The first spectrum, the magnitude that all have, and what overlapping frames are multiplied by."""
        magnitude = self.magnitude(log_mel)[..., self.transform.bins].permute(2, 0, 1, 3)[:, :, :, None]
        frames = torch.arange(log_mel.shape[2], device=log_mel.device) % PHASE_FRAMES
        return magnitude * self.phases[:, None, frames], magnitude, self.transform.gain(log_mel.shape[2])

    def step(
        self, spectrum: Spectrum, rebuilt: Spectrum, magnitude: Magnitude, gain: Gain
    ) -> tuple[Spectrum, Spectrum]:
        """The next spectrum and the one of its waveform, before it is given the magnitude; takes the last one of those.

        The phase runs ahead by the momentum. At first there is nothing to run ahead of, and `rebuilt` is zero.
        """
        now = self.transform(self.transform.inverse(spectrum, gain))
        ahead = now - self.momentum / (1.0 + self.momentum) * rebuilt
        power = (ahead * ahead).sum(dim=3, keepdim=True)
        return ahead * (magnitude / power.clamp(min=SMALLEST).sqrt()), now

    def end(self, spectrum: Spectrum, gain: Gain) -> Float[Tensor, "batch sample"]:
        """The waveform at its peak."""
        return to_peak(self.transform.waveform(self.transform.inverse(spectrum, gain)))


def to_peak(waveform: Float[Tensor, "batch sample"]) -> Float[Tensor, "batch sample"]:
    """Each waveform scaled to a peak of PEAK; digital silence stays what it is."""
    return waveform * (PEAK / waveform.abs().amax(dim=1, keepdim=True).clamp(min=SMALLEST))
