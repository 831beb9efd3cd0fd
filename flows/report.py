"""The comparison of stages: one table for the terminal, MLflow and Prefect alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sermodels.evaluation import figures
from sermodels.predictions import joined, read_predictions
from sermodels.store import StageResult

COLUMNS = ("stage", "steps", "development UAR", "test UAR", "test accuracy", "test macro-F1", "gap")


@dataclass(frozen=True)
class StageRow:
    """One stage over all of its splits: means on development clips, pooled figures on test clips."""

    stage: str
    letter: str
    steps: int
    development_uar: float
    test_uar: float
    test_accuracy: float
    test_macro_f1: float
    gap: float

    def cells(self) -> dict[str, str]:
        """The row as text, in the order of COLUMNS."""
        numbers = (self.development_uar, self.test_uar, self.test_accuracy, self.test_macro_f1, self.gap)
        texts = (f"{self.letter} {self.stage}", str(self.steps), *(f"{number:.3f}" for number in numbers))
        return dict(zip(COLUMNS, texts, strict=True))

    def metrics(self) -> dict[str, float]:
        """The row as metrics of the parent run."""
        names = ("development_uar", "test_uar", "test_accuracy", "test_macro_f1", "gap")
        return {f"{self.stage}/{name}": getattr(self, name) for name in names}


def compare(stages: Mapping[str, Sequence[StageResult]], labels: Sequence[str]) -> list[StageRow]:
    """One row a stage; `stages` holds its result on every split."""
    return [_row(name, results, labels) for name, results in stages.items()]


def _row(name: str, results: Sequence[StageResult], labels: Sequence[str]) -> StageRow:
    """Figures of one stage; the test clips of several folds are pooled."""
    all_figures: list[dict[str, Any]] = [result.read("figures.json") for result in results]
    pooled = pooled_test_figures(results, labels)
    return StageRow(
        stage=name,
        letter=all_figures[0]["stage"],
        steps=round(float(np.mean([one["optimizer_steps"] for one in all_figures]))),
        development_uar=float(np.mean([one["development"]["uar"] for one in all_figures])),
        test_uar=pooled["uar"],
        test_accuracy=pooled["accuracy"],
        test_macro_f1=pooled["macro_f1"],
        gap=float(np.mean([one["gap"] for one in all_figures])),
    )


def pooled_test_figures(results: Sequence[StageResult], labels: Sequence[str]) -> dict[str, float]:
    """Figures over the test predictions of all splits together."""
    pooled = joined([read_predictions(result.folder / "predictions-test.csv") for result in results])
    return figures(pooled.truth, pooled.probabilities, labels)


def markdown_table(rows: Sequence[StageRow]) -> str:
    """The comparison as a Markdown table, readable as plain text."""
    table = [COLUMNS, *(tuple(row.cells().values()) for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(COLUMNS))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in table
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
