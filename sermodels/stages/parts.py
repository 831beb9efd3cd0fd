"""What every classifier stage writes about a part of its split: figures, predictions and a confusion matrix."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sermodels.corpora.utterance import Utterance
from sermodels.evaluation import confusion, figures
from sermodels.plots import confusion_picture, save_figure
from sermodels.predictions import write_predictions


def write_part(
    folder: Path,
    part: str,
    classifier: str,
    utterances: Sequence[Utterance],
    truth: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    labels: Sequence[str],
) -> dict[str, float]:
    """Figures of the part's clips, also by corpus and sex; but for `training`, predictions and a picture are written.

    `classifier` says in the picture's title whose answers they are.
    """
    groups = {"corpus": [u.corpus for u in utterances], "sex": [u.sex for u in utterances]}
    found = figures(truth, probabilities, labels, groups)
    if part != "training":
        title = f"{classifier}, {part}: UAR {found['uar']:.3f}"
        write_predictions(folder / f"predictions-{part}.csv", utterances, probabilities, labels)
        save_figure(confusion_picture(confusion(truth, probabilities), labels, title), folder / f"confusion-{part}.png")
    return found
