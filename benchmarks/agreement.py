"""Both sides must give the same answer: a faster one that says something else is no faster."""

import numpy as np
from numpy.typing import ArrayLike


class DisagreementError(Exception):
    """The outputs of ours and of the alternative differ by more than the stated tolerance."""


def require_close(what: str, ours: ArrayLike, alternative: ArrayLike, *, tolerance: float, unit: str) -> float:
    """The largest difference between both; raises DisagreementError above `tolerance`, or where shapes differ."""
    own, theirs = np.asarray(ours, dtype=np.float64), np.asarray(alternative, dtype=np.float64)
    if own.shape != theirs.shape:
        raise DisagreementError(f"{what}: ours has shape {own.shape}, the alternative {theirs.shape}")
    largest = float(np.abs(own - theirs).max())
    if not largest <= tolerance:
        raise DisagreementError(f"{what}: differ by {largest:.4g} {unit}; allowed: {tolerance:g} {unit}")
    return largest
