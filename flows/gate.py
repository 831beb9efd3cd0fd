"""The promotion gate as pure data: what is checked, against which limit, and what follows from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sermodels.predictions import Predictions
from sermodels.statistics import difference

LEAST_SPEAKERS = 3
"""Of fewer, a bootstrap says nothing. With three, one of eight candidates that are no better passes here, with six
one of fifteen (simulated, speakers' differences normally distributed): hold out as many as can be spared."""
LEAST_GAIN = 0.001
"""Of UAR, at the lower end of the 95 % interval of the difference, by paired bootstrap over the held-out speakers.

The strict rule, not "probably no worse": retraining every night draws again and again, the UAR of one recipe scatters
by 0.05 from its seed alone, and a weaker rule would let the luckiest draw in. A gain that few speakers cannot show
waits for more speakers; nothing is lost while the champion stays.
"""
LARGEST_RECALL_LOSS = 0.05
"""Of any one emotion."""
ROUNDING = 1e-9
LARGEST_LATENCY_RATIO = 1.5
LARGEST_COPIED_SHARE = 0.05
"""Near-copies among synthetic clips; of real clips, about `sermodels.quality.COPY_QUANTILE` would be called so."""
LEAST_DUPLICATE_RATIO = 0.75
"""Of the synthetic clips' duplicate ratio to that of real clips: below, they crowd round the training clips."""


@dataclass(frozen=True)
class Check:
    """One figure beside its limit."""

    name: str
    value: float
    limit: float
    meaning: str
    at_least: bool = True
    """Whether the value must reach the limit, or may not exceed it."""

    @property
    def passed(self) -> bool:
        """Never for NaN: what is not known does not pass."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        """As a reason is read."""
        return f"{self.meaning}: {self.value:.4g}, {'at least' if self.at_least else 'at most'} {self.limit:.4g}"


@dataclass(frozen=True)
class Decision:
    """What was found about a candidate, and whether it may be champion."""

    candidate: str
    champion: str
    """Which the candidate was compared with; empty: there was none to beat."""
    checks: tuple[Check, ...]
    passed: bool

    @property
    def word(self) -> str:
        """As tags say it."""
        return "passed" if self.passed else "refused"

    def reasons(self) -> str:
        """What refuses the candidate, or what it passed."""
        return "; ".join(str(check) for check in self.checks if check.passed is self.passed)

    def __str__(self) -> str:
        """In a line."""
        against = f"against {self.champion}" if self.champion else "no champion to beat"
        return f"{self.candidate}: {self.word} ({against}): {self.reasons()}"

    def markdown(self) -> str:
        """As a page."""
        rows = [
            f"| {check.meaning} | {check.value:.4g} | {'≥' if check.at_least else '≤'} {check.limit:.4g} | "
            f"{'yes' if check.passed else '**no**'} |"
            for check in self.checks
        ]
        against = f"Compared with {self.champion}." if self.champion else "There was no champion to beat."
        head = ["| check | found | allowed | passed |", "| --- | --- | --- | --- |"]
        return "\n".join([f"# {self.candidate}: {self.word}", "", against, "", *head, *rows, ""])


def eligibility(candidate: Mapping[str, str], champion: Mapping[str, str], *, withdrawn: bool) -> list[Check]:
    """What no figure can outweigh, from the tags of both versions: only what refuses."""
    found = []
    if candidate.get("synthetic_speech") == "true" and champion.get("synthetic_speech") == "false":
        found.append(Check("speech", 0.0, 1.0, "trained on people, as the champion is"))
    if withdrawn:
        found.append(Check("withdrawn", 0.0, 1.0, "never rolled back (rollback --to brings it back)"))
    return found


def speakers_check(speakers: int) -> Check:
    """Whether there are enough speakers to compare on."""
    meaning = "held-out speakers that neither model was trained or chosen on (train on the champion's split)"
    return Check("speakers", float(speakers), float(LEAST_SPEAKERS), meaning)


def labels_check(candidate: Sequence[str], champion: Sequence[str]) -> Check:
    """Whether the candidate knows every emotion that the champion knows."""
    lost = sorted(set(champion) - set(candidate))
    meaning = "emotions of the champion that it does not know" + (f" ({', '.join(lost)})" if lost else "")
    return Check("lost_emotions", float(len(lost)), 0.0, meaning, at_least=False)


def gain_check(candidate: Predictions, champion: Predictions) -> Check:
    """Whether the UAR is better by more than chance explains.

    Raises ValueError unless both are about the same clips in the same order.
    """
    gain = difference(candidate, champion)
    return Check("uar_gain_low", gain.low, LEAST_GAIN, f"lower end of the UAR's gain of {gain}")


def recall_checks(candidate: Mapping[str, float], champion: Mapping[str, float]) -> list[Check]:
    """Whether each emotion is heard about as well as before; both hold `recall_<emotion>`."""
    return [
        Check(
            name,
            candidate[name],
            recall - LARGEST_RECALL_LOSS - ROUNDING,
            f"recall of {name.removeprefix('recall_')} (champion {recall:.3f})",
        )
        for name, recall in champion.items()
        if name.startswith("recall_")
    ]


def parity_checks(parity: Mapping[str, float], limits: Mapping[str, float]) -> list[Check]:
    """The largest difference of each exported graph from torch; `parity` is that of a bundle's manifest."""
    graphs = sorted({name.split("/")[0] for name in parity})
    largest = {
        graph: np.max([value for name, value in parity.items() if name.startswith(f"{graph}/")]) for graph in graphs
    }
    return [
        Check(f"parity_{graph}", float(largest[graph]), limits[graph], f"ONNX against torch, {graph}", at_least=False)
        for graph in graphs
    ]


def latency_check(ratio: float) -> Check:
    """How much longer the candidate takes for the same recording."""
    return Check("latency_ratio", ratio, LARGEST_LATENCY_RATIO, "time beside the champion's", at_least=False)


def synthesis_checks(figures: Mapping[str, float]) -> list[Check]:
    """Whether synthetic clips are copies of training clips, from the figures of the stage that drew them."""
    unknown = float("nan")
    share = figures.get("near_copies", unknown) / figures.get("clips", unknown)
    ratio = figures.get("synthetic/duplicate_ratio", unknown) / figures.get("real/duplicate_ratio", unknown)
    return [
        Check("copied_share", share, LARGEST_COPIED_SHARE, "near-copies among its synthetic clips", at_least=False),
        Check("duplicate_ratio", ratio, LEAST_DUPLICATE_RATIO, "duplicate ratio of its synthetic clips to real ones'"),
    ]


def loss_check(loss: float) -> Check:
    """Whether training ended with a number."""
    return Check("finite_loss", float(np.isfinite(loss)), 1.0, f"training loss {loss:.4g} is finite")
