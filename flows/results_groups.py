"""What a table of results holds: finished classifiers with their predictions, by row, recipe, split and seed."""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from flows.finished import FinishedRun, fetch_file, finished_runs
from flows.results_recipes import Settings, distance, settings_in
from flows.results_words import KNOWN, recipe_name
from sermodels.config import Config
from sermodels.predictions import Predictions, adapted, averaged, joined, read_predictions
from sermodels.stages.functionals import LETTER as FUNCTIONALS

PARTS = ("development", "test")
Runs = dict[tuple[str, str], FinishedRun]
"""Runs of one row and recipe by split and seed."""
Clips = tuple[tuple[str, *tuple[tuple[str, ...], ...]], ...]
"""Which clips the parts of each split hold."""
WITH_FUNCTIONALS = f"R+{FUNCTIONALS}"
"""The letter of R's recipes and stage F in equal parts."""


@dataclass(frozen=True)
class Cell:
    """One finished classifier: a stage on one split with one seed."""

    run: FinishedRun
    development: Predictions
    test: Predictions

    @property
    def place(self) -> tuple[str, str]:
        """Which split and seed."""
        return self.run.tags["split"], self.run.tags["seed"]


@dataclass(frozen=True)
class Group:
    """All cells of one row of the table."""

    protocol: str
    corpora: str
    letter: str
    cells: tuple[Cell, ...]
    members: tuple[Cell, ...] = ()
    """Of an ensemble, whose cells have the mean of their probabilities: the cells of all seeds, and of all recipes."""
    recipe_number: int = 1
    """Its recipe's place among those of the row, of which the first is nearest to the preset's; then the newest."""
    recipes: int = 1
    """How many recipes an ensemble is the mean of."""

    @property
    def row(self) -> tuple[str, str]:
        """Whose stages may be compared."""
        return self.protocol, self.corpora

    @property
    def name(self) -> str:
        """The stage's letter, of how many recipes an ensemble is, and which recipe it is if not the first."""
        recipes = f" of {self.recipes} recipes" if self.recipes > 1 else ""
        return self.letter + recipes + recipe_name(self.recipe_number)

    @cached_property
    def test(self) -> Predictions:
        """Test predictions of all splits and seeds together."""
        return joined([cell.test for cell in self.cells])

    @property
    def classifiers(self) -> tuple[Cell, ...]:
        """Everything that was trained for the row."""
        return self.members or self.cells

    @property
    def size(self) -> int:
        """How many classifiers hear a clip."""
        return len(self.members) // len(self.cells) or 1

    @property
    def common_recipe(self) -> str:
        """What its training has in common with that of other stages."""
        return self.cells[0].run.tags.get("common_recipe", "")

    @property
    def augmented_as(self) -> str:
        """What its augmentation has in common with that of other stages; nothing if there was none."""
        return self.cells[0].run.tags.get("augmented_as", "")

    @property
    def number_format(self) -> str:
        """What its networks were trained in, if the runs say so."""
        return self.cells[0].run.tags.get("number_format", "")

    @property
    def seeds(self) -> list[str]:
        """The seeds, in order."""
        return sorted({cell.run.tags["seed"] for cell in self.classifiers}, key=int)

    @property
    def splits(self) -> list[str]:
        """The splits, in order."""
        return sorted({cell.run.tags["split"] for cell in self.cells})

    def at(self, places: Sequence[tuple[str, str]]) -> Predictions:
        """Test predictions of these splits and seeds, in their order."""
        by_place = {cell.place: cell.test for cell in self.cells}
        return joined([by_place[place] for place in places])


def ensembles_of(groups: Sequence[Group]) -> list[Group]:
    """The means of the seeds' classifiers, of the recipes' where a row has several, and of R's with stage F."""
    means = [_mean_of_seeds(group) for group in groups]
    recipes: dict[tuple[str, str, str], list[Group]] = {}
    for group, mean in zip(groups, means, strict=True):
        recipes.setdefault((*group.row, group.letter), []).append(mean or group)
    for row in dict.fromkeys(group.row for group in groups):
        networks, functionals = (recipes.get((*row, letter), []) for letter in ("R", FUNCTIONALS))
        beside = [each for each in networks if functionals and _clips_of(each) == _clips_of(functionals[0])]
        if beside:
            first = replace(beside[0], letter=WITH_FUNCTIONALS)
            recipes[*row, WITH_FUNCTIONALS] = [first, *beside[1:], *functionals]
    return [group for group in (*means, *map(_mean_of_recipes, recipes.values())) if group]


def _mean_of_seeds(group: Group) -> Group | None:
    """The mean of the seeds' classifiers, if each split ran with the same several seeds."""
    by_split = [[cell for cell in group.cells if cell.run.tags["split"] == split] for split in group.splits]
    if len({tuple(cell.run.tags["seed"] for cell in cells) for cells in by_split}) > 1 or len(by_split[0]) < 2:
        return None
    return replace(group, cells=tuple(map(_mean, by_split)), members=group.cells)


def _mean_of_recipes(wholes: Sequence[Group]) -> Group | None:
    """As many recipes as ran on the same splits and clips, in equal parts, each the mean of its seeds; None of one."""
    by_clips: dict[Clips, list[Group]] = {}
    for whole in wholes:
        by_clips.setdefault(_clips_of(whole), []).append(whole)
    alike = max(by_clips.values(), key=len)
    if len(alike) < 2:
        return None
    cells = tuple(_mean(several) for several in zip(*(whole.cells for whole in alike), strict=True))
    members = tuple(cell for whole in alike for cell in whole.classifiers)
    return replace(alike[0], cells=cells, members=members, recipes=len(alike), recipe_number=1)


def _clips_of(whole: Group) -> Clips:
    """Each cell's split, and the clips of its parts."""
    return tuple((cell.run.tags["split"], *(getattr(cell, part).identifiers for part in PARTS)) for cell in whole.cells)


def _mean(several: Sequence[Cell]) -> Cell:
    """The mean of the probabilities of several classifiers of one split."""
    return Cell(several[0].run, *(averaged([getattr(cell, part) for cell in several]) for part in PARTS))


def heard_before(group: Group) -> Group:
    """The same classifiers, of speakers whose other recordings are known without labels."""

    def known(cell: Cell) -> Cell:
        return Cell(cell.run, *(adapted(getattr(cell, part)) for part in PARTS))

    return replace(
        group, protocol=KNOWN, cells=tuple(map(known, group.cells)), members=tuple(map(known, group.members))
    )


def read_groups(table: str, config: Config) -> list[Group]:
    """Everything finished under this table's name: the newest run of each cell, by row, recipe and format of numbers.

    A recipe is left out once newer ones of the same backbone and format have run on all splits and seeds of every stage
    that was trained and augmented so: what other stages are compared with stays as long as they do. The first of a row
    is the one that is most like `config`, and of several as like it the newest.
    """
    wanted = settings_in(config)
    found: dict[tuple[str, str, str], dict[tuple[str, str], Runs]] = {}
    for run in finished_runs({"table": table}):  # newest first
        if run.tags.get("letter"):
            row = (run.tags["protocol"], run.tags["corpora"], run.tags["letter"])
            recipe = (run.tags["recipe"], run.tags.get("number_format", ""))
            cells = found.setdefault(row, {}).setdefault(recipe, {})
            cells.setdefault((run.tags["split"], run.tags["seed"]), run)
    standing = {
        (*row[:2], _training(cells))
        for row, recipes in found.items()
        for cells in _not_covered(recipes.values(), _network)
    }
    shown = {
        row: [cells for cells in _not_covered(recipes.values(), _training) if (*row[:2], _training(cells)) in standing]
        for row, recipes in found.items()
    }
    return [
        Group(*row, tuple(_read(cells[place]) for place in sorted(cells)), recipe_number=number)
        for row in sorted(shown)
        for number, cells in enumerate(_most_like(wanted, shown[row]), start=1)
    ]


def _network(cells: Runs) -> tuple[str, ...]:
    """What a recipe's classifiers compute with."""
    tags = next(iter(cells.values())).tags
    return tags["backbone"], tags.get("number_format", "")


def _training(cells: Runs) -> tuple[str, ...]:
    """How a recipe's classifiers were trained and augmented, whatever their stage."""
    tags = next(iter(cells.values())).tags
    return (*_network(cells), tags.get("common_recipe", ""), tags.get("augmented_as", ""))


def _not_covered(recipes: Iterable[Runs], kind: Callable[[Runs], tuple[str, ...]]) -> list[Runs]:
    """Of one row's recipes, the newest first, those that ran where no newer one of their kind did."""
    covered: dict[tuple[str, ...], set[tuple[str, str]]] = {}
    kept = []
    for cells in recipes:
        before = covered.setdefault(kind(cells), set())
        if not cells.keys() <= before:
            kept.append(cells)
        before.update(cells)
    return kept


def _most_like(wanted: Settings, recipes: Iterable[Runs]) -> list[Runs]:
    """The recipes in order of how little they differ from what is wanted; those alike stay in their order."""
    return sorted(recipes, key=lambda cells: distance(next(iter(cells.values())), wanted))


def _read(run: FinishedRun) -> Cell:
    """A run with its predictions."""
    with tempfile.TemporaryDirectory() as folder:
        files = [fetch_file(run.run_id, f"predictions-{part}.csv", Path(folder)) for part in PARTS]
        return Cell(run, *map(read_predictions, files))
