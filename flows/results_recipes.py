"""How a row of the results was trained: the settings that its runs note, and which of them set rows apart."""

from collections.abc import Mapping, Sequence
from functools import cache

from flows.finished import FinishedRun
from flows.recipe_tags import COMMON, SHARES
from sermodels.config import Config
from sermodels.presets import flatten

SECTIONS = COMMON | {"augmentation", "retraining"}
SPLIT = frozenset(f"split.{name}" for name in SHARES)
TOLD_ELSEWHERE = ("classifier.backbone", "classifier.weights")
Settings = Mapping[str, str]
"""Values as text by `section.key`, as MLflow keeps parameters."""


def settings_of(run: FinishedRun) -> dict[str, str]:
    """What the run's recipe sets, in the sections that its stage uses.

    A setting that is newer than the run had its default, which changes nothing, when it ran.
    """
    found = {name: value for name, value in (run.params | run.tags).items() if _counts(name)}
    sections = set(map(_section, found))
    return {name: value for name, value in _defaults().items() if _section(name) in sections} | found


def settings_in(config: Config) -> dict[str, str]:
    """The same of a config, in all sections."""
    return {name: str(value) for name, value in flatten(config).items() if _counts(name)}


@cache
def _defaults() -> Settings:
    return settings_in(Config())


def _counts(name: str) -> bool:
    return name in SPLIT or (_section(name) in SECTIONS and name not in TOLD_ELSEWHERE)


def _section(name: str) -> str:
    return name.partition(".")[0]


def distance(run: FinishedRun, wanted: Settings) -> int:
    """In how many settings a run differs from those that are wanted."""
    return sum(wanted.get(name) != value for name, value in settings_of(run).items())


def differing(settings: Sequence[Settings]) -> list[str]:
    """The names that not all who have them set alike, in their order."""
    names = dict.fromkeys(name for each in settings for name in each)
    return [name for name in names if len({each[name] for each in settings if name in each}) > 1]
