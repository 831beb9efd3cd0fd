"""How speech sounds from frame to frame, in numbers that have names: loudness, spectrum, cepstrum and voice.

A choice of the low-level descriptors of Schuller et al. 2013 (the ComParE set), whatever the recording's level.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.ndimage import uniform_filter1d

from sermodels.config import FrontEndConfig
from sermodels.errors import AudioError
from sermodels.mel import mel_filters

SAMPLE_RATE_HZ = 22_050
FRAME, HOP = 1024, 221
"""Samples: 46 ms every 10 ms."""
VOICE_FRAME = 2048
"""Samples in which the voice's period is looked for: five of a low voice."""
LOWEST_HZ, HIGHEST_HZ = 60, 600
VOICED = 0.5
"""Correlation of a frame with itself one period later from which on it is voiced."""
SILENCE_DB = 30.0
MARGIN = 3
"""Frames that are kept before and after those within SILENCE_DB of the loudest."""
TINY = 1e-9
MEL_FILTERS = mel_filters(FrontEndConfig(sample_rate_hz=SAMPLE_RATE_HZ, n_fft=FRAME, n_mels=26, f_max_hz=8000)).T

Contour = Float[np.ndarray, " frame"]
Contours = dict[str, Contour]


@dataclass(frozen=True)
class Descriptors:
    """Contours by name, (frame,) each, from the first to the last frame that is not silent, and the voiced share."""

    contours: Contours
    voiced_share: float


def describe(waveform: NDArray[np.floating]) -> Descriptors:
    """Descriptors of a recording, (sample,) at SAMPLE_RATE_HZ. Raises AudioError when it is silent."""
    level = float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))
    if level < TINY:
        raise AudioError("holds nothing but silence, which has no descriptors")
    speech = np.asarray(waveform, dtype=np.float64) * (0.05 / level)
    frames = _framed(np.pad(speech, FRAME // 2), FRAME)
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(FRAME), axis=1))).T + 1e-10
    voice, periodic = _voice(_framed(np.pad(speech, VOICE_FRAME // 2), VOICE_FRAME)[: len(frames)])
    mel_power = MEL_FILTERS @ power
    contours = _loudness(frames, mel_power) | _spectrum(power) | _cepstrum(mel_power) | voice
    contours["shimmer"] = _relative_changes(np.abs(frames).max(axis=1))
    loud = contours["level_db"] > contours["level_db"].max() - SILENCE_DB
    voiced = periodic & loud
    contours["pitch_octave"], contours["jitter"], contours["jitter_change"] = _melody(contours["pitch_octave"], voiced)
    first, last = np.flatnonzero(loud)[[0, -1]]
    heard = slice(max(0, first - MARGIN), last + MARGIN + 1)
    smooth = {name: uniform_filter1d(contour[heard], 3, mode="nearest") for name, contour in contours.items()}
    return Descriptors(smooth, float(voiced[heard].mean()))


def _framed(samples: NDArray[np.float64], length: int) -> Float[np.ndarray, "frame sample"]:
    """A frame of this length every HOP samples."""
    return np.lib.stride_tricks.sliding_window_view(samples, length)[::HOP]


def _loudness(frames: NDArray[np.float64], mel_power: NDArray[np.float64]) -> Contours:
    """How loud a frame is, and how often it crosses zero."""
    return {
        "loudness": np.log((mel_power**0.33).sum(axis=0) + 1e-6),
        "level_db": 20.0 * np.log10(np.sqrt(np.square(frames).mean(axis=1)) + 1e-6),
        "zero_crossings": (np.diff(np.sign(frames), axis=1) != 0).mean(axis=1),
    }


def _spectrum(power: NDArray[np.float64]) -> Contours:
    """Where a frame's power lies, how it is spread, and how fast that changes."""
    hz: NDArray[np.float64] = np.fft.rfftfreq(FRAME, 1.0 / SAMPLE_RATE_HZ)[:, None].astype(np.float64)
    total = power.sum(axis=0)
    share = power / total
    centroid = (share * hz).sum(axis=0)
    away = hz - centroid
    variance = (share * away**2).sum(axis=0)
    spread = np.sqrt(variance) + 1e-6
    unit = np.sqrt(power / total)
    ramp = hz - hz.mean()
    reached = np.cumsum(share, axis=0)
    last = len(hz) - 1
    roll_off = {
        f"roll_off_{percent}": np.log(hz[(reached < percent / 100).sum(axis=0).clip(0, last), 0] + 50.0)
        for percent in (25, 50, 75, 90)
    }
    bands = {
        f"share_{low}_{high}": np.log(share[(hz[:, 0] >= low) & (hz[:, 0] < high)].sum(axis=0) + 1e-8)
        for low, high in ((250, 650), (1000, 4000))
    }
    return {
        **bands,
        **roll_off,
        "flux": np.sqrt(np.square(np.diff(unit, axis=1, prepend=unit[:, :1])).sum(axis=0)),
        "entropy": -(share * np.log2(share + 1e-12)).sum(axis=0),
        "variance": np.log(variance + 1.0),
        "skewness": ((share * away**3).sum(axis=0) / spread**3).clip(-20.0, 20.0),
        "kurtosis": np.log((share * away**4).sum(axis=0) / spread**4 + 1.0),
        "slope": 1000.0 * (np.log(power) * ramp).mean(axis=0) / np.square(ramp).mean(),
        "centroid": np.log(centroid + 50.0),
        "sharpness": _sharpness(power, hz),
        "ripple": np.abs(np.diff(0.5 * np.log(power[:140] + 1e-12), axis=0)).mean(axis=0),
    }


def _sharpness(power: NDArray[np.float64], hz: NDArray[np.float64]) -> Contour:
    """How high the loudness lies in Bark, the highest bands counting for more (Zwicker & Fastl 1999)."""
    bark = 26.81 * hz / (1960.0 + hz) - 0.53
    weight = np.where(bark < 16.0, 1.0, 0.066 * np.exp(0.171 * bark))
    loudness = power**0.23
    sharpness: Contour = 0.11 * (loudness * bark * weight).sum(axis=0) / (loudness.sum(axis=0) + TINY)
    return sharpness


def _cepstrum(mel_power: NDArray[np.float64]) -> Contours:
    """MFCC 1 to 14."""
    coefficients = dct(np.log(mel_power + 1e-8), axis=0, norm="ortho")[1:15]
    return {f"mfcc_{number}": contour for number, contour in enumerate(coefficients, start=1)}


def _voice(frames: Float[np.ndarray, "frame sample"]) -> tuple[Contours, NDArray[np.bool_]]:
    """The period of each frame as pitch, how periodic it is, and whether that is enough to be voiced.

    The window's own autocorrelation is divided out (Boersma 1993); of several periods the shorter is preferred.
    """
    window = np.hanning(VOICE_FRAME)
    correlation = _autocorrelation(frames * window) / (_autocorrelation(window[None]) + TINY)
    correlation = correlation / (correlation[:, :1] + TINY)
    low, high = SAMPLE_RATE_HZ // HIGHEST_HZ, SAMPLE_RATE_HZ // LOWEST_HZ
    lags = np.arange(low, high)
    period = low + (correlation[:, low:high] * (1.0 - 0.0004 * lags)).argmax(axis=1)
    periodicity = correlation[np.arange(len(frames)), period].clip(0.0, 0.9999)
    harmonicity = 10.0 * np.log10(periodicity / (1.0 - periodicity) + 1e-3)
    contours = {
        "pitch_octave": np.log2(SAMPLE_RATE_HZ / period),
        "periodicity": periodicity,
        "harmonicity_db": harmonicity,
    }
    return contours, periodicity > VOICED


def _autocorrelation(frames: NDArray[np.float64]) -> Float[np.ndarray, "frame lag"]:
    """Autocorrelation of each frame, up to half its length."""
    length = frames.shape[1]
    return np.fft.irfft(np.square(np.abs(np.fft.rfft(frames, 2 * length, axis=1))), axis=1)[:, : length // 2]


def _melody(octave: Contour, voiced: NDArray[np.bool_]) -> tuple[Contour, Contour, Contour]:
    """Pitch with its single errors taken out and drawn through what is not voiced; its changes, and theirs."""
    around = np.lib.stride_tricks.sliding_window_view(np.pad(octave, 2, mode="edge"), 5)
    pitch = np.median(around, axis=1)
    if voiced.any():
        pitch = np.interp(np.arange(len(pitch)), np.flatnonzero(voiced), pitch[voiced])
    jitter = np.abs(np.diff(pitch, prepend=pitch[:1]))
    return pitch, jitter, np.abs(np.diff(jitter, prepend=jitter[:1]))


def _relative_changes(peaks: Contour) -> Contour:
    """How much each value differs from the one before, relative to itself."""
    changes: Contour = np.abs(np.diff(peaks, prepend=peaks[:1])) / (peaks + 1e-6)
    return changes
