"""The command that the page gives for a row trains by that row's recipe."""

import shlex

import pytest
from mlflow import MlflowClient

from flows import tracking
from flows.__main__ import overrides_of
from flows.arguments import parse_arguments
from flows.finished import FinishedRun
from flows.recipe_tags import SHARES, recipe_digest
from flows.results_commands import commands_of
from flows.results_groups import Cell, Group
from flows.tasks import flat_inputs
from sermodels.config import Config
from sermodels.plan import plan_of
from sermodels.predictions import Predictions
from sermodels.presets import flatten, resolve_config
from tests.flows.test_results_page import cell

PART: Predictions = cell(("a",), "fold 0", ("1",)).test
USED = {
    "A": ("front_end", "clip", "classifier", "training"),
    "B": ("front_end", "clip", "classifier", "training", "augmentation"),
    "C": ("front_end", "clip", "classifier", "training", "augmentation", "retraining"),
    "F": (),
}
CHANGED = (
    "classifier.backbone=resnet18",
    "classifier.weights=a.safetensors",
    "classifier.smoothing=[1,3]",
    "clip.evaluation_s=2.5",
    "training.keep=last",
    "augmentation.mixup_alpha=0",
    "retraining.share=null",
    "split.development_fraction=0.02",
)


def run_of(config: Config, letter: str, split: str, *, corpora: str = "emodb, ravdess") -> FinishedRun:
    """A finished run as MLflow gives it back: parameters and tags are text."""
    sections = {name: config.model_dump(mode="json")[name] for name in USED[letter]}
    tags = {"letter": letter, "protocol": config.split.protocol, "split": split, "seed": str(config.seed)}
    tags |= {"corpora": corpora, "recipe": recipe_digest(config, letter)}
    tags |= {f"split.{name}": str(getattr(config.split, name)) for name in SHARES}
    return FinishedRun(split, 0, tags, {name: str(value) for name, value in flat_inputs(sections).items()}, {})


def commands(*runs: FinishedRun) -> list[str]:
    group = Group(runs[0].tags["protocol"], "", "", tuple(Cell(run, PART, PART) for run in runs))
    return commands_of(group, "full", resolve_config("full"))


def configs(command: str) -> list[Config]:
    """The configs that a command trains by."""
    program, arguments = command.split(" -m flows ")
    options = parse_arguments(shlex.split(arguments))
    assert (program, options.command, options.data_dir) == ("python", "table", "data")
    plan = plan_of(options.protocols, options.folds, options.seeds, options.stages)
    return plan.configs(resolve_config(options.preset, overrides_of(options)))


@pytest.mark.parametrize("letter", USED)
def test_it_trains_by_the_recipe_of_the_runs(letter: str) -> None:
    config = resolve_config("full", [*CHANGED, "split.protocol=seed", "split.seed=3", "seed=3"])
    second = resolve_config("full", [*CHANGED, "split.protocol=seed", "split.seed=4", "seed=4"])
    (command,) = commands(run_of(config, letter, "seed 3"), run_of(second, letter, "seed 4"))
    found = configs(command)
    assert [recipe_digest(each, letter) for each in found] == [recipe_digest(config, letter)] * 2
    assert [(each.seed, each.split.seed, each.split.development_fraction) for each in found] == [
        (3, 3, 0.02),
        (4, 4, 0.02),
    ]
    assert f"--stages {letter} " in command


def test_it_names_folds_and_corpora_only_where_they_are_not_the_presets() -> None:
    config = resolve_config("full")
    (whole,) = commands(*(run_of(config, "A", f"fold {fold}") for fold in range(6)))
    assert whole == "python -m flows table --preset full --data-dir data --protocols speaker --seeds 1 --stages A"
    (part,) = commands(*(run_of(config, "A", f"fold {fold}") for fold in (0, 2)))
    assert "--folds 0,2 " in part
    (alone,) = commands(run_of(config, "A", "fold 0", corpora="emodb, mine.csv"))
    (named,) = configs(alone)
    assert (named.corpus.names, named.corpus.manifests) == (("emodb",), ("mine.csv",))


def test_a_mean_has_the_commands_of_its_parts() -> None:
    config, other = resolve_config("full"), resolve_config("full", ["training.epochs=5"])
    found = commands(run_of(config, "B", "fold 0"), run_of(other, "B", "fold 0"), run_of(config, "F", "fold 0"))
    assert [configs(command)[0].training.epochs for command in found] == [config.training.epochs, 5, 24]
    assert [command.split("--stages ")[1][0] for command in found] == ["B", "B", "F"]


def test_what_synthetic_clips_came_from_is_part_of_the_command(client: MlflowClient) -> None:
    config = resolve_config("full", ["synthesis.strength=0.5", "diffusion.patch=4", "diffusion.widths=[32,64]"])
    values = {name: str(value) for name, value in flatten(config).items()}
    for stage, made_from in (("diffusion", ""), ("synthesis", "diffusion")):
        run = client.create_run(tracking.experiment_id(), tags={tracking.STAGE_KEY_TAG: f"key of {stage}"})
        own = {name: value for name, value in values.items() if name.startswith(f"{stage}.")}
        for name, value in (own | ({"diffusion": f"key of {made_from}"} if made_from else {})).items():
            client.log_param(run.info.run_id, name, value)
        client.set_terminated(run.info.run_id)
    retrained = run_of(config, "C", "fold 0")
    retrained.params["synthetic"] = "key of synthesis"
    (found,) = configs(commands(retrained)[0])
    assert recipe_digest(found, "C") == recipe_digest(config, "C")
