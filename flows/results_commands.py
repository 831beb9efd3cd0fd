"""The commands behind a row of the results: what `python -m flows table` is told to train its classifiers."""

from collections.abc import Mapping, Sequence

from flows.finished import FinishedRun, finished_runs
from flows.results_groups import Cell, Group
from flows.results_recipes import SAMPLES, TOLD_ELSEWHERE, settings_of
from flows.results_words import KNOWN, Row, letter_of
from flows.tracking import STAGE_KEY_TAG
from sermodels.config import Config
from sermodels.presets import flatten

MADE_FROM = ("synthetic", "diffusion")
"""Parameters of a run that hold the key of the stage that it was made from."""
HEAD = """## Commands

What trains the classifiers of each row; a mean of several rows needs those of all of them. Recordings are in `data`,
weights are called by their file's name. Each command goes on where it stopped, and writes this page at its end.
"""


def commands_section(rows: Sequence[Row]) -> str:
    """The commands of all rows that are no means of others."""
    own = [row for row in rows if row["members"] == 1 and row["protocol"] != KNOWN]
    lines = [
        line
        for row in own
        for line in (f"# {letter_of(row)}, protocol {row['protocol']}: {row['corpora']}", *row["commands"], "")
    ]
    return "\n".join([HEAD, "```", *lines[:-1], "```\n"])


def commands_of(group: Group, preset: str, config: Config) -> list[str]:
    """The commands that train a row's classifiers, one for each stage and recipe among them.

    `config` is what the preset says now: what was set otherwise is an override.
    """
    recipes: dict[tuple[str, str], list[Cell]] = {}
    for cell in group.classifiers:
        recipes.setdefault((cell.run.tags["letter"], cell.run.tags["recipe"]), []).append(cell)
    return [_command([cell.run for cell in cells], preset, config) for cells in recipes.values()]


def _command(runs: Sequence[FinishedRun], preset: str, config: Config) -> str:
    """The command for runs of one recipe."""
    tags, seeds = runs[0].tags, sorted({int(run.tags["seed"]) for run in runs})
    changed = _corpora(tags["corpora"], config) | _first_seed(tags["protocol"], seeds[0], config)
    changed |= _changed(_settings(runs[0]), config)
    weights = changed.pop("classifier.weights", "")
    options = {
        "preset": preset,
        "data-dir": "data",
        "weights": weights,
        "protocols": tags["protocol"],
        "folds": _folds(runs) if tags["protocol"] == "speaker" else "",
        "seeds": str(seeds[-1] - seeds[0] + 1),
        "stages": tags["letter"],
    }
    words = [f"--{name} {value}" for name, value in options.items() if value]
    if changed:
        words.append(f'--overrides "{" ".join(f"{name}={_yaml(value)}" for name, value in changed.items())}"')
    return " ".join(["python -m flows table", *words])


def _settings(run: FinishedRun) -> dict[str, str]:
    """What a run was trained by, and what the clips were made by that it was given."""
    found = settings_of(run) | {name: run.params[name] for name in TOLD_ELSEWHERE if name in run.params}
    for name in MADE_FROM:
        made = finished_runs({STAGE_KEY_TAG: run.params[name]}) if run.params.get(name) else []
        if not made:
            break
        run = made[0]
        found |= settings_of(run, SAMPLES)
    return found


def _changed(settings: Mapping[str, str], config: Config) -> dict[str, str]:
    """The settings that the preset has otherwise."""
    preset = {name: str(value) for name, value in flatten(config).items()}
    return {name: value for name, value in settings.items() if preset.get(name, value) != value}


def _corpora(named: str, config: Config) -> dict[str, str]:
    """The corpora, if they are not the preset's."""
    found = named.split(", ")
    manifests = [name for name in found if name.endswith(".csv")]
    parts = {"names": [name for name in found if name not in manifests], "manifests": manifests}
    return {
        f"corpus.{part}": str(names).replace("'", "")
        for part, names in parts.items()
        if names != list(getattr(config.corpus, part))
    }


def _first_seed(protocol: str, seed: int, config: Config) -> dict[str, str]:
    """The seed that the command counts from, and that of the random split, which goes with it."""
    drawn = {"seed": config.seed} | ({"split.seed": config.split.seed} if protocol == "seed" else {})
    return {name: str(seed) for name, own in drawn.items() if own != seed}


def _folds(runs: Sequence[FinishedRun]) -> str:
    """The numbers of the folds, if not all of them ran."""
    numbers = sorted({int(run.tags["split"].split(" ")[1]) for run in runs})
    return "" if str(len(numbers)) == runs[0].tags.get("split.folds") else ",".join(map(str, numbers))


def _yaml(value: str) -> str:
    """A value as an override, without blanks."""
    return "null" if value == "None" else value.replace(" ", "")
