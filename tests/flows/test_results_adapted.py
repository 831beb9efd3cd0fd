"""The section on whole collections: what adapting to a corpus gains, of whom, and that its page can be looked at."""

from pathlib import Path

import numpy as np
import pytest

from flows.results_adapted import adapted_rows, adapted_section
from flows.results_page import headline_of
from sermodels.evaluation import unweighted_average_recall
from sermodels.predictions import Predictions, adapted, joined

LABELS = ("anger", "neutral", "sadness")


def heard_as_sad(seed: int, labels: tuple[str, ...] = LABELS) -> Predictions:
    """Six speakers of nine clips in a room where everybody sounds sad."""
    rng, truth = np.random.default_rng(seed), np.tile(np.arange(3), 18)
    logits = rng.normal(size=(54, 3)) + 2.0 * np.eye(3)[truth] + np.array([0.0, 0.0, 2.5])
    speakers = tuple(f"{seed}/{number // 9}" for number in range(54))
    groups = {"corpus": (f"room {seed}",) * 54, "speaker": speakers, "sex": ("f",) * 54}
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Predictions(labels, tuple(f"{seed}/{number}" for number in range(54)), groups, truth, probabilities)


def row_of(protocol: str, cells: list[Predictions]) -> dict[str, object]:
    named = {"protocol": protocol, "corpora": "a", "stage": "B", "members": 1, "recipes": 1, "recipe_number": 1}
    return {**named, "backbone": "resnet18", "recipe": "r", "folds": ["fold 0", "fold 1"], **headline_of(joined(cells))}


@pytest.fixture(scope="module")
def cells() -> list[Predictions]:
    return [heard_as_sad(0), heard_as_sad(1)]


def test_a_corpus_that_always_sounds_alike_is_heard_better_and_surely_so(cells: list[Predictions]) -> None:
    (row,) = adapted_rows([(row_of("speaker", cells), cells)])
    both = joined([adapted(cell, to="corpus") for cell in cells])
    assert row["corpus_uar"] == unweighted_average_recall(both.truth, both.predicted)
    assert row["corpus_uar"] - row["uar"] == pytest.approx(row["uar_difference"])
    assert 0.1 < row["low"] <= row["uar_difference"] <= row["high"]
    assert row["permutation_p"] == row["permutation_p_holm"] < 0.01
    assert row["neutral_uar"] < row["corpus_uar"], "neutral clips alone say less"


def test_only_strangers_are_adapted_to(cells: list[Predictions]) -> None:
    heard = [(row_of(protocol, cells), cells) for protocol in ("speaker", "seed", "speaker-known", "corpus")]
    rows = adapted_rows(heard)
    assert [row["protocol"] for row in rows] == ["speaker", "corpus"]
    assert [row["permutation_p_holm"] for row in rows] == [2 * row["permutation_p"] for row in rows]


def test_the_section_shows_each_row_and_a_picture(cells: list[Predictions], tmp_path: Path) -> None:
    unnamed = [heard_as_sad(seed, ("anger", "joy", "sadness")) for seed in (0, 1)]
    rows = adapted_rows([(row_of("speaker", cells), cells), (row_of("corpus", unnamed), unnamed)])
    text = adapted_section(rows, tmp_path / "results")
    assert text.startswith("## What the other recordings of a corpus tell\n")
    table = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(table) == 2 + len(rows)
    assert "|  |" in table[-1], "no neutral clips are known where there is no such emotion"
    assert "|  |" not in table[-2]
    assert (tmp_path / "results" / "adapted.png").stat().st_size > 1000
