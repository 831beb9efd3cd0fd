"""The table of results by its command line on a small corpus: cells, resuming, and the page written from MLflow."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.end_to_end.conftest import TINY

FIGURES = {"uar", "uar_low", "uar_high", "wa", "macro_f1", "ece", "nll", "ece_scaled", "nll_scaled"}


class Table:
    """Calls of `python -m flows table` in one workspace."""

    def __init__(self, folder: Path, corpus: Path, environment: dict[str, str]) -> None:
        self.folder, self.corpus, self.environment = folder, corpus, environment

    def call(self, *options: str, command: str = "table") -> "subprocess.CompletedProcess[str]":
        places = [f"--data-dir={self.corpus}", f"--workspace={self.folder / 'workspace'}"]
        own = [f"--preset={TINY}", f"--docs={self.folder / 'docs'}", *(places if command == "table" else [])]
        return subprocess.run(
            [sys.executable, "-m", "flows", command, *own, *options],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=1500,
        )

    def rows(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads((self.folder / "docs" / "results.json").read_text())
        return found

    def client(self) -> MlflowClient:
        return MlflowClient(self.environment["MLFLOW_TRACKING_URI"])


@pytest.fixture
def table(tmp_path: Path, corpus: Path, environment: dict[str, str]) -> Table:
    return Table(tmp_path, corpus, environment)


def test_cells_add_up_to_a_page(table: Table) -> None:
    first = table.call(
        "--protocols=speaker", "--folds=0", "--seeds=1", "--stages=ABCDF", "--overrides=training.epochs=2"
    )
    assert first.returncode == 0, first.stderr[-3000:]
    rows = table.rows()
    assert [row["stage"] for row in rows] == ["A", "B", "C", "D", "F"]
    for row in rows:
        assert row.keys() >= FIGURES | {"backbone", "weights", "folds", "seeds"}
        assert 0.0 <= float(str(row["uar_low"])) <= float(str(row["uar"])) <= float(str(row["uar_high"])) <= 1.0
        assert row["folds"] == ["fold 0"]

    more = (
        "--protocols=speaker,seed,corpus",
        "--folds=0,1",
        "--seeds=2",
        "--stages=A",
        "--overrides=training.epochs=2",
    )
    second = table.call(*more)
    assert second.returncode == 0, second.stderr[-3000:]
    check_rows(table.rows())
    check_page(table.folder / "docs")
    check_third(table, more)


def check_rows(rows: list[dict[str, object]]) -> None:
    """What ran before is still there beside the new cells."""
    by_name = {(row["protocol"], row["stage"]): row for row in rows if row["members"] == 1}
    assert by_name["speaker", "A"]["folds"] == ["fold 0", "fold 1"]
    assert by_name["speaker", "A"]["seeds"] == [0, 1]
    assert by_name["speaker", "C"]["folds"] == ["fold 0"]
    assert by_name["corpus", "A"]["folds"] == ["without emodb", "without ravdess"]
    assert len(by_name["seed", "A"]["folds"]) == 2  # type: ignore[arg-type]
    ensembles = [(row["protocol"], row["stage"], row["members"]) for row in rows if row["members"] != 1]
    assert ensembles == [("corpus", "A", 2), ("speaker", "A", 2)], "of splits that several seeds have in common"


def check_page(docs: Path) -> None:
    """Tables, pictures that exist, and stages compared."""
    text = (docs / "results.md").read_text()
    known = "Unseen speakers, other recordings of whom are known"
    for heading in (
        "Unseen speakers (",
        known,
        "A corpus that was not trained on",
        "Speaker-dependent, for comparison",
    ):
        assert heading in text
    pictures = [line.split("](")[1].rstrip(")") for line in text.splitlines() if line.startswith("![")]
    assert len(pictures) == 4 + 12 + 3 + 1 + 1 + 1
    (made,) = json.loads((docs / "results-synthetic.json").read_text())
    assert (made["protocol"], made["sampler"], made["folds"]) == ("speaker", "dpmpp_2m", ["fold 0"])
    assert made["clips"] == 6 * 6
    assert {"synthetic/duplicate_ratio", "real/duplicate_ratio", "train_synthetic_test_real"} <= made.keys()
    assert "## Synthetic clips" in text
    assert all((docs / picture).stat().st_size > 1000 for picture in pictures)
    compared = json.loads((docs / "results-comparisons.json").read_text())
    assert [row["stages"] for row in compared] == [
        *("B - A", "C - B", "D - B", "C - D"),
        *(f"{letter} of known speakers - {letter}" for letter in "ABCDF"),
    ]
    rows = json.loads((docs / "results-known.json").read_text())
    assert [(row["stage"], row["members"]) for row in rows] == [*((letter, 1) for letter in "ABCDF"), ("A", 2)]
    found = json.loads((docs / "results-known-recordings.json").read_text())
    assert [row["known"] for row in found[:2]] == ["0", "1"]
    assert found[0]["uar"] == found[0]["corpus_uar"], "of nobody"
    speaker = [row for row in json.loads((docs / "results.json").read_text()) if row["protocol"] == "speaker"]
    most = max(row["speakers"] for row in speaker)
    best = max(row["uar"] for row in speaker if row["speakers"] == most)
    assert found[0]["uar"] == best, "of whom nothing is known"
    strangers = json.loads((docs / "results-adapted.json").read_text())
    plain = json.loads((docs / "results.json").read_text())
    assert [(row["protocol"], row["stage"], row["members"], row["uar"]) for row in strangers] == [
        (row["protocol"], row["stage"], row["members"], row["uar"]) for row in plain if row["protocol"] != "seed"
    ]
    assert "## What the other recordings of a corpus tell" in text
    assert all(row["permutation_p"] <= row["permutation_p_holm"] <= 1.0 for row in [*compared, *strangers])


def check_third(table: Table, options: tuple[str, ...]) -> None:
    """The same call again trains nothing and gives the same figures; so does the page alone."""
    rows = table.rows()
    assert table.call(*options).returncode == 0
    (experiment,) = [e for e in table.client().search_experiments() if e.name == "sermodels"]
    newest = table.client().search_runs([experiment.experiment_id], "tags.letter = 'A'", max_results=6)
    assert {run.data.tags["reused"] for run in newest} == {"true"}
    (table.folder / "docs" / "results.json").unlink()
    assert table.call(command="results").returncode == 0
    again = table.rows()
    for row in [*rows, *again]:
        row.pop("runs")
    assert again == rows
