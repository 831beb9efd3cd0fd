"""The one front end: waveform to log-mel, as a torch module that training caches and serving exports."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sermodels.config import FrontEndConfig
from sermodels.fourier import ShortTimeFourier
from sermodels.mel import mel_filters

POWER_FLOOR = 1e-10
"""Power below which the logarithm is cut, as librosa's `amin`."""
SINGLE_PRECISION_DB = 60.0
"""Largest dynamic range for which the DFT in single precision is as good: half the work."""
FRAMES_AT_ONCE = {torch.float32: 512, torch.float64: 64}
"""So many frames are transformed together: most clips as a whole, but in double precision what fits a core's own cache,
which is a third faster."""


class LogMel(nn.Module):
    """Waveform to log-mel in dB, equal to librosa's `melspectrogram` and `power_to_db` to 1e-3 dB.

    Reflects librosa's defaults: centred frames, zero padding, periodic Hann window, power 2, Slaney mels of unit area.
    In an exported graph the DFT is two matrix products: operations that every device and ONNX have. Where `top_db` is
    above 60 the DFT runs in double precision, as librosa's does: in single precision, cells that are 80 dB below their
    frame's loudest one are off by more than 1e-3 dB. The power, of which all summands are positive, never needs it.
    """

    filters: Tensor
    filters_of_products: Tensor

    def __init__(self, config: FrontEndConfig) -> None:
        """Compute window, DFT factors and mel filters."""
        super().__init__()
        self.n_fft, self.hop_length, self.top_db = config.n_fft, config.hop_length, config.top_db
        self.dtype = torch.float32 if config.top_db <= SINGLE_PRECISION_DB else torch.float64
        self.fourier = ShortTimeFourier(n_fft=config.n_fft, hop_length=config.hop_length, dtype=self.dtype)
        filters = torch.from_numpy(mel_filters(config))
        self.register_buffer("filters", filters, persistent=False)
        bins, counts = self.fourier.bins, self.fourier.counts
        self.register_buffer("filters_of_products", (filters[bins] * counts[..., None]).flatten(0, 1), persistent=False)

    def forward(self, waveform: Float[Tensor, "batch sample"]) -> Float[Tensor, "batch mel frame"]:
        """Log-mel in dB of each waveform; the floor is `top_db` below each clip's loudest cell."""
        return self.with_floor(self.level_db(waveform))

    def level_db(self, waveform: Float[Tensor, "batch sample"]) -> Float[Tensor, "batch mel frame"]:
        """Level of each cell, before the floor."""
        mel_power = self._by_products(waveform) if torch.compiler.is_exporting() else self._by_fft(waveform)
        return (10.0 * torch.log10(mel_power.clamp(min=POWER_FLOOR))).transpose(-2, -1)

    def with_floor(self, level_db: Float[Tensor, "batch mel frame"]) -> Float[Tensor, "batch mel frame"]:
        """The front end's dynamic range: nothing lies more than `top_db` below the clip's loudest cell."""
        floor_db = level_db.amax(dim=(-2, -1), keepdim=True) - self.top_db
        return torch.maximum(level_db, floor_db)

    def _by_fft(self, waveform: Float[Tensor, "batch sample"]) -> Float[Tensor, "batch frame mel"]:
        """Power in each mel band."""
        padded = nn.functional.pad(waveform.to(self.dtype), (self.n_fft // 2, self.n_fft // 2))
        blocks = padded.unfold(-1, self.n_fft, self.hop_length).split(FRAMES_AT_ONCE[self.dtype], dim=1)
        return torch.cat([self._power(block) @ self.filters for block in blocks], dim=1)

    def _power(self, frames: Float[Tensor, "batch frame sample"]) -> Float[Tensor, "batch frame bin"]:
        """Power in each bin of the spectrum."""
        squares = torch.view_as_real(torch.fft.rfft(frames * self.fourier.window)).square_()
        return (squares[..., 0] + squares[..., 1]).to(self.filters.dtype)

    def _by_products(self, waveform: Float[Tensor, "batch sample"]) -> Float[Tensor, "batch frame mel"]:
        """The same by what ONNX has: slower on a CPU, and equal to the last digits."""
        samples = waveform.shape[1] // self.hop_length * self.hop_length + self.hop_length
        whole_hops = nn.functional.pad(waveform.to(self.dtype), (0, self.hop_length))[:, :samples]
        real, imaginary = self.fourier(self.fourier.hops(whole_hops)).unbind(3)
        power = (real.square() + imaginary.square()).to(self.filters.dtype)
        mel_power: Tensor = power.permute(1, 2, 0, 3).flatten(2) @ self.filters_of_products
        return mel_power
