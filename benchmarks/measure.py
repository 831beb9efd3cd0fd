"""Two or more sides measured in turns, A B A B, and what their figures say: medians, ratio, spread."""

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Side = Callable[[], float]
"""Does the work once and returns its figure, such as seconds."""


@dataclass(frozen=True)
class Comparison:
    """Medians of both sides; `ratio` says how many times better ours is: the median of the ratios of each round."""

    ours: float
    alternative: float
    ratio: float
    spread: float
    """Of the rounds' ratios: interquartile range / median."""


def alternate(sides: Mapping[str, Side], *, rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Each side's figure in each round; within a round every side has its turn, after `warm_up` rounds not counted.

    So what else the machine does while it measures touches all sides alike.
    """
    figures: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(-warm_up, rounds):
        for name, side in sides.items():
            figure = side()
            if number >= 0:
                figures[name].append(figure)
                tell(f"  round {number + 1} of {rounds}, {name}: {figure:.4g}")
    return figures


def timed(work: Callable[[], object]) -> Side:
    """Seconds on the clock that a call takes."""

    def side() -> float:
        begun = time.perf_counter()
        work()
        return time.perf_counter() - begun

    return side


def compare(
    ours: Sequence[float], alternative: Sequence[float], *, better: Literal["lower", "higher"] = "lower"
) -> Comparison:
    """How many times better ours is, round by round."""
    pairs = list(zip(ours, alternative, strict=True))
    ratios = [theirs / own if better == "lower" else own / theirs for own, theirs in pairs]
    return Comparison(
        statistics.median(ours), statistics.median(alternative), statistics.median(ratios), relative_spread(ratios)
    )


def relative_spread(values: Sequence[float]) -> float:
    """Interquartile range / median."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return float((high - low) / middle)


def tell(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)
