"""The melody of a voice: its fundamental frequency, and how much of it two sounds share."""

import librosa
import numpy as np
from numpy.typing import NDArray

LOWEST_HZ, HIGHEST_HZ = 65.0, 500.0
FRAME, HOP = 2048, 256
SILENCE_DB = 30.0
"""Frames that are quieter than the loudest one by more than this have no pitch."""
FEWEST_FRAMES = 10


def pitch_correlation(first: NDArray[np.float32], second: NDArray[np.float32], sample_rate_hz: int) -> float:
    """Correlation of log F0, frame by frame, where both waveforms (sample,) sound; NaN where they hardly ever do.

    F0 by YIN (de Cheveigné & Kawahara 2002).
    """
    contours, sounding = zip(*(_contour(waveform, sample_rate_hz) for waveform in (first, second)), strict=True)
    frames = min(map(len, sounding))
    both = sounding[0][:frames] & sounding[1][:frames]
    if both.sum() < FEWEST_FRAMES:
        return float("nan")
    one, other = (contour[:frames][both] for contour in contours)
    return float(np.corrcoef(one, other)[0, 1])


def _contour(waveform: NDArray[np.float32], sample_rate_hz: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The logarithm of each frame's F0, and whether the frame sounds."""
    pitch = librosa.yin(
        waveform, fmin=LOWEST_HZ, fmax=HIGHEST_HZ, sr=sample_rate_hz, frame_length=FRAME, hop_length=HOP
    )
    level = librosa.feature.rms(y=waveform, frame_length=FRAME, hop_length=HOP)[0]
    return np.log(pitch), 20.0 * np.log10(np.maximum(level, 1e-9) / max(float(level.max()), 1e-9)) > -SILENCE_DB
