"""Long recordings as overlapping windows: a timeline of emotions, and their mean as the answer for the whole."""

import numpy as np
from numpy.typing import NDArray

UTTERANCE_S = 10.0
"""A recording up to here is one utterance, as in training (the longest of EmoDB has 9 s); a longer one has windows."""
LONGEST_WINDOW_S = 5.0
QUIET_DB = 40.0
"""A window this much below the loudest is silence and does not count in the whole."""


def window_bounds(samples: int, *, sample_rate_hz: int, clip_duration_s: float) -> list[tuple[int, int]]:
    """First sample and end of each window: half overlapping, the last one ends with the recording.

    No windows for a recording that is one utterance.
    """
    if samples <= UTTERANCE_S * sample_rate_hz:
        return []
    size = round(min(clip_duration_s, LONGEST_WINDOW_S) * sample_rate_hz)
    starts = list(range(0, samples - size, max(1, size // 2)))
    return [(start, start + size) for start in [*starts, samples - size]]


def quiet_windows(waveforms: list[NDArray[np.float32]]) -> list[bool]:
    """Which windows are silence beside the loudest one; none where all are."""
    power = np.array([float(np.mean(np.square(waveform, dtype=np.float64))) for waveform in waveforms])
    quiet: list[bool] = (power < power.max() * 10.0 ** (-QUIET_DB / 10.0)).tolist()
    return quiet


def joined_log_mels(
    parts: list[NDArray[np.float32]], bounds: list[tuple[int, int]], *, hop_length: int
) -> NDArray[np.float32]:
    """The log-mel of the whole out of those of its windows; overlaps are taken from the later window."""
    frames = 1 + bounds[-1][1] // hop_length
    whole = np.full((len(parts[0]), frames), min(float(part.min()) for part in parts), np.float32)
    for log_mel, (first, _) in zip(parts, bounds, strict=True):
        start = round(first / hop_length)
        part = log_mel[:, : frames - start]
        whole[:, start : start + part.shape[1]] = part
    return whole
