"""Two classifiers on the same clips: how far one lies above the other, how sure that is, and how a table says it."""

from collections.abc import Mapping, Sequence
from typing import Any

from sermodels.predictions import Predictions
from sermodels.statistics import Interval, difference, holm, permutation_p


def gain_of(one: Predictions, other: Predictions) -> dict[str, float]:
    """How far the UAR of `one` lies above that of `other`, with its interval and p over speakers."""
    gained = difference(one, other)
    return {
        "uar_difference": gained.value,
        "low": gained.low,
        "high": gained.high,
        "permutation_p": permutation_p(one, other),
    }


def adjust(rows: Sequence[dict[str, Any]], name: str) -> None:
    """Add the p-values of this name, adjusted for being several, to their rows as `…_holm`."""
    for row, adjusted in zip(rows, holm([row[name] for row in rows]), strict=True):
        row[f"{name}_holm"] = adjusted


def gain_in_words(row: Mapping[str, Any]) -> str:
    """The difference with its interval."""
    return str(Interval(row["uar_difference"], row["low"], row["high"]))


def p_in_words(row: Mapping[str, Any], name: str) -> str:
    """A p-value as it is, and adjusted."""
    return f"{row[name]:.4f} ({row[f'{name}_holm']:.4f})"
