"""Log-mel back to sound, by Griffin-Lim."""

import numpy as np
from numpy.typing import NDArray

from sermodels.config import FrontEndConfig

PEAK = 0.7


def log_mel_to_waveform(log_mel: NDArray[np.floating], config: FrontEndConfig) -> NDArray[np.float32]:
    """Waveform (sample,) of a log-mel (mel, frame) in dB, scaled to a peak of 0.7.

    The power spectrum is estimated by non-negative least squares, the phase by Griffin-Lim (Perraudin et al. 2013,
    librosa's `griffinlim`).
    """
    import librosa

    power = librosa.db_to_power(log_mel.astype(np.float32) - float(log_mel.max()))
    magnitude = librosa.feature.inverse.mel_to_stft(
        power, sr=config.sample_rate_hz, n_fft=config.n_fft, fmin=config.f_min_hz, fmax=config.f_max_hz
    )
    waveform = librosa.griffinlim(
        magnitude, hop_length=config.hop_length, n_fft=config.n_fft, n_iter=32, random_state=0
    )
    peak = max(float(np.abs(waveform).max()), 1e-9)
    return (PEAK * waveform / peak).astype(np.float32)
