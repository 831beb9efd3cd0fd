"""A recording's log-mel in nine numbers that tell no words and no voice: what the watched server keeps of it."""

import numpy as np
from numpy.typing import NDArray

from sermodels.config import FrontEndConfig
from sermodels.mel import mel_centres_hz

STATISTICS = {
    "duration_s": "duration in seconds",
    "level_db": "mean level of the frames that are not quiet, in dB",
    "level_std_db": "standard deviation of that level over time, in dB",
    "range_db": "level of the loudest twentieth of all frames above the quietest twentieth, in dB",
    "quiet_share": "share of frames more than 30 dB below the loudest one",
    "centroid_hz": "centre of gravity of the mean spectrum, in Hz",
    "tilt_db_per_octave": "slope of the mean spectrum, in dB an octave",
    "high_band_db": "power above 4 kHz beside the whole, in dB",
    "flux_db": "mean change of a cell from one frame to the next, in dB",
}
"""Names and meanings; the names carry the units."""

QUIET_DB = 30.0
HIGH_BAND_HZ = 4000.0
_SMALLEST_SHARE = 1e-12


def log_mel_statistics(log_mel: NDArray[np.floating], front_end: FrontEndConfig) -> dict[str, float]:
    """The numbers that STATISTICS names, of one log-mel (mel, frame) in dB.

    It is rounded to float16 first, as the cache does, so that a served recording and a cached one are described alike.
    """
    cells_db = log_mel.astype(np.float16).astype(np.float64)
    power = 10.0 ** (cells_db / 10.0)
    level_db = 10.0 * np.log10(power.sum(axis=0))
    loud = level_db >= level_db.max() - QUIET_DB
    low_db, high_db = np.percentile(level_db, (5.0, 95.0))
    spectrum, centres_hz = power[:, loud].mean(axis=1), mel_centres_hz(front_end)
    high_share = spectrum[centres_hz > HIGH_BAND_HZ].sum() / spectrum.sum()
    changes_db = np.abs(np.diff(cells_db, axis=1))
    numbers = {
        "duration_s": (log_mel.shape[1] - 1) * front_end.hop_length / front_end.sample_rate_hz,
        "level_db": level_db[loud].mean(),
        "level_std_db": level_db[loud].std(),
        "range_db": high_db - low_db,
        "quiet_share": 1.0 - loud.mean(),
        "centroid_hz": np.average(centres_hz, weights=spectrum),
        "tilt_db_per_octave": np.polyfit(np.log2(centres_hz), cells_db[:, loud].mean(axis=1), 1)[0],
        "high_band_db": 10.0 * np.log10(max(high_share, _SMALLEST_SHARE)),
        "flux_db": changes_db.mean() if changes_db.size else 0.0,
    }
    return {name: float(value) for name, value in numbers.items()}
