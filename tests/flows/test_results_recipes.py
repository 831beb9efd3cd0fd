"""Recipes in the table of results: an earlier one stays until newer ones have run wherever it did."""

import json
from itertools import count
from pathlib import Path

import pytest
from mlflow import MlflowClient

from flows import tracking
from flows.results import publish_results
from flows.results_groups import ensembles_of, read_groups
from sermodels.predictions import COLUMNS

LABELS = ("anger", "sadness")
METRICS = {"gap": 0.1, "optimizer_steps": 2.0}


class Log:
    """Finished cells of a table, each newer than the one before."""

    def __init__(self, client: MlflowClient, folder: Path) -> None:
        self.client, self.folder, self.clock = client, folder, count(1)

    def cell(
        self, letter: str, fold: int, recipe: str, *, augmented_as: str = "", seed: int = 0, sure: float = 0.8
    ) -> None:
        """Two speakers of the fold, one of whom is heard wrong once, all as `sure` of what is heard."""
        now = 1000 * next(self.clock)
        tags = {"table": "t", "letter": letter, "protocol": "speaker", "corpora": "a", "split": f"fold {fold}"}
        tags |= {"seed": str(seed), "recipe": recipe, "backbone": "resnet18", "weights": "none", "common_recipe": "c"}
        tags["augmented_as"] = augmented_as
        run_id = self.client.create_run(tracking.experiment_id(), start_time=now, tags=tags).info.run_id
        for name, value in METRICS.items():
            self.client.log_metric(run_id, name, value)
        shares = {"anger": f"{sure},{1 - sure}", "sadness": f"{1 - sure},{sure}"}
        clips = [
            f"a/{fold}{speaker}{emotion},a,{fold}{speaker},f,{emotion},{heard},{shares[heard]}"
            for speaker in "xy"
            for emotion in LABELS
            for heard in ["anger" if speaker == "y" else emotion]
        ]
        for part in ("development", "test"):
            path = self.folder / f"predictions-{part}.csv"
            path.write_text("\n".join([",".join([*COLUMNS, *LABELS]), *clips, ""]))
            self.client.log_artifact(run_id, str(path))
        self.client.set_terminated(run_id, end_time=now + 1)

    def names(self) -> dict[str, int]:
        """The table's rows by name, and how many cells each has."""
        return {group.name: len(group.cells) for group in read_groups("t")}


@pytest.fixture
def log(client: MlflowClient, tmp_path: Path) -> Log:
    return Log(client, tmp_path)


def test_an_earlier_recipe_stays_until_newer_ones_ran_everywhere(log: Log) -> None:
    for fold in (0, 1):
        log.cell("B", fold, "old")
    assert log.names() == {"B": 2}
    log.cell("B", 0, "new")
    assert log.names() == {"B": 1, "B (earlier recipe)": 2}
    log.cell("B", 1, "newest")
    assert log.names() == {"B": 1, "B (earlier recipe)": 1}, "the two together ran wherever the oldest did"
    log.cell("B", 0, "newest")
    assert log.names() == {"B": 2}


def test_recipes_are_mixed_in_equal_parts_where_all_ran_on_the_same_splits(log: Log, tmp_path: Path) -> None:
    for fold in (0, 1):
        log.cell("B", fold, "old", seed=0, sure=0.9)
        log.cell("B", fold, "old", seed=1, sure=0.7)
    log.cell("B", 0, "new", seed=0, sure=0.6)
    assert [(each.name, each.size, each.recipes) for each in ensembles_of(read_groups("t"))] == [
        ("B (earlier recipe)", 2, 1)
    ]
    log.cell("B", 1, "new", seed=0, sure=0.6)
    seeds, recipes = ensembles_of(read_groups("t"))
    assert (seeds.size, seeds.recipes, recipes.size, recipes.recipes) == (2, 1, 3, 2)
    assert seeds.test.probabilities.max(axis=1) == pytest.approx(0.8)
    assert recipes.test.probabilities.max(axis=1) == pytest.approx(0.7), "the two seeds together count as the one"
    page = publish_results("t", tmp_path / "docs").read_text()
    rows = json.loads((tmp_path / "docs" / "results.json").read_text())
    assert [(row["members"], row["recipes"], row["recipe"]) for row in rows][-1] == (3, 2, "new, old")
    assert (rows[-1]["seeds"], len(rows[-1]["runs"]), len(rows[-1]["uar_per_seed"])) == ([0, 1], 6, 3)
    assert "| a | B augmentation, mean of 2 recipes, 3 classifiers | resnet18 |" in page
    assert (tmp_path / "docs" / "results" / "confusion-speaker-a-Bx3-of-2-recipes.png").exists()


def test_a_cell_that_runs_again_makes_its_recipe_the_newest(log: Log) -> None:
    for recipe in ("one", "other", "one"):
        log.cell("B", 0, recipe)
    (group,) = read_groups("t")
    assert group.cells[0].run.tags["recipe"] == "one"


def test_each_recipe_is_compared_with_its_like_and_has_a_picture_of_its_own(log: Log, tmp_path: Path) -> None:
    for fold in (0, 1):
        log.cell("B", fold, "old", augmented_as="plain")
        log.cell("C", fold, "made", augmented_as="plain")
    log.cell("B", 0, "new", augmented_as="warped")
    log.cell("R", 0, "new", augmented_as="warped")
    page = publish_results("t", tmp_path / "docs").read_text()
    compared = json.loads((tmp_path / "docs" / "results-comparisons.json").read_text())
    known = [f"{name} of known speakers - {name}" for name in ("B", "B (earlier recipe)", "C", "R")]
    assert [row["stages"] for row in compared] == ["C - B (earlier recipe)", "R - B", *known]
    rows = json.loads((tmp_path / "docs" / "results.json").read_text())
    assert [(row["stage"], row["earlier"], row["recipe"]) for row in rows] == [
        ("B", 0, "new"),
        ("B", 1, "old"),
        ("C", 0, "made"),
        ("R", 0, "new"),
    ]
    assert "| a | B augmentation (earlier recipe) |" in page
    pictures = {path.name for path in (tmp_path / "docs" / "results").glob("confusion-speaker-a-*.png")}
    assert pictures == {f"confusion-speaker-a-{name}.png" for name in ("B", "B-earlier-recipe", "C", "R")}
