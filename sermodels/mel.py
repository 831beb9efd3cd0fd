"""The mel scale and its filters, in numpy alone: what draws a log-mel needs no torch."""

import math

import numpy as np
from numpy.typing import NDArray

from sermodels.config import FrontEndConfig


def mel_filters(config: FrontEndConfig) -> NDArray[np.float32]:
    """Triangular mel filters of unit area on the Slaney scale, shape (bins, mel).

    Source: Slaney, Auditory Toolbox (1998), as in librosa's `filters.mel`.
    """
    bin_hz = np.arange(config.n_fft // 2 + 1) * (config.sample_rate_hz / config.n_fft)
    edge_hz = _mel_edges_hz(config)
    rising = (bin_hz[:, None] - edge_hz[:-2]) / (edge_hz[1:-1] - edge_hz[:-2])
    falling = (edge_hz[2:] - bin_hz[:, None]) / (edge_hz[2:] - edge_hz[1:-1])
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * 2.0 / (edge_hz[2:] - edge_hz[:-2])).astype(np.float32)


def mel_centres_hz(config: FrontEndConfig) -> NDArray[np.float64]:
    """Centre frequency of each mel band."""
    return _mel_edges_hz(config)[1:-1]


def _mel_edges_hz(config: FrontEndConfig) -> NDArray[np.float64]:
    """Corners of the triangles, evenly spaced in mel, two more than there are bands."""
    edges_mel = np.linspace(_hz_to_mel(config.f_min_hz), _hz_to_mel(config.f_max_hz), config.n_mels + 2)
    return np.array([_mel_to_hz(mel) for mel in edges_mel])


_HZ_PER_MEL = 200.0 / 3.0
_BREAK_HZ = 1000.0
_LOG_STEP = math.log(6.4) / 27.0


def _hz_to_mel(hz: float) -> float:
    """Slaney mel: linear up to 1 kHz, logarithmic above."""
    if hz < _BREAK_HZ:
        return hz / _HZ_PER_MEL
    return _BREAK_HZ / _HZ_PER_MEL + math.log(hz / _BREAK_HZ) / _LOG_STEP


def _mel_to_hz(mel: float) -> float:
    """Inverse of `_hz_to_mel`."""
    if mel < _BREAK_HZ / _HZ_PER_MEL:
        return mel * _HZ_PER_MEL
    return _BREAK_HZ * math.exp(_LOG_STEP * (mel - _BREAK_HZ / _HZ_PER_MEL))
