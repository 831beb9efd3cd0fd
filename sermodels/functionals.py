"""Functionals: what the contours of a whole recording are like, as one vector (Schuller et al. 2013)."""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.linalg import solve_toeplitz

from sermodels.descriptors import HOP, SAMPLE_RATE_HZ, TINY, describe

FRAME_S = HOP / SAMPLE_RATE_HZ
LPC_ORDER = 5

Contours = Float[np.ndarray, "contour frame"]
Functionals = dict[str, Float[np.ndarray, " contour"]]


def functionals_of(waveform: NDArray[np.floating]) -> dict[str, float]:
    """Functionals of all descriptors and of their slopes, by name. Raises AudioError when the recording is silent."""
    described = describe(waveform)
    levels = np.stack(list(described.contours.values()))
    names = [*described.contours, *(f"{name}_delta" for name in described.contours)]
    found = _functionals(np.concatenate([levels, _deltas(levels)]))
    vector = {
        f"{name}/{functional}": float(value)
        for functional, values in found.items()
        for name, value in zip(names, values, strict=True)
    }
    return vector | {"voiced_share": described.voiced_share, "log_frames": float(np.log(levels.shape[1]))}


def _deltas(contours: Contours) -> Contours:
    """Regression over two frames on either side."""
    padded = np.pad(contours, ((0, 0), (2, 2)), mode="edge")
    return np.asarray((2.0 * (padded[:, 4:] - padded[:, :-4]) + (padded[:, 3:-1] - padded[:, 1:-3])) / 10.0)


def _functionals(contours: Contours) -> Functionals:
    """All functionals of all contours."""
    mean, deviation = contours.mean(axis=1), contours.std(axis=1) + TINY
    standard = (contours - mean[:, None]) / deviation[:, None]
    distribution = _distribution(contours, mean, deviation, standard)
    return {
        **distribution,
        **_course(contours, mean, distribution["percentile_1"]),
        **_prediction(standard),
        **_segments(contours, mean),
    }


def _distribution(
    contours: Contours, mean: NDArray[np.float64], deviation: NDArray[np.float64], standard: Contours
) -> Functionals:
    """How the values are distributed, whenever they come."""
    low, quarter, median, three_quarters, high = np.percentile(contours, [1, 25, 50, 75, 99], axis=1)
    span = high - low + TINY
    relative = (contours - low[:, None]) / span[:, None]
    return {
        "mean": mean,
        "deviation": deviation,
        "skewness": (standard**3).mean(axis=1),
        "kurtosis": (standard**4).mean(axis=1),
        "percentile_1": low,
        "quartile_1": quarter,
        "median": median,
        "quartile_3": three_quarters,
        "percentile_99": high,
        "below_median": median - quarter,
        "above_median": three_quarters - median,
        "interquartile": three_quarters - quarter,
        "span": span,
        **{f"time_above_{share}": (relative > share / 100).mean(axis=1) for share in (25, 50, 75, 90)},
    }


def _course(contours: Contours, mean: NDArray[np.float64], low: NDArray[np.float64]) -> Functionals:
    """How the values go from the beginning to the end: line, parabola, where they are high, how often they rise."""
    count = contours.shape[1]
    time = np.linspace(0.0, 1.0, count)
    line = time - time.mean()
    bend = line**2 - np.mean(line**2)
    slope = (contours * line).mean(axis=1) / (np.mean(line**2) + TINY)
    straight = mean[:, None] + slope[:, None] * line
    curvature = (contours * bend).mean(axis=1) / (np.mean(bend**2) + TINY)
    above = np.maximum(contours - low[:, None], 0.0)
    return {
        "time_of_highest": contours.argmax(axis=1) / count,
        "time_of_lowest": contours.argmin(axis=1) / count,
        "slope": slope,
        "line_error": np.square(contours - straight).mean(axis=1),
        "curvature": curvature,
        "parabola_error": np.square(contours - straight - curvature[:, None] * bend).mean(axis=1),
        "centre_of_time": (above * time).sum(axis=1) / (above.sum(axis=1) + TINY),
        "time_rising": _share(np.diff(contours, axis=1) > 0),
        "time_curving_up": _share(np.diff(contours, 2, axis=1) > 0),
    }


def _share(happens: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of each row, the share that is true; 0 of nothing."""
    return np.asarray(happens.sum(axis=1) / max(1, happens.shape[1]))


def _prediction(standard: Contours) -> Functionals:
    """Linear prediction of a contour from its last values: how it swings, and what is left (LPC)."""
    count = standard.shape[1]
    lags = [
        (standard[:, lag:] * standard[:, : count - lag]).mean(axis=1) if lag < count else np.zeros(len(standard))
        for lag in range(LPC_ORDER + 1)
    ]
    correlation = np.stack(lags, axis=1)
    regular = correlation[:, :LPC_ORDER] + np.eye(1, LPC_ORDER) * 1e-3
    weights = np.stack([solve_toeplitz(row, wanted[1:]) for row, wanted in zip(regular, correlation, strict=True)])
    return {
        **{f"lpc_{number}": weight for number, weight in enumerate(weights.T, start=1)},
        "lpc_error": 1.0 - (weights * correlation[:, 1:]).sum(axis=1),
    }


def _segments(contours: Contours, mean: NDArray[np.float64]) -> Functionals:
    """Lengths of the stretches above the mean, distances and heights of peaks, steepness of rise and fall."""
    rows = [_segments_of(contour, middle) for contour, middle in zip(contours, mean, strict=True)]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _segments_of(contour: NDArray[np.float64], mean: float) -> dict[str, float]:
    """The same of one contour, (frame,)."""
    edges = np.flatnonzero(np.diff(contour > mean, prepend=False, append=False))
    lengths = _or_zero((edges[1::2] - edges[::2]) * FRAME_S)
    steps = np.diff(contour)
    peaks = np.flatnonzero((steps[:-1] > 0) & (steps[1:] <= 0)) + 1
    heights = contour[peaks] if len(peaks) else contour[:1]
    distances = _or_zero(np.diff(peaks) * FRAME_S)
    rising, falling = _or_zero(steps[steps > 0]), _or_zero(steps[steps < 0])
    return {
        "stretch_mean": lengths.mean(),
        "stretch_longest": lengths.max(),
        "stretch_shortest": lengths.min(),
        "stretch_deviation": lengths.std(),
        "stretch_rate": len(edges) / 2 / len(contour),
        "peak_distance": distances.mean(),
        "peak_distance_deviation": distances.std(),
        "peak_span": np.ptp(heights),
        "peak_mean": heights.mean(),
        "peak_above_mean": heights.mean() - mean,
        "rise_mean": rising.mean(),
        "rise_deviation": rising.std(),
        "fall_mean": falling.mean(),
        "fall_deviation": falling.std(),
    }


def _or_zero(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """The values, or one zero where there are none."""
    return values if len(values) else np.zeros(1)
