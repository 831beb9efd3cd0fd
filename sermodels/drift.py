"""Whether two samples differ, column by column: a test says how surely, the population stability index how much."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, ks_2samp

from sermodels.statistics import holm

SURE_P = 0.05
LARGE_PSI = 0.1
"""Below it a difference is small, whatever the number of recordings makes of its p-value."""

BINS = 10
Columns = Mapping[str, NDArray[np.generic]]
"""Values by column: numbers, or texts where the column is a category."""


@dataclass(frozen=True)
class ColumnDrift:
    """How far one column is from its reference."""

    name: str
    psi: float
    """Population stability index: 0 where both are alike; from 0.25 on it is usually called large."""
    p: float
    """Two-sample Kolmogorov-Smirnov for numbers, chi-squared for categories, adjusted by Holm over the columns."""

    @property
    def drifted(self) -> bool:
        """Surely and not just slightly."""
        return self.p < SURE_P and self.psi >= LARGE_PSI


def compare_columns(reference: Columns, current: Columns) -> list[ColumnDrift]:
    """Every column of `reference` against the same column of `current`; neither may be empty."""
    p_values, psi = [], []
    for name, before in reference.items():
        now = current[name]
        if before.dtype.kind == "U":
            counts = _category_counts(before, now)
            p_values.append(float(chi2_contingency(counts).pvalue))
        else:
            counts = _bin_counts(before, now)
            p_values.append(float(ks_2samp(before, now, method="asymp").pvalue))
        psi.append(stability_index(counts))
    return [ColumnDrift(*row) for row in zip(reference, psi, holm(p_values), strict=True)]


def drifted_share(columns: list[ColumnDrift]) -> float:
    """Share of the columns that have drifted."""
    return sum(column.drifted for column in columns) / len(columns)


def stability_index(counts: NDArray[np.int64]) -> float:
    """Population stability index of two histograms (2, bin): the sum of (q - p) ln(q / p).

    Half a recording is added to each bin, so that an empty one gives a finite figure.
    """
    smoothed = counts + 0.5
    p, q = smoothed / smoothed.sum(axis=1, keepdims=True)
    return float(np.sum((q - p) * np.log(q / p)))


def _category_counts(before: NDArray[np.generic], now: NDArray[np.generic]) -> NDArray[np.int64]:
    """How often each category occurs in either sample, shape (2, category)."""
    categories = np.unique(np.concatenate([before, now]))
    return np.array([[np.sum(sample == category) for category in categories] for sample in (before, now)])


def _bin_counts(before: NDArray[np.generic], now: NDArray[np.generic]) -> NDArray[np.int64]:
    """How many values of either sample lie between the tenths of the reference, shape (2, bin)."""
    edges = np.unique(np.quantile(before.astype(np.float64), np.linspace(0.0, 1.0, BINS + 1)[1:-1]))
    places = [np.searchsorted(edges, sample.astype(np.float64), side="right") for sample in (before, now)]
    return np.array([np.bincount(place, minlength=len(edges) + 1) for place in places])
