"""How a row of the results was trained: the settings that its runs note, and which of them set rows apart."""

from collections.abc import Mapping, Sequence
from functools import cache

from flows.finished import FinishedRun
from flows.recipe_tags import COMMON, SHARES
from sermodels.config import Config
from sermodels.presets import flatten

CLASSIFIER = COMMON | {"augmentation", "retraining"}
"""Sections of the config that a classifier depends on."""
SAMPLES = frozenset({"diffusion", "synthesis"})
"""Sections that synthetic clips depend on besides."""
SPLIT = frozenset(f"split.{name}" for name in SHARES)
TOLD_ELSEWHERE = ("classifier.backbone", "classifier.weights")
Settings = Mapping[str, str]
"""Values as text by `section.key`, as MLflow keeps parameters."""


def settings_of(run: FinishedRun, sections: frozenset[str] = CLASSIFIER) -> dict[str, str]:
    """What the run's recipe sets, in those of the sections that its stage uses.

    A setting that is newer than the run had its default, which changes nothing, when it ran.
    """
    found = {name: value for name, value in (run.params | run.tags).items() if _counts(name, sections)}
    used = set(map(_section, found))
    return {name: value for name, value in _defaults(sections).items() if _section(name) in used} | found


def settings_in(config: Config, sections: frozenset[str] = CLASSIFIER) -> dict[str, str]:
    """The same of a config, in all these sections."""
    return {name: str(value) for name, value in flatten(config).items() if _counts(name, sections)}


@cache
def _defaults(sections: frozenset[str]) -> Settings:
    return settings_in(Config(), sections)


def _counts(name: str, sections: frozenset[str]) -> bool:
    return name in SPLIT or (_section(name) in sections and name not in TOLD_ELSEWHERE)


def _section(name: str) -> str:
    return name.partition(".")[0]


def distance(run: FinishedRun, wanted: Settings) -> int:
    """In how many settings a run differs from those that are wanted."""
    return sum(wanted.get(name) != value for name, value in settings_of(run).items())


def differing(settings: Sequence[Settings]) -> list[str]:
    """The names that not all who have them set alike, in their order."""
    names = dict.fromkeys(name for each in settings for name in each)
    return [name for name in names if len({each[name] for each in settings if name in each}) > 1]
