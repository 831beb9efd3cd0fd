"""Predictions as files, joined and brought into one order."""

from pathlib import Path

import numpy as np

from sermodels.corpora.utterance import Utterance
from sermodels.predictions import Predictions, joined, read_predictions, write_predictions

LABELS = ("anger", "fear", "sadness")


def utterance(number: int) -> Utterance:
    names = {"corpus": "c", "speaker": f"c/{number % 2}", "sex": "fm"[number % 2], "sentence": "a"}
    return Utterance(
        identifier=f"c/{number}", path=Path(f"{number}.wav"), sha256=str(number), emotion=LABELS[number % 3], **names
    )


def made(count: int = 7, *, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    speakers = tuple(f"c/{number % 3}" for number in range(count))
    return Predictions(
        LABELS,
        tuple(f"c/{number}" for number in range(count)),
        {"corpus": ("c",) * count, "speaker": speakers, "sex": ("f",) * count},
        rng.integers(0, 3, count),
        rng.dirichlet(np.ones(3), count),
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    utterances = [utterance(number) for number in range(5)]
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), 5)
    write_predictions(tmp_path / "p.csv", utterances, probabilities, LABELS)

    found = read_predictions(tmp_path / "p.csv")

    assert found.labels == LABELS
    assert found.identifiers == tuple(u.identifier for u in utterances)
    assert found.groups["speaker"] == tuple(u.speaker for u in utterances)
    assert found.groups["sex"] == tuple(u.sex for u in utterances)
    assert found.truth.tolist() == [0, 1, 2, 0, 1]
    np.testing.assert_allclose(found.probabilities, probabilities, atol=1e-6)


def test_joined_parts_follow_each_other() -> None:
    one, other = made(4), made(3, seed=1)
    both = joined([one, other])
    assert len(both) == 7
    assert both.identifiers == one.identifiers + other.identifiers
    np.testing.assert_array_equal(both.predicted, np.concatenate([one.predicted, other.predicted]))
