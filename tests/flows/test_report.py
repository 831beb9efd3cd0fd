"""The comparison of stages from the files that stages leave."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from flows.report import COLUMNS, compare, markdown_table, pooled_test_figures
from sermodels.store import StageResult

LABELS = ("anger", "fear", "sadness")


def stage(folder: Path, name: str, truth: list[int], probabilities: np.ndarray, development_uar: float) -> StageResult:
    """A stage folder with figures and test predictions."""
    folder.mkdir(parents=True)
    figures = {"stage": "A", "optimizer_steps": 10, "development": {"uar": development_uar}, "gap": 0.1}
    (folder / "figures.json").write_text(json.dumps(figures))
    with open(folder / "predictions-test.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["identifier", "corpus", "speaker", "sex", "emotion", "predicted", *LABELS])
        for number, (label, row) in enumerate(zip(truth, probabilities, strict=True)):
            writer.writerow([f"c/{number}", "c", "c/1", "f", LABELS[label], LABELS[row.argmax()], *row])
    return StageResult(name, folder, name)


@pytest.fixture
def folds(tmp_path: Path) -> list[StageResult]:
    """One stage on two folds."""
    rng = np.random.default_rng(0)
    return [
        stage(tmp_path / f"fold{fold}", "baseline", truth, rng.dirichlet(np.ones(3), len(truth)), 0.4 + 0.2 * fold)
        for fold, truth in enumerate([[0, 0, 1, 2, 2], [0, 1, 1, 1, 2]])
    ]


def test_test_clips_of_all_folds_are_pooled(folds: list[StageResult]) -> None:
    truth, predicted = [], []
    for fold in folds:
        with open(fold.folder / "predictions-test.csv") as file:
            for row in csv.DictReader(file):
                truth.append(row["emotion"])
                predicted.append(row["predicted"])
    assert pooled_test_figures(folds, LABELS)["uar"] == pytest.approx(balanced_accuracy_score(truth, predicted))


def test_development_figures_are_averaged(folds: list[StageResult]) -> None:
    (row,) = compare({"baseline": folds}, LABELS)
    assert row.development_uar == pytest.approx(0.5)
    assert row.metrics()["baseline/development_uar"] == pytest.approx(0.5)


def test_table_has_a_line_a_stage(folds: list[StageResult]) -> None:
    text = markdown_table(compare({"baseline": folds, "again": folds[:1]}, LABELS))
    lines = text.splitlines()
    assert len(lines) == 4
    assert [cell.strip() for cell in lines[0].strip("|").split("|")] == list(COLUMNS)
    assert len({len(line) for line in lines}) == 1
