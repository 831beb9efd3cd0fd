"""Short-time Fourier transform and its inverse as matrix products, for graphs: torch.istft does not export."""

import math

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import pad

SMALLEST_ENVELOPE = 1e-4
"""Sum of the squared windows below which the frames say nothing about a sample."""

Waveform = Float[Tensor, "batch sample"]
Hops = Float[Tensor, "batch hop within"]
"""A waveform with the zeros beyond its ends, cut into rows of `hop_length`."""
Frames = Float[Tensor, "batch frame width"]
Gain = Float[Tensor, "1 hop within"]
Spectrum = Float[Tensor, "row batch frame part column"]
"""At [c, ..., d] bin c + rows * d: its real part, then its imaginary part."""


class ShortTimeFourier(nn.Module):
    """Waveform of `hop_length` samples a frame, as `hops` lays it out, to spectrum and back.

    Frames are centred on their first sample, with zeros beyond the ends and the periodic Hann window, as in `LogMel`;
    the DFT is two small matrix products with a twiddle between them (Cooley & Tukey 1965), here within
    the second. With n_fft = rows * columns, sample = columns * a + b and bin = c + rows * d, a real signal needs c up
    to rows / 2: the others are conjugates. `bins` has the bin at [c, d], mirrored to n_fft / 2 at most; `counts` is 1
    there, and 0 where its conjugate is at another place already.
    """

    window: Tensor
    inner: Tensor
    outer: Tensor
    outer_inverse: Tensor
    inner_inverse: Tensor
    bins: Tensor
    counts: Tensor

    def __init__(self, *, n_fft: int, hop_length: int, dtype: torch.dtype = torch.float32) -> None:
        """Compute the tables."""
        super().__init__()
        self.n_fft, self.hop_length, self.centre = n_fft, hop_length, n_fft // 2
        self.rows: int = max(factor for factor in range(1, math.isqrt(n_fft) + 1) if n_fft % factor == 0)
        self.overlap = -(-n_fft // hop_length)
        self.spare = max(self.overlap - 1, 1)
        row = torch.arange(self.rows // 2 + 1)[:, None]
        number = row + self.rows * torch.arange(n_fft // self.rows)
        own_conjugate = (row == 0) | (2 * row == self.rows)
        self.register_buffer("bins", torch.minimum(number, n_fft - number), persistent=False)
        self.register_buffer("counts", ~own_conjugate | (number <= n_fft // 2), persistent=False)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
        for name, table in {"window": window, **_tables(n_fft, self.rows)}.items():
            self.register_buffer(name, torch.from_numpy(table).to(dtype), persistent=False)

    def hops(self, waveform: Waveform) -> Hops:
        """The form in which a waveform is taken; `sample` must be a multiple of the hop length."""
        zeros = (self.centre, self.spare * self.hop_length - self.centre)
        hops: Tensor = pad(waveform, zeros).unflatten(1, (-1, self.hop_length))
        return hops

    def waveform(self, hops: Hops) -> Waveform:
        """The inverse of `hops`."""
        samples = (hops.shape[1] - self.spare) * self.hop_length
        return hops.flatten(1)[:, self.centre : self.centre + samples]

    def forward(self, hops: Hops) -> Spectrum:
        """Spectrum of each frame."""
        count = hops.shape[1] - self.spare
        frames = torch.cat([hops[:, i : i + count] for i in range(self.overlap)], dim=2)[..., : self.n_fft]
        partial = self.inner @ (frames * self.window).unflatten(2, (self.rows, -1))
        partial = partial.unflatten(2, (-1, 2)).flatten(3).permute(2, 0, 1, 3)
        spectrum: Tensor = (partial @ self.outer[:, None]).unflatten(3, (2, -1))
        return spectrum

    def inverse(self, spectrum: Spectrum, gain: Gain) -> Hops:
        """Waveform nearest to a spectrum that may be none of a waveform's (Griffin & Lim 1984, eq. 6)."""
        partial = (spectrum.flatten(3) @ self.outer_inverse[:, None]).permute(1, 2, 0, 3)
        frames = (self.inner_inverse @ partial.unflatten(3, (2, -1)).flatten(2, 3)).flatten(2)
        return self._overlap_add(frames * self.window) * gain

    def gain(self, frames: int | torch.SymInt) -> Gain:
        """For `inverse`: 1 / sum of overlapping squared windows, and 0 beyond the waveform's ends."""
        squares = self._overlap_add(self.window.square().expand(1, frames, -1))
        return self.hops(torch.ones_like(self.waveform(squares))) / squares.clamp(min=SMALLEST_ENVELOPE)

    def _overlap_add(self, frames: Frames) -> Hops:
        """Sum of frames that begin a hop apart."""
        total = self._shifted(frames, 0)
        for i in range(1, self.overlap):
            total = total + self._shifted(frames, i)
        return total

    def _shifted(self, frames: Frames, i: int) -> Hops:
        """Part i of each frame, a hop long, in the hop where it belongs."""
        start, end = i * self.hop_length, (i + 1) * self.hop_length
        part = frames[..., start : min(end, self.n_fft)]
        return pad(part, (0, max(0, end - self.n_fft), i, self.spare - i))


def _tables(n_fft: int, rows: int) -> dict[str, NDArray[np.float64]]:
    """Factors of the DFT, complex values as blocks of real and imaginary parts, and of its inverse."""
    a, b, c = np.arange(rows), np.arange(n_fft // rows), np.arange(rows // 2 + 1)
    inner = np.exp(-2j * np.pi * np.outer(c, a) / rows)
    twiddle = np.exp(-2j * np.pi * np.outer(c, b) / n_fft)
    outer = twiddle[:, :, None] * np.exp(-2j * np.pi * np.outer(b, b) / len(b))
    represents = np.where((c == 0) | (2 * c == rows), 1, 2)  # itself, and mostly a conjugate as well
    back = outer.conj().transpose(0, 2, 1) * represents[:, None, None] / n_fft
    parts = np.stack([inner.real, inner.imag], axis=1).reshape(-1, rows)
    return {
        "inner": parts,
        "outer": np.block([[outer.real, outer.imag], [-outer.imag, outer.real]]),
        "outer_inverse": np.block([[back.real, back.imag], [-back.imag, back.real]]),
        "inner_inverse": parts.T,
    }
