"""How a row of the results was trained: the settings that its runs note, and which of them set rows apart."""

from collections.abc import Mapping, Sequence

from flows.finished import FinishedRun
from sermodels.config import Config
from sermodels.presets import flatten

SECTIONS = ("front_end.", "clip.", "classifier.", "augmentation.", "training.", "retraining.")
TOLD_ELSEWHERE = ("classifier.backbone", "classifier.weights")
Settings = Mapping[str, str]
"""Values as text by `section.key`, as MLflow keeps parameters."""


def settings_of(run: FinishedRun) -> dict[str, str]:
    """What the run's recipe sets, in the sections that its stage uses.

    A setting that is newer than the run had its default, which changes nothing, when it ran.
    """
    found = {name: value for name, value in run.params.items() if _counts(name)}
    sections = {name.partition(".")[0] for name in found}
    defaults = settings_in(Config())
    return {name: value for name, value in defaults.items() if name.partition(".")[0] in sections} | found


def settings_in(config: Config) -> dict[str, str]:
    """The same of a config, in all sections."""
    return {name: str(value) for name, value in flatten(config).items() if _counts(name)}


def _counts(name: str) -> bool:
    return name.startswith(SECTIONS) and name not in TOLD_ELSEWHERE


def distance(run: FinishedRun, wanted: Settings) -> int:
    """In how many settings a run differs from those that are wanted."""
    return sum(wanted.get(name) != value for name, value in settings_of(run).items())


def differing(settings: Sequence[Settings]) -> list[str]:
    """The names that not all who have them set alike, in their order."""
    names = dict.fromkeys(name for each in settings for name in each)
    return [name for name in names if len({each[name] for each in settings if name in each}) > 1]
