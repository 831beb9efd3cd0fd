"""Recipes in the table of results: the preset's own comes first, and each stays until newer ones ran where it did."""

import json
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from types import MappingProxyType

import pytest
from mlflow import MlflowClient

from flows import tracking
from flows.results import publish_results
from flows.results_groups import ensembles_of, read_groups
from sermodels.config import Config
from sermodels.predictions import COLUMNS

LABELS = ("anger", "sadness")
METRICS = {"gap": 0.1, "optimizer_steps": 2.0}


class Log:
    """Finished cells of a table, each newer than the one before."""

    def __init__(self, client: MlflowClient, folder: Path) -> None:
        self.client, self.folder, self.clock = client, folder, count(1)

    def cell(
        self,
        letter: str,
        fold: int,
        recipe: str,
        *,
        augmented_as: str = "",
        seed: int = 0,
        sure: float = 0.8,
        speakers: str = "xy",
        params: Mapping[str, str] = MappingProxyType({}),
        **more: str,
    ) -> None:
        """Two speakers of the fold, one of whom is heard wrong once, all as `sure` of what is heard."""
        now = 1000 * next(self.clock)
        tags = {"table": "t", "letter": letter, "protocol": "speaker", "corpora": "a", "split": f"fold {fold}"}
        tags |= {"seed": str(seed), "recipe": recipe, "backbone": "resnet18", "weights": "none", "common_recipe": "c"}
        tags |= {"augmented_as": augmented_as, **more}
        run_id = self.client.create_run(tracking.experiment_id(), start_time=now, tags=tags).info.run_id
        for name, value in METRICS.items():
            self.client.log_metric(run_id, name, value)
        for name, setting in params.items():
            self.client.log_param(run_id, name, setting)
        shares = {"anger": f"{sure},{1 - sure}", "sadness": f"{1 - sure},{sure}"}
        clips = [
            f"a/{fold}{speaker}{emotion},a,{fold}{speaker},f,{emotion},{heard},{shares[heard]}"
            for speaker in speakers
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
        return {group.name: len(group.cells) for group in read_groups("t", Config())}


@pytest.fixture
def log(client: MlflowClient, tmp_path: Path) -> Log:
    return Log(client, tmp_path)


def test_a_recipe_stays_until_newer_ones_ran_everywhere(log: Log) -> None:
    for fold in (0, 1):
        log.cell("B", fold, "old")
    assert log.names() == {"B": 2}
    log.cell("B", 0, "new")
    assert log.names() == {"B": 1, "B (recipe 2)": 2}
    log.cell("B", 1, "newest")
    assert log.names() == {"B": 1, "B (recipe 2)": 1}, "the two together ran wherever the oldest did"
    log.cell("B", 0, "newest")
    assert log.names() == {"B": 2}


def test_a_recipe_stays_as_long_as_a_stage_that_is_compared_with_it(log: Log) -> None:
    log.cell("A", 0, "oldest")
    log.cell("C", 0, "few clips", augmented_as="plain")
    log.cell("B", 0, "old", augmented_as="plain")
    log.cell("C", 0, "made", augmented_as="plain")
    log.cell("B", 0, "new", augmented_as="warped")
    assert log.names() == {"A": 1, "B": 1, "B (recipe 2)": 1, "C": 1}, "C was augmented as the old B; it ran twice"
    log.cell("C", 0, "made anew", augmented_as="warped")
    assert log.names() == {"A": 1, "B": 1, "C": 1}


@pytest.mark.parametrize("apart", [{"backbone": "resnet50"}, {"number_format": "bfloat16"}])
def test_networks_of_another_kind_do_not_replace_each_other(log: Log, apart: dict[str, str]) -> None:
    log.cell("A", 0, "one")
    log.cell("B", 0, "one")
    log.cell("A", 0, "one" if "number_format" in apart else "other", **apart)
    assert log.names() == {"A": 1, "A (recipe 2)": 1, "B": 1}
    log.cell("A", 0, "newer")
    assert log.names() == {"A": 1, "A (recipe 2)": 1, "B": 1}, "the newest is of the first kind, whose B stays"


def test_formats_of_numbers_are_told_and_not_compared(log: Log, tmp_path: Path) -> None:
    for number_format in ("float32", "bfloat16"):
        log.cell("A", 0, "same", number_format=number_format)
    log.cell("B", 0, "same", number_format="float32")
    page = publish_results("t", tmp_path / "docs", Config()).read_text()
    assert "| stage | number format |\n| --- | --- |\n| A | bfloat16 |\n| A (recipe 2) | float32 |\n" in page
    compared = json.loads((tmp_path / "docs" / "results-comparisons.json").read_text())
    assert [row["stages"] for row in compared if "known" not in row["stages"]] == ["B - A (recipe 2)"]


def test_recipes_are_mixed_in_equal_parts_where_all_ran_on_the_same_splits(log: Log, tmp_path: Path) -> None:
    for fold in (0, 1):
        log.cell("B", fold, "old", seed=0, sure=0.9)
        log.cell("B", fold, "old", seed=1, sure=0.7)
    log.cell("B", 0, "new", seed=0, sure=0.6)
    assert [(each.name, each.size, each.recipes) for each in ensembles_of(read_groups("t", Config()))] == [
        ("B (recipe 2)", 2, 1)
    ]
    log.cell("B", 1, "new", seed=0, sure=0.6)
    seeds, recipes = ensembles_of(read_groups("t", Config()))
    assert (seeds.size, seeds.recipes, recipes.size, recipes.recipes) == (2, 1, 3, 2)
    assert seeds.test.probabilities.max(axis=1) == pytest.approx(0.8)
    assert recipes.test.probabilities.max(axis=1) == pytest.approx(0.7), "the two seeds together count as the one"
    page = publish_results("t", tmp_path / "docs", Config()).read_text()
    rows = json.loads((tmp_path / "docs" / "results.json").read_text())
    assert [(row["members"], row["recipes"], row["recipe"]) for row in rows][-1] == (3, 2, "new, old")
    assert (rows[-1]["seeds"], len(rows[-1]["runs"]), len(rows[-1]["uar_per_seed"])) == ([0, 1], 6, 3)
    assert "| a | B augmentation, mean of 2 recipes, 3 classifiers | resnet18 |" in page
    assert (tmp_path / "docs" / "results" / "confusion-speaker-a-Bx3-of-2-recipes.png").exists()


def test_refitted_recipes_and_functionals_are_mixed_in_equal_parts_and_compared(log: Log, tmp_path: Path) -> None:
    for fold in (0, 1):
        log.cell("R", fold, "old", sure=0.9)
        log.cell("F", fold, "functionals", sure=0.6)
    assert [(each.name, each.size) for each in ensembles_of(read_groups("t", Config()))] == [("R+F of 2 recipes", 2)]
    for fold in (0, 1):
        log.cell("R", fold, "new", sure=0.75, seed=1)
    found = {each.name: each for each in ensembles_of(read_groups("t", Config()))}
    assert list(found) == ["R of 2 recipes", "R+F of 3 recipes"]
    assert found["R+F of 3 recipes"].test.probabilities.max(axis=1) == pytest.approx(0.75)
    page = publish_results("t", tmp_path / "docs", Config()).read_text()
    assert "| a | R and F, mean of 3 recipes, 3 classifiers | resnet18 |" in page
    assert "| R+F of 3 recipes - R of 2 recipes | a | fold 0, fold 1 | 2 | 0.000" in page


def test_what_heard_other_clips_is_not_mixed(log: Log) -> None:
    log.cell("R", 0, "r")
    log.cell("F", 0, "functionals", speakers="xz")
    assert ensembles_of(read_groups("t", Config())) == []
    for letter, recipe, sure, seed in (("B", "one", 0.9, 0), ("B", "other", 0.7, 2), ("R", "of the same", 0.8, 3)):
        log.cell(letter, 0, recipe, speakers="xz", sure=sure, seed=seed)
    log.cell("B", 0, "elsewhere", speakers="xyz", seed=1)
    found = {each.name: each for each in ensembles_of(read_groups("t", Config()))}
    assert {name: each.size for name, each in found.items()} == {"B of 2 recipes": 2, "R+F of 2 recipes": 2}
    assert found["B of 2 recipes"].test.probabilities.max(axis=1) == pytest.approx(0.8), "without the third recipe"


def test_each_format_of_a_mixture_has_its_own_figure(log: Log, tmp_path: Path) -> None:
    for number_format, sure in (("float32", 0.9), ("bfloat16", 0.6)):
        log.cell("B", 0, "same", number_format=number_format, sure=sure)
    publish_results("t", tmp_path / "docs", Config())
    rows = json.loads((tmp_path / "docs" / "results.json").read_text())
    mixed = [row for row in rows if row["protocol"] == "speaker"][-1]
    assert (mixed["recipes"], mixed["number_format"], len(mixed["uar_per_seed"])) == (2, "bfloat16, float32", 2)


def test_a_cell_that_runs_again_makes_its_recipe_the_newest(log: Log) -> None:
    for recipe in ("one", "other", "one"):
        log.cell("B", 0, recipe)
    (group,) = read_groups("t", Config())
    assert group.cells[0].run.tags["recipe"] == "one"


def test_each_recipe_is_compared_with_its_like_and_has_a_picture_of_its_own(log: Log, tmp_path: Path) -> None:
    for fold in (0, 1):
        log.cell("B", fold, "old", augmented_as="plain")
        log.cell("C", fold, "made", augmented_as="plain")
    log.cell("B", 0, "new", augmented_as="warped")
    log.cell("R", 0, "new", augmented_as="warped")
    page = publish_results("t", tmp_path / "docs", Config()).read_text()
    compared = json.loads((tmp_path / "docs" / "results-comparisons.json").read_text())
    known = [f"{name} of known speakers - {name}" for name in ("B", "B (recipe 2)", "C", "R")]
    assert [row["stages"] for row in compared] == ["C - B (recipe 2)", "R - B", *known]
    rows = json.loads((tmp_path / "docs" / "results.json").read_text())
    assert [(row["stage"], row["recipe_number"], row["recipe"]) for row in rows] == [
        ("B", 1, "new"),
        ("B", 2, "old"),
        ("C", 1, "made"),
        ("R", 1, "new"),
    ]
    assert "| a | B augmentation (recipe 2) |" in page
    pictures = {path.name for path in (tmp_path / "docs" / "results").glob("confusion-speaker-a-*.png")}
    assert pictures == {f"confusion-speaker-a-{name}.png" for name in ("B", "B-recipe-2", "C", "R")}


def test_the_recipe_most_like_the_presets_comes_first_however_old_it_is(log: Log) -> None:
    plain = {"front_end.n_fft": "1024", "training.epochs": "50"}
    log.cell("B", 0, "the preset's", params=plain, seed=0)
    log.cell("B", 0, "longer windows and training", params={"front_end.n_fft": "2048", "training.epochs": "60"}, seed=1)
    log.cell("B", 0, "longer windows", params={**plain, "front_end.n_fft": "2048"}, seed=2)
    assert [(group.name, group.cells[0].run.tags["recipe"]) for group in read_groups("t", Config())] == [
        ("B", "the preset's"),
        ("B (recipe 2)", "longer windows"),
        ("B (recipe 3)", "longer windows and training"),
    ]


def test_the_page_says_what_sets_recipes_apart(log: Log, tmp_path: Path) -> None:
    shared = {"front_end.n_fft": "1024", "front_end.hop_length": "256", "classifier.weights": "/here/a", "seed": "0"}
    log.cell("A", 0, "none", params=shared)
    log.cell("B", 0, "older than the setting", params={**shared, "augmentation.noise_std": "0.01"}, seed=0)
    warped = {"augmentation.frequency_warp": "0.15", "augmentation.noise_std": "0.01", "classifier.weights": "/b"}
    log.cell("B", 0, "warped", params=shared | warped, seed=1)
    page = publish_results("t", tmp_path / "docs", Config()).read_text()
    table = "| stage | augmentation.frequency_warp |\n| --- | --- |\n| A |  |\n| B | 0.0 |\n| B (recipe 2) | 0.15 |\n"
    assert f"The settings in which they differ:\n\n{table}" in page
    rows = json.loads((tmp_path / "docs" / "results.json").read_text())
    assert {row["settings"]["front_end.n_fft"] for row in rows if row["recipes"] == 1} == {"1024"}
    assert not [name for row in rows for name in row["settings"] if name in ("classifier.weights", "seed")]


def test_where_all_were_trained_alike_nothing_sets_them_apart(log: Log, tmp_path: Path) -> None:
    for letter in "AB":
        log.cell(letter, 0, letter, params={"training.epochs": "5"})
    assert "settings in which" not in publish_results("t", tmp_path / "docs", Config()).read_text()
