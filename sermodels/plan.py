"""What is run for the table of results: which protocols, folds, seeds and stages."""

from dataclasses import dataclass
from typing import Any

from sermodels.config import Config
from sermodels.errors import ConfigError
from sermodels.splits import Split
from sermodels.stages.classification import RECIPES, Recipe
from sermodels.stages.functionals import LETTER as FUNCTIONALS

PROTOCOLS = ("speaker", "corpus", "seed")
BY_LETTER: dict[str, Recipe] = {recipe.letter: recipe for recipe in RECIPES}
LETTERS = (*BY_LETTER, FUNCTIONALS)
NEEDED = {"C": "AB", "R": "B"}
"""Stages that another one builds on."""


@dataclass(frozen=True)
class TablePlan:
    """What a call adds to the table: which protocols, folds, seeds and stages."""

    protocols: tuple[str, ...] = ("speaker",)
    folds: tuple[int, ...] | None = None
    """Folds of protocol `speaker`; None is all of them."""
    seeds: int = 1
    stages: str = "ABCD"

    def configs(self, config: Config) -> list[Config]:
        """One config for each protocol and seed, with all folds in it; `seed` draws another split with each seed."""
        return [
            Config.model_validate(
                config.model_dump()
                | {"seed": config.seed + number}
                | {"split": config.split.model_dump() | _split(protocol, config.split.seed + number)}
            )
            for protocol in self.protocols
            for number in range(self.seeds)
        ]

    def stages_with(self, config: Config, first: Config) -> str:
        """The stages that run with this one of the configs: F, without chance, but once for each draw of the split."""
        once_more = config.seed == first.seed or config.split.protocol == "seed"
        return self.stages if once_more else self.stages.replace(FUNCTIONALS, "")

    def wants(self, split: Split) -> bool:
        """Whether the plan names this fold."""
        names = {f"fold {fold}" for fold in self.folds or ()}
        return self.folds is None or split.protocol != "speaker" or split.name in names


def _split(protocol: str, seed: int) -> dict[str, Any]:
    """What a protocol sets in the section `split`. Folds of speakers are the same for every seed."""
    return {"protocol": protocol, "fold": "all"} | ({"seed": seed} if protocol == "seed" else {})


def with_needed(stages: str) -> str:
    """The stages' letters and those of what they build on."""
    return "".join(dict.fromkeys(stages + "".join(NEEDED.get(letter, "") for letter in stages)))


def plan_of(protocols: str, folds: str, seeds: int, stages: str) -> TablePlan:
    """The plan that the command line asks for. Raises ConfigError naming what is not allowed."""
    chosen = tuple(name for name in protocols.replace(" ", "").split(",") if name)
    if unknown := sorted(set(chosen) - set(PROTOCOLS)):
        raise ConfigError(f"--protocols {unknown[0]}: allowed are {', '.join(PROTOCOLS)}")
    if unknown := sorted(set(stages) - set(LETTERS)):
        raise ConfigError(f"--stages {unknown[0]}: allowed are {', '.join(LETTERS)}, as in ABCD")
    numbers = [part for part in folds.split(",") if part not in ("", "all")]
    if not all(number.isdecimal() for number in numbers):
        raise ConfigError(f"--folds {folds}: numbers such as 0,1,2, or all")
    if seeds < 1:
        raise ConfigError(f"--seeds {seeds}: at least 1")
    return TablePlan(chosen, tuple(int(number) for number in numbers) or None, seeds, stages)
