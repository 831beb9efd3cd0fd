"""Voice quality as signal processing: (sample,) float in, (sample,) float out, every random number from `rng`."""

import numpy as np
from numpy.typing import NDArray

Waveform = NDArray[np.float64]

OVERSAMPLING = 2
"""Linear interpolation on a grid this much finer keeps the high frequencies."""


def trim(waveform: Waveform, *, threshold: float = 1e-3) -> Waveform:
    """The waveform without the quiet samples at either end."""
    loud = np.flatnonzero(np.abs(waveform) > threshold)
    return waveform[loud[0] : loud[-1] + 1] if loud.size else waveform[:0]


def warp(
    waveform: Waveform, *, speed: float, jitter: float, tremor: float, sample_rate_hz: int, rng: np.random.Generator
) -> Waveform:
    """Play at `speed` (formants, pitch and rate alike), the momentary speed wavering.

    `jitter` is the standard deviation of an irregularity at 100 Hz, `tremor` the amplitude of a 5 to 7 Hz wavering,
    both as fractions of the speed.
    """
    import librosa

    fine = librosa.resample(waveform, orig_sr=sample_rate_hz, target_sr=OVERSAMPLING * sample_rate_hz)
    count = int(len(waveform) / speed)
    time_s = np.arange(count) / sample_rate_hz
    knots = rng.standard_normal(int(100 * count / sample_rate_hz) + 2)
    irregular = jitter * np.interp(100 * time_s, np.arange(len(knots)), knots)
    wavering = tremor * np.sin(2 * np.pi * (rng.uniform(5, 7) * time_s + rng.uniform()))
    position = np.cumsum(speed * (1 + irregular + wavering)) * OVERSAMPLING
    warped: Waveform = np.interp(position, np.arange(len(fine)), fine, right=0.0)
    return warped


def tilt(waveform: Waveform, *, db_per_octave: float, sample_rate_hz: int) -> Waveform:
    """Tilt the spectrum around 1 kHz by a zero-phase filter, flat below 100 Hz."""
    frequency_hz = np.fft.rfftfreq(len(waveform), 1 / sample_rate_hz)
    gain_db = db_per_octave * np.log2(np.maximum(frequency_hz, 100.0) / 1000.0)
    return np.fft.irfft(np.fft.rfft(waveform) * 10 ** (gain_db / 20), n=len(waveform))


def breathe(waveform: Waveform, *, noise_db: float, sample_rate_hz: int, rng: np.random.Generator) -> Waveform:
    """Add aspiration noise that follows the envelope, `noise_db` above the voice (so usually negative)."""
    window = np.hanning(int(0.02 * sample_rate_hz))
    envelope = np.convolve(np.abs(waveform), window / window.sum(), mode="same")
    noise = np.diff(rng.standard_normal(len(waveform) + 1)) * envelope
    return waveform + noise * 10 ** (noise_db / 20) * rms(waveform) / max(rms(noise), 1e-9)


def set_level(waveform: Waveform, *, rms_db: float, peak: float = 0.97) -> Waveform:
    """Scale to `rms_db` re full scale, or to `peak` where that would clip."""
    scaled = waveform * 10 ** (rms_db / 20) / max(rms(waveform), 1e-9)
    return scaled * min(1.0, peak / max(float(np.abs(scaled).max(initial=0.0)), 1e-9))


def rms(waveform: Waveform) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(waveform)))) if waveform.size else 0.0
